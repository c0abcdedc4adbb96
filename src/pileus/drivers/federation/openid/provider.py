"""Us as the relying party of OpenID providers, found by their discovery documents.

Access tokens that are JWTs are verified with the provider's keys; others are asked about at its introspection
endpoint, or, only where an operator wants that, at its userinfo endpoint.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import jwt

from pileus.drivers.errors import DriverError, Refused
from pileus.drivers.federation.openid import transport
from pileus.drivers.federation.protocol import Claims, Client, Endpoints

T = TypeVar("T")
ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""Signatures by the kind of key that makes them; a shared secret or none proves nothing here."""
KEPT_SECONDS = 600.0
"""How long discovery documents and keys are believed."""
FRESH_SECONDS = 30.0
"""Keys are not asked for again within this, whoever sends unknown key ids."""
FAILED_SECONDS = 5.0
"""A provider that could not be read is not asked again within this, whoever comes."""
LEEWAY = 60.0
"""Seconds by which clocks may differ."""
THREADS = 8
"""Of their own: a provider that hangs holds up logins by providers, and nothing else."""
ID_TOKEN, ACCESS_TOKEN = frozenset({"", "jwt"}), frozenset({"", "jwt", "at+jwt"})
"""What a token may call itself (RFC 8725, 3.11). An id token may come as an access token: keystoneauth sends either."""


class Known:
    """What was read of a provider, and when."""

    def __init__(self, document: dict[str, Any], keys: jwt.PyJWKSet, at: float) -> None:
        self.document, self.keys, self.at = document, keys, at


class Place:
    """Of one issuer: what is known, and the last failure to read it. One thread at a time asks; the others wait, and
    then have its answer."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.known: Known | None = None
        self.failure: DriverError | None = None
        self.failed_at = 0.0


class OpenIdClient:
    """Each call runs in a thread, bounded by the transport."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openid")

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def begin(self, client: Client, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        known = await self._run(partial(self._discover, client.issuer))
        asked = {
            "response_type": "code",
            "client_id": client.client,
            "redirect_uri": redirect,
            "scope": " ".join(client.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        where = endpoint(known.document, "authorization_endpoint")
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"

    async def finish(
        self,
        client: Client,
        *,
        code: str,
        redirect: str,
        verifier: str,
        nonce: str,
        issuer: str | None = None,
    ) -> Claims:
        return await self._run(partial(self._finish, client, code, redirect, verifier, nonce, issuer))

    async def inspect(self, client: Client, token: str) -> Claims:
        return await self._run(partial(self._inspect, client, token))

    async def plain(self, client: Client, endpoints: Endpoints, *, code: str, redirect: str) -> Claims:
        return await self._run(partial(self._plain, client, endpoints, code, redirect))

    def _finish(
        self, client: Client, code: str, redirect: str, verifier: str, nonce: str, issuer: str | None
    ) -> Claims:
        known = self._discover(client.issuer)
        if issuer is not None and issuer != client.issuer and (issuer or says_issuer(known.document)):
            raise Refused(f"the browser comes from {issuer[:200] or 'nobody'}, not from {client.issuer}")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        if verifier:
            form["code_verifier"] = verifier
        answer = redeem(client, endpoint(known.document, "token_endpoint"), form, known.document)
        identity = self._verify(client, str(answer.get("id_token", "")), ID_TOKEN)
        if not meant_for(identity, {client.client}, strict=True):
            raise Refused("the id token was issued for another client")
        if nonce and identity.get("nonce") != nonce:
            raise Refused("the id token has another nonce")
        access = answer.get("access_token")
        return claims(identity | self._userinfo(known, str(access), identity) if access else identity, client)

    def _inspect(self, client: Client, token: str) -> Claims:
        known = self._discover(client.issuer)
        ours = {client.client, *client.audiences}
        if token.count(".") == 2:
            said = self._verify(client, token, ACCESS_TOKEN)
            if not meant_for(said, ours):
                raise Refused("the access token was issued for others")
        elif client.opaque_tokens == "refuse":
            raise Refused("the access token is no JWT, and others are not taken of this provider")
        elif "introspection_endpoint" in known.document:
            said = self._introspect(client, known, token)
            if not meant_for(said, ours):
                raise Refused("the access token was issued for others")
        elif client.opaque_tokens != "userinfo":
            raise Refused(
                "the access token is no JWT, and the provider has no introspection that says for whom it was issued"
            )
        else:
            said = self._userinfo(known, token, {})
            if "sub" not in said:
                raise Refused("the provider does not say whose access token it is")
        if "openid" in str(said.get("scope", "")).split():
            said = said | self._userinfo(known, token, said)
        return claims(said, client)

    def _introspect(self, client: Client, known: Known, token: str) -> dict[str, Any]:
        where = endpoint(known.document, "introspection_endpoint")
        form = {"token": token, "token_type_hint": "access_token"}
        said = redeem(client, where, form, known.document)
        if said.get("active") is not True:
            raise Refused("the provider says that the access token is not active")
        if said.get("iss", client.issuer) != client.issuer:
            raise Refused("the access token is of another issuer")
        return said

    def _userinfo(self, known: Known, token: str, identity: Mapping[str, Any]) -> dict[str, Any]:
        """More of the same user. A provider may refuse this for an access token that is meant for another resource:
        then what the token itself says is all there is."""
        if not known.document.get("userinfo_endpoint"):
            return {}
        where = endpoint(known.document, "userinfo_endpoint")
        try:
            status, content = transport.ask("GET", where, headers={"authorization": f"Bearer {token}"})
            said = transport.document(where, status, content)
        except Refused:
            if identity:
                return {}
            raise
        if identity and said.get("sub") != identity.get("sub"):
            raise Refused("userinfo speaks of another subject than the token")
        return said

    def _verify(self, client: Client, token: str, types: frozenset[str]) -> dict[str, Any]:
        """The claims of a JWT of one of the types that the issuer has signed and that is good now."""
        try:
            header = jwt.get_unverified_header(token)
            kind = str(header.get("typ") or "").lower().removeprefix("application/")
            if kind not in types:
                raise Refused(f"the token is a {kind[:40]}")
            key = self._key(client.issuer, str(header.get("kid", "")))
            allowed = ALGORITHMS.get(str(key.key_type), ())
            if header.get("alg") not in allowed:
                raise Refused(
                    f"the token is signed by {str(header.get('alg'))[:20]}, which its key is not for"
                )
            options: Any = {"verify_aud": False, "require": ["exp", "iss", "sub"]}
            said: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=list(allowed), issuer=client.issuer, leeway=LEEWAY, options=options
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the token is not good: {error}") from error
        if "events" in said:
            raise Refused("the token tells of an event (a logout, say); it is no proof of who comes")
        return said

    def _key(self, issuer: str, kid: str) -> jwt.PyJWK:
        for fresh in (False, True):
            known = self._discover(issuer, fresh=fresh)
            signing = [key for key in known.keys.keys if key.public_key_use in (None, "sig")]
            named = [key for key in signing if key.key_id == kid] if kid else signing
            if len(named) == 1:
                return named[0]
        raise Refused(f"the provider has no key {kid[:60]!r}")

    def _discover(self, issuer: str, *, fresh: bool = False) -> Known:
        place = self._places.setdefault(issuer, Place())
        with place.lock:
            now = time.monotonic()
            if place.known and now - place.known.at < (FRESH_SECONDS if fresh else KEPT_SECONDS):
                return place.known
            if place.failure and now - place.failed_at < FAILED_SECONDS:
                raise type(place.failure)(f"{place.failure} (asked a moment ago)")
            try:
                place.known, place.failure = discovered(issuer), None
            except DriverError as error:
                place.failure, place.failed_at = error, time.monotonic()
                raise
            return place.known

    def _plain(self, client: Client, endpoints: Endpoints, code: str, redirect: str) -> Claims:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        form |= {"client_id": client.client, "client_secret": client.secret}
        status, content = transport.ask("POST", endpoints.token, form=form)
        access = transport.document(endpoints.token, status, content).get("access_token")
        if not access:
            raise Refused(f"{endpoints.token} answered without an access token")
        headers = {"authorization": f"Bearer {access}"}
        said = transport.document(endpoints.user, *transport.ask("GET", endpoints.user, headers=headers))
        if not said.get("email") and endpoints.emails:
            status, content = transport.ask("GET", endpoints.emails, headers=headers)
            said |= {"email": primary(endpoints.emails, status, content)}
        said.setdefault("sub", said.get("id", ""))
        return claims(said, client)


def discovered(issuer: str) -> Known:
    """What the provider says of itself now, with its keys."""
    where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = transport.document(where, *transport.ask("GET", where))
    if document.get("issuer") != issuer:
        raise Refused(f"{where} is of the issuer {str(document.get('issuer'))[:200]!r}")
    keys_at = endpoint(document, "jwks_uri")
    keys = transport.document(keys_at, *transport.ask("GET", keys_at))
    try:
        return Known(document, jwt.PyJWKSet.from_dict(keys), time.monotonic())
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"{keys_at}: {error}") from error


def endpoint(document: Mapping[str, Any], name: str) -> str:
    """Raises Refused where there is none, and where a provider that is asked by TLS names an address without."""
    found, issuer = document.get(name), str(document["issuer"])
    schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    if not isinstance(found, str) or not found.startswith(schemes):
        raise Refused(f"the provider {issuer} has no {name} by {' or '.join(schemes)}")
    return found


def says_issuer(document: Mapping[str, Any]) -> bool:
    """Whether the provider always sends its name with a code (RFC 9207)."""
    return document.get("authorization_response_iss_parameter_supported") is True


def redeem(client: Client, where: str, form: dict[str, str], document: Mapping[str, Any]) -> dict[str, Any]:
    """A request in which we prove who we are, in the form that the provider takes."""
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    headers = {}
    if not client.secret or "client_secret_basic" not in methods:
        form = form | {"client_id": client.client}
        if client.secret:
            form |= {"client_secret": client.secret}
    else:
        pair = f"{quote(client.client, safe='')}:{quote(client.secret, safe='')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return transport.document(where, *transport.ask("POST", where, form=form, headers=headers))


def meant_for(said: Mapping[str, Any], ours: set[str], *, strict: bool = False) -> bool:
    """Whether a token was issued for one of ours: by its audience, or (unless strict) to us as the client."""
    audience = said.get("aud", ())
    named = {audience} if isinstance(audience, str) else set(map(str, audience or ()))
    if strict:
        return bool(named & ours) and said.get("azp", next(iter(ours))) in ours
    return bool((named | {said.get("azp"), said.get("client_id")}) & ours)


def claims(said: Mapping[str, Any], client: Client) -> Claims:
    subject = str(said.get("sub") or said.get("username") or said.get("client_id") or "")
    if not subject:
        raise Refused("the provider names no subject")
    values = {str(name): texts(value) for name, value in said.items()}
    values["sub"] = (subject,)
    values.setdefault("iss", (client.issuer,))
    return Claims(issuer=client.issuer, subject=subject, values=values)


def texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(text for each in value for text in texts(each))
    if isinstance(value, str):
        return (value,)
    return () if value is None else (json.dumps(value),)


def primary(where: str, status: int, content: bytes) -> str:
    """The verified primary address of GitHub's list."""
    if status != 200:
        raise Refused(f"{where} answered {status}")
    try:
        found = json.loads(content)
        return next(str(each["email"]) for each in found if each["primary"] and each["verified"])
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise Refused(f"{where} names no verified primary address") from error
