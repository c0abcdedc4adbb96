"""Host groups: hosts that have something in common, which placement can ask for, and the parts of zones that they make."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute import hosts
from pileus.core.compute.records import Host, HostGroup, HostGroupMember, Zone
from pileus.core.errors import Conflict, Exists, InUse, Invalid, NotFound
from pileus.core.placement.groups import announce

ZONE = "availability_zone"
"""The metadata item that names the zone, or the part of one, that a group's hosts are."""


class ZoneClash(Conflict):
    """A host would be of two zones, or of two parts of one."""


class Filled(msgspec.Struct, frozen=True):
    """A group with its hosts, in order of their numbers."""

    group: HostGroup
    hosts: list[Host]

    @property
    def zone_name(self) -> str:
        return self.group.metadata.get(ZONE, "")


async def create(
    cloud: Cloud, caller: Caller, name: str, *, zone_name: str = "", metadata: Mapping[str, str] | None = None
) -> Filled:
    """`zone_name`: of a zone, whose hosts alone it then takes, or of a part that this group makes. Raises Exists."""
    caller.require_admin("host_group.create")
    async with cloud.transaction(caller) as tx:
        await refuse_taken(tx, name)
        items = dict(metadata or {}) | ({ZONE: zone_name} if zone_name else {})
        now = cloud.now()
        group = HostGroup(
            id=cloud.new_id(),
            number=await tx.next_number("host_group"),
            name=name,
            zone=await _zone_of(tx, items),
            metadata=items,
            created_at=now,
            updated_at=now,
        )
        await announce(tx)
        return Filled(await tx.add(group), [])


async def refuse_taken(tx: Tx, name: str) -> None:
    if not name:
        raise Invalid("A host group needs a name.")
    if await tx.one(HostGroup, name=name) is not None:
        raise Exists(f"Host group {name} already exists.")


async def _zone_of(look: Look, metadata: Mapping[str, str]) -> UUID | None:
    name = metadata.get(ZONE, "")
    zone = await look.one(Zone, name=name) if name else None
    return zone.id if zone else None


async def find(look: Look, key: int | UUID) -> HostGroup:
    """By number or id. Raises NotFound."""
    if isinstance(key, UUID):
        found = await look.maybe(HostGroup, key)
    else:
        found = await look.one(HostGroup, number=key)
    if found is None:
        raise NotFound("Host group", key)
    return found


async def hosts_of(look: Look, group: UUID) -> list[Host]:
    members = [member.host for member in await look.list(HostGroupMember, group=group)]
    return await look.list(Host, id=tuple(members), order=("number",)) if members else []


async def filled(look: Look, groups: Sequence[HostGroup]) -> list[Filled]:
    """Two readings for all."""
    members = await look.list(HostGroupMember, group=tuple(group.id for group in groups)) if groups else []
    wanted = tuple({member.host for member in members})
    by_id = {host.id: host for host in await look.list(Host, id=wanted)} if wanted else {}
    inside: dict[UUID, list[Host]] = {group.id: [] for group in groups}
    for member in members:
        if member.host in by_id:
            inside[member.group].append(by_id[member.host])
    return [Filled(group, sorted(inside[group.id], key=lambda host: host.number)) for group in groups]


async def listing(cloud: Cloud, caller: Caller) -> list[Filled]:
    caller.require_admin("host_group.read")
    async with cloud.view() as look:
        return await filled(look, await look.list(HostGroup, order=("number",)))


async def show(cloud: Cloud, caller: Caller, key: int | UUID) -> Filled:
    caller.require_admin("host_group.read")
    async with cloud.view() as look:
        group = await find(look, key)
        return Filled(group, await hosts_of(look, group.id))


async def update(
    cloud: Cloud,
    caller: Caller,
    key: int | UUID,
    *,
    name: str | None = None,
    metadata: Mapping[str, str | None] | None = None,
) -> Filled:
    """Rename it, and merge metadata; an item of None is removed. Raises Exists, ZoneClash."""
    caller.require_admin("host_group.update")
    async with cloud.transaction(caller) as tx:
        group = await find(tx, key)
        if name is not None and name != group.name:
            await refuse_taken(tx, name)
        kept = group.metadata | dict(metadata or {})
        items = {item: value for item, value in kept.items() if value is not None}
        changed = replace(group, name=name or group.name, metadata=items)
        held = await hosts_of(tx, group.id)
        if items.get(ZONE) != group.metadata.get(ZONE):
            changed = replace(changed, zone=await _zone_of(tx, items))
            _refuse_peopled(group, held)
            await _refuse_clash(tx, changed, held)
        if changed == group:
            return Filled(group, held)
        await announce(tx)
        return Filled(await tx.put(replace(changed, updated_at=tx.cloud.now())), held)


def _refuse_peopled(group: HostGroup, held: Iterable[Host]) -> None:
    """Servers that were asked for a part of a zone would be in another."""
    for host in held if group.metadata.get(ZONE) else ():
        if host.servers:
            raise ZoneClash(
                f"Host {host.hostname} has servers in zone {group.metadata[ZONE]}; move or delete them first."
            )


async def _refuse_clash(look: Look, group: HostGroup, held: Iterable[Host]) -> None:
    """A host is in its own zone, and in one part of it at most."""
    name = group.metadata.get(ZONE)
    if not name:
        return
    for host in held:
        if group.zone is not None and host.zone != group.zone:
            raise ZoneClash(f"Host {host.hostname} is of another zone than {name}; take a host of that zone.")
        others = [member.group for member in await look.list(HostGroupMember, host=host.id)]
        for other in await look.list(HostGroup, id=tuple(others)) if others else []:
            theirs = other.metadata.get(ZONE, name)
            if other.id != group.id and theirs != name:
                raise ZoneClash(
                    f"Host {host.hostname} is already in zone {theirs} by host group {other.name}; "
                    "take it out of that group first."
                )


async def add_host(cloud: Cloud, caller: Caller, key: int | UUID, hostname: str) -> Filled:
    """Raises NotFound, Exists for a member, ZoneClash."""
    caller.require_admin("host_group.update")
    async with cloud.transaction(caller) as tx:
        group = await find(tx, key)
        # Locked, so that it is not put into another part of its zone at the same time.
        host = await tx.get(Host, (await hosts.named(tx, hostname)).id)
        if await tx.maybe(HostGroupMember, group.id, host.id) is not None:
            raise Exists(f"Host group {group.name} already has host {hostname}.")
        await _refuse_clash(tx, group, [host])
        await tx.add(HostGroupMember(group=group.id, host=host.id))
        return await _changed(tx, group)


async def remove_host(cloud: Cloud, caller: Caller, key: int | UUID, hostname: str) -> Filled:
    """Raises NotFound. Its servers stay; those that were asked for the group's zone are no longer in it."""
    caller.require_admin("host_group.update")
    async with cloud.transaction(caller) as tx:
        group = await find(tx, key)
        host = await hosts.named(tx, hostname)
        member = await tx.maybe(HostGroupMember, group.id, host.id)
        if member is None:
            raise NotFound("Host", f"{hostname} in host group {group.name}")
        await tx.remove(member)
        return await _changed(tx, group)


async def _changed(tx: Tx, group: HostGroup) -> Filled:
    await announce(tx)
    kept = await tx.put(replace(group, updated_at=tx.cloud.now()))
    return Filled(kept, await hosts_of(tx, group.id))


async def remove(cloud: Cloud, caller: Caller, key: int | UUID) -> None:
    """Raises InUse for one that has hosts."""
    caller.require_admin("host_group.delete")
    async with cloud.transaction(caller) as tx:
        group = await find(tx, key)
        if await tx.one(HostGroupMember, group=group.id) is not None:
            raise InUse(f"Host group {group.name} is not empty; take its hosts out first.")
        await announce(tx)
        await tx.remove(group)


# Parts of zones


async def zone_names(look: Look, held: Sequence[Host]) -> dict[UUID, str]:
    """By host the zone as it is shown: the part that a group makes, else the zone itself."""
    known = {zone.id: zone.name for zone in await look.list(Zone)}
    named = {host.id: known.get(host.zone, "") for host in held}
    members = await look.list(HostGroupMember, host=tuple(named)) if named else []
    wanted = tuple({member.group for member in members})
    parts = {
        group.id: group.metadata[ZONE]
        for group in (await look.list(HostGroup, id=wanted) if wanted else [])
        if group.metadata.get(ZONE)
    }
    return named | {member.host: parts[member.group] for member in members if member.group in parts}


async def zones(cloud: Cloud) -> list[tuple[str, bool]]:
    """(name, whether new servers may come) of each zone and each part that has hosts, by name; anyone may know them."""
    async with cloud.view() as look:
        known = {zone.name: zone.enabled for zone in await look.list(Zone)}
        for group in await look.list(HostGroup):
            name = group.metadata.get(ZONE, "")
            if name and name not in known and await look.one(HostGroupMember, group=group.id):
                known[name] = True
    return sorted(known.items())


async def by_zone(look: Look) -> list[tuple[str, bool, list[Host]]]:
    """(name, whether new servers may come, hosts) of each zone and each part that has hosts, by name."""
    held = await look.list(Host, order=("hostname",))
    names = await zone_names(look, held)
    enabled = {zone.name: zone.enabled for zone in await look.list(Zone)}
    known = enabled.keys() | set(names.values())
    return [
        (name, enabled.get(name, True), [host for host in held if names[host.id] == name])
        for name in sorted(known)
        if name
    ]


class Wanted(msgspec.Struct, frozen=True):
    """What a zone's name asks of placement: the zone, or metadata of the host's groups."""

    zone: UUID | None = None
    metadata: dict[str, str] = {}


async def zone_wanted(look: Look, name: str) -> Wanted | None:
    """None for a name that is neither a zone's nor a part's."""
    zone = await look.one(Zone, name=name)
    if zone is not None:
        return Wanted(zone=zone.id)
    if any(group.metadata.get(ZONE) == name for group in await look.list(HostGroup)):
        return Wanted(metadata={ZONE: name})
    return None


async def groups_by_host(look: Look) -> dict[UUID, set[UUID]]:
    """The ids of the groups that each host is in."""
    found: dict[UUID, set[UUID]] = {}
    for member in await look.list(HostGroupMember):
        found.setdefault(member.host, set()).add(member.group)
    return found
