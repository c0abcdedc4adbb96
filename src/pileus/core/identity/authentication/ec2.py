"""Signatures of EC2 and S3 in all their versions, and who proves itself by one."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid, NotFound, Unauthenticated
from pileus.core.identity.authentication import credentials, failures
from pileus.core.identity.authentication.credential_records import EC2, Credential
from pileus.core.identity.authentication.credentials import KeyPair
from pileus.core.identity.authentication.login import Issued, Vouched, Wish, issue
from pileus.core.identity.authorization.access import enabled_user
from pileus.core.identity.named import Named
from pileus.core.identity.records import Scope, Trust, User

ALGORITHM = "AWS4-HMAC-SHA256"
LASTING = timedelta(minutes=15)
"""How long a signature with a time in it is good."""
OLD_BOTO = re.compile(r"Boto/2\.[0-9]\.[0-2]")
"""These sign the host without its port."""
SERVICES = frozenset({"s3", "iam", "sts"})


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its client signed it."""

    access: str
    signature: str
    host: str = ""
    verb: str = ""
    path: str = ""
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body_hash: str = ""


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a client of S3 signed (base64)."""

    access: str
    signature: str
    token: str


async def authenticate(cloud: Cloud, signed: Signed | Stamped, source: str = "") -> Issued:
    """A token for whom the key is of, in the project of the key and no wider than what made the key.

    Raises NotFound for an unknown key, Unauthenticated for a wrong or old signature, Invalid for one of no known form.
    """
    key = failures.of_key(signed.access)
    await failures.allow(cloud, key, source=source)
    async with cloud.view() as look:
        held = await look.one(Credential, access=signed.access, kind=EC2)
    if held is None:
        await failures.failed(cloud, key, reason="no such access key", source=source)
        raise NotFound("EC2 access key", signed.access[:64])
    pair = credentials.opened(cloud, held)
    if not matches(pair.secret, signed):
        raise await failures.failed(cloud, key, reason="wrong signature", source=source, user=held.user)
    await failures.allow(cloud, key, source=source, user=held.user)
    if isinstance(signed, Signed) and stale(signed, cloud.now()):
        raise failures.refusal("signature too old", source, held.user)
    await failures.succeeded(cloud, key)
    return await _issue(cloud, pair)


async def _issue(cloud: Cloud, pair: KeyPair) -> Issued:
    held = pair.credential
    async with cloud.view() as look:
        trust = await look.maybe(Trust, held.trust) if held.trust else None
        user: User
        user, _ = await enabled_user(look, trust.trustee if trust else held.user)
    vouched = Vouched(
        user=user,
        methods=("ec2credential",),
        trust=held.trust,
        application_credential=held.application_credential,
        access_token=UUID(held.access_token) if held.access_token else None,
        project=held.project,
    )
    wish = Wish(scope=Scope.PROJECT, target=Named(id=held.project)) if held.trust is None else None
    return await issue(cloud, vouched, wish)


def matches(secret: str, signed: Signed | Stamped) -> bool:
    if isinstance(signed, Stamped):
        return same(stamp(secret, signed.token), signed.signature)
    if same(generate(secret, signed), signed.signature):
        return True
    bare = urlsplit(f"//{signed.host}").hostname if ":" in signed.host else None
    if bare is None:
        return False
    # Some clients sign the host without its port.
    return same(generate(secret, msgspec.structs.replace(signed, host=bare)), signed.signature)


def same(made: str, given: str) -> bool:
    return bool(given) and hmac.compare_digest(made.encode(), given.encode())


def generate(secret: str, signed: Signed) -> str:
    """The signature that the request should have. Raises Invalid."""
    version = signed.params.get("SignatureVersion")
    if version in VERSIONS:
        return VERSIONS[version](secret.encode(), signed)
    authorization = signed.headers.get("Authorization", "")
    if authorization.startswith(ALGORITHM) or signed.params.get("X-Amz-Algorithm") == ALGORITHM:
        return version_4(secret, signed)
    raise Invalid(f"The signature version {version!r} is unknown; use 0, 1, 2 or 4.")


def version_0(secret: bytes, signed: Signed) -> str:
    text = signed.params.get("Action", "") + signed.params.get("Timestamp", "")
    return plain(secret, text, "sha1")


def version_1(secret: bytes, signed: Signed) -> str:
    names = sorted(signed.params, key=str.lower)
    return plain(secret, "".join(name + signed.params[name] for name in names), "sha1")


def version_2(secret: bytes, signed: Signed) -> str:
    params = {**signed.params, "SignatureMethod": "HmacSHA256"}
    return plain(secret, "\n".join((signed.verb, signed.host, signed.path, canonical(params))), "sha256")


def plain(secret: bytes, text: str, digest: str) -> str:
    return base64.b64encode(hmac.digest(secret, text.encode(), digest)).decode()


VERSIONS = {"0": version_0, "1": version_1, "2": version_2}


def canonical(params: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(params[name], safe='-_~')}" for name in sorted(params))


def version_4(secret: str, signed: Signed) -> str:
    given = credential_of(signed)
    names = parameter(signed, "SignedHeaders")
    moment = signed.headers.get("X-Amz-Date") or signed.params.get("X-Amz-Date", "")
    scope = given.split("/")[1:]
    if len(scope) != 4 or not scope[0] or not moment.startswith(scope[0]):
        raise Invalid("The signature's date is not that of the request; sign again.")
    query = "" if signed.verb.upper() == "POST" else canonical(signed.params)
    request = "\n".join(
        (signed.verb.upper(), signed.path, query, lines(signed, names), names, signed.body_hash)
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((ALGORITHM, moment, "/".join(scope), digest))
    return hmac.digest(derived(secret, scope), text.encode(), "sha256").hex()


def credential_of(signed: Signed) -> str:
    given = parameter(signed, "Credential")
    if not given:
        raise Invalid("The signature names no credential; sign with one.")
    return given


def parameter(signed: Signed, name: str) -> str:
    """From the header, or else from the query."""
    authorization = signed.headers.get("Authorization")
    if authorization is not None:
        return authorization.partition(f"{name}=")[2].split(",")[0]
    return signed.params.get(f"X-Amz-{name}", "")


def lines(signed: Signed, names: str) -> str:
    """The signed headers, each on a line."""
    headers = {name.lower().strip(): value.strip() for name, value in signed.headers.items()}
    found = []
    for name in names.split(";"):
        if name not in headers:
            continue
        value = headers[name]
        if name == "host" and OLD_BOTO.match(headers.get("user-agent", "")):
            value = value.split(":")[0]
        found.append(f"{name}:{value}")
    return "\n".join(found) + "\n"


def derived(secret: str, scope: list[str]) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def stamp(secret: str, token: str) -> str:
    """The signature of a text of S3, in the form that its beginning tells. Raises Unauthenticated."""
    try:
        text = base64.urlsafe_b64decode(token)
    except (binascii.Error, ValueError):
        raise Invalid("The token is not in base64.") from None
    if not text.startswith(b"AWS4"):
        return base64.b64encode(hmac.digest(secret.encode(), text, "sha1")).decode()
    parts = text.decode(errors="replace").split("\n")
    scope = parts[2].split("/") if len(parts) == 4 else []
    if parts[0] != ALGORITHM or len(scope) != 4 or scope[3] != "aws4_request" or scope[2] not in SERVICES:
        raise failures.refusal("malformed signature")
    return hmac.digest(derived(secret, scope), text, "sha256").hex()


def stale(signed: Signed, now: datetime) -> bool:
    """Whether a time that is signed lies too far back. A request without one never ends. Raises Unauthenticated."""
    text = (
        signed.params.get("Timestamp") or signed.headers.get("X-Amz-Date") or signed.params.get("X-Amz-Date")
    )
    return bool(text) and now > moment_of(str(text)) + LASTING


def moment_of(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unauthenticated(f"Credential timestamp is invalid: {error}.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
