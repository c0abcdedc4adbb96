"""Hosts: what they can do, whether new servers may come, and the zones that they are in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute import traits
from pileus.core.compute.records import Host, HostGroupMember, Server, State, Zone
from pileus.core.compute.states import Verb
from pileus.core.errors import Conflict, InUse, NotFound
from pileus.core.placement.groups import announce
from pileus.core.placement.inventory import known
from pileus.store import not_in

CHUNK = 500
QUIET = (State.STOPPED, State.SUSPENDED, State.ERROR, State.DESTROYED)
"""In these a server's guest does not run."""
WAKING = frozenset({Verb.START, Verb.RESUME, Verb.REBOOT_HARD})
"""After these it does."""


class Outdated(Conflict):
    """The host is not as the caller saw it."""

    def __init__(self, host: Host) -> None:
        super().__init__(
            f"Host {host.hostname} was changed meanwhile (generation {host.generation}); read it again and repeat."
        )


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
            await amend(tx, host, **facts, up=not host.forced_down, seen_at=cloud.now())


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
    """Whether new servers may come; those that are there stay. Raises Conflict for a host in maintenance."""
    caller.require_admin("host.update")
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        if enabled and host.maintenance:
            raise Conflict(f"Host {host.hostname} is in maintenance; end the maintenance to enable it.")
        return await amend(tx, host, enabled=enabled, disabled_reason="" if enabled else reason)


async def force_down(cloud: Cloud, caller: Caller, key: UUID, down: bool) -> Host:
    """Hold a host for down whatever it answers; `down` false: believe again what it answers, at once."""
    caller.require_admin("host.update")
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        up = False if down else host.up or host.forced_down
        return await amend(tx, host, forced_down=down, up=up)


async def maintain(cloud: Cloud, caller: Caller, key: UUID, on: bool) -> Host:
    """Begin or end a maintenance; repeating is fine. Servers there stay, and none comes or starts until its end."""
    caller.require_admin("host.update")
    async with cloud.transaction(caller) as tx:
        return await amend(tx, await tx.get(Host, key), maintenance=on)


async def set_traits(
    cloud: Cloud, caller: Caller, key: UUID, words: Iterable[str], *, generation: int | None = None
) -> Host:
    """Replace what is written on the host; what its record tells is left out. Raises Invalid, Outdated."""
    caller.require_admin("host.update")
    written = tuple(sorted(set(traits.checked(words)) - traits.TOLD))
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        if generation is not None and generation != host.generation:
            raise Outdated(host)
        return await amend(tx, host, traits=written)


async def remove(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Raises InUse for a host with servers."""
    caller.require_admin("host.delete")
    async with cloud.transaction(caller) as tx:
        host = await tx.get(Host, key)
        if host.servers or await tx.one(Server, host=key):
            raise InUse(f"Host {host.hostname} has servers; move or delete them first.")
        if await tx.rows.delete_where(HostGroupMember, host=key):
            await announce(tx)
        await tx.remove(host)
        inventory = known(cloud)
        tx.rows.after_commit(lambda: inventory.forget(key))


async def running_on(look: Look, hosts: Sequence[Host]) -> dict[UUID, int]:
    """How many guests run on each of these hosts; for those in maintenance, which wait for their end."""
    wanted = tuple(host.id for host in hosts)
    found = dict.fromkeys(wanted, 0)
    for server in await look.list(Server, not_in("state", QUIET), host=wanted) if wanted else []:
        if server.host is not None:
            found[server.host] += 1
    return found


async def refuse_wake(look: Look, server: Server, verb: Verb) -> None:
    """Nothing that is quiet starts to run on a host in maintenance. Raises Conflict."""
    if verb not in WAKING or server.state not in QUIET or server.host is None:
        return
    # Read without a lock, for the host's row is one that many servers wait for.
    if await look.one(Host, id=server.host, maintenance=True) is not None:
        raise Conflict(
            f"Server {server.id} is on a host in maintenance; it cannot {verb} until the maintenance ends."
        )


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
