"""What makes an OpenID provider's word good, asked of a small provider on loopback that says whatever a test wants."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pileus.drivers.errors import DriverError, Refused, Unreachable
from pileus.drivers.federation.openid import OpenIdClient, provider, transport
from pileus.drivers.federation.protocol import Client, Endpoints

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any, kid: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key is RSA else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return made | {"kid": kid, "use": "sig"}


class Provider:
    """Answers by path: a dictionary as JSON, or (status, bytes, headers)."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                outer.asked.append((self.path, dict(self.headers.items()), form))
                found = outer.answers.get(urlsplit(self.path).path, (404, b"{}", {}))
                status, body, headers = (
                    (200, json.dumps(found).encode(), {}) if isinstance(found, dict) else found
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.document = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "introspection_endpoint": f"{self.issuer}/introspect",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        }
        self.answers["/.well-known/openid-configuration"] = self.document
        self.answers["/jwks"] = {"keys": [public(KEY, "one"), public(RSA, "two")]}

    def token(self, key: Any = KEY, algorithm: str = "ES256", kid: str = "one", **change: Any) -> str:
        now = int(time.time())
        said = {"iss": self.issuer, "sub": "alice", "aud": "us", "iat": now, "exp": now + 60, **change}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm, headers={"kid": kid} if kid else {})

    @property
    def client(self) -> Client:
        return Client(issuer=self.issuer, client="us", secret="shh", audiences=("api",))


@pytest.fixture
def there() -> Iterator[Provider]:
    made = Provider()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def us() -> OpenIdClient:
    return OpenIdClient()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"aud": ["other", "api"]},
        {"aud": "other", "azp": "us"},
        {"aud": None, "client_id": "us"},
        {"key": RSA, "algorithm": "RS256", "kid": "two"},
        {"key": RSA, "algorithm": "PS512", "kid": "two"},
    ],
    ids=str,
)
async def test_a_signed_token_for_us_is_good(there, us, change):
    said = await us.inspect(there.client, there.token(**change, groups=["a", "b"], admin=False))
    assert (said.subject, said.issuer) == ("alice", there.issuer)
    assert said.values["groups"] == ("a", "b")
    assert said.values["admin"] == ("false",)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "other"},
        {"aud": None},
        {"iss": "http://other.example"},
        {"iss": None},
        {"sub": None},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"key": OTHER},
        {"kid": "unknown"},
        {"kid": ""},
        {"key": b"x" * 64, "algorithm": "HS256"},
        {"key": "", "algorithm": "none"},
        {"key": RSA, "algorithm": "RS256", "kid": "one"},
    ],
    ids=lambda change: " ".join(f"{name} {type(value).__name__}" for name, value in change.items()),
)
async def test_one_that_is_not_is_refused(there, us, change):
    with pytest.raises(Refused):
        await us.inspect(there.client, there.token(**change))


async def test_a_token_signed_with_a_public_key_as_secret_is_refused(there, us):
    """The oldest trick: what everybody knows, taken for a shared secret."""
    head, body, _ = there.token().split(".")
    forged = f"{jwt.utils.base64url_encode(b'{}').decode()}.{body}.x"
    for token in (forged, f"{head}.{body}.", f"{head}.{body}.AAAA", "..", "a.b.c"):
        with pytest.raises(Refused):
            await us.inspect(there.client, token)


async def test_a_new_key_of_the_provider_is_found(there, us, monkeypatch):
    assert await us.inspect(there.client, there.token())
    there.answers["/jwks"] = {"keys": [public(OTHER, "new")]}
    with pytest.raises(Refused):
        await us.inspect(there.client, there.token(OTHER, kid="new"))
    monkeypatch.setattr(provider, "FRESH_SECONDS", 0.0)
    assert await us.inspect(there.client, there.token(OTHER, kid="new"))


async def test_an_opaque_token_is_asked_about(there, us):
    there.answers["/introspect"] = {"active": True, "sub": "bob", "client_id": "us", "scope": "openid email"}
    there.answers["/userinfo"] = {"sub": "bob", "email": "b@example.org"}
    said = await us.inspect(there.client, "opaque")
    assert said.values["email"] == ("b@example.org",)
    _, headers, form = next(each for each in there.asked if each[0] == "/introspect")
    assert (form["token"], headers["authorization"][:6]) == ("opaque", "Basic ")


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False, "sub": "bob", "client_id": "us"},
        {"active": "true", "sub": "bob", "client_id": "us"},
        {"active": True, "sub": "bob", "client_id": "other"},
        {"active": True, "sub": "bob", "client_id": "us", "iss": "http://other.example"},
        {"active": True},
        (401, b'{"error": "invalid_client"}', {}),
        (200, b"[]", {}),
        (200, b"not JSON", {}),
    ],
)
async def test_an_opaque_token_that_is_not_ours_is_refused(there, us, answer):
    there.answers["/introspect"] = answer
    with pytest.raises(Refused):
        await us.inspect(there.client, "opaque")


async def test_where_nothing_else_is_there_userinfo_is_asked_if_the_operator_says_so(there, us):
    del there.document["introspection_endpoint"]
    there.answers["/userinfo"] = {"sub": "carol"}
    with pytest.raises(Refused, match="no introspection"):
        await us.inspect(there.client, "opaque")
    client = replace(there.client, opaque_tokens="userinfo")
    assert (await us.inspect(client, "opaque")).subject == "carol"
    there.answers["/userinfo"] = (401, b"", {})
    with pytest.raises(Refused):
        await us.inspect(client, "opaque")


async def test_userinfo_is_not_asked_where_there_is_introspection(there, us):
    there.answers |= {"/introspect": {"active": False}, "/userinfo": {"sub": "carol"}}
    with pytest.raises(Refused):
        await us.inspect(replace(there.client, opaque_tokens="userinfo"), "opaque")


async def test_opaque_tokens_may_be_refused_altogether(there, us):
    there.answers["/introspect"] = {"active": True, "sub": "bob", "client_id": "us"}
    client = replace(there.client, opaque_tokens="refuse")
    with pytest.raises(Refused, match="no JWT"):
        await us.inspect(client, "opaque")
    assert "/introspect" not in [path for path, _, _ in there.asked]
    assert (await us.inspect(client, there.token())).subject == "alice"


@pytest.mark.parametrize(
    ("kind", "good"),
    [("JWT", True), ("at+jwt", True), ("application/at+jwt", True), ("logout+jwt", False), ("other", False)],
)
async def test_a_token_of_another_kind_is_no_access_token(there, us, kind, good):
    made = jwt.encode(
        jwt.decode(there.token(), options={"verify_signature": False}),
        KEY,
        "ES256",
        headers={"kid": "one", "typ": kind},
    )
    if good:
        assert await us.inspect(there.client, made)
        return
    with pytest.raises(Refused):
        await us.inspect(there.client, made)


async def test_a_logout_that_does_not_say_its_kind_is_no_access_token(there, us):
    with pytest.raises(Refused):
        await us.inspect(there.client, there.token(events={"http://schemas.openid.net/event/logout": {}}))


@pytest.mark.parametrize(
    ("said", "promised", "good"),
    [
        (None, True, True),
        ("", False, True),
        ("", True, False),
        ("ours", True, True),
        ("ours", False, True),
        ("http://other.example", False, False),
    ],
)
async def test_a_browser_that_comes_from_another_provider_brings_no_code_of_ours(
    there, us, said, promised, good
):
    """Otherwise one provider could have another's code handed to it (RFC 9207)."""
    there.document["authorization_response_iss_parameter_supported"] = promised
    there.answers["/token"] = {"id_token": there.token(nonce="n")}
    issuer = there.issuer if said == "ours" else said
    ask = {"code": "c", "redirect": "http://us/back", "verifier": "v", "nonce": "n", "issuer": issuer}
    if good:
        assert (await us.finish(there.client, **ask)).subject == "alice"
        return
    with pytest.raises(Refused):
        await us.finish(there.client, **ask)
    assert "/token" not in [path for path, _, _ in there.asked]


async def test_one_who_sends_unknown_keys_does_not_make_us_ask_each_time(there, us):
    for number in range(5):
        with pytest.raises(Refused):
            await us.inspect(there.client, there.token(OTHER, kid=f"unknown {number}"))
    assert len(there.asked) == 2


async def test_many_who_come_at_once_ask_once_and_a_failure_is_not_repeated_for_each(there, us, monkeypatch):
    tokens = [us.inspect(there.client, there.token()) for _ in range(6)]
    assert len(await asyncio.gather(*tokens)) == 6
    assert len(there.asked) == 2
    fresh, there.answers["/.well-known/openid-configuration"] = OpenIdClient(), (503, b"", {})
    tried = [fresh.inspect(there.client, there.token()) for _ in range(6)]
    failed = await asyncio.gather(*tried, return_exceptions=True)
    assert {type(each) for each in failed} == {Unreachable}
    assert len(there.asked) == 3
    there.answers["/.well-known/openid-configuration"] = there.document
    monkeypatch.setattr(provider, "FAILED_SECONDS", 0.0)
    assert await fresh.inspect(there.client, there.token())


@pytest.mark.parametrize(
    "name", ["jwks_uri", "token_endpoint", "userinfo_endpoint", "introspection_endpoint"]
)
def test_a_provider_with_tls_names_no_address_without(name):
    document = {"issuer": "https://idp.example", name: "http://idp.example/x"}
    with pytest.raises(Refused):
        provider.endpoint(document, name)
    assert provider.endpoint(document | {name: "https://idp.example/x"}, name)
    with pytest.raises(Refused):
        provider.endpoint({"issuer": "http://idp.example", name: "file:///etc/passwd"}, name)


async def test_userinfo_of_another_subject_is_refused(there, us):
    there.answers["/userinfo"] = {"sub": "mallory"}
    with pytest.raises(Refused):
        await us.inspect(there.client, there.token(scope="openid"))


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"nonce": "other"}, False),
        ({"nonce": None}, False),
        ({"aud": "other"}, False),
        ({"aud": ["us", "other"], "azp": "other"}, False),
        ({"key": OTHER}, False),
    ],
)
async def test_a_code_gives_an_identity_when_the_id_token_is_ours(there, us, change, good):
    there.answers["/token"] = {"id_token": there.token(**{"nonce": "n", **change}), "access_token": "a"}
    there.answers["/userinfo"] = {"sub": "alice", "email": "a@example.org"}
    ask = {"code": "c", "redirect": "http://us/back", "verifier": "v", "nonce": "n"}
    if not good:
        with pytest.raises(Refused):
            await us.finish(there.client, **ask)
        return
    said = await us.finish(there.client, **ask)
    assert (said.subject, said.values["email"]) == ("alice", ("a@example.org",))
    form = next(each[2] for each in there.asked if each[0] == "/token")
    assert (form["code_verifier"], form["redirect_uri"]) == ("v", "http://us/back")


async def test_a_browser_is_sent_with_all_that_protects_it(there, us):
    where = await us.begin(there.client, redirect="http://us/back", state="s", nonce="n", challenge="c")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    assert where.startswith(f"{there.issuer}/auth?")
    assert (asked["response_type"], asked["state"], asked["nonce"]) == ("code", "s", "n")
    assert (asked["code_challenge"], asked["code_challenge_method"]) == ("c", "S256")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"issuer": "http://other.example"}, Refused),
        ((302, b"", {"location": "http://127.0.0.1:1/"}), Refused),
        ((503, b"", {}), Unreachable),
        ((200, b" " * (transport.MOST_BYTES + 1), {}), Refused),
        ((200, b"{}", {}), Refused),
    ],
    ids=["another issuer", "a redirection", "out of order", "too long", "empty"],
)
async def test_a_discovery_that_cannot_be_believed_ends_there(there, us, document, error):
    there.answers["/.well-known/openid-configuration"] = document
    with pytest.raises(error):
        await us.inspect(there.client, there.token())
    assert len(there.asked) == 1


@pytest.mark.parametrize("issuer", ["file:///etc", "ftp://x", "http://", "http://127.0.0.1:1", "http://[::"])
async def test_an_issuer_that_is_no_address_or_does_not_answer(us, issuer):
    with pytest.raises(DriverError):
        await us.inspect(Client(issuer=issuer, client="us"), "opaque")


async def test_a_provider_without_discovery_is_asked_by_its_addresses(there, us):
    there.answers |= {
        "/token": {"access_token": "a"},
        "/user": {"id": 7, "login": "x"},
        "/emails": (
            200,
            json.dumps([{"email": "p@example.org", "primary": True, "verified": True}]).encode(),
            {},
        ),
    }
    where = Endpoints(
        token=f"{there.issuer}/token", user=f"{there.issuer}/user", emails=f"{there.issuer}/emails"
    )
    said = await us.plain(there.client, where, code="c", redirect="http://us/back")
    assert (said.subject, said.values["email"]) == ("7", ("p@example.org",))
