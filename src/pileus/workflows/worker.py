"""Takes operations up, one per key at a time, and keeps its leases alive while it works on them."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from pileus.core.operations import LIVE, Operation, Outcome
from pileus.store import le, lt
from pileus.store.errors import Conflicted, Disconnected
from pileus.workflows.engine import BLOCKED, WORKFLOWS, Fenced, advance
from pileus.workflows.site import Site

log = structlog.get_logger()

LEASE = 10.0
HEARTBEAT = 3.0
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
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None

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
        now = self.cloud.now()
        async with self.cloud.store.view() as view:
            due = await view.list(
                Operation,
                le("wake_at", now),
                outcome=tuple(LIVE),
                order=("wake_at", "sequence"),
                limit=room + len(self.running),
            )
        for operation in due:
            if operation.id not in self.running and (not operation.owner or self._expired(operation)):
                await self._claim(operation)
        async with self.cloud.store.view() as view:
            free = await view.list(Operation, outcome=tuple(LIVE), owner="", order=("wake_at",), limit=1)
        if not free:
            return IDLE
        return min(IDLE, max(0.0, (free[0].wake_at - self.cloud.now()).total_seconds()))

    def _expired(self, operation: Operation) -> bool:
        return operation.lease_until is None or operation.lease_until < self.cloud.now()

    async def _claim(self, operation: Operation) -> None:
        now = self.cloud.now()
        async with self.cloud.transaction() as tx:
            held = await tx.maybe(Operation, operation.id)
            if held is None or held.outcome not in LIVE or held.owner != operation.owner:
                return
            first = await tx.rows.one(
                Operation,
                lt("sequence", held.sequence),
                key=held.key,
                outcome=(Outcome.RUNNING, Outcome.UNWINDING),
            )
            if first is not None:
                await tx.rows.update_where(
                    Operation, {"wake_at": now + timedelta(seconds=BLOCKED)}, id=held.id
                )
                return
            claim = {
                "owner": self.owner,
                "lease_until": now + timedelta(seconds=LEASE),
                "started_at": held.started_at or now,
            }
            await tx.rows.update_where(Operation, claim, id=held.id)
            held = await tx.get(Operation, held.id)
        task = asyncio.create_task(self._work(held), name=f"{held.workflow} {held.id}")
        self.running[held.id] = task
        task.add_done_callback(lambda _: self._released(held.id))

    def _released(self, operation: UUID) -> None:
        self.running.pop(operation, None)
        self._wake.set()

    async def _work(self, operation: Operation) -> None:
        workflow = WORKFLOWS.get(operation.workflow)
        if workflow is None:
            log.error(
                "unknown workflow; was a newer Pileus here?",
                workflow=operation.workflow,
                operation=str(operation.id),
            )
            await asyncio.sleep(LEASE)
            return
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
            try:
                async with self.cloud.transaction() as tx:
                    until = {"lease_until": self.cloud.now() + timedelta(seconds=LEASE)}
                    await tx.rows.update_where(Operation, until, id=tuple(self.running), owner=self.owner)
            except (Conflicted, Disconnected) as error:
                log.warning("leases not renewed", error=str(error))
