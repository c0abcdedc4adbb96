"""Compares what the network platform holds with what is recorded, and makes them equal again: records win."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from operator import attrgetter
from uuid import UUID

import msgspec
import structlog

from pileus.core.network.changes import amend
from pileus.core.network.records import NetState, Network, Port, PortUse, Router, SecurityGroup
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Unreachable
from pileus.drivers.network.protocol import Kind
from pileus.store import ne
from pileus.workflows.network_sync import DRIVEN, sync_group, sync_network, sync_port, sync_router
from pileus.workflows.site import Site

log = structlog.get_logger()

Sync = Callable[[Site, UUID], Awaitable[None]]
SYNC: dict[Kind, Sync] = {
    Kind.GROUP: sync_group,
    Kind.NETWORK: sync_network,
    Kind.ROUTER: sync_router,
    Kind.PORT: sync_port,
}
"""In the order of application: containers first."""
AT_ONCE = 500
"""Ports looked at between passes."""

SLICE = 1000
"""Objects of one kind that one pass applies again though they are known; in a large cloud the passes take turns."""


class Repairs(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass found: recorded but not there, there but not recorded, and what could not be repaired."""

    restored: dict[Kind, frozenset[UUID]]
    removed: dict[Kind, frozenset[UUID]]
    failed: dict[UUID, str]
    moved: frozenset[UUID] = frozenset()
    """Ports that came up or went down since the last pass."""

    @property
    def count(self) -> int:
        return sum(map(len, (*self.restored.values(), *self.removed.values())))


class Reconciler:
    """One a cloud. `totals` counts what was restored, removed and failed since the start."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.totals: Counter[str] = Counter()
        self._turns: Counter[Kind] = Counter()

    async def once(self) -> Repairs:
        """One pass. What is missing is applied, and what is known is applied again, which costs little where
        nothing differs."""
        known = await self.site.network.known()
        recorded, busy = await self._recorded()
        failed: dict[UUID, str] = {}
        turn = {kind: self._turn(kind, recorded[kind] - busy) for kind in SYNC}
        for kind, sync in SYNC.items():
            missing = recorded[kind] - busy - known.get(kind, frozenset())
            await self._each(sync, missing | turn[kind], failed)
        leftover = {kind: known.get(kind, frozenset()) - recorded[kind] - busy for kind in SYNC}
        for kind in reversed(SYNC):
            await self._each(SYNC[kind], leftover[kind], failed)
        repairs = Repairs(
            restored={k: recorded[k] - known.get(k, frozenset()) - busy - failed.keys() for k in SYNC},
            removed={kind: leftover[kind] - failed.keys() for kind in SYNC},
            failed=failed,
            moved=await self._refresh_ports(turn[Kind.PORT]),
        )
        await self._heal(recorded, failed)
        self._report(repairs)
        return repairs

    def _turn(self, kind: Kind, keys: frozenset[UUID]) -> frozenset[UUID]:
        """All of them, or every so many-th of many: ids are random, so the turns are about equal."""
        turns = -(-len(keys) // SLICE)
        if turns <= 1:
            return keys
        self._turns[kind] += 1
        chosen = self._turns[kind] % turns
        return frozenset(key for key in keys if key.int % turns == chosen)

    async def _recorded(self) -> tuple[dict[Kind, frozenset[UUID]], frozenset[UUID]]:
        """What should be there, and what an operation is at work on."""
        async with self.cloud.view() as look:
            ports = await look.list(Port, use=tuple(DRIVEN))
            recorded = {
                Kind.NETWORK: frozenset(row.id for row in await look.list(Network)),
                Kind.ROUTER: frozenset(row.id for row in await look.list(Router)),
                Kind.GROUP: frozenset(row.id for row in await look.list(SecurityGroup)),
                Kind.PORT: frozenset(port.id for port in ports),
            }
            live = await look.list(Operation, outcome=tuple(LIVE))
            subjects = {key for operation in live for key in (operation.subject, operation.key)}
            of_servers = {port.id for port in ports if port.device in subjects}
        return recorded, frozenset(subjects | of_servers)

    async def _each(self, sync: Sync, keys: Iterable[UUID], failed: dict[UUID, str]) -> None:
        for key in sorted(keys, key=attrgetter("int")):
            await asyncio.sleep(
                0
            )  # a sync may come to its end without waiting for anything, and there may be many
            try:
                await sync(self.site, key)
            except Unreachable:
                raise
            except DriverError as error:
                failed[key] = str(error)

    async def rise(self) -> None:
        """A quick look between passes: ports of placed servers that are down may have come up by now."""
        async with self.cloud.view() as look:
            waiting = await look.list(Port, ne("host", None), use=PortUse.SERVER, up=False, limit=AT_ONCE)
        if waiting:
            await self._refresh_ports(frozenset(port.id for port in waiting))

    async def _refresh_ports(self, ports: frozenset[UUID]) -> frozenset[UUID]:
        """Port.up as the platform sees it."""
        async with self.cloud.view() as look:
            rows = {port.id: port.up for port in await look.list(Port, id=tuple(ports))}
        changed = {}
        for key in ports:
            up = await self.site.network.port_up(key)
            if key in rows and rows[key] is not up:
                changed[key] = up
        if changed:
            async with self.cloud.transaction() as tx:
                for key, up in changed.items():
                    port = await tx.maybe(Port, key)
                    if port is not None:
                        await tx.put(msgspec.structs.replace(port, up=up))
        return frozenset(changed)

    async def _heal(self, recorded: dict[Kind, frozenset[UUID]], failed: dict[UUID, str]) -> None:
        """Networks and routers that failed before and are applied now are in order again."""
        async with self.cloud.view() as look:
            ill: list[Network | Router] = [*await look.list(Network, state=NetState.ERROR)]
            ill += await look.list(Router, state=NetState.ERROR)
        well = [row for row in ill if row.id not in failed and row.id in recorded[_kind(row)]]
        if not well:
            return
        async with self.cloud.transaction() as tx:
            for row in well:
                now = await tx.maybe(type(row), row.id)
                if isinstance(now, Network):
                    await amend(tx, now, state=NetState.ACTIVE, fault="")
                elif now is not None:
                    await amend(tx, now, state=NetState.ACTIVE)

    def _report(self, repairs: Repairs) -> None:
        for word, found in (("restored", repairs.restored), ("removed", repairs.removed)):
            for kind, keys in found.items():
                if keys:
                    self.totals[word] += len(keys)
                    log.warning(
                        "network repaired", what=word, kind=kind.value, ids=[str(key) for key in sorted(keys)]
                    )
        for key, reason in repairs.failed.items():
            self.totals["failed"] += 1
            log.error("network not repaired", id=str(key), reason=reason)


def _kind(row: Network | Router) -> Kind:
    return Kind.NETWORK if isinstance(row, Network) else Kind.ROUTER
