"""The keys with which tokens are sealed."""

from tests.contract.openstack.conftest import Person


async def test_tokens_live_on_when_the_keys_are_rotated(admin: Person, member: Person) -> None:
    assert (await member.post("/console/keys/rotate")).status == 403
    primaries = []
    for _ in range(5):
        reply = await admin.post("/console/keys/rotate")
        assert reply.status == 200, reply.text
        primaries.append(reply.json()["keys"]["primary"])
        assert (await member.get("/identity/v3/auth/projects")).status == 200
    assert primaries == sorted(set(primaries))
