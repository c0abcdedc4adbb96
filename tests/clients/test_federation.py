"""keystoneauth's OpenID Connect plugins, unmodified, and a browser, against a real provider and a running cloud."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.clients.cloud import CLIENTS, PILEUS, SimulatedCloud, run
from tests.clients.provider import Browser, openid_provider

DASHBOARD = "http://dashboard.test/auth/websso/"
CLIENTS_OF_THE_PROVIDER = ("opaque", "signed")
RULES = [
    {
        "local": [
            {
                "user": {"name": "{0}", "email": "{1}"},
                "projects": [{"name": "home of {0}", "roles": [{"name": "member"}]}],
            }
        ],
        "remote": [{"type": "HTTP_OIDC_SUB"}, {"type": "OIDC-email"}],
    },
    {"local": [{"group_ids": "{0}"}], "remote": [{"type": "nothing of the kind"}]},
]
LOGIN = """
import json, logging, sys
from keystoneauth1 import loading, session

logging.basicConfig(format="%(message)s")
wanted = json.loads(sys.argv[1])
name = wanted.pop("plugin")
plugin = loading.get_plugin_loader(name).load_from_options(**wanted)
access = plugin.get_access(session.Session())
print(json.dumps({"user": access.username, "project": access.project_name, "token": access.auth_token,
                  "roles": access.role_names}))
"""


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedCloud]:
    made = SimulatedCloud()
    try:
        (made.state / "pileus.toml").write_text(f'trusted_dashboards = ["{DASHBOARD}"]\n')
        made.up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def issuer(simulated: SimulatedCloud) -> Iterator[str]:
    callback = f"{simulated.url}/identity/v3/auth/OS-FEDERATION/openid/callback"
    with openid_provider(callback) as started:
        yield started


@pytest.fixture(scope="module", params=CLIENTS_OF_THE_PROVIDER)
def provider(
    request: pytest.FixtureRequest, simulated: SimulatedCloud, issuer: str, tmp_path_factory: Any
) -> str:
    """Set up with the unmodified client and our own command; its access tokens are opaque, or signed."""
    name = str(request.param)
    place: Path = tmp_path_factory.mktemp(name)
    rules, secret = place / "rules.json", place / "secret"
    rules.write_text(json.dumps(RULES))
    secret.write_text("shh\n")
    ours = simulated.openstack
    ours("identity", "provider", "create", "--enable", name)
    ours("mapping", "create", "--rules", str(rules), f"rules-{name}")
    ours(
        "federation",
        "protocol",
        "create",
        "openid",
        "--identity-provider",
        name,
        "--mapping",
        f"rules-{name}",
    )
    told = [PILEUS, "federation", "set", name, "--state", simulated.state, "--issuer", issuer]
    run([*told, "--client-id", name, "--client-secret-file", secret, "--audience", "urn:pileus"])
    return name


def log_in(cloud: SimulatedCloud, plugin: str, provider: str, issuer: str, **more: str) -> Any:
    return json.loads(run(command(cloud, plugin, provider, issuer, **more)))


def command(cloud: SimulatedCloud, plugin: str, provider: str, issuer: str, **more: str) -> list[Any]:
    """What logs in by the plugin, and prints who it is then."""
    wanted = {
        "plugin": plugin,
        "auth_url": f"{cloud.url}/identity/v3",
        "identity_provider": provider,
        "protocol": "openid",
        "project_name": "home of alice",
        **more,
    }
    wanted["project_domain_id"] = domain_of(cloud, provider)
    if plugin != "v3oidcaccesstoken":
        wanted |= {
            "client_id": provider,
            "client_secret": "shh",
            "discovery_endpoint": f"{issuer}/.well-known/openid-configuration",
        }
    return [CLIENTS / "python", "-c", LOGIN, json.dumps(wanted)]


def domain_of(cloud: SimulatedCloud, provider: str) -> str:
    return str(cloud.openstack("identity", "provider", "show", provider, "-f", "json")["domain_id"])


def test_a_password_at_the_provider_gives_a_token_here(
    simulated: SimulatedCloud, provider: str, issuer: str
) -> None:
    more = {"username": "alice", "password": "secret", "scope": "openid email profile"}
    told = log_in(simulated, "v3oidcpassword", provider, issuer, **more)
    assert (told["user"], told["project"]) == ("alice", "home of alice")
    assert "member" in told["roles"]
    with pytest.raises(AssertionError):
        log_in(simulated, "v3oidcpassword", provider, issuer, **more | {"password": "wrong"})


def test_a_program_logs_in_as_itself(simulated: SimulatedCloud, provider: str, issuer: str) -> None:
    told = log_in(
        simulated,
        "v3oidcclientcredentials",
        provider,
        issuer,
        scope="openid",
        project_name=f"home of {provider}",
    )
    assert told["user"] == provider


def test_a_code_and_an_access_token_of_the_provider_give_tokens_here(
    simulated: SimulatedCloud, provider: str, issuer: str
) -> None:
    callback = f"{simulated.url}/identity/v3/auth/OS-FEDERATION/openid/callback"
    asked = {
        "client_id": provider,
        "response_type": "code",
        "redirect_uri": callback,
        "scope": "openid email profile",
        "state": "s",
    }
    where, _ = Browser().log_in(f"{issuer}/auth?{urlencode(asked)}", "alice", callback)
    code = parse_qs(urlsplit(where).query)["code"][0]
    more = {"code": code, "redirect_uri": callback}
    assert log_in(simulated, "v3oidcauthcode", provider, issuer, **more)["user"] == "alice"
    body = urlencode(
        {"grant_type": "password", "username": "alice", "password": "secret", "scope": "openid email profile"}
    )
    said = json.loads(run(["curl", "-s", "-u", f"{provider}:shh", f"{issuer}/token", "-d", body]))
    more = {"access_token": said["access_token"]}
    assert log_in(simulated, "v3oidcaccesstoken", provider, issuer, **more)["user"] == "alice"
    with pytest.raises(AssertionError):
        log_in(simulated, "v3oidcaccesstoken", provider, issuer, access_token=said["access_token"][:-2])


@pytest.mark.parametrize("challenge", [{}, {"code_challenge_method": "S256"}], ids=["plain", "PKCE"])
def test_a_device_without_a_browser_is_let_in_by_its_users_browser(
    simulated: SimulatedCloud, provider: str, issuer: str, challenge: dict[str, str]
) -> None:
    more = {"scope": "openid email profile", **challenge}
    device = subprocess.Popen(
        command(simulated, "v3oidcdeviceauthz", provider, issuer, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert device.stderr is not None
        asked = device.stderr.readline()
        where = re.search(r"please go to: (\S+user_code=\S+)", asked)
        assert where is not None, asked + device.communicate(timeout=60)[1]
        assert "Sign-in Success" in Browser().fill_in(where[1], "alice")
        said, complaints = device.communicate(timeout=60)
        assert device.returncode == 0, complaints
    finally:
        device.kill()
        device.communicate()
    told = json.loads(said)
    assert (told["user"], told["project"]) == ("alice", "home of alice")


def test_a_browser_is_sent_there_and_brings_the_dashboard_a_token(
    simulated: SimulatedCloud, provider: str
) -> None:
    where = f"{simulated.url}/identity/v3/auth/OS-FEDERATION/identity_providers/{provider}/protocols/openid"
    _, page = Browser().log_in(f"{where}/websso?origin={DASHBOARD}", "alice", DASHBOARD)
    assert f'action="{DASHBOARD}"' in page
    token = page.split('name="token" value="')[1].split('"')[0]
    told = run(
        [CLIENTS / "openstack", "--os-auth-type", "v3token", "token", "issue", "-f", "json"],
        env={
            "OS_AUTH_URL": f"{simulated.url}/identity/v3",
            "OS_TOKEN": token,
            "OS_PROJECT_NAME": "home of alice",
            "OS_PROJECT_DOMAIN_ID": domain_of(simulated, provider),
        },
    )
    assert json.loads(told)["project_id"]


def test_what_another_client_was_given_is_refused(
    simulated: SimulatedCloud, issuer: str, provider: str
) -> None:
    """An access token of one client of the provider is no proof for another, unless its audience says so."""
    body = "grant_type=password&username=alice&password=secret&scope=openid"
    other = {"opaque": "signed", "signed": "opaque"}[provider]
    said = json.loads(run(["curl", "-s", "-u", f"{other}:shh", f"{issuer}/token", "-d", body]))
    path = f"{simulated.url}/identity/v3/OS-FEDERATION/identity_providers/{provider}/protocols/openid/auth"
    bearer = f"authorization: Bearer {said['access_token']}"
    status = run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", bearer, path])
    assert status == ("401" if provider == "signed" else "201")
