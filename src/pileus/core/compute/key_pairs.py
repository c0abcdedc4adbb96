"""Key pairs: public keys that servers trust, and the private half when we are asked to make one."""

import asyncio
import base64
import hashlib
import re
from typing import Any
from uuid import UUID

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import KeyPair
from pileus.core.errors import Exists, Invalid, NotFound

SSH, X509 = "ssh", "x509"
SAFE_NAME = re.compile(r"[A-Za-z0-9 _.@-]{1,255}")


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Without `public_key` a pair is made, and its private half handed out once. `user`: for another user, by an admin."""

    name: str
    kind: str = SSH
    public_key: str = ""
    user: UUID | None = None
    project: UUID | None = None


class Created(msgspec.Struct, frozen=True):
    pair: KeyPair
    private_key: str = ""


async def create(cloud: Cloud, caller: Caller, want: Create) -> Created:
    """Import a public key, or make an RSA pair of 2048 bits as both products do."""
    user, project = want.user or caller.user, want.project or caller.home
    if user != caller.user:
        caller.require_admin("key_pair.create for another user")
    caller.require("key_pair.create", project=project)
    if not SAFE_NAME.fullmatch(want.name) or want.name != want.name.strip():
        raise Invalid(
            "Keypair data is invalid: Keypair name contains unsafe characters; use 1 to 255 letters, digits and ' -_.@'."
        )
    public, private = want.public_key.strip(), ""
    if not public:
        public, private = await asyncio.to_thread(generate)
        if want.kind == X509:
            raise Invalid("An x509 pair is not made here; import the certificate as public_key.")
    fingerprint = certificate_fingerprint(public) if want.kind == X509 else ssh_fingerprint(public)
    async with cloud.transaction(caller) as tx:
        if await tx.one(KeyPair, user=user, name=want.name):
            raise Exists(f"Key pair '{want.name}' already exists.")
        # Pairs count by user, so the charge stands under the user's id.
        await tx.charge(user, "key_pairs", 1, within=project)
        pair = await tx.add(
            KeyPair(
                id=cloud.new_id(),
                user=user,
                project=project,
                name=want.name,
                kind=want.kind,
                public_key=public,
                fingerprint=fingerprint,
                created_at=cloud.now(),
            )
        )
    return Created(pair, private)


def generate() -> tuple[str, str]:
    """A new pair: public key in OpenSSH's form, private key in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return public.decode() + " Generated-by-Pileus", private.decode()


def ssh_fingerprint(public_key: str) -> str:
    """MD5 of the key's blob. Raises Invalid for what is no OpenSSH public key."""
    try:
        kind, blob = public_key.split(None, 2)[:2]
        raw = base64.b64decode(blob, validate=True)
        if raw[4 : 4 + int.from_bytes(raw[:4], "big")] != kind.encode():
            raise ValueError("the type inside differs from the type before it")
    except ValueError as error:
        raise Invalid(f"Keypair data is invalid: failed to generate fingerprint ({error}).") from None
    return _colons(hashlib.md5(raw, usedforsecurity=False).hexdigest())


def certificate_fingerprint(pem: str) -> str:
    """SHA-1 of an X.509 certificate. Raises Invalid."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise Invalid(f"Keypair data is invalid: failed to generate X509 fingerprint ({error}).") from None
    return _colons(certificate.fingerprint(hashes.SHA1()).hex())  # noqa: S303 - a name of the key, not a proof


def _colons(digest: str) -> str:
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


async def find(look: Look, user: UUID, name: str) -> KeyPair:
    found = await look.one(KeyPair, user=user, name=name)
    if found is None:
        raise NotFound("Key pair", f"{name} for user {user.hex}")
    return found


def _user(caller: Caller, user: UUID | None) -> UUID:
    if user is not None and user != caller.user:
        caller.require_admin("key_pair.read of another user")
        return user
    return caller.user


async def show(cloud: Cloud, caller: Caller, name: str, *, user: UUID | None = None) -> KeyPair:
    async with cloud.view() as look:
        return await find(look, _user(caller, user), name)


async def listing(cloud: Cloud, caller: Caller, *, user: UUID | None = None, **paging: Any) -> list[KeyPair]:
    """A user's pairs, by name."""
    paging.setdefault("order", ("name",))
    async with cloud.view() as look:
        return await look.list(KeyPair, user=_user(caller, user), **paging)


async def of_project(
    cloud: Cloud, caller: Caller, project: UUID, *where: Any, **filters: Any
) -> list[KeyPair]:
    """What the users of a project (a CloudStack account) hold there."""
    caller.require("key_pair.read", project=project)
    async with cloud.view() as look:
        return await look.list(KeyPair, *where, project=project, **filters)


async def delete(cloud: Cloud, caller: Caller, name: str, *, user: UUID | None = None) -> None:
    """Servers that trust the key keep it."""
    owner = _user(caller, user)
    async with cloud.transaction(caller) as tx:
        pair = await find(tx, owner, name)
        await tx.remove(pair)
        await tx.charge(owner, "key_pairs", -1)
