"""Identity with unmodified clients on a simulated cloud: every command, the plugins, the middleware, and both views."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cloud import CLIENTS, SimulatedCloud, run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def environment(simulated: SimulatedCloud) -> dict[str, str]:
    return simulated.environment()


def script(name: str, environment: dict[str, str], *words: str) -> Any:
    """What one of the scripts beside this file printed."""
    told = run([CLIENTS / "python", HERE / name, *words], env=environment, timeout=600)
    return json.loads(told.splitlines()[-1])


def test_each_of_the_128_commands_of_the_openstack_client_works(
    environment: dict[str, str], tmp_path: Path
) -> None:
    told = script("identity_commands.py", environment, str(tmp_path), environment["OS_PASSWORD"])
    assert told["failed"] == {}
    assert told["broken"] == []
    assert sorted(told["commands"]) == told["ran"]


def test_keystoneauths_plugins_log_in_and_auth_token_believes_our_tokens(environment: dict[str, str]) -> None:
    told = script("identity_plugins.py", environment)
    for name, seen in told["plugins"].items():
        assert (seen["user"], seen["servers"]) == ("admin", 200), name
    assert told["plugins"]["v3password"]["roles"] == ["admin", "manager", "member", "reader"]
    assert told["plugins"]["v3applicationcredential"]["roles"] == ["member", "reader"]
    good, cut, none = told["middleware"]["statuses"]
    assert (good[:3], cut[:3], none[:3]) == ("200", "401", "401")
    heard = told["middleware"]["heard"]
    assert (heard["HTTP_X_USER_NAME"], heard["HTTP_X_IDENTITY_STATUS"]) == ("admin", "Confirmed")


SDK = """
import json, openstack
cloud = openstack.connect()
identity = cloud.identity
domain = cloud.create_domain("sdk", description="d")
project = cloud.create_project("p", domain_id=domain.id)
user = cloud.create_user("u", password="Secret-1", domain_id=domain.id, default_project=project.id)
group = cloud.create_group("g", "d", domain=domain.id)
cloud.add_user_to_group(user.id, group.id)
cloud.grant_role("member", group=group.id, project=project.id)
identity.assign_project_role_to_user(project=project.id, user=user.id, role=identity.find_role("reader").id)
seen = {
    "in_group": cloud.is_user_in_group(user.id, group.id),
    "assignments": len(list(identity.role_assignments(scope_project_id=project.id))),
    "names": [p.name for p in identity.user_projects(user.id)],
    "services": len(list(identity.services())) > 5,
    "limits": len(list(identity.registered_limits())) > 5,
    "found": identity.find_user("u", domain_id=domain.id).id == user.id,
}
cloud.delete_user(user.id)
cloud.delete_group(group.id)
cloud.delete_project(project.id)
cloud.update_domain(domain.id, enabled=False)
cloud.delete_domain(domain.id)
seen["left"] = [d.name for d in identity.domains()]
print(json.dumps(seen))
"""


def test_the_sdk_manages_identity(environment: dict[str, str]) -> None:
    seen = json.loads(run([CLIENTS / "python", "-c", SDK], env=environment, timeout=300).splitlines()[-1])
    left = seen.pop("left")
    assert "sdk" not in left
    assert seen == {
        "in_group": True,
        "assignments": 2,
        "names": ["p"],
        "services": True,
        "limits": True,
        "found": True,
    }


def test_an_account_made_by_cs_is_a_project_and_ends_in_both_at_once(
    simulated: SimulatedCloud, environment: dict[str, str]
) -> None:
    account = simulated.cs(
        "createAccount",
        username="carol",
        password="Secret-1",
        email="c@example.org",
        firstname="Carol",
        lastname="C",
        accounttype="0",
    )["account"]
    shown = simulated.openstack("project", "show", account["id"].replace("-", ""), "-f", "json")
    assert (shown["name"], shown["enabled"]) == (account["name"], True)
    users = simulated.openstack("user", "list", "--project", shown["id"], "-f", "json")
    assert [user["Name"] for user in users] == ["carol"]
    carol = environment | {
        "OS_USERNAME": "carol",
        "OS_PASSWORD": "Secret-1",
        "OS_PROJECT_NAME": shown["name"],
    }
    token = json.loads(run([CLIENTS / "openstack", "token", "issue", "-f", "json"], env=carol))["id"]
    held = carol | {"OS_AUTH_TYPE": "token", "OS_TOKEN": token}
    for name in ("OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME"):
        held.pop(name, None)
    listing = [CLIENTS / "openstack", "server", "list", "-f", "json"]
    assert json.loads(run(listing, env=held)) == []
    simulated.cs("disableAccount", id=account["id"], lock="false")
    assert simulated.openstack("project", "show", shown["id"], "-f", "json")["enabled"] is False
    with pytest.raises(AssertionError, match="Failed to validate token"):
        run(listing, env=held)
    simulated.openstack("project", "set", "--enable", shown["id"])
    (again,) = simulated.cs("listAccounts", id=account["id"])["account"]
    assert again["state"] == "enabled"
    simulated.cs("deleteAccount", id=account["id"])
    assert "carol" not in str(simulated.cs("listAccounts", listall="true"))
    left = simulated.openstack("project", "list", "-f", "json")
    assert shown["name"] not in [project["Name"] for project in left]
