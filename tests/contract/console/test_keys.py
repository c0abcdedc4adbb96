"""The keys with which tokens are sealed and stored secrets encrypted."""

from pileus.core.cloud import Cloud
from pileus.core.identity.authentication.credential_records import Credential
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import Person


async def test_tokens_and_secrets_live_on_when_the_keys_are_rotated(
    admin: Person, member: Person, worker: Worker
) -> None:
    assert (await member.post("/console/keys/rotate")).status == 403
    where = f"/identity/v3/users/{member.user.id.hex}/credentials/OS-EC2"
    pairs = (await member.get(where)).json()["credentials"]
    assert pairs
    primaries = []
    for _ in range(5):
        reply = await admin.post("/console/keys/rotate")
        assert reply.status == 202, reply.text
        said = reply.json()
        primaries.append({name: said["keys"][name]["primary"] for name in ("tokens", "secrets")})
        assert said["operation"]["workflow"] == "secrets.renew"
        assert (await member.get("/identity/v3/auth/projects")).status == 200
        assert (await member.get(where)).json()["credentials"] == pairs
    await worker.idle()
    shown = (await admin.get(f"/console/operations/{said['operation']['id']}")).json()["operation"]
    assert (shown["outcome"], shown["kind"]) == ("done", "domain")
    assert (await member.get(f"/console/operations/{said['operation']['id']}")).status == 404
    assert (await member.get(where)).json()["credentials"] == pairs
    for name in ("tokens", "secrets"):
        numbers = [each[name] for each in primaries]
        assert numbers == sorted(set(numbers))


async def test_a_secret_whose_key_is_lost_is_an_answer_with_the_next_step(
    member: Person, admin: Person, cloud: Cloud, worker: Worker
) -> None:
    async with cloud.transaction() as tx:
        for held in await tx.list(Credential, user=member.user.id):
            text = held.secret.replace("1.", "9.", 1)
            await tx.rows.update_where(Credential, {"secret": text}, id=held.id)
    reply = await member.get(f"/identity/v3/users/{member.user.id.hex}/credentials/OS-EC2")
    assert reply.status == 503
    told = reply.json()["error"]["message"]
    assert "keys/secrets/9" in told
    assert "backup" in told
    made = (await admin.post("/console/keys/rotate")).json()["operation"]
    await worker.idle()
    shown = (await admin.get(f"/console/operations/{made['id']}")).json()["operation"]
    assert shown["outcome"] == "failed"
    assert "keys/secrets/9" in shown["fault"]
