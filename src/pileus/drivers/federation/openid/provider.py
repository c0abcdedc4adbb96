"""Us as the relying party of OpenID providers, found by their discovery documents.

Access tokens that are JWTs are verified with the provider's keys; others are asked about at its introspection
endpoint, or at its userinfo endpoint where it has no other.
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import jwt

from pileus.drivers.errors import Refused
from pileus.drivers.federation.openid import transport
from pileus.drivers.federation.protocol import Claims, Client, Endpoints

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
LEEWAY = 60.0
"""Seconds by which clocks may differ."""


class Known:
    """What was read of a provider, and when."""

    def __init__(self, document: dict[str, Any], keys: jwt.PyJWKSet, at: float) -> None:
        self.document, self.keys, self.at = document, keys, at


class OpenIdClient:
    """Each call runs in a thread, bounded by the transport."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    async def begin(self, client: Client, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        known = await asyncio.to_thread(self._discover, client.issuer)
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
        where = endpoint(known, "authorization_endpoint")
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"

    async def finish(self, client: Client, *, code: str, redirect: str, verifier: str, nonce: str) -> Claims:
        return await asyncio.to_thread(self._finish, client, code, redirect, verifier, nonce)

    async def inspect(self, client: Client, token: str) -> Claims:
        return await asyncio.to_thread(self._inspect, client, token)

    async def plain(self, client: Client, endpoints: Endpoints, *, code: str, redirect: str) -> Claims:
        return await asyncio.to_thread(self._plain, client, endpoints, code, redirect)

    def _finish(self, client: Client, code: str, redirect: str, verifier: str, nonce: str) -> Claims:
        known = self._discover(client.issuer)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        if verifier:
            form["code_verifier"] = verifier
        answer = redeem(client, endpoint(known, "token_endpoint"), form, known.document)
        identity = self._verify(client, str(answer.get("id_token", "")))
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
            said = self._verify(client, token)
            if not meant_for(said, ours):
                raise Refused("the access token was issued for others")
        elif "introspection_endpoint" in known.document:
            said = self._introspect(client, known, token)
            if not meant_for(said, ours):
                raise Refused("the access token was issued for others")
        else:
            said = self._userinfo(known, token, {})
            if "sub" not in said:
                raise Refused("the provider does not say whose access token it is")
        if "openid" in str(said.get("scope", "")).split():
            said = said | self._userinfo(known, token, said)
        return claims(said, client)

    def _introspect(self, client: Client, known: Known, token: str) -> dict[str, Any]:
        where = endpoint(known, "introspection_endpoint")
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
        where = known.document.get("userinfo_endpoint")
        if not where:
            return {}
        try:
            status, content = transport.ask("GET", str(where), headers={"authorization": f"Bearer {token}"})
            said = transport.document(str(where), status, content)
        except Refused:
            if identity:
                return {}
            raise
        if identity and said.get("sub") != identity.get("sub"):
            raise Refused("userinfo speaks of another subject than the token")
        return said

    def _verify(self, client: Client, token: str) -> dict[str, Any]:
        """The claims of a JWT that the issuer has signed and that is good now."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(client.issuer, str(header.get("kid", "")))
            allowed = ALGORITHMS.get(str(key.key_type), ())
            if header.get("alg") not in allowed:
                raise Refused(
                    f"the token is signed by {str(header.get('alg'))[:20]}, which its key is not for"
                )
            options: Any = {"verify_aud": False, "require": ["exp", "iss", "sub"]}
            return jwt.decode(
                token, key.key, algorithms=list(allowed), issuer=client.issuer, leeway=LEEWAY, options=options
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the token is not good: {error}") from error

    def _key(self, issuer: str, kid: str) -> jwt.PyJWK:
        for fresh in (False, True):
            known = self._discover(issuer, fresh=fresh)
            signing = [key for key in known.keys.keys if key.public_key_use in (None, "sig")]
            named = [key for key in signing if key.key_id == kid] if kid else signing
            if len(named) == 1:
                return named[0]
        raise Refused(f"the provider has no key {kid[:60]!r}")

    def _discover(self, issuer: str, *, fresh: bool = False) -> Known:
        known = self._known.get(issuer)
        age = time.monotonic() - known.at if known else KEPT_SECONDS
        if known is not None and age < (FRESH_SECONDS if fresh else KEPT_SECONDS):
            return known
        where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = transport.document(where, *transport.ask("GET", where))
        if document.get("issuer") != issuer:
            raise Refused(f"{where} is of the issuer {str(document.get('issuer'))[:200]!r}")
        keys_at = str(document.get("jwks_uri", ""))
        keys = transport.document(keys_at, *transport.ask("GET", keys_at))
        try:
            read = jwt.PyJWKSet.from_dict(keys)
        except jwt.PyJWTError as error:
            raise Refused(f"{keys_at}: {error}") from error
        made = self._known[issuer] = Known(document, read, time.monotonic())
        return made

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


def endpoint(known: Known, name: str) -> str:
    found = known.document.get(name)
    if not isinstance(found, str) or not found.startswith(("https://", "http://")):
        raise Refused(f"the provider {known.document['issuer']} has no {name}")
    return found


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
