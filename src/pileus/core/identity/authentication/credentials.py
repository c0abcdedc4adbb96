"""Key pairs with which requests are signed, and other secrets that users keep. All are encrypted, for signatures and
codes need their plain form."""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Invalid, NotFound
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import CLOUDSTACK, EC2, Credential
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.listing import Found, Match, Window, equal, page
from pileus.core.identity.records import Project, User
from pileus.store import ne

BOUND = {"trust_id": "trust", "app_cred_id": "application_credential", "access_token_id": "access_token"}
"""What a pair's blob says of the token that made it, and where we keep it."""


class KeyPair(msgspec.Struct, frozen=True):
    """A credential with its plain secret."""

    credential: Credential
    secret: str


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """By what a pair was made: it acts for no more, and ends with it."""

    trust: UUID | None = None
    application_credential: UUID | None = None
    access_token: str = ""


FREE = Bound()


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """A credential to keep: of the kind EC2 the blob is JSON with `access` and `secret`, of others any text."""

    kind: str
    user: UUID
    blob: str
    project: UUID | None = None
    bound: Bound = FREE
    extra: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    kind: str | UnsetType = UNSET
    user: UUID | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    project: UUID | UnsetType | None = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


def key_of(access: str) -> UUID:
    """The id of an EC2 pair follows from its public half, as Keystone's does."""
    return UUID(bytes=hashlib.sha256(access.encode()).digest()[:16])


async def create(
    cloud: Cloud, caller: Caller, kind: str, user: UUID, project: UUID | None, bound: Bound = FREE
) -> KeyPair:
    """A further pair, which acts in the project as far as the user has roles there when it is used."""
    access, secret = secrets.token_hex(16), secrets.token_hex(16)
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.create")
        if project is not None and await tx.maybe(Project, project) is None:
            raise NotFound("Project", project.hex)
        credential = await tx.add(
            Credential(
                id=key_of(access) if kind == EC2 else cloud.new_id(),
                kind=kind,
                user=user,
                project=project,
                access=access,
                secret=vault.of(cloud).encrypt(secret),
                created_at=cloud.now(),
                **msgspec.structs.asdict(bound),
            )
        )
    return KeyPair(credential, secret)


async def renew(cloud: Cloud, caller: Caller, user: UUID) -> KeyPair:
    """The one pair of a CloudStack user, in place of the one before."""
    access, secret = secrets.token_urlsafe(64), secrets.token_urlsafe(64)
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.create")
        owner = await tx.get(User, user)
        for held in await tx.list(Credential, user=user, kind=CLOUDSTACK):
            await tx.remove(held)
        credential = await tx.add(
            Credential(
                id=cloud.new_id(),
                kind=CLOUDSTACK,
                user=user,
                project=owner.account or owner.default_project,
                access=access,
                secret=vault.of(cloud).encrypt(secret),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return KeyPair(credential, secret)


async def list_all(cloud: Cloud, caller: Caller, user: UUID, kind: str) -> list[KeyPair]:
    async with cloud.view() as look:
        await _require(look, caller, user, "credential.read")
        held = await look.list(Credential, user=user, kind=kind, order=("created_at",))
    return [opened(cloud, credential) for credential in held]


async def list_page(
    cloud: Cloud,
    caller: Caller,
    window: Window,
    *,
    user: UUID | None = None,
    kind: str | None = None,
    kinds: Iterable[Match] = (),
) -> Found[Credential]:
    """Of everybody for those who read everything, else one's own; without the keys of CloudStack's API."""
    async with cloud.view() as look:
        where = [ne("kind", CLOUDSTACK), *equal(user=user, kind=kind)]
        where += [match.condition("kind") for match in kinds]
        if not authority.reads_everything(caller):
            where += equal(user=caller.user)
        return await page(look, Credential, window, *where)


async def show(cloud: Cloud, caller: Caller, user: UUID, kind: str, access: str) -> KeyPair:
    async with cloud.view() as look:
        await _require(look, caller, user, "credential.read")
        return opened(cloud, await _of_user(look, user, kind, access))


async def find(cloud: Cloud, key: UUID) -> Credential | None:
    """By id, for whoever asks: what may be done with it is decided by its owner."""
    async with cloud.view() as look:
        held = await look.maybe(Credential, key)
    return held if held is not None and held.kind != CLOUDSTACK else None


async def owner_of(cloud: Cloud, kind: str, access: str) -> UUID:
    """Whose a pair is, for whoever asks: so that it can be said who may. Raises NotFound."""
    async with cloud.view() as look:
        held = await look.one(Credential, access=access)
    if held is None or held.kind != kind:
        raise NotFound("Credential", access[:64])
    return held.user


async def keep(cloud: Cloud, caller: Caller, want: Keep) -> Credential:
    """Raises Invalid for a blob that is none of its kind, Exists for an access key that is taken."""
    kind, access, hidden = _parts(cloud, want.kind, want.blob, want.project)
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, want.user, "credential.create")
        await _free(tx, access)
        return await tx.add(
            Credential(
                id=key_of(access) if access is not None else cloud.new_id(),
                kind=kind,
                user=want.user,
                project=want.project,
                access=access,
                secret=hidden,
                extra=want.extra,
                created_at=cloud.now(),
                **msgspec.structs.asdict(want.bound if kind == EC2 else FREE),
            )
        )


async def update(cloud: Cloud, caller: Caller, key: UUID, want: Change) -> Credential:
    """Raises Invalid for a blob that is none of its kind, or binds a pair to something else than it was made by."""
    async with cloud.transaction(caller) as tx:
        held = await _owned(tx, caller, key, "credential.update")
        fields: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(want).items() if value is not UNSET
        }
        if "user" in fields and fields["user"] != held.user:
            await _require(tx, caller, fields["user"], "credential.update")
        blob = fields.pop("blob", None) or blob_of(cloud, held)
        if held.kind == EC2:
            _refuse_rebinding(held, pair_of(blob))
        fields["extra"] = held.extra | fields.get("extra", {})
        kind, access, hidden = _parts(
            cloud, fields.get("kind", held.kind), blob, fields.get("project", held.project)
        )
        if access != held.access:
            await _free(tx, access)
            fields["extra"] |= {"shown_id": shown_id(held)}
        updated = await tx.put(
            msgspec.structs.replace(held, **fields | {"kind": kind, "access": access, "secret": hidden})
        )
        await changed(tx)
    return updated


def _refuse_rebinding(held: Credential, blob: dict[str, Any]) -> None:
    for name in BOUND:
        if blob.get(name) != binding(held).get(name):
            raise Invalid(f"{name} can not be updated for credential; leave it as it is.")


async def remove(cloud: Cloud, caller: Caller, key: UUID) -> None:
    async with cloud.transaction(caller) as tx:
        await tx.remove(await _owned(tx, caller, key, "credential.delete"))
        await changed(tx)


async def delete(cloud: Cloud, caller: Caller, user: UUID, kind: str, access: str) -> None:
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.delete")
        await tx.remove(await _of_user(tx, user, kind, access))
        await changed(tx)


def opened(cloud: Cloud, credential: Credential) -> KeyPair:
    """Of a pair: its secret half alone."""
    text = vault.of(cloud).decrypt(credential.secret)
    if credential.kind == EC2 and text.startswith("{"):
        return KeyPair(credential, str(msgspec.json.decode(text).get("secret", "")))
    return KeyPair(credential, text)


def binding(credential: Credential) -> dict[str, str]:
    held = {name: getattr(credential, field) for name, field in BOUND.items()}
    return {name: value.hex if isinstance(value, UUID) else value for name, value in held.items() if value}


def blob_of(cloud: Cloud, credential: Credential) -> str:
    """The plain content as it was given; of a bound pair with what it was made by."""
    text = vault.of(cloud).decrypt(credential.secret)
    if credential.kind != EC2:
        return text
    given = msgspec.json.decode(text) if text.startswith("{") else {"secret": text}
    bound = binding(credential)
    if "access" in given and not bound:
        return text
    return msgspec.json.encode({"access": credential.access, **given, **bound}).decode()


def shown_id(credential: Credential) -> str:
    """What clients know it by: of an EC2 pair the hash of its public half, as it was first."""
    known = credential.extra.get("shown_id")
    if known is not None:
        return str(known)
    if credential.kind == EC2 and credential.access is not None:
        return hashlib.sha256(credential.access.encode()).hexdigest()
    return credential.id.hex


def pair_of(blob: str) -> dict[str, Any]:
    """Raises Invalid for what does not describe a pair."""
    try:
        found = msgspec.json.decode(blob)
    except msgspec.DecodeError:
        raise Invalid("Invalid blob in credential: it is not JSON.") from None
    if not found or not isinstance(found, dict):
        raise Invalid("Expecting to find blob in credential: a JSON object with access and secret.")
    if not isinstance(found.get("access"), str) or not isinstance(found.get("secret", ""), str):
        raise Invalid("Expecting to find access in credential: the public half of the pair, a text.")
    return found


def _parts(cloud: Cloud, kind: str, blob: str, project: UUID | None) -> tuple[str, str | None, str]:
    """The kind, the public half and the encrypted rest."""
    if kind == CLOUDSTACK:
        raise Invalid(
            f"Credentials of the type {CLOUDSTACK} are made as key pairs of users; choose another type."
        )
    if kind.lower() != EC2:
        return kind, None, vault.of(cloud).encrypt(blob)
    if project is None:
        raise Invalid("Invalid input for field/attribute credential: 'project_id' is a required property.")
    found = pair_of(blob)
    if found.keys() & BOUND.keys():
        rest = {name: value for name, value in found.items() if name not in BOUND}
        blob = msgspec.json.encode(rest).decode()
    return EC2, found["access"], vault.of(cloud).encrypt(blob)


async def _free(look: Look, access: str | None) -> None:
    if access is not None and await look.count(Credential, access=access):
        raise Exists("A credential with this access key exists already; choose another access key.")


async def _of_user(look: Look, user: UUID, kind: str, access: str) -> Credential:
    held = await look.one(Credential, access=access)
    if held is None or held.user != user or held.kind != kind:
        raise NotFound("Credential", access)
    return held


async def _owned(tx: Tx, caller: Caller, key: UUID, verb: str) -> Credential:
    held = await tx.maybe(Credential, key)
    if held is None or held.kind == CLOUDSTACK:
        raise NotFound("Credential", key.hex)
    await _require(tx, caller, held.user, verb)
    return held


async def _require(look: Look, caller: Caller, user: UUID, verb: str) -> None:
    """Secrets are for their owner, and for who manages the owner; who reads everything reads them too."""
    owner = await look.maybe(User, user)
    if owner is not None and (
        caller.user == user or (verb.endswith(".read") and authority.reads_everything(caller))
    ):
        return
    await authority.require_manages_user(look, caller, owner, verb)
    if owner is None:
        raise NotFound("User", user.hex)
