"""What pools and the image store keep, compared with what is recorded.

A disk that is missing is told, never made again: an empty one would hide the loss. A disk that nothing explains may be
the only copy of something (a database restored from an older day knows nothing of it), so it is kept for a day.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from msgspec.structs import replace

from pileus.core import alerts, mark
from pileus.core.alerts import Finding
from pileus.core.block.records import Snapshot, SnapshotState, StoragePool, Volume, VolumeState
from pileus.core.compute.records import Server
from pileus.core.image.records import Image, ImageState, ImageStoreRecord
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Missing
from pileus.drivers.volume.protocol import Pool, PoolFacts
from pileus.reconcile.pace import PAGE, Pace, pages
from pileus.reconcile.reactions import Drift, dammed, finding, told
from pileus.store import Record
from pileus.workflows import disks
from pileus.workflows.site import Site

log = structlog.get_logger()

LOOKS = 2
FULL = 90
"""Percent of a pool in use."""
LOOKED_INTO = 200
"""Volumes of which one look reads the snapshots; the looks take turns."""
THERE = frozenset({VolumeState.AVAILABLE, VolumeState.IN_USE})
"""States in which a volume has its disk for certain."""
SIMULATED = "memory"
"""A pool that is made again, empty, at every start; what is inside its disks is lost then."""
DISKS = told(
    *(d for d in Drift if d.value.partition(" ")[0] in ("pool", "volume", "snapshot", "config", "base"))
)
IMAGES = told(*(d for d in Drift if d.value.partition(" ")[0] == "image"))


class Orphans:
    """What nothing explains, and when it may go: seen often enough, and for so long."""

    def __init__(self, site: Site) -> None:
        self.cloud = site.cloud
        self._looks: Counter[tuple[Drift, UUID]] = Counter()
        self._seen: set[tuple[Drift, UUID]] = set()
        self._old: dict[str, set[UUID]] = {}

    async def begin(self) -> None:
        """Alerts remember over restarts when something was seen first."""
        kept = timedelta(seconds=self.cloud.config.orphan_seconds)
        self._seen, self._old = set(), {}
        for alert in await alerts.standing(self.cloud, told(*(d for d in Drift if d.value.endswith("left")))):
            if alert.first_at <= self.cloud.now() - kept:
                self._old.setdefault(alert.kind, set()).add(alert.subject)

    def end(self) -> None:
        for key in self._looks.keys() - self._seen:
            del self._looks[key]

    def due(self, drift: Drift, key: UUID, *, precious: bool) -> bool:
        """Note one more sight of it. `precious`: it may hold somebody's data."""
        self._looks[drift, key] += 1
        self._seen.add((drift, key))
        if self._looks[drift, key] < LOOKS:
            return False
        return not precious or key in self._old.get(drift.value, ())


class Pools:
    """One a process."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.orphans = Orphans(site)
        self._own: UUID | None = None
        self._standing: dict[UUID, list[Finding]] = {}
        """What the last look at each pool, or at the image store, found; it stands while that is away."""
        self._inside: dict[UUID, list[Finding]] = {}
        """The same of the snapshots in each volume."""
        self._after: dict[UUID, UUID] = {}
        """The last volume of each pool whose snapshots were looked at."""

    async def look(self) -> None:
        own = self._own = self._own or await mark.identify(self.cloud.store)
        await self.orphans.begin()
        async with self.cloud.view() as look:
            recorded = await look.list(StoragePool)
            store = await look.one(ImageStoreRecord)
        for pool in recorded:
            if pool.id in self.site.pools:
                self._standing[pool.id] = await self._pool(pool, self.site.pools[pool.id], own)
        found = [each for memory in (self._standing, self._inside) for one in memory.values() for each in one]
        await alerts.settle(self.cloud, DISKS, dammed([each for each in found if each.kind in DISKS]))
        if store is not None:
            self._standing[store.id] = await self._images(store, own)
            await alerts.settle(self.cloud, IMAGES, dammed(self._standing[store.id]))
        self.orphans.end()
        await disks.sweep_bases(self.site)

    # --- a pool

    async def _pool(self, pool: StoragePool, driver: Pool, own: UUID) -> list[Finding]:
        try:
            facts, there = await driver.facts(), await driver.volumes()
            owner = await self._owned(driver, pool, own, there)
            found = (
                [] if owner is None else [finding(Drift.POOL_FOREIGN, pool.id, name=pool.name, other=owner)]
            )
            found += await self._measure(pool, facts)
            found += await self._volumes(pool, driver, there, ours=owner is None)
            found += await self._drives(pool, driver, ours=owner is None)
            if pool.driver != SIMULATED:
                await self._snapshots(pool, driver, ours=owner is None)
        except DriverError as error:
            log.warning("pool cannot be compared", pool=pool.name, error=str(error))
            away = finding(Drift.POOL_AWAY, pool.id, name=pool.name, why=str(error), zone=pool.zone)
            return [each for each in self._standing.get(pool.id, ()) if each.kind != away.kind] + [away]
        return found

    async def _owned(
        self, driver: Pool, pool: StoragePool, own: UUID, there: Mapping[UUID, int]
    ) -> UUID | None:
        """Another cloud whose mark it carries. One without a mark is marked, but not where it looks as if it were away:
        recorded disks, and none of them there. Raises Missing then."""
        owner = await driver.owner()
        if owner is None:
            async with self.cloud.view() as look:
                first = await look.list(Volume, pool=pool.id, limit=PAGE)
            some = [volume for volume in first if volume.state in THERE and volume.operation is None]
            if some and not any(volume.id in there for volume in some):
                raise Missing(f"none of its disks is in {pool.path}; is it mounted?")
            await driver.claim(own)
        return None if owner in (None, own) else owner

    async def _measure(self, pool: StoragePool, facts: PoolFacts) -> list[Finding]:
        if (pool.total_bytes, pool.used_bytes) != (facts.total_bytes, facts.used_bytes):
            async with self.cloud.transaction() as tx:
                held = await tx.maybe(StoragePool, pool.id)
                if held is not None:
                    # How full it is, is no news.
                    measured = replace(held, total_bytes=facts.total_bytes, used_bytes=facts.used_bytes)
                    await tx.rows.update(measured)
        if facts.total_bytes and facts.available_bytes * 100 < facts.total_bytes * (100 - FULL):
            return [finding(Drift.POOL_FULL, pool.id, name=pool.name, percent=FULL, zone=pool.zone)]
        return []

    async def _volumes(
        self, pool: StoragePool, driver: Pool, there: Mapping[UUID, int], *, ours: bool
    ) -> list[Finding]:
        found, unexplained, pace = [], set(there), Pace()
        async for page in pages(self.cloud, Volume, pace=pace, pool=pool.id):
            unexplained -= {volume.id for volume in page}
            for volume in page:
                if volume.state in THERE and volume.operation is None and volume.id not in there:
                    if not await self._is_lost(volume, driver):
                        continue
                    await pace.rest()
                    lost = finding(
                        Drift.VOLUME_LOST,
                        volume.id,
                        project=volume.project,
                        zone=volume.zone,
                        id=volume.id,
                        name=volume.name,
                    )
                    found.append(lost)
        for key in await self._unexplained(Volume, unexplained):
            left = finding(Drift.VOLUME_LEFT, key, id=key, name=pool.name, zone=pool.zone)
            if ours and self.orphans.due(Drift.VOLUME_LEFT, key, precious=True):
                log.warning("disk without a record is removed", pool=pool.name, volume=str(key))
                await driver.delete(key)
            else:
                found.append(left)
        return found

    async def _is_lost(self, volume: Volume, driver: Pool) -> bool:
        """Asked once more: it may have been made, or deleted with its record, since the pool was read."""
        try:
            await driver.open(volume.id)
        except Missing:
            async with self.cloud.view() as look:
                held = await look.maybe(Volume, volume.id)
            return held is not None and held.state in THERE and held.operation is None
        return False

    async def _drives(self, pool: StoragePool, driver: Pool, *, ours: bool) -> list[Finding]:
        found = []
        for key in await self._unexplained(Server, await driver.config_drives()):
            if ours and self.orphans.due(Drift.DRIVE_LEFT, key, precious=False):
                await driver.delete_config_drive(key)
            else:
                found.append(finding(Drift.DRIVE_LEFT, key, id=key, name=pool.name))
        return found

    async def _unexplained(self, cls: type[Record], keys: Collection[UUID]) -> list[UUID]:
        """Those without a record, and without an operation that is at work on them."""
        left: list[UUID] = []
        every, pace = sorted(keys), Pace()
        for start in range(0, len(every), PAGE):
            chunk = tuple(every[start : start + PAGE])
            async with self.cloud.view() as look:
                known = {row.id for row in await look.list(cls, id=chunk)}  # type: ignore[attr-defined]
                rest = tuple(key for key in chunk if key not in known)
                busy = set()
                if rest:
                    busy = {o.subject for o in await look.list(Operation, subject=rest, outcome=tuple(LIVE))}
                    busy |= {o.key for o in await look.list(Operation, key=rest, outcome=tuple(LIVE))}
            left += [key for key in rest if key not in busy]
            await pace.rest()
        return left

    # --- snapshots

    async def _snapshots(self, pool: StoragePool, driver: Pool, *, ours: bool) -> None:
        """A few volumes at a time, round and round."""
        after = self._after.get(pool.id)
        async with self.cloud.view() as look:
            some = await look.list(
                Volume,
                pool=pool.id,
                operation=None,
                order=("id",),
                after=None if after is None else (after,),
                limit=LOOKED_INTO,
            )
            keys = tuple(volume.id for volume in some)
            recorded = await look.list(Snapshot, volume=keys) if keys else []
            busy = (
                {o.key for o in await look.list(Operation, key=keys, outcome=tuple(LIVE))} if keys else set()
            )
        self._after.pop(pool.id, None)
        if len(some) == LOOKED_INTO:
            self._after[pool.id] = some[-1].id
        pace = Pace()
        for volume in some:
            own = [each for each in recorded if each.volume == volume.id]
            working = volume.id in busy or any(each.operation is not None for each in own)
            if volume.state in THERE and not working:
                self._inside[volume.id] = await self._inside_of(volume, driver, own, ours=ours)
            await pace.rest()
        kept = {volume.id for volume in some}
        if after is None and len(some) < LOOKED_INTO:
            self._inside = {key: found for key, found in self._inside.items() if key in kept}

    async def _inside_of(
        self, volume: Volume, driver: Pool, recorded: Sequence[Snapshot], *, ours: bool
    ) -> list[Finding]:
        try:
            there = await driver.snapshots(volume.id)
        except DriverError:
            return []  # the disk is missing, which is told already, or unreadable while it changes
        found = []
        for each in recorded:
            if each.state is SnapshotState.AVAILABLE and each.id not in there:
                lost = finding(
                    Drift.SNAPSHOT_LOST, each.id, id=each.id, volume=volume.id, project=each.project
                )
                found.append(lost)
        for key in await self._unexplained(Snapshot, there - {each.id for each in recorded}):
            if ours and self.orphans.due(Drift.SNAPSHOT_LEFT, key, precious=True):
                log.warning("snapshot without a record is removed", volume=str(volume.id), snapshot=str(key))
                await disks.remove_snapshot(self.site, volume, key)
            else:
                found.append(finding(Drift.SNAPSHOT_LEFT, key, id=key, volume=volume.id))
        return found

    # --- images

    async def _images(self, store: ImageStoreRecord, own: UUID) -> list[Finding]:
        driver = self.site.images
        found: list[Finding] = []
        try:
            owner, there = await driver.owner(), await driver.images()
            if owner is None:
                await driver.claim(own)
            ours = owner in (None, own)
            if not ours:
                found.append(finding(Drift.STORE_FOREIGN, store.id, name=store.name, other=owner))
            async for page in pages(self.cloud, Image, pace=Pace(), state=ImageState.ACTIVE):
                for image in page:
                    if image.id not in there and image.operation is None and image.size:
                        lost = finding(
                            Drift.IMAGE_LOST, image.id, id=image.id, name=image.name, project=image.project
                        )
                        found.append(lost)
            for key in await self._unexplained(Image, there):
                if ours and self.orphans.due(Drift.IMAGE_LEFT, key, precious=True):
                    log.warning("content without an image is removed", image=str(key))
                    await driver.delete(key)
                else:
                    found.append(finding(Drift.IMAGE_LEFT, key, id=key, zone=store.zone))
        except DriverError as error:
            log.warning("image store cannot be compared", error=str(error))
            away = finding(Drift.STORE_AWAY, store.id, name=store.name, why=str(error), zone=store.zone)
            return [each for each in self._standing.get(store.id, ()) if each.kind != away.kind] + [away]
        return found


__all__ = ["Pools"]
