"""Behind a proxy each client has its own limits, and nobody gets others by what it sends."""

from pathlib import Path
from typing import Any

import pytest

from pileus.app import faces
from pileus.config import Config
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication.credential_records import LoginFailures
from pileus.core.identity.tenancy.registrations import HOURLY_OF_SOURCE
from pileus.drivers.mail.fake import FakeMailer
from pileus.faces.wire import Kernel
from pileus.faces.wire.forwarding import Proxies
from pileus.workflows.site import Site
from tests.asgi import Client
from tests.contract.openstack.logins import TOKENS, by_password, named

PROXY = "192.0.2.7"
"""Where the tests' client comes from."""
ALICE, BOB = "203.0.113.1", "203.0.113.2"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        state=tmp_path / "state",
        simulate=1,
        smtp_host="mail.invalid",
        registration="open",
        trusted_proxies=(f"{PROXY}/32",),
    )


@pytest.fixture
def proxied(kernel: Kernel, site: Site, config: Config) -> Kernel:
    site.mail = FakeMailer()
    kernel.proxies = Proxies(config.proxies)
    return kernel


async def register(kernel: Kernel, number: int, **headers: str) -> int:
    wish = {"name": f"visitor-{number}", "email": f"v{number}@example.org", "password": "A-long-secret-1"}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await Client(kernel).post("/console/registrations", json=wish, headers=sent)).status


async def test_registrations_are_counted_by_the_client_behind_the_proxy(proxied: Kernel) -> None:
    asked = [
        await register(proxied, n, x_forwarded_for=f"10.9.8.{n}, {ALICE}") for n in range(HOURLY_OF_SOURCE)
    ]
    assert set(asked) == {202}
    assert await register(proxied, 30, x_forwarded_for=f"{BOB}, {ALICE}:4711") == 429
    assert await register(proxied, 31, forwarded=f"for={ALICE};proto=https") == 429
    assert await register(proxied, 32, x_forwarded_for=BOB) == 202
    assert await register(proxied, 33) == 202


async def test_without_the_setting_headers_give_nobody_more(kernel: Kernel, site: Site) -> None:
    site.mail = FakeMailer()
    asked = [await register(kernel, n, x_forwarded_for=f"10.9.8.{n}") for n in range(HOURLY_OF_SOURCE)]
    assert set(asked) == {202}
    assert await register(kernel, 30, x_forwarded_for=BOB, forwarded=f"for={BOB}") == 429


async def failures(cloud: Cloud) -> dict[str, int]:
    async with cloud.view() as look:
        return {row.key: row.failures for row in await look.list(LoginFailures) if "source" in row.key}


async def test_wrong_passwords_are_counted_by_the_client_in_every_api(site: Site, cloud: Cloud) -> None:
    anyone, wrong = Client(faces.kernel(site)), by_password(named("demo"), "wrong")
    for client in (ALICE, f"{ALICE}, {BOB}"):
        assert (await anyone.post(TOKENS, json=wrong, headers={"x-forwarded-for": client})).status == 401
    asked = "command=login&username=demo&password=wrong"
    form = {"content-type": "application/x-www-form-urlencoded", "forwarded": f'for="{BOB}:1"'}
    assert (await anyone.post("/client/api", data=asked, headers=form)).status == 531
    assert await failures(cloud) == {f"source:{ALICE}": 1, f"source:{BOB}": 2}


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "http://cloud.test"),
        ({"x-forwarded-proto": "https", "x-forwarded-host": "cloud.example"}, "https://cloud.example"),
        (
            {"forwarded": 'for=203.0.113.1;proto=https;host="cloud.example:8443"'},
            "https://cloud.example:8443",
        ),
        ({"x-forwarded-proto": "gopher", "x-forwarded-host": "<b>"}, "http://cloud.test"),
    ],
)
async def test_links_and_the_catalogue_name_what_clients_see(
    proxied: Kernel, headers: dict[str, str], address: str
) -> None:
    anyone = Client(proxied, headers)
    version: dict[str, Any] = (await anyone.get("/identity/v3")).json()["version"]
    assert version["links"][0]["href"].startswith(f"{address}/identity/v3")
    refused = await anyone.get("/identity/v3/users")
    assert refused.headers["www-authenticate"] == f'Keystone uri="{address}/identity/v3"'


@pytest.mark.parametrize("path", ["/identity/v3", "/console/registration", "/nowhere"])
@pytest.mark.parametrize("forwarded", ['for="', "for=192.0.2.99", "é", "for=1;for=2"])
async def test_headers_that_contradict_each_other_are_refused_everywhere(
    proxied: Kernel, path: str, forwarded: str
) -> None:
    sent = {"forwarded": forwarded, "x-forwarded-for": ALICE}
    assert 400 <= (await Client(proxied).get(path, headers=sent)).status < 500
