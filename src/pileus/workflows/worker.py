"""Takes operations up, one per key at a time, and keeps its leases alive while it works on them."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import structlog

from pileus import tracing
from pileus.core.cloud import Tx
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.store import Condition, View, le, lt
from pileus.store.errors import Conflicted, Disconnected
from pileus.workflows.engine import BLOCKED, WORKFLOWS, Fenced, advance
from pileus.workflows.site import OURS, Site

log = structlog.get_logger()

LEASE = 10.0
HEARTBEAT = 3.0
CLAIMS = 16
"""Operations claimed in one transaction."""
IDLE = 1.0
"""Longest sleep of the loop: how late another process's operation is seen."""


class Worker:
    """One a process. `alone`: the state directory's lock says that every other owner is dead."""

    def __init__(self, site: Site, *, owner: str = "", alone: bool = True, concurrency: int = 64) -> None:
        self.site, self.cloud = site, site.cloud
        self.owner = owner or f"worker-{uuid4()}"
        self.alone = alone
        self.concurrency = concurrency
        self.running: dict[UUID, asyncio.Task[None]] = {}
        self._certain: dict[UUID, float] = {}
        """Until when, by this process's own clock, nobody else can have taken an operation that is in hand."""
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._looked = datetime.min.replace(tzinfo=UTC)
        """When the leases of others were looked at."""

    async def start(self) -> None:
        if self.alone:
            async with self.cloud.transaction() as tx:
                takeover = {"owner": "", "lease_until": None, "wake_at": self.cloud.now()}
                await tx.rows.update_where(Operation, takeover, outcome=tuple(LIVE))
        self.cloud.on_operation = self._wake.set
        self._loop = asyncio.create_task(self._run(), name="worker")
        self._beat = asyncio.create_task(self._heartbeat(), name="worker heartbeat")

    async def stop(self) -> None:
        """Stop between the steps' awaits; what was in hand is repeated by the next owner."""
        tasks = [t for t in (self._loop, self._beat, *self.running.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.running.clear()

    async def idle(self) -> None:
        """Return when no operation is due or in hand: for tests, and before a quiet stop."""
        while True:
            async with self.cloud.store.view() as view:
                live = await view.count(Operation, outcome=(Outcome.RUNNING, Outcome.UNWINDING))
            if not live and not self.running:
                return
            await asyncio.sleep(0.005)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self._take()
            except (Conflicted, Disconnected) as error:
                log.warning("worker cannot take work", error=str(error))
                pause = IDLE
            # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the wake-up.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _take(self) -> float:
        """Claim what is due; seconds until the next look."""
        room = self.concurrency - len(self.running)
        if room <= 0:
            return IDLE
        async with self.cloud.store.view() as view:
            due = await self._due(view, room)
        for start in range(0, len(due), CLAIMS):
            for operation in await self._claim(due[start : start + CLAIMS]):
                self._begin(operation)
        async with self.cloud.store.view() as view:
            free = [operation for outcome in LIVE for operation in await self._free(view, outcome, 1)]
        if not free:
            return IDLE
        first = min(operation.wake_at for operation in free)
        return min(IDLE, max(0.0, (first - self.cloud.now()).total_seconds()))

    async def _due(self, view: View, room: int) -> list[Operation]:
        """What nobody works on, and now and then what a worker that died has left."""
        now = self.cloud.now()
        found = [
            operation
            for outcome in LIVE
            for operation in await self._free(view, outcome, room, le("wake_at", now))
        ]
        found.sort(key=lambda operation: (operation.wake_at, operation.sequence))
        if now - self._looked >= timedelta(seconds=HEARTBEAT):
            self._looked = now
            lost = await view.list(Operation, lt("lease_until", now), outcome=tuple(LIVE), limit=room)
            found = [operation for operation in lost if operation.owner] + found
        return [operation for operation in found if operation.id not in self.running][:room]

    async def _free(self, view: View, outcome: Outcome, limit: int, *where: Condition) -> list[Operation]:
        """One outcome at a time, so that an index gives the order however many wait."""
        return await view.list(
            Operation, *where, outcome=outcome, owner="", order=("wake_at", "sequence"), limit=limit
        )

    async def _claim(self, due: Sequence[Operation]) -> list[Operation]:
        """Those that are ours now."""
        async with self.cloud.transaction() as tx:
            return [ours for operation in due if (ours := await self._claim_one(tx, operation)) is not None]

    async def _claim_one(self, tx: Tx, operation: Operation) -> Operation | None:
        now = self.cloud.now()
        held = await tx.maybe(Operation, operation.id)
        if held is None or held.outcome not in LIVE or held.owner != operation.owner:
            return None
        unfinished = (Outcome.RUNNING, Outcome.UNWINDING)
        first = await tx.rows.one(Operation, lt("sequence", held.sequence), key=held.key, outcome=unfinished)
        if first is not None and not _called_off_unbegun(held):
            later = {"wake_at": now + timedelta(seconds=BLOCKED)}
            await tx.rows.update_where(Operation, later, id=held.id)
            return None
        claim = {
            "owner": self.owner,
            "lease_until": now + timedelta(seconds=LEASE),
            "started_at": held.started_at or now,
        }
        await tx.rows.update_where(Operation, claim, id=held.id)
        return msgspec.structs.replace(held, **claim)

    def _begin(self, operation: Operation) -> None:
        left = (operation.lease_until - self.cloud.now()).total_seconds() if operation.lease_until else LEASE
        self._certain[operation.id] = time.monotonic() + left
        task = asyncio.create_task(self._work(operation), name=f"{operation.workflow} {operation.id}")
        self.running[operation.id] = task
        task.add_done_callback(lambda _: self._released(operation.id))

    def _released(self, operation: UUID) -> None:
        self.running.pop(operation, None)
        self._certain.pop(operation, None)
        self._wake.set()

    async def _work(self, operation: Operation) -> None:
        trace = tracing.parse(operation.trace)
        structlog.contextvars.bind_contextvars(trace=trace.trace if trace else "")
        workflow = WORKFLOWS.get(operation.workflow)
        if workflow is None:
            log.error(
                "unknown workflow; was a newer Pileus here?",
                workflow=operation.workflow,
                operation=str(operation.id),
            )
            await asyncio.sleep(LEASE)
            return
        OURS.set(lambda: self.alone or time.monotonic() < self._certain.get(operation.id, 0.0))
        try:
            ended = await advance(self.site, workflow, operation)
        except Fenced as fenced:
            log.warning("operation lost to another worker", operation=str(operation.id), reason=str(fenced))
        except (Conflicted, Disconnected) as error:
            log.warning(
                "operation interrupted by the database", operation=str(operation.id), error=str(error)
            )
            await self._release(operation)
        except Exception:
            log.exception(
                "operation broke the engine", operation=str(operation.id), workflow=operation.workflow
            )
            await self._release(operation)
        else:
            log.info(
                "operation",
                operation=str(operation.id),
                workflow=operation.workflow,
                subject=str(operation.subject),
                outcome=ended.outcome.value,
                step=ended.step,
                why=ended.why,
                fault=ended.fault,
            )

    async def _release(self, operation: Operation) -> None:
        """Give it back, to be tried again in a second."""
        with suppress(Conflicted, Disconnected):
            async with self.cloud.transaction() as tx:
                later = {"owner": "", "lease_until": None, "wake_at": self.cloud.now() + timedelta(seconds=1)}
                await tx.rows.update_where(Operation, later, id=operation.id, owner=self.owner)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            if not self.running:
                continue
            now, renewed = time.monotonic(), tuple(self.running)
            try:
                async with self.cloud.transaction() as tx:
                    until = {"lease_until": self.cloud.now() + timedelta(seconds=LEASE)}
                    await tx.rows.update_where(Operation, until, id=renewed, owner=self.owner)
                # A lease that had run out is not certain again: another may have it.
                for key in renewed:
                    if self._certain.get(key, 0.0) > now:
                        self._certain[key] = now + LEASE
            except (Conflicted, Disconnected) as error:
                log.warning("leases not renewed", error=str(error))


def _called_off_unbegun(operation: Operation) -> bool:
    """It has done nothing, and need not wait for its turn to say so."""
    return operation.cancelled and operation.outcome is Outcome.RUNNING and operation.started_at is None
