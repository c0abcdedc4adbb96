"""Whom a request came from when proxies stand between."""

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
import structlog

from pileus.config import Config
from pileus.core.errors import Invalid
from pileus.faces.wire import Kernel, Service, WebSocket
from pileus.faces.wire.forwarding import Proxies, Reached, address, forwarded
from tests.asgi import Client, scope

from .test_websocket import scope as socket_scope

V = "/things/v2.1"
PROXIES = Proxies(map(ip_network, ("10.0.0.0/24", "2001:db8:f::/64", "192.0.2.250")))
NEAR, FAR, OTHER = "10.0.0.1", "10.0.0.2", "2001:db8:f::1"
CLIENT, LIE = "203.0.113.9", "198.51.100.66"


def client(peer: str = NEAR, **headers: str) -> str:
    reached = PROXIES.reached(peer, {name.replace("_", "-"): value for name, value in headers.items()})
    return reached.client if reached else peer


@pytest.mark.parametrize("peer", [CLIENT, "10.0.1.1", "2001:db8:e::1", "192.0.2.251", "", "unix", "::1"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": LIE, "x_forwarded_proto": "https", "x_forwarded_host": "evil"},
        {"forwarded": f"for={LIE};proto=https;host=evil"},
        {"forwarded": 'for="'},
    ],
)
def test_nobody_else_is_believed(peer: str, headers: dict[str, str]) -> None:
    assert PROXIES.reached(peer, headers) is None
    assert Proxies().reached(NEAR, headers) is None


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (CLIENT, CLIENT),
        (f"{LIE}, {CLIENT}", CLIENT),
        (f"{LIE},{LIE} ,\t{CLIENT}", CLIENT),
        (f"{CLIENT}, {FAR}", CLIENT),
        (f"{LIE}, {CLIENT}, {FAR}, {OTHER}, 192.0.2.250", CLIENT),
        (f"{CLIENT}:4711, {FAR}:80", CLIENT),
        (f"{FAR}, {NEAR}", FAR),
        ("2001:db8::5", "2001:db8::5"),
        ("2001:DB8:0::5", "2001:db8::5"),
        (f"{LIE}, [2001:db8::5]:4711, [{OTHER}]", "2001:db8::5"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:1, ::ffff:{FAR}", CLIENT),
        ("fe80::1%eth0", "fe80::1"),
        ("", NEAR),
        (" ", NEAR),
        (",", NEAR),
        (f"{CLIENT},", NEAR),
        ("unknown", NEAR),
        (f"{LIE}, unknown", NEAR),
        (f"{LIE}, unknown, {FAR}", FAR),
        (f"{LIE}, <script>, {FAR}", FAR),
        ("_hidden", NEAR),
        ("010.0.0.9", NEAR),
        ("1.2.3.4.5", NEAR),
        ("256.1.1.1", NEAR),
        ("[2001:db8::5", NEAR),
        ("[1.2.3.4]:port", NEAR),
        ("2001:db8::5]:80", NEAR),
        ("\x00", NEAR),
        ("é" * 5000, NEAR),
        ("9" * 5000, NEAR),
        (", " * 5000, NEAR),
        (f"{LIE}, " * 5000 + CLIENT, CLIENT),
    ],
)
def test_the_client_is_the_last_that_no_proxy_of_ours_is(listed: str, found: str) -> None:
    assert client(x_forwarded_for=listed) == found


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};Proto=https;BY={NEAR}", CLIENT),
        (f'for="{CLIENT}:4711" ; proto = https', None),
        (f'for="{CLIENT}:4711" ;proto=https', CLIENT),
        (f"for={CLIENT}:4711", CLIENT),
        ('for="[2001:db8::5]:4711"', "2001:db8::5"),
        ('for="[2001:db8::5]"', "2001:db8::5"),
        ("for=[2001:db8::5]:80", "2001:db8::5"),
        (f"for={LIE}, for={CLIENT}", CLIENT),
        (f"for={LIE}, for={CLIENT};by={FAR}, for={FAR}", CLIENT),
        (f'for={CLIENT}, for="[{OTHER}]";proto=http,, ', CLIENT),
        (f'for={CLIENT};x="a,b;for={LIE}\\""', CLIENT),
        ('for="203.0.113.\\9"', CLIENT),
        ("for=unknown", NEAR),
        ("for=_hidden", NEAR),
        (f"for={LIE}, for=unknown, for={FAR}", FAR),
        ("for=", NEAR),
        ("proto=https", NEAR),
        ("", NEAR),
        (" ; ,", NEAR),
        # What the client left open must not swallow what the proxy added.
        (f'for={LIE};x=", for={CLIENT}', None),
        (f'for={LIE};x=", for="[2001:db8::5]:80"', None),
        (f'for={LIE};x="\\, for="{CLIENT}"', None),
        (f"for={CLIENT};for={LIE}", None),
        ("for", None),
        ("=x", None),
        (CLIENT, None),
        ("for=a b", None),
        ("for=é", None),
        ("\x00", None),
        (" " * 60_000 + "é", None),
        ("a" * 60_000, None),
        ("for=" + "a" * 60_000 + " é", None),
        ('for="' + "\\a" * 30_000, None),
    ],
)
def test_rfc_7239_says_the_same_and_what_is_not_of_its_form_is_refused(told: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(Invalid):
            client(forwarded=told)
    else:
        assert client(forwarded=told) == found


@pytest.mark.parametrize(
    ("told", "listed", "found"),
    [
        (f"for={CLIENT}", CLIENT, CLIENT),
        (f'for="{CLIENT}:1"', f"{LIE}, {CLIENT}:2", CLIENT),
        (f"for={LIE}", CLIENT, None),
        (f"for={CLIENT}", LIE, None),
        (f"for={CLIENT}", "unknown", None),
        ("for=unknown", CLIENT, None),
        (f"for={CLIENT}", "", CLIENT),
        ("proto=https", CLIENT, CLIENT),
        ("", CLIENT, CLIENT),
    ],
)
def test_two_headers_that_name_two_clients_are_refused(told: str, listed: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(Invalid, match="different clients"):
            client(forwarded=told, x_forwarded_for=listed)
    else:
        assert client(forwarded=told, x_forwarded_for=listed) == found


@pytest.mark.parametrize(
    ("headers", "reached"),
    [
        ({"x-forwarded-proto": "https"}, Reached(NEAR, "https")),
        ({"x-forwarded-proto": " WSS "}, Reached(NEAR, "https")),
        ({"x-forwarded-proto": "http, https"}, Reached(NEAR, "https")),
        ({"x-forwarded-proto": "javascript"}, Reached(NEAR)),
        ({"x-forwarded-host": "cloud.example"}, Reached(NEAR, "", "cloud.example")),
        ({"x-forwarded-host": "[2001:db8::1]:8443"}, Reached(NEAR, "", "[2001:db8::1]:8443")),
        ({"x-forwarded-host": "a.b/evil"}, Reached(NEAR)),
        ({"x-forwarded-host": 'a"<b>'}, Reached(NEAR)),
        (
            {
                "x-forwarded-for": f"{CLIENT}, {FAR}",
                "x-forwarded-proto": "https, http",
                "x-forwarded-host": "out, in",
            },
            Reached(CLIENT, "https", "out"),
        ),
        (
            {"x-forwarded-for": f"{CLIENT}, {FAR}", "x-forwarded-proto": "https", "x-forwarded-host": "out"},
            Reached(CLIENT, "https", "out"),
        ),
        (
            {"x-forwarded-for": f"{LIE}, {CLIENT}", "x-forwarded-proto": "http, https"},
            Reached(CLIENT, "https"),
        ),
        (
            {"forwarded": f'for={CLIENT};proto=https;host="out:8443", for={FAR};proto=http;host=in'},
            Reached(CLIENT, "https", "out:8443"),
        ),
        (
            {"forwarded": f"for={CLIENT}", "x-forwarded-proto": "https", "x-forwarded-host": "out"},
            Reached(CLIENT, "https", "out"),
        ),
        (
            {"forwarded": "proto=http;host=evil", "x-forwarded-for": CLIENT, "x-forwarded-proto": "https"},
            Reached(CLIENT, "https", "evil"),
        ),
    ],
)
def test_scheme_and_host_are_as_the_client_reached_the_outermost_proxy(
    headers: dict[str, str], reached: Reached
) -> None:
    assert PROXIES.reached(NEAR, headers) == reached


@pytest.mark.parametrize("text", ["::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"])
def test_a_peer_is_known_however_the_socket_names_it(text: str) -> None:
    assert str(address(text)) == NEAR
    assert client(text, x_forwarded_for=CLIENT) == CLIENT


def test_the_last_proxy_comes_first() -> None:
    assert [hop.client for hop in forwarded("for=a, for=b;proto=c,for=d")] == ["d", "b", "a"]


# --- behind the kernel


def behind(service: Service, *trusted: str) -> Client:
    return Client(Kernel([service], trusted_proxies=map(ip_network, trusted)), {"x-auth-token": "member"})


FORWARDED = {"x-forwarded-for": CLIENT, "x-forwarded-proto": "https", "x-forwarded-host": "cloud.example"}


async def test_the_kernel_tells_the_client_that_a_proxy_speaks_for(service: Service) -> None:
    with structlog.testing.capture_logs() as logs:
        told = (await behind(service, "192.0.2.7").get(V, headers=FORWARDED)).json()
    assert (told["client"], told["self"]) == (CLIENT, f"https://cloud.example{V}")
    assert [entry["client"] for entry in logs] == [CLIENT]
    told = (await behind(service, "192.0.2.8").get(V, headers=FORWARDED)).json()
    assert (told["client"], told["self"]) == ("192.0.2.7", f"http://cloud.test{V}")


async def test_headers_that_are_no_good_are_refused_in_the_form_of_the_service(service: Service) -> None:
    sent = {"forwarded": f"for={LIE}", "x-forwarded-for": CLIENT}
    reply = await behind(service, "192.0.2.0/24").get(f"{V}/names/x", headers=sent)
    assert (reply.status, reply.json()["fault"]["code"]) == (400, 400)
    assert (await behind(service).get(f"{V}/names/x", headers=sent)).status == 200


async def test_header_lines_that_are_repeated_are_one_list(service: Service) -> None:
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    asked = scope("GET", V, {"host": "cloud.test"})
    asked["headers"] += [(b"x-forwarded-for", each.encode()) for each in (LIE, CLIENT, "192.0.2.7")]
    await Kernel([service], trusted_proxies=[ip_network("192.0.2.7")])(asked, receive, send)
    assert msgspec.json.decode(told[1]["body"])["client"] == CLIENT


async def connect(*headers: tuple[bytes, bytes]) -> tuple[list[str], list[dict[str, Any]]]:
    """What the handler of a WebSocket saw, and what the client was sent."""
    seen: list[str] = []
    told: list[dict[str, Any]] = []

    async def handler(socket: WebSocket) -> None:
        seen.extend((socket.request.client, socket.request.base_url))

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    kernel = Kernel([], trusted_proxies=[ip_network("192.0.2.7")])
    kernel.websocket("/console/{server}/ws", handler)
    asked = socket_scope("/console/7/ws")
    asked["headers"] += headers
    await kernel(asked, receive, send)
    return seen, told


async def test_a_websocket_comes_from_somebody_too() -> None:
    lines = ((b"x-forwarded-for", CLIENT.encode()), (b"x-forwarded-proto", b"wss"))
    assert (await connect(*lines))[0] == [CLIENT, "https://cloud.test"]
    seen, told = await connect((b"forwarded", b'for="'))
    assert (seen, told[0]["code"]) == ([], 1008)


@pytest.mark.parametrize("wrong", ["10.0.0.1/24", "proxy.example", "10.0.0.0/33", ""])
def test_a_setting_that_names_no_networks_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="trusted_proxies: "):
        Config(trusted_proxies=(wrong,))
    with pytest.raises(msgspec.ValidationError, match="trusted_proxies: "):
        msgspec.convert({"trusted_proxies": [wrong]}, Config)
    assert Config(trusted_proxies=("10.0.0.0/24", "::1")).proxies == (
        ip_network("10.0.0.0/24"),
        ip_network("::1"),
    )
