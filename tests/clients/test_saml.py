"""SAML with pysaml2 as the identity provider, by a browser and by keystoneauth; and from this cloud to a cloud."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients.cloud import CLIENTS, PILEUS, SimulatedCloud, free_port, run, until
from tests.clients.provider import Browser

DASHBOARD = "http://dashboard.test/auth/websso/"
PROVIDER = Path(__file__).parent / "saml" / "provider.py"
HOME = [{"name": "home of {0}", "roles": [{"name": "member"}]}]
RULES = [
    {
        "local": [{"user": {"name": "{0}", "email": "{1}"}, "projects": HOME}],
        "remote": [{"type": "MELLON_NAME_ID"}, {"type": "mail"}],
    }
]
CLOUD_RULES = [
    {"local": [{"user": {"name": "{0} of sky"}, "projects": HOME}], "remote": [{"type": "openstack_user"}]}
]
LOGIN = """
import json, sys
from keystoneauth1 import loading, session
from keystoneauth1.identity import v3

wanted = json.loads(sys.argv[1])
name = wanted.pop("plugin")
if name == "k2k":
    service_provider = wanted.pop("service_provider")
    target = wanted.pop("target")
    plugin = v3.Keystone2Keystone(v3.Password(**wanted), service_provider, **target)
else:
    from keystoneauth1.extras import _saml2
    plugin = loading.get_plugin_loader(name).load_from_options(**wanted)
access = plugin.get_access(session.Session())
print(json.dumps({"user": access.username, "project": access.project_name, "roles": access.role_names}))
"""


SERVICES = {
    "keystone": "/identity/v3/auth/OS-FEDERATION/saml2/service",
    "cloudstack": "/client/api?command=getSPMetadata",
}
"""Our metadata for each API."""
XENC, XENC11 = "http://www.w3.org/2001/04/xmlenc#", "http://www.w3.org/2009/xmlenc11#"
HOW: dict[str, dict[str, Any]] = {
    "in the clear": {"sign": ["assertion", "response"]},
    "as AD FS does": {"sign": ["assertion"], "method": f"{XENC}aes256-cbc"},
    "as Shibboleth does": {"sign": ["response"], "method": f"{XENC11}aes128-gcm"},
    "both signed": {"sign": ["assertion", "response"], "method": f"{XENC11}aes256-gcm"},
    "with prefixes of the response": {"sign": ["assertion"], "method": f"{XENC}aes128-cbc", "alone": False},
}


class Provider(NamedTuple):
    url: str
    domain: str
    """Of its users."""
    place: Path

    @contextmanager
    def responding(self, how: str) -> Iterator[None]:
        file = self.place / "how.json"
        file.write_text(json.dumps(HOW[how]))
        try:
            yield
        finally:
            file.unlink()


def brought(browser: Browser, where: str, idp: Provider) -> tuple[str, dict[str, str]]:
    """What the provider lets a browser that was sent there take back to us: the address, and the form."""
    there, _ = browser.ask(where)
    assert there.startswith(f"{idp.url}/sso?SAMLRequest=")
    _, page = browser.ask(there)
    action = re.search(r'action="([^"]+)"', page)
    assert action is not None
    fields = dict(re.findall(r'name="(\w+)"\s+value="([^"]*)"', page))
    return unescape(action[1]), {name: unescape(value) for name, value in fields.items()}


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedCloud]:
    made = SimulatedCloud()
    try:
        (made.state / "pileus.toml").write_text(f'trusted_dashboards = ["{DASHBOARD}"]\n')
        made.up()
        yield made
    finally:
        made.remove()


def connect(cloud: SimulatedCloud, name: str, rules: Any, metadata: str, place: Path) -> str:
    """A provider with protocol saml2; the id of its domain."""
    (place / "rules.json").write_text(json.dumps(rules))
    (place / "provider.xml").write_text(metadata)
    made = cloud.openstack("identity", "provider", "create", "--enable", name, "-f", "json")
    cloud.openstack("mapping", "create", "--rules", str(place / "rules.json"), name)
    cloud.openstack(
        "federation", "protocol", "create", "saml2", "--identity-provider", name, "--mapping", name
    )
    command = [PILEUS, "federation", "set", name, "--state", cloud.state]
    run([*command, "--metadata-file", place / "provider.xml"])
    return str(made["domain_id"])


@pytest.fixture(scope="module")
def idp(simulated: SimulatedCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    place = tmp_path_factory.mktemp("saml")
    subject = ["-subj", "/CN=idp", "-days", "2", "-keyout", place / "key.pem", "-out", place / "cert.pem"]
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject])
    for name, path in SERVICES.items():
        (place / f"{name}.xml").write_text(run(["curl", "-sf", f"{simulated.url}{path}"]))
    port = free_port()
    started = subprocess.Popen(
        [CLIENTS / "python", PROVIDER, str(port), place], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    try:
        assert until("the provider is ready", started.stdout.readline).strip() == "ready"
        url = f"http://127.0.0.1:{port}"
        metadata = run(["curl", "-sf", "--retry", "5", "--retry-connrefused", f"{url}/metadata"])
        yield Provider(url, connect(simulated, "saml", RULES, metadata, place), place)
    finally:
        started.terminate()
        started.wait(10)
        started.stdout.close()


@pytest.mark.parametrize("how", HOW)
def test_a_browser_brings_an_assertion_once(simulated: SimulatedCloud, idp: Provider, how: str) -> None:
    where = f"{simulated.url}/identity/v3/auth/OS-FEDERATION/websso/saml2?origin={DASHBOARD}"
    browser, stranger = Browser(), Browser()
    with idp.responding(how):
        action, form = brought(browser, where, idp)
    message = base64.b64decode(form["SAMLResponse"])
    assert (b"alice" in message) == (how == "in the clear")
    with pytest.raises(AssertionError, match="401"):
        stranger.ask(action, form)
    _, arrived = browser.ask(action, form)
    token = arrived.split('name="token" value="')[1].split('"')[0]
    told = run(
        [CLIENTS / "openstack", "--os-auth-type", "v3token", "token", "issue", "-f", "json"],
        env={
            "OS_AUTH_URL": f"{simulated.url}/identity/v3",
            "OS_TOKEN": token,
            "OS_PROJECT_NAME": "home of alice",
            "OS_PROJECT_DOMAIN_ID": idp.domain,
        },
    )
    assert json.loads(told)["project_id"]
    browser.ask(where)
    with pytest.raises(AssertionError, match="401"):
        browser.ask(action, form)


@pytest.mark.parametrize("how", HOW)
def test_an_enhanced_client_logs_in_with_a_password(
    simulated: SimulatedCloud, idp: Provider, how: str
) -> None:
    wanted = {
        "plugin": "v3samlpassword",
        "auth_url": f"{simulated.url}/identity/v3",
        "identity_provider": "saml",
        "protocol": "saml2",
        "identity_provider_url": f"{idp.url}/ecp",
        "username": "alice",
        "password": "secret",
        "project_name": "home of alice",
        "project_domain_id": idp.domain,
    }
    with idp.responding(how):
        told = json.loads(run([CLIENTS / "python", "-c", LOGIN, json.dumps(wanted)]))
    assert (told["user"], told["project"]) == ("alice", "home of alice")
    with pytest.raises(AssertionError):
        run([CLIENTS / "python", "-c", LOGIN, json.dumps(wanted | {"password": "wrong"})])


@pytest.fixture(scope="module")
def alice(simulated: SimulatedCloud, idp: Provider) -> str:
    """Id of a user of CloudStack's API whom the provider may let in."""
    person = {"firstname": "A", "lastname": "L", "email": "alice@example.org"}
    made = simulated.cs("createAccount", username="alice", password="secret12", accounttype="0", **person)
    key = str(made["account"]["user"][0]["id"])
    simulated.cs("authorizeSamlSso", userid=key, enable="true", entityid=f"{idp.url}/metadata")
    return key


@pytest.mark.parametrize("how", HOW)
def test_single_sign_on_of_cloudstack_opens_a_session(
    simulated: SimulatedCloud, idp: Provider, alice: str, how: str
) -> None:
    api = f"{simulated.url}/client/api"
    browser = Browser()
    with idp.responding(how):
        action, form = brought(browser, f"{api}?command=samlSso&idpid={idp.url}/metadata", idp)
    assert action.startswith(api)
    for one, sent in ((Browser(), form), (browser, {**form, "RelayState": "another"})):
        with pytest.raises(AssertionError, match="531"):
            one.ask(action, sent)
    home, _ = browser.ask(action, form)
    assert home == f"{simulated.url}/client/"
    kept = {each.name: each.value for each in browser.jar}
    assert kept["userid"] == alice
    _, told = browser.ask(f"{api}?command=listUsers&response=json&sessionkey={kept['sessionkey']}")
    assert json.loads(told)["listusersresponse"]["user"][0]["username"] == "alice"
    with pytest.raises(AssertionError, match="531"):
        browser.ask(action, form)


def test_a_user_of_one_cloud_goes_to_another(simulated: SimulatedCloud, tmp_path: Path) -> None:
    """Both are this one here: it issues the assertion, and believes it by its own metadata."""
    metadata = run(["curl", "-sf", f"{simulated.url}/identity/v3/OS-FEDERATION/saml2/metadata"])
    domain = connect(simulated, "sky", CLOUD_RULES, metadata, tmp_path)
    address = f"{simulated.url}/identity/v3/OS-FEDERATION/identity_providers/sky/protocols/saml2/auth"
    simulated.openstack(
        "service", "provider", "create", "--enable", "sky", "--auth-url", address, "--service-provider-url", address
    )  # fmt: skip
    environment = simulated.environment()
    wanted = {
        "plugin": "k2k",
        "auth_url": environment["OS_AUTH_URL"],
        "username": environment["OS_USERNAME"],
        "password": environment["OS_PASSWORD"],
        "user_domain_id": "default",
        "project_name": environment["OS_PROJECT_NAME"],
        "project_domain_id": "default",
        "service_provider": "sky",
        "target": {"project_name": "home of admin", "project_domain_id": domain},
    }
    told = json.loads(run([CLIENTS / "python", "-c", LOGIN, json.dumps(wanted)]))
    assert told["user"] == "admin of sky"
    assert "member" in told["roles"]
