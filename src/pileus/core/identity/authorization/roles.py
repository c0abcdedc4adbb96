"""Roles and what they imply. The five that every cloud begins with can be neither renamed nor deleted."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, SERVICE, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, NotFound
from pileus.core.identity import options
from pileus.core.identity.authentication.credential_records import ApplicationCredential
from pileus.core.identity.authorization import assignments, authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.delegation import applications
from pileus.core.identity.listing import EVERYTHING, Found, Match, Window, equal, page
from pileus.core.identity.records import Assignment, Domain, Role, Scope

FIXED = frozenset({READER, MEMBER, MANAGER, ADMIN, SERVICE})


class Unimplied(NotFound):
    def __init__(self, prior: UUID, implied: UUID) -> None:
        super().__init__("Implied role", implied.hex)
        self.public = f"{prior.hex} does not imply {implied.hex}."


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID | None = None
    description: str = ""
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class UpdateRole(msgspec.Struct, frozen=True, kw_only=True):
    """`options` are merged with those that it has, None taking one away; `extra` likewise replaces by name."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


def options_of(role: Role) -> dict[str, Any]:
    """Those that every cloud begins with are immutable until told otherwise."""
    fixed = role.domain is None and role.name in FIXED
    return {options.IMMUTABLE: True, **role.options} if fixed else dict(role.options)


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


async def list_page(
    cloud: Cloud,
    caller: Caller,
    window: Window,
    *,
    name: str | None = None,
    names: Sequence[Match] = (),
    domain: UUID | None = None,
) -> Found[Role]:
    """Roles of every domain's use, or (with `domain`) of one domain's own. Raises NotFound for a marker that is
    nothing."""
    _require_reads(caller)
    async with cloud.view() as look:
        return await page(look, Role, window, *equal(name=name), names=names, domain=domain)


async def list_all(
    cloud: Cloud, caller: Caller, *, name: str | None = None, domain: UUID | None = None
) -> list[Role]:
    return (await list_page(cloud, caller, EVERYTHING, name=name, domain=domain)).items


async def every(cloud: Cloud, caller: Caller) -> dict[UUID, Role]:
    """All of them by id, for showing what implies what."""
    _require_reads(caller)
    async with cloud.view() as look:
        return {role.id: role for role in await look.list(Role)}


async def find(cloud: Cloud, key: UUID) -> Role:
    """For rules that are held against it. Raises NotFound."""
    async with cloud.view() as look:
        return await _known(look, key)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateRole) -> Role:
    """Raises Forbidden for one that is immutable."""
    caller.require_admin("role.update")
    changes = given(want)
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        options.refuse_immutable_update("role", key, options_of(held), changes)
        if changes.get("name", held.name) != held.name:
            _refuse_fixed(held)
            await _free(tx, changes["name"], held.domain)
        if "options" in changes:
            changes["options"] = _options(held, changes["options"])
        if "extra" in changes:
            changes["extra"] = held.extra | changes["extra"]
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


def _options(held: Role, wanted: dict[str, Any]) -> dict[str, Any]:
    """A role that every cloud has stays told that it is not immutable."""
    merged = options.merged(held.options, wanted)
    if held.name in FIXED and options.IMMUTABLE in wanted and not wanted[options.IMMUTABLE]:
        merged[options.IMMUTABLE] = False
    return merged


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its assignments, and out of what other roles imply. What was handed on with it ends."""
    caller.require_admin("role.delete")
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        _refuse_fixed(held)
        options.refuse_immutable_delete("role", key, held.options)
        await remove(tx, held)
        await changed(tx)


async def remove(tx: Tx, held: Role) -> None:
    """With all that names it."""
    for assignment in await tx.list(Assignment, role=held.id):
        if assignment.scope is Scope.PROJECT and not assignment.inherited:
            await applications.end_in(tx, await assignments.users_of(tx, assignment), [assignment.target])
        await tx.remove(assignment)
    for role in await tx.list(Role):
        if held.id in role.implies:
            await tx.put(_without(role, held.id))
    for application in await tx.list(ApplicationCredential):
        if held.id in application.roles:
            await tx.remove(application)
    await tx.remove(held)


async def imply(cloud: Cloud, caller: Caller, prior: UUID, implied: UUID) -> tuple[Role, Role]:
    """Whoever has `prior` also has `implied`. Raises Exists when it is so already, Forbidden for the role admin, and
    for a domain's own role by one of every domain's use."""
    caller.require_admin("role.imply")
    async with cloud.transaction(caller) as tx:
        first, second = await _known(tx, prior), await _known(tx, implied)
        if second.name == ADMIN or (first.domain is None and second.domain is not None):
            raise Forbidden(f"{implied.hex} cannot be an implied roles.")
        if implied in first.implies:
            raise Exists("Conflict occurred attempting to store implied_role - Duplicate entry.")
        first = await tx.put(msgspec.structs.replace(first, implies=(*first.implies, implied)))
        await changed(tx)
    return first, second


async def unimply(cloud: Cloud, caller: Caller, prior: UUID, implied: UUID) -> None:
    caller.require_admin("role.imply")
    async with cloud.transaction(caller) as tx:
        first = await _known(tx, prior)
        if implied not in first.implies:
            raise Unimplied(prior, implied)
        await tx.put(_without(first, implied))
        await changed(tx)


def _without(role: Role, implied: UUID) -> Role:
    return msgspec.structs.replace(role, implies=tuple(key for key in role.implies if key != implied))


async def _known(look: Look, key: UUID) -> Role:
    held = await look.maybe(Role, key)
    if held is None:
        raise NotFound("role", key.hex)
    return held


async def _free(tx: Tx, name: str, domain: UUID | None) -> None:
    if await tx.count(Role, name=name, domain=domain):
        raise Exists(f"Conflict occurred attempting to store role - Duplicate entry found with name {name}.")


def _refuse_fixed(role: Role) -> None:
    if role.domain is None and role.name in FIXED:
        raise Forbidden(f"The role {role.name} is one that every cloud has; it cannot be renamed or deleted.")


def _require_reads(caller: Caller) -> None:
    if authority.reads_everything(caller) or MANAGER in caller.roles:
        return
    raise Forbidden("You are not authorized to perform the requested action: role.read.")
