"""Keystone's unified limits: registered limits (what can be limited, and the default) and the limits of projects and
domains that differ.

What the core itself charges is registered at every start. Such a registered limit's default is the core's default, and
its limits are the core's limits (core/quota.py), whoever set them; all others are rows that other services read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core import quota
from pileus.core.caller import ADMIN, SERVICE, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import domain_limits
from pileus.core.identity.changes import given
from pileus.core.identity.records import Domain, Project
from pileus.core.identity.services.catalogue import service_key
from pileus.core.identity.services.catalogue_records import Region, RegisteredLimit, Service, UnifiedLimit
from pileus.core.quota import EVERYONE, Limit

CHARGED: Mapping[str, Mapping[str, str]] = {
    "compute": {
        "servers": "servers",
        "class:VCPU": "vcpus",
        "class:MEMORY_MB": "memory_mib",
        "server_key_pairs": "key_pairs",
        "server_groups": "server_groups",
        "server_group_members": "server_group_members",
    },
    "block-storage": {"volumes": "volumes", "gigabytes": "volume_gib", "snapshots": "snapshots"},
    "image": {"image_count_total": "images"},
    "network": {
        "network": "networks",
        "subnet": "subnets",
        "port": "ports",
        "router": "routers",
        "floatingip": "addresses",
        "security_group": "security_groups",
        "security_group_rule": "security_rules",
    },
}
"""By type of service: the name that its limits have everywhere, and the core's."""
TWICE = "Conflict occurred attempting to store {what} - Duplicate entry."


class Register(msgspec.Struct, frozen=True, kw_only=True):
    service: UUID
    name: str
    default: int
    region: str | None = None
    description: str = ""


class Amend(msgspec.Struct, frozen=True, kw_only=True):
    """Of a registered limit."""

    service: UUID | UnsetType = UNSET
    region: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    default: int | UnsetType = UNSET
    description: str | UnsetType = UNSET


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a project or a domain, one of which is given. `project` may name a domain, as in Keystone."""

    service: UUID
    name: str
    limit: int
    region: str | None = None
    project: UUID | None = None
    domain: UUID | None = None
    description: str = ""


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Filters; None: any."""

    service: UUID | None = None
    region: str | None = None
    name: str | None = None
    project: UUID | None = None
    domain: UUID | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A limit with what it is registered as. `place`: the domain of its project, or its domain."""

    id: UUID
    registered: RegisteredLimit
    project: UUID | None
    domain: UUID | None
    place: UUID | None
    limit: int
    description: str


async def ensure(cloud: Cloud) -> None:
    """Register what the core charges; repeating is fine."""
    async with cloud.transaction() as tx:
        known = {held.id for held in await tx.list(RegisteredLimit)}
        for kind, names in CHARGED.items():
            for name, resource in names.items():
                key = uuid5(service_key(kind), f"limit/{name}")
                if key not in known:
                    await tx.add(
                        RegisteredLimit(
                            id=key,
                            service=service_key(kind),
                            name=name,
                            default=quota.DEFAULTS[resource],
                            resource=resource,
                            created_at=cloud.now(),
                        )
                    )


# --- registered limits


async def register(cloud: Cloud, caller: Caller, wanted: Iterable[Register]) -> list[RegisteredLimit]:
    """All or none. Raises Exists, Invalid."""
    caller.require_admin("registered_limit.create")
    async with cloud.transaction(caller) as tx:
        return [await _register(tx, want) for want in wanted]


async def _register(tx: Tx, want: Register) -> RegisteredLimit:
    await _require_places(tx, "registered_limit", want.service, want.region)
    if await _alike(tx, want.service, want.region, want.name):
        raise Exists(TWICE.format(what="registered_limit"))
    fields = msgspec.structs.asdict(want)
    return await tx.add(RegisteredLimit(id=tx.cloud.new_id(), created_at=tx.cloud.now(), **fields))


async def _alike(look: Look, service: UUID, region: str | None, name: str) -> RegisteredLimit | None:
    return await look.one(RegisteredLimit, service=service, region=region, name=name)


async def _require_places(look: Look, what: str, service: UUID | None, region: str | None) -> None:
    if service is not None and await look.maybe(Service, service) is None:
        raise _absent("service_id", what)
    if region is not None and await look.maybe(Region, region) is None:
        raise _absent("region_id", what)


def _absent(field: str, what: str) -> Invalid:
    return Invalid(f"Expecting to find {field} in {what}: there is none with this id; name one that exists.")


async def list_registered(cloud: Cloud, which: Which) -> list[RegisteredLimit]:
    """Everybody may read them."""
    async with cloud.view() as look:
        found = await look.list(RegisteredLimit, order=("created_at",), **_equals(which))
        return await _with_defaults(look, found)


def _equals(which: Which) -> dict[str, Any]:
    values = {"service": which.service, "region": which.region, "name": which.name}
    return {name: value for name, value in values.items() if value is not None}


async def _with_defaults(look: Look, found: Sequence[RegisteredLimit]) -> list[RegisteredLimit]:
    ours = await quota.defaults(look.rows)
    return [replace(one, default=ours[one.resource]) if one.resource else one for one in found]


async def show_registered(cloud: Cloud, key: UUID) -> RegisteredLimit:
    async with cloud.view() as look:
        return (await _with_defaults(look, [await _registered(look, key)]))[0]


async def _registered(look: Look, key: UUID) -> RegisteredLimit:
    found = await look.maybe(RegisteredLimit, key)
    if found is None:
        raise NotFound("Registered limit", key.hex)
    return found


async def amend(cloud: Cloud, caller: Caller, key: UUID, want: Amend) -> RegisteredLimit:
    """Raises Forbidden while there are limits that differ from it, and for another name of what the core charges."""
    caller.require_admin("registered_limit.update")
    async with cloud.transaction(caller) as tx:
        held = await _registered(tx, key)
        updated = replace(held, **given(want))
        moved = (updated.service, updated.region, updated.name) != (held.service, held.region, held.name)
        if held.resource and moved:
            raise Forbidden(
                f"Limit {held.name} is charged by this cloud itself: only its default can be changed."
            )
        await _require_unused(tx, held)
        await _require_places(tx, "registered_limit", updated.service, updated.region)
        named = {want.service, want.region, want.name} != {UNSET}
        if named and await _alike(tx, updated.service, updated.region, updated.name):
            raise Exists(TWICE.format(what="registered_limit"))
        if held.resource and want.default is not UNSET:
            await quota.keep(tx.rows, EVERYONE, held.resource, updated.default)
        return (await _with_defaults(tx, [await tx.put(updated)]))[0]


async def unregister(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Raises Forbidden while there are limits that differ from it, and of what the core charges."""
    caller.require_admin("registered_limit.delete")
    async with cloud.transaction(caller) as tx:
        held = await _registered(tx, key)
        if held.resource:
            raise Forbidden(
                f"Limit {held.name} is charged by this cloud itself and stays; set its default to -1 to limit nothing."
            )
        await _require_unused(tx, held)
        await tx.remove(held)


async def _require_unused(tx: Tx, held: RegisteredLimit) -> None:
    if await _held(tx, [held], Which()):
        raise Forbidden(
            f"Unable to update or delete registered limit {held.id.hex} because there are project limits "
            "associated with it; delete those first."
        )


# --- limits


async def create(cloud: Cloud, caller: Caller, wanted: Iterable[Create]) -> list[Held]:
    """All or none. Raises Exists; Invalid; Forbidden for what is not registered."""
    caller.require_admin("limit.create")
    async with cloud.transaction(caller) as tx:
        return [await _create(tx, want) for want in wanted]


async def _create(tx: Tx, want: Create) -> Held:
    await _require_places(tx, "limit", want.service, want.region)
    project, domain, place = await _holder(tx, want)
    registered = await _alike(tx, want.service, want.region, want.name)
    if registered is None:
        raise Forbidden(
            "Unable to create a limit that has no corresponding registered limit; register it first."
        )
    if await _held(tx, [registered], Which(project=project, domain=domain)):
        raise Exists(TWICE.format(what="limit"))
    made = Held(
        id=tx.cloud.new_id(),
        registered=registered,
        project=project,
        domain=domain,
        place=place,
        limit=want.limit,
        description=want.description,
    )
    return await _keep(tx, made)


async def _holder(look: Look, want: Create) -> tuple[UUID | None, UUID | None, UUID]:
    """(project, domain, the domain that it is in)."""
    project = await look.maybe(Project, want.project) if want.project is not None else None
    if project is not None:
        return project.id, None, project.domain
    domain = want.project if want.project is not None else want.domain
    if domain is None or await look.maybe(Domain, domain) is None:
        raise _absent("project_id" if want.project is not None else "domain_id", "limit")
    return None, domain, domain


async def _keep(tx: Tx, held: Held) -> Held:
    resource, holder = held.registered.resource, held.project or held.domain
    assert holder is not None
    if not resource:
        row = UnifiedLimit(
            id=held.id,
            registered=held.registered.id,
            project=held.project,
            domain=held.domain,
            limit=held.limit,
            description=held.description,
            created_at=tx.cloud.now(),
        )
        await (tx.put(row) if await tx.maybe(UnifiedLimit, held.id) else tx.add(row))
        return held
    if held.domain is not None:
        await domain_limits.keep(tx, holder, resource, held.limit, description=held.description)
    else:
        await quota.keep(tx.rows, holder, resource, held.limit, description=held.description)
    return replace(held, id=key_of(held.registered, holder))


def key_of(registered: RegisteredLimit, holder: UUID) -> UUID:
    """Of a limit that is the core's, by whatever API it was set."""
    return uuid5(registered.id, holder.hex)


async def _held(look: Look, registered: Iterable[RegisteredLimit], which: Which) -> list[Held]:
    """The limits of what is registered, of the project and the domain in `which`, or of all."""
    plain = {one.id: one for one in registered if not one.resource}
    charged = {one.resource: one for one in registered if one.resource}
    narrow = {name: key for name in ("project", "domain") if (key := getattr(which, name)) is not None}
    rows = await look.list(UnifiedLimit, registered=tuple(plain), order=("created_at",), **narrow)
    holders = {"project": tuple(narrow.values())} if narrow else {}
    own = await look.list(Limit, resource=tuple(charged), **holders)
    keys = {row.project for row in own} | {key for row in rows for key in (row.project, row.domain) if key}
    projects = {one.id: one.domain for one in await look.list(Project, id=tuple(keys))}
    domains = {one.id for one in await look.list(Domain, id=tuple(keys))}
    found = [
        Held(
            id=row.id,
            registered=plain[row.registered],
            project=row.project,
            domain=row.domain,
            place=projects.get(row.project) if row.project else row.domain,
            limit=row.limit,
            description=row.description,
        )
        for row in rows
    ]
    for limit in own:
        inside = limit.project in projects
        if not inside and limit.project not in domains:
            continue  # of a user, or the default
        found.append(
            Held(
                id=key_of(charged[limit.resource], limit.project),
                registered=charged[limit.resource],
                project=limit.project if inside else None,
                domain=None if inside else limit.project,
                place=projects.get(limit.project, limit.project),
                limit=limit.limit,
                description=limit.description,
            )
        )
    return [one for one in found if which.domain is None or one.domain == which.domain]


async def list_all(cloud: Cloud, caller: Caller, which: Which) -> list[Held]:
    """Administrators, services and the system see all; a domain what is in it; a project its own."""
    async with cloud.view() as look:
        found = await _held(look, await look.list(RegisteredLimit, **_equals(which)), which)
    if which.project is not None:
        found = [one for one in found if one.project == which.project]
    if caller.system or caller.roles & {ADMIN, SERVICE}:
        return found
    if caller.domain is not None:
        return [one for one in found if one.place == caller.domain]
    return [one for one in found if caller.project is not None and one.project == caller.project]


async def of_projects(cloud: Cloud, projects: Iterable[UUID]) -> dict[UUID, list[Held]]:
    """The limits of each, whoever asks: callers have a role there."""
    async with cloud.view() as look:
        registered = await look.list(RegisteredLimit)
        return {key: await _held(look, registered, Which(project=key)) for key in projects}


async def find(cloud: Cloud, key: UUID) -> Held | None:
    """Whoever asks: the face holds its rule against what is found."""
    async with cloud.view() as look:
        return await _find(look, key)


async def _find(look: Look, key: UUID) -> Held | None:
    row = await look.maybe(UnifiedLimit, key)
    if row is not None:
        registered = [await look.get(RegisteredLimit, row.registered)]
    else:
        registered = [one for one in await look.list(RegisteredLimit) if one.resource]
    return next((one for one in await _held(look, registered, Which()) if one.id == key), None)


async def _require(look: Look, key: UUID) -> Held:
    found = await _find(look, key)
    if found is None:
        raise NotFound("Limit", key.hex)
    return found


async def change(
    cloud: Cloud, caller: Caller, key: UUID, limit: int | UnsetType, description: str | UnsetType
) -> Held:
    caller.require_admin("limit.update")
    async with cloud.transaction(caller) as tx:
        held = await _require(tx, key)
        return await _keep(
            tx,
            replace(
                held,
                limit=held.limit if limit is UNSET else limit,
                description=held.description if description is UNSET else description,
            ),
        )


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Back to the default."""
    caller.require_admin("limit.delete")
    async with cloud.transaction(caller) as tx:
        held = await _require(tx, key)
        resource = held.registered.resource
        if not resource:
            await tx.remove(await tx.get(UnifiedLimit, key))
        elif held.domain is not None:
            await domain_limits.drop(tx, held.domain, resource)
        else:
            await tx.rows.delete(Limit, held.project, resource)
