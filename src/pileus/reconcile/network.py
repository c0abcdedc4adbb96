"""Compares what the network platform holds with what is recorded, and makes them equal again: records win.

What somebody else made on the platform is counted and left alone.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from operator import attrgetter
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog

from pileus.core import alerts
from pileus.core.alerts import Finding
from pileus.core.network.changes import amend
from pileus.core.network.records import NetState, Network, Port, PortUse, Router, SecurityGroup
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Unreachable
from pileus.drivers.network.protocol import Kind, Survey
from pileus.reconcile.pace import PAGE, Pace, pages
from pileus.reconcile.reactions import Drift, dammed, finding, several, told
from pileus.store import gt, ne
from pileus.workflows.network_sync import DRIVEN, sync_group, sync_network, sync_port, sync_router
from pileus.workflows.site import Site

log = structlog.get_logger()

Sync = Callable[[Site, UUID], Awaitable[bool]]
SYNC: dict[Kind, Sync] = {
    Kind.GROUP: sync_group,
    Kind.NETWORK: sync_network,
    Kind.ROUTER: sync_router,
    Kind.PORT: sync_port,
}
"""In the order of application: containers first."""
AT_ONCE = PAGE
"""Ports looked at between passes."""

SLICES: Mapping[Kind, int] = {Kind.NETWORK: 20, Kind.ROUTER: 100, Kind.GROUP: 100, Kind.PORT: 1000}
"""How many of a kind one pass applies again though they are known; in a large cloud the passes take turns. A network is
as much work as it has names."""
LOOKS = 2
"""What nothing explains is removed when so many passes in a row found it."""
KINDS = told(*(drift for drift in Drift if drift.value.partition(" ")[0] == "network"))
IDS = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Keys = frozenset[UUID]
Row = TypeVar("Row", Network, Router, SecurityGroup, Port)
NONE: Keys = frozenset()


class Repairs(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass found and did: recorded but not there, there but otherwise, there but not recorded, what could not
    be repaired, and what was left alone."""

    restored: dict[Kind, Keys]
    changed: dict[Kind, Keys] = {}
    """Known, and not as it was recorded."""
    strange: dict[Kind, Keys] = {}
    """Not recorded; not seen often enough yet, or not provably ours."""
    removed: dict[Kind, Keys]
    failed: dict[UUID, str]
    foreign: Mapping[str, int] = {}
    moved: Keys = NONE
    """Ports that came up or went down since the last pass."""

    @property
    def count(self) -> int:
        every = (*self.restored.values(), *self.changed.values(), *self.removed.values())
        return sum(map(len, every))


class Recorded(msgspec.Struct, frozen=True):
    """What should be there, what an operation is at work on, and everything that live operations name."""

    keys: dict[Kind, Keys]
    busy: Keys
    named: Keys
    sequence: int
    """Of the newest operation then."""


class Reconciler:
    """One a cloud. `totals` counts what was restored, removed and failed since the start."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.totals: Counter[str] = Counter()
        self._turns: Counter[Kind] = Counter()
        self._strange: Counter[UUID] = Counter()

    async def once(self) -> Repairs:
        """One pass. What is missing is applied, and what is known is applied again, which costs little where
        nothing differs."""
        try:
            survey = await self.site.network.survey()
            repairs = await self._repair(survey)
        except Unreachable as error:
            away = finding(Drift.NETWORK_AWAY, why=str(error))
            await self._settle([away], keep=await self._open())
            raise
        self._report(repairs)
        await self._settle(self._findings(repairs), keep=())
        return repairs

    async def restore(self) -> None:
        """Apply what is recorded to a platform that forgets it with its process, before any work goes on, and also what
        that work is about: it may be past the step that would apply it. Nothing was lost, so nothing is told."""
        pace = Pace()
        recorded = await self._recorded(pace)
        for kind, sync in SYNC.items():
            await self._each(sync, recorded.keys[kind], {}, pace)

    async def _repair(self, survey: Survey) -> Repairs:
        pace = Pace()
        recorded = await self._recorded(pace)
        failed: dict[UUID, str] = {}
        restored: dict[Kind, Keys] = {}
        changed: dict[Kind, Keys] = {}
        turn: dict[Kind, Keys] = {}
        for kind, sync in SYNC.items():
            known = survey.known.get(kind, NONE)
            idle = await pace.less(recorded.keys[kind], recorded.busy)
            missing = await pace.less(idle, known)
            turn[kind] = self._turn(kind, idle)
            await pace.rest()
            differed = await self._each(sync, missing | turn[kind], failed, pace)
            drifted = differed - await self._excused(differed, recorded, pace)
            restored[kind], changed[kind] = drifted - known, drifted & known
        strange, removed = await self._leftovers(survey, recorded, failed, pace)
        moved = await self._refresh_ports(turn[Kind.PORT], pace)
        await self._heal(recorded.keys, failed)
        return Repairs(
            restored=restored,
            changed=changed,
            strange=strange,
            removed=removed,
            failed=failed,
            foreign=survey.foreign,
            moved=moved,
        )

    def _turn(self, kind: Kind, keys: Keys) -> Keys:
        """All of them, or every so many-th of many: ids are random, so the turns are about equal."""
        turns = -(-len(keys) // SLICES[kind])
        if turns <= 1:
            return keys
        self._turns[kind] += 1
        chosen = self._turns[kind] % turns
        return frozenset(key for key in keys if key.int % turns == chosen)

    async def _recorded(self, pace: Pace) -> Recorded:
        """Ids only, a page at a time. Operations come last: what was recorded meanwhile names its own then."""
        async with self.cloud.view() as look:
            newest = await look.list(Operation, order=("-sequence",), limit=1)
        keys = {
            Kind.NETWORK: await self._ids(Network, pace),
            Kind.ROUTER: await self._ids(Router, pace),
            Kind.GROUP: await self._ids(SecurityGroup, pace),
            Kind.PORT: await self._ids(Port, pace, use=tuple(DRIVEN)),
        }
        async with self.cloud.view() as look:
            live = await look.list(Operation, outcome=tuple(LIVE))
        subjects = frozenset(key for operation in live for key in (operation.subject, operation.key))
        of_servers: set[UUID] = set()
        for start in range(0, len(live), PAGE):
            devices = tuple({operation.key for operation in live[start : start + PAGE]})
            async with self.cloud.view() as look:
                of_servers |= {port.id for port in await look.list(Port, device=devices)}
            await pace.rest()
        return Recorded(
            keys,
            frozenset(subjects | of_servers),
            named(live),
            newest[0].sequence if newest else 0,
        )

    async def _ids(self, cls: type[Row], pace: Pace, **equals: object) -> Keys:
        keys: set[UUID] = set()
        async for page in pages(self.cloud, cls, pace=pace, **equals):
            keys.update(row.id for row in page)
        return frozenset(keys)

    async def _excused(self, keys: Collection[UUID], recorded: Recorded, pace: Pace) -> Keys:
        """Those that differed because somebody asked for it, and the operation had not come to it yet."""
        if not keys:
            return NONE
        async with self.cloud.view() as look:
            since = await look.list(Operation, gt("sequence", recorded.sequence))
        mentioned = recorded.named | named(since)
        excused, every = set(mentioned & set(keys)), tuple(keys)
        for start in range(0, len(every), PAGE):
            async with self.cloud.view() as look:
                ports = await look.list(Port, id=every[start : start + PAGE])
            excused |= {port.id for port in ports if port.device in mentioned}
            await pace.rest()
        return frozenset(excused)

    async def _leftovers(
        self, survey: Survey, recorded: Recorded, failed: dict[UUID, str], pace: Pace
    ) -> tuple[dict[Kind, Keys], dict[Kind, Keys]]:
        """What nothing explains: still there, and removed."""
        strange: dict[Kind, Keys] = {}
        removed: dict[Kind, Keys] = {}
        looks: Counter[UUID] = Counter()
        for kind in reversed(SYNC):
            there = survey.known.get(kind, NONE) | (survey.left if kind is Kind.NETWORK else NONE)
            unexplained = await pace.less(there, recorded.keys[kind]) - recorded.busy
            for key in unexplained:
                looks[key] = self._strange[key] + 1
            due = frozenset(key for key in unexplained - survey.unmarked if looks[key] >= LOOKS)
            await self._each(SYNC[kind], due, failed, pace)
            removed[kind] = due - failed.keys()
            strange[kind] = unexplained - removed[kind]
        self._strange = looks
        return strange, removed

    async def _each(self, sync: Sync, keys: Iterable[UUID], failed: dict[UUID, str], pace: Pace) -> Keys:
        """Those at which something had to be changed."""
        changed = set()
        for key in keys:
            # A sync may come to its end without waiting for anything, and there may be many.
            await pace.rest()
            try:
                if await sync(self.site, key):
                    changed.add(key)
            except Unreachable:
                raise
            except DriverError as error:
                failed[key] = str(error)
        return frozenset(changed)

    async def rise(self) -> None:
        """A quick look between passes: ports of placed servers that are down may have come up by now."""
        async with self.cloud.view() as look:
            waiting = await look.list(Port, ne("host", None), use=PortUse.SERVER, up=False, limit=AT_ONCE)
        if waiting:
            await self._refresh_ports(frozenset(port.id for port in waiting), Pace())

    async def _refresh_ports(self, ports: Keys, pace: Pace) -> Keys:
        """Port.up as the platform sees it."""
        moved: set[UUID] = set()
        keys = ordered(ports)
        for start in range(0, len(keys), PAGE):
            chunk = tuple(keys[start : start + PAGE])
            async with self.cloud.view() as look:
                rows = {port.id: port.up for port in await look.list(Port, id=chunk)}
            changed = {}
            for key in rows:
                up = await self.site.network.port_up(key)
                if rows[key] is not up:
                    changed[key] = up
            if changed:
                async with self.cloud.transaction() as tx:
                    for key, up in changed.items():
                        port = await tx.maybe(Port, key)
                        if port is not None:
                            await tx.put(msgspec.structs.replace(port, up=up))
            moved |= changed.keys()
            await pace.rest()
        return frozenset(moved)

    async def _heal(self, recorded: dict[Kind, Keys], failed: dict[UUID, str]) -> None:
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

    # --- telling

    async def _open(self) -> Collection[UUID]:
        """While the platform is away, what was found before stands."""
        standing = await alerts.standing(self.cloud, KINDS)
        return {alert.subject for alert in standing}

    async def _settle(self, findings: list[Finding], *, keep: Collection[UUID]) -> None:
        await alerts.settle(self.cloud, KINDS, dammed(findings), keep=keep)

    def _findings(self, repairs: Repairs) -> list[Finding]:
        by_drift = (
            (Drift.NETWORK_MISSING, repairs.restored),
            (Drift.NETWORK_CHANGED, repairs.changed),
            (Drift.NETWORK_LEFT, repairs.strange),
        )
        found: list[Finding] = []
        for drift, kinds in by_drift:
            found += several(drift, {kind.value: keys for kind, keys in kinds.items() if keys})
        broken = [
            finding(Drift.NETWORK_BROKEN, key, kind="object", id=key, why=why)
            for key, why in sorted(repairs.failed.items())
        ]
        found += dammed(broken)
        if repairs.foreign:
            what = ", ".join(f"{count} {name}" for name, count in sorted(repairs.foreign.items()))
            found.append(finding(Drift.NETWORK_FOREIGN, what=what))
        return found

    def _report(self, repairs: Repairs) -> None:
        words = (("restored", repairs.restored), ("changed", repairs.changed), ("removed", repairs.removed))
        for word, found in words:
            for kind, keys in found.items():
                if keys:
                    self.totals[word] += len(keys)
                    ids = [str(key) for key in ordered(keys)[:PAGE]]
                    log.warning("network repaired", what=word, kind=kind.value, count=len(keys), ids=ids)
        for key, reason in repairs.failed.items():
            self.totals["failed"] += 1
            log.error("network not repaired", id=str(key), reason=reason)


def ordered(keys: Iterable[UUID]) -> list[UUID]:
    """Always alike; ids themselves compare slowly."""
    return sorted(keys, key=attrgetter("int"))


def named(operations: Iterable[Operation]) -> Keys:
    """Every object that these operations are about, or mention."""
    found: set[UUID] = set()
    for operation in operations:
        found |= {operation.subject, operation.key}
        found.update(UUID(text.decode()) for text in IDS.findall(operation.want))
    return frozenset(found)


def _kind(row: Network | Router) -> Kind:
    return Kind.NETWORK if isinstance(row, Network) else Kind.ROUTER


__all__ = ["LOOKS", "Reconciler", "Repairs"]
