"""Zones and the hosts in them: where servers run, and whether new ones may come."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import Host, Server, Zone
from pileus.core.errors import InUse, NotFound
from pileus.core.placement.inventory import known

CHUNK = 500


async def amend(tx: Tx, host: Host, **changes: Any) -> Host:
    """Change a host; what the scheduler knows follows at the commit."""
    changed = replace(host, **changes)
    if replace(changed, seen_at=host.seen_at) != host:
        changed = replace(changed, generation=host.generation + 1)
    changed = await tx.put(changed)
    inventory = known(tx.cloud)
    tx.rows.after_commit(lambda: inventory.see(changed))
    return changed


async def seen(cloud: Cloud, key: UUID, facts: Mapping[str, Any]) -> None:
    """The host answered, and this is what it is now."""
    async with cloud.transaction() as tx:
        host = await tx.maybe(Host, key)
        if host is not None:
            await amend(tx, host, **facts, up=True, seen_at=cloud.now())


async def seen_again(cloud: Cloud, keys: Sequence[UUID]) -> None:
    """These hosts answered, and are what they were: only the time is written, which is no change of a host."""
    for start in range(0, len(keys), CHUNK):
        async with cloud.transaction() as tx:
            chunk = tuple(keys[start : start + CHUNK])
            await tx.rows.update_where(Host, {"seen_at": cloud.now()}, id=chunk, up=True)


async def lost(cloud: Cloud, key: UUID) -> None:
    """The host does not answer: no new server goes there."""
    async with cloud.transaction() as tx:
        host = await tx.maybe(Host, key)
        if host is not None and host.up:
            await amend(tx, host, up=False)


async def enable(cloud: Cloud, caller: Caller, key: UUID, enabled: bool, *, reason: str = "") -> Host:
    """Whether new servers may come; those that are there stay."""
    caller.require_admin("host.update")
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        return await amend(tx, host, enabled=enabled, disabled_reason="" if enabled else reason)


async def remove(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("host.delete")
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        if host.servers or await tx.one(Server, host=key):
            raise InUse(f"Host {host.hostname} has servers; move or delete them first.")
        await tx.remove(host)
        inventory = known(cloud)
        tx.rows.after_commit(lambda: inventory.forget(key))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Host:
    caller.require_admin("host.read")
    async with cloud.view() as look:
        return await look.get(Host, key)


async def named(look: Look, hostname: str) -> Host:
    found = await look.one(Host, hostname=hostname)
    if found is None:
        raise NotFound("Host", hostname)
    return found


async def listing(cloud: Cloud, caller: Caller, *where: Any, **filters: Any) -> list[Host]:
    caller.require_admin("host.read")
    filters.setdefault("order", ("number",))
    async with cloud.view() as look:
        return await look.list(Host, *where, **filters)


async def servers_of(cloud: Cloud, caller: Caller, hosts: list[Host]) -> dict[UUID, list[Server]]:
    """The servers on these hosts, by host."""
    caller.require_admin("host.read")
    found: dict[UUID, list[Server]] = {host.id: [] for host in hosts}
    async with cloud.view() as look:
        for server in await look.list(Server, host=tuple(found), order=("created_at", "id")):
            if server.host is not None:
                found[server.host].append(server)
    return found


async def zones(cloud: Cloud) -> list[Zone]:
    """Anyone may know the zones."""
    async with cloud.view() as look:
        return await look.list(Zone, order=("name",))


async def hosts_by_zone(cloud: Cloud, caller: Caller) -> list[tuple[Zone, list[Host]]]:
    caller.require_admin("host.read")
    async with cloud.view() as look:
        all_hosts = await look.list(Host, order=("hostname",))
        return [
            (zone, [host for host in all_hosts if host.zone == zone.id])
            for zone in await look.list(Zone, order=("name",))
        ]
