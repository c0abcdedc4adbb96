"""Second factors with unmodified clients, on a simulated cloud that demands one of everybody."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.cli.profiles import read
from tests.clients.cloud import CLIENTS, PILEUS, SimulatedCloud, run

HERE = Path(__file__).parent
PASSWORD = "Secret-1"


class StrictCloud(SimulatedCloud):
    def up(self) -> str:
        where = ["--state", str(self.state), "--port", str(self.port)]
        return run(
            [PILEUS, "up", "--detach", "--simulate", "1", *where, "--set", "second_factor_mandatory=true"]
        )


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictCloud]:
    if not (CLIENTS / "openstack").exists():
        pytest.fail("the clients are not installed: run tools/install test")
    made = StrictCloud()
    try:
        made.up()
        yield made
    finally:
        made.remove()


def equipped(strict: StrictCloud, name: str, provider: str) -> Any:
    """What keystoneauth's plugins saw of a new user who sets a factor up."""
    person = {"firstname": name, "lastname": "T", "email": f"{name}@example.org", "password": PASSWORD}
    strict.cs("createAccount", username=name, accounttype="0", **person)
    script = [CLIENTS / "python", HERE / "identity_factor.py", name, PASSWORD, provider]
    return json.loads(run(script, env=strict.environment()).splitlines()[-1])


@pytest.mark.parametrize("provider", ["totp", "staticpin"])
def test_keystoneauths_multifactor_plugin_logs_in_with_cloudstacks_factor(
    strict: StrictCloud, provider: str
) -> None:
    name = f"ann-{provider}"
    told = equipped(strict, name, provider)
    assert "setupUserTwoFactorAuthentication" in told["before"]
    assert (told["asked"], told["required"]) == ("MissingAuthMethods", [["password", "totp"]])
    inside = {"user": name, "project": name, "servers": 200}
    assert told["v3multifactor"] == inside
    if provider == "staticpin":
        assert told["receipt"] == inside


def test_the_openstack_command_logs_in_with_a_password_and_a_pin(strict: StrictCloud, tmp_path: Path) -> None:
    pin = equipped(strict, "erin", "staticpin")["secret"]
    auth = {
        "auth_url": strict.environment()["OS_AUTH_URL"],
        "username": "erin",
        "password": PASSWORD,
        "user_domain_id": "default",
        "project_name": "erin",
        "project_domain_id": "default",
    }
    cloud = {"auth_type": "v3multifactor", "auth_methods": ["v3password", "v3totp"], "auth": auth}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"erin": cloud}}))
    environment = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}
    command = [CLIENTS / "openstack", "--os-cloud", "erin", "--os-passcode"]
    listing = ["server", "list", "-f", "json"]
    assert json.loads(run([*command, pin, *listing], env=environment)) == []
    with pytest.raises(AssertionError, match="401"):
        run([*command, "none", *listing], env=environment)


def test_the_operators_command_works_where_everybody_must_show_a_factor(strict: StrictCloud) -> None:
    run([PILEUS, "first-server", "--state", strict.state])
    shown = run([PILEUS, "operation", "list", "--state", strict.state])
    assert "server.deploy" in shown
    told = run([PILEUS, "explain", "access", "admin", "create_network", "--state", strict.state])
    assert "A second factor is demanded of user admin" in " ".join(told.split())


def test_the_operators_command_gets_a_new_credential_as_the_documentation_says(strict: StrictCloud) -> None:
    file = strict.state / "credentials"
    known = read(strict.state)
    program = {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": strict.environment()["OS_AUTH_URL"],
        "OS_APPLICATION_CREDENTIAL_ID": known["admin_command_id"],
        "OS_APPLICATION_CREDENTIAL_SECRET": known["admin_command_secret"],
    }
    delete = ["application", "credential", "delete", known["admin_command_id"]]
    run([CLIENTS / "openstack", *delete], env=program)
    listing = [PILEUS, "operation", "list", "--state", strict.state]
    with pytest.raises(AssertionError, match="A second factor is demanded of user"):
        run(listing)
    file.write_text("".join(f"{name}={known[name]}\n" for name in known if "_command_" not in name))
    strict.down()
    strict.up()
    run(listing)
