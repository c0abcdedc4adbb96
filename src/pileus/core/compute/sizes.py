"""Sizes: how much of a host a server gets, and who may ask for it."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute import traits
from pileus.core.compute.records import Server, Size
from pileus.core.errors import Conflict, Exists, Invalid, NotFound

SPEC_NAME = re.compile(r"[\w\-\.:]([\w\-\. :]*[\w\-\.:])?")
TRAIT = "trait:"
"""Extra specs of this scope say "required" or "forbidden" of a trait; they are kept in the size's traits."""
HOST_METADATA = "aggregate_instance_extra_specs:"
"""Extra specs of this scope say what the metadata of a host's groups must hold."""


class Create(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ref: str = ""
    """Empty: the id."""
    description: str = ""
    vcpus: int
    memory_mib: int
    disk_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    public: bool = True
    projects: tuple[UUID, ...] = ()
    extra_specs: dict[str, str] = {}
    required_traits: tuple[str, ...] = ()
    cpu_mhz: int = 1000


async def create(cloud: Cloud, caller: Caller, want: Create) -> Size:
    caller.require_admin("size.create")
    if want.vcpus < 1 or want.memory_mib < 1 or min(want.disk_gib, want.ephemeral_gib, want.swap_mib) < 0:
        raise Invalid("A size has at least one processor and 1 MiB of memory, and no negative amounts.")
    async with cloud.transaction(caller) as tx:
        id = cloud.new_id()
        ref = want.ref or str(id)
        if await tx.one(Size, ref=ref):
            raise Exists(f"Flavor with ID {ref} already exists.")
        if await tx.one(Size, name=want.name, retired=False):
            raise Exists(f"Flavor with name {want.name} already exists.")
        fields = msgspec.structs.asdict(want) | {"id": id, "ref": ref, "created_at": cloud.now()}
        fields["required_traits"] = traits.checked(want.required_traits)
        return await tx.add(Size(**fields))


def usable(size: Size, caller: Caller) -> bool:
    """Whether the caller may see and use it."""
    if size.retired:
        return False
    return caller.admin or size.public or (caller.project is not None and caller.project in size.projects)


async def find(look: Look, caller: Caller, key: UUID | str) -> Size:
    """By id or by ref. Raises NotFound."""
    if isinstance(key, UUID):
        found = await look.maybe(Size, key)
    else:
        found = await look.one(Size, ref=key)
    if found is None or not usable(found, caller):
        raise NotFound("Size", key)
    return found


async def show(cloud: Cloud, caller: Caller, key: UUID | str) -> Size:
    async with cloud.view() as look:
        return await find(look, caller, key)


async def listing(cloud: Cloud, caller: Caller, *where: Any, **filters: Any) -> list[Size]:
    """The sizes that the caller may use, in order of creation; filters and paging as the store's."""
    limit, page = filters.pop("limit", None), []
    filters.setdefault("order", ("created_at", "id"))
    async with cloud.view() as look:
        page = await look.list(Size, *where, retired=False, **filters)
    seen = [size for size in page if usable(size, caller)]
    return seen if limit is None else seen[:limit]


async def update(cloud: Cloud, caller: Caller, key: UUID | str, **changes: Any) -> Size:
    """Change name, description, disabled, public, extra_specs, required_traits: nothing that a running server relies on."""
    caller.require_admin("size.update")
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        if "required_traits" in changes:
            changes["required_traits"] = traits.checked(changes["required_traits"])
        return await tx.put(replace(size, **changes))


async def set_specs(cloud: Cloud, caller: Caller, key: UUID | str, given: Mapping[str, str]) -> Size:
    """Add or replace extra specs. Raises Invalid for a name that no client could address."""
    caller.require_admin("size.update")
    for name in given:
        if not SPEC_NAME.fullmatch(name):
            raise Invalid(
                f"{name!r} is no name of an extra spec; use letters, digits, '-', '_', '.', ':' and spaces."
            )
    wanted = {name: value for name, value in given.items() if not name.startswith(TRAIT)}
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        for name in given.keys() - wanted.keys():
            size = with_trait(size, name.removeprefix(TRAIT), given[name])
        return await tx.put(replace(size, extra_specs=size.extra_specs | wanted))


def with_trait(size: Size, word: str, want: str) -> Size:
    """`want`: "required", "forbidden", or "" for neither. Raises Invalid."""
    traits.checked([word])
    required = {name for name in size.required_traits if name != word}
    forbidden = {name for name in size.forbidden_traits if name != word}
    match want:
        case "required":
            required.add(word)
        case "forbidden":
            forbidden.add(word)
        case "":
            pass
        case _:
            raise Invalid(f"Trait {word} can be required or forbidden by a size, not {want[:50]}.")
    return replace(size, required_traits=tuple(sorted(required)), forbidden_traits=tuple(sorted(forbidden)))


def specs(size: Size) -> dict[str, str]:
    """The extra specs with those that are kept as traits."""
    required = {f"{TRAIT}{word}": "required" for word in size.required_traits}
    return size.extra_specs | required | {f"{TRAIT}{word}": "forbidden" for word in size.forbidden_traits}


def host_metadata(size: Size) -> dict[str, str]:
    """What the groups of a host that takes such servers must say."""
    return {
        name.removeprefix(HOST_METADATA): value
        for name, value in size.extra_specs.items()
        if name.startswith(HOST_METADATA)
    }


async def unset_spec(cloud: Cloud, caller: Caller, key: UUID | str, name: str) -> None:
    caller.require_admin("size.update")
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        if name not in specs(size):
            raise NotFound("Extra spec", name)
        left = {known: value for known, value in size.extra_specs.items() if known != name}
        if name.startswith(TRAIT):
            size = with_trait(size, name.removeprefix(TRAIT), "")
        await tx.put(replace(size, extra_specs=left))


async def grant(cloud: Cloud, caller: Caller, key: UUID | str, project: UUID) -> Size:
    """Let a project use a size that is not public. Raises Exists, Conflict."""
    caller.require_admin("size.update")
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        if size.public:
            raise Conflict("Can not add access to a public flavor.")
        if project in size.projects:
            raise Exists(
                f"Flavor access already exists for flavor {size.ref} and project {project.hex} combination."
            )
        return await tx.put(replace(size, projects=(*size.projects, project)))


async def revoke(cloud: Cloud, caller: Caller, key: UUID | str, project: UUID) -> Size:
    caller.require_admin("size.update")
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        if project not in size.projects:
            raise NotFound("Size access", f"{size.ref} / {project.hex}")
        return await tx.put(replace(size, projects=tuple(p for p in size.projects if p != project)))


async def delete(cloud: Cloud, caller: Caller, key: UUID | str) -> None:
    """Gone for new servers at once; the row stays while servers show it."""
    caller.require_admin("size.delete")
    async with cloud.transaction(caller) as tx:
        size = await find(tx, caller, key)
        if await tx.one(Server, size=size.id):
            await tx.put(replace(size, retired=True, ref=str(size.id)))
        else:
            await tx.remove(size)


async def forget(tx: Tx, key: UUID, server: UUID) -> None:
    """After its last server went, a retired size goes too."""
    size = await tx.maybe(Size, key)
    if size is None or not size.retired:
        return
    others = [other for other in await tx.list(Server, size=key) if other.id != server]
    if not others:
        await tx.remove(size)
