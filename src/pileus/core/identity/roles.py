"""Roles and what they imply. The five that every cloud begins with can be neither renamed nor deleted."""

from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, SERVICE, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.credential_records import ApplicationCredential
from pileus.core.identity.records import Assignment, Domain, Role

FIXED = frozenset({READER, MEMBER, MANAGER, ADMIN, SERVICE})


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID | None = None
    description: str = ""


class UpdateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateRole) -> Role:
    caller.require_admin("role.create")
    async with cloud.transaction(caller) as tx:
        if want.domain is not None:
            await tx.get(Domain, want.domain)
        await _free(tx, want.name, want.domain)
        fields = msgspec.structs.asdict(want)
        return await tx.add(Role(id=cloud.new_id(), created_at=cloud.now(), **fields))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Role:
    _require_reads(caller)
    async with cloud.view() as look:
        return await _known(look, key)


async def list_all(
    cloud: Cloud, caller: Caller, *, name: str | None = None, domain: UUID | None = None
) -> list[Role]:
    """Roles of every domain's use, or (with `domain`) of one domain's own."""
    _require_reads(caller)
    equals = {"name": name} if name is not None else {}
    async with cloud.view() as look:
        return await look.list(Role, domain=domain, order=("name",), **equals)


async def every(cloud: Cloud, caller: Caller) -> dict[UUID, Role]:
    """All of them by id, for showing what implies what."""
    _require_reads(caller)
    async with cloud.view() as look:
        return {role.id: role for role in await look.list(Role)}


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateRole) -> Role:
    caller.require_admin("role.update")
    changes = given(want)
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        if changes.get("name", held.name) != held.name:
            _refuse_fixed(held)
            await _free(tx, changes["name"], held.domain)
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its assignments, and out of what other roles imply."""
    caller.require_admin("role.delete")
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        _refuse_fixed(held)
        for assignment in await tx.list(Assignment, role=key):
            await tx.remove(assignment)
        for role in await tx.list(Role):
            if key in role.implies:
                await tx.put(_without(role, key))
        for application in await tx.list(ApplicationCredential):
            if key in application.roles:
                await tx.remove(application)
        await tx.remove(held)
        await changed(tx)


async def imply(cloud: Cloud, caller: Caller, prior: UUID, implied: UUID) -> tuple[Role, Role]:
    """Whoever has `prior` also has `implied`. Repeating is fine."""
    caller.require_admin("role.imply")
    async with cloud.transaction(caller) as tx:
        first, second = await _known(tx, prior), await _known(tx, implied)
        if second.name == ADMIN:
            raise Forbidden("The role admin cannot be implied by another; grant it itself.")
        if prior == implied:
            raise Invalid(f"The role {first.name} cannot imply itself.")
        if implied not in first.implies:
            first = await tx.put(msgspec.structs.replace(first, implies=(*first.implies, implied)))
            await changed(tx)
    return first, second


async def unimply(cloud: Cloud, caller: Caller, prior: UUID, implied: UUID) -> None:
    caller.require_admin("role.imply")
    async with cloud.transaction(caller) as tx:
        first = await _known(tx, prior)
        if implied not in first.implies:
            raise NotFound("Implied role", implied.hex)
        await tx.put(_without(first, implied))
        await changed(tx)


def _without(role: Role, implied: UUID) -> Role:
    return msgspec.structs.replace(role, implies=tuple(key for key in role.implies if key != implied))


async def _known(look: Look, key: UUID) -> Role:
    held = await look.maybe(Role, key)
    if held is None:
        raise NotFound("Role", key.hex)
    return held


async def _free(tx: Tx, name: str, domain: UUID | None) -> None:
    if await tx.count(Role, name=name, domain=domain):
        raise Exists(f"A role named {name} exists already; choose another name.")


def _refuse_fixed(role: Role) -> None:
    if role.domain is None and role.name in FIXED:
        raise Forbidden(f"The role {role.name} is one that every cloud has; it cannot be renamed or deleted.")


def _require_reads(caller: Caller) -> None:
    if authority.reads_everything(caller) or (caller.domain is not None and MANAGER in caller.roles):
        return
    raise Forbidden("You are not authorized to perform the requested action: role.read.")
