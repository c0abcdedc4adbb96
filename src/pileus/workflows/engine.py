"""Long work as a table of named, repeatable steps with undo: its vocabulary, and how one operation goes on.

A step has at most one outside effect, and its output (JSON builtins) is journalled under its name; names are stored,
so a rename is a migration. A killed process repeats at most the step it was in, and the light ones before it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec
import structlog

from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import CoreError, Unavailable
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Unreachable
from pileus.store import le
from pileus.store.errors import Conflicted, Disconnected
from pileus.workflows.site import Site

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds that a step may wait in all before waiting becomes failure."""
UNDO_DEADLINE = 600.0
"""Seconds of failing undo after which a person is told."""
RETRY = (1.0, 2.0, 5.0, 10.0, 30.0)
BLOCKED = 60.0
"""How long an operation sleeps behind another of its key; that one wakes it when it ends."""


class Fenced(Exception):
    """Another worker owns the operation now; stop at once and write nothing."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that is not finished: call it again after so many seconds."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Run:
    """What a step sees: the site, its operation and subject, the request, and earlier outputs."""

    site: Site
    operation: Operation
    want: Any
    done: dict[str, Any] = field(default_factory=dict)

    @property
    def cloud(self) -> Cloud:
        return self.site.cloud

    @property
    def subject(self) -> UUID:
        return self.operation.subject

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction that commits only while this worker owns the operation."""
        async with self.cloud.transaction(operation=self.operation) as tx:
            await self.held(tx)
            yield tx

    async def held(self, tx: Tx) -> Operation:
        """The operation as it is now. Raises Fenced when it is another worker's."""
        held = await tx.maybe(Operation, self.operation.id)
        if held is None or held.owner != self.operation.owner:
            raise Fenced(f"operation {self.operation.id} is owned by {held and held.owner}")
        return held


Do = Callable[[Run], Awaitable[Any]]
Undo = Callable[[Run], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """`undo` copes with a step that broke before or after its effect, and may be repeated.
    `light`: repeating it costs less than a commit, so its output is journalled together with the next one's."""

    name: str
    do: Do
    undo: Undo | None = None
    patience: float = PATIENCE
    light: bool = False


async def _nothing(run: Run, tx: Tx) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Workflow:
    """`finished` and `failed` run in the transaction that ends the operation: the last word on the subject's state.
    `failed` gets the public reason."""

    name: str
    steps: Sequence[Step]
    failed: Callable[[Run, Tx, str], Awaitable[None]]
    finished: Callable[[Run, Tx], Awaitable[None]] = _nothing
    want: type[msgspec.Struct] | None = None


WORKFLOWS: dict[str, Workflow] = {}


def register(workflow: Workflow) -> Workflow:
    WORKFLOWS[workflow.name] = workflow
    return workflow


async def advance(site: Site, workflow: Workflow, operation: Operation) -> Operation:
    """Go on from the journal: to the end, to a wait, or back to nothing. Raises Fenced."""
    want = operation.wanted(workflow.want) if workflow.want else None
    run = Run(site, operation, want, dict(operation.done))
    while operation.outcome is Outcome.RUNNING:
        step = next((s for s in workflow.steps if s.name not in run.done), None)
        if operation.cancelled:
            operation = await _turn_back(run, "It was cancelled, because a delete was asked for.", "")
        elif step is None:
            return await _finish(run, workflow)
        else:
            operation, waits = await _try(run, step)
            if waits:
                return operation
        run = Run(site, operation, want, run.done)
    return await _unwind(run, workflow)


async def _try(run: Run, step: Step) -> tuple[Operation, bool]:
    """One step: journal its output; or a wait; or the turn back."""
    began = perf_counter()
    try:
        output = await step.do(run)
    except Fenced:
        raise
    except (Unreachable, Unavailable, Conflicted, Disconnected) as error:
        output = Wait(RETRY[min(run.operation.tries, len(RETRY) - 1)], why=str(error))
    except Exception as error:
        if not isinstance(error, CoreError):
            log.warning("step failed", operation=str(run.operation.id), step=step.name, exc_info=True)
        return await _turn_back(run, _public(error), step.name, _kind(error)), False
    if not isinstance(output, Wait):
        run.done[step.name] = output
        milliseconds = round((perf_counter() - began) * 1000, 1)
        log.info(
            "step", operation=str(run.operation.id), subject=str(run.subject), step=step.name, ms=milliseconds
        )
        if step.light and not run.operation.tries:
            return run.operation, False
        changes = {"done": run.done, "step": step.name, "tries": 0, "first_try": None, "why": ""}
        return await _write(run, changes), False
    now = run.cloud.now()
    first = run.operation.first_try or now
    if (now - first).total_seconds() > step.patience:
        return await _turn_back(run, f"Gave up after {step.patience:.0f} s: {output.why}", step.name), False
    return await _sleep(run, output, first, step.name), True


def _public(error: Exception) -> str:
    return error.public if isinstance(error, CoreError) else (str(error) or type(error).__name__)


def _kind(error: Exception) -> str:
    return error.kind.value if isinstance(error, CoreError) else ""


async def _turn_back(run: Run, fault: str, step: str, kind: str = "") -> Operation:
    log.info(
        "operation unwinds",
        operation=str(run.operation.id),
        workflow=run.operation.workflow,
        step=step,
        fault=fault,
    )
    changes = {
        "done": run.done,
        "outcome": Outcome.UNWINDING,
        "fault": fault,
        "fault_kind": kind,
        "step": step,
        "tries": 0,
        "first_try": None,
        "why": "",
    }
    return await _write(run, changes)


async def _sleep(run: Run, wait: Wait, first: Any, step: str, **more: Any) -> Operation:
    changes = {
        "done": run.done,
        "owner": "",
        "lease_until": None,
        "wake_at": run.cloud.now() + timedelta(seconds=wait.seconds),
        "why": wait.why,
        "tries": run.operation.tries + 1,
        "first_try": first,
        "step": step,
        **more,
    }
    return await _write(run, changes)


async def _unwind(run: Run, workflow: Workflow) -> Operation:
    """Undo, last first: the step that broke, for it may have broken half way, then the finished ones."""
    for step in reversed(_reached(run, workflow)):
        if step.undo is not None:
            try:
                await step.undo(run)
            except Fenced:
                raise
            except Exception as error:
                return await _undo_later(run, step, error)
        if run.done.pop(step.name, None) is not None:
            operation = await _write(
                run, {"done": run.done, "step": step.name, "tries": 0, "first_try": None}
            )
            run = Run(run.site, operation, run.want, run.done)
    async with run.transaction() as tx:
        await workflow.failed(run, tx, run.operation.fault)
        return await _end(run, tx, Outcome.FAILED)


def _reached(run: Run, workflow: Workflow) -> Sequence[Step]:
    """The finished steps and the next; what is light may be done without a word of it in the journal."""
    left = [
        place for place, step in enumerate(workflow.steps) if step.name not in run.done and not step.light
    ]
    return workflow.steps[: left[0] + 1] if left else workflow.steps


async def _undo_later(run: Run, step: Step, error: Exception) -> Operation:
    now = run.cloud.now()
    first = run.operation.first_try or now
    late = (now - first).total_seconds() > UNDO_DEADLINE
    log.warning(
        "undo failed", operation=str(run.operation.id), step=step.name, error=str(error), flagged=late
    )
    seconds = 300.0 if late else RETRY[min(run.operation.tries, len(RETRY) - 1)]
    outcome = Outcome.FLAGGED if late else Outcome.UNWINDING
    wait = Wait(seconds, f"undo of {step.name}: {_public(error)}")
    return await _sleep(run, wait, first, step.name, outcome=outcome)


async def _finish(run: Run, workflow: Workflow) -> Operation:
    async with run.transaction() as tx:
        await workflow.finished(run, tx)
        return await _end(run, tx, Outcome.DONE)


async def _end(run: Run, tx: Tx, outcome: Outcome) -> Operation:
    """Close the operation and wake the next of its key, in the caller's transaction."""
    now = run.cloud.now()
    changes = {
        "outcome": outcome,
        "finished_at": now,
        "owner": "",
        "lease_until": None,
        "why": "",
        "done": run.done,
    }
    ended = msgspec.structs.replace(run.operation, **changes)
    await tx.rows.update(ended)
    waiting = {"key": ended.key, "outcome": (Outcome.RUNNING, Outcome.UNWINDING), "owner": ""}
    await tx.rows.update_where(
        Operation, {"wake_at": now}, le("wake_at", now + timedelta(seconds=BLOCKED)), **waiting
    )
    tx.rows.after_commit(lambda: run.cloud.on_operation())
    return ended


async def _write(run: Run, changes: dict[str, Any]) -> Operation:
    """A fenced write of the journal; returns the row as it is now, cancellation included."""
    async with run.cloud.transaction(operation=run.operation) as tx:
        written = msgspec.structs.replace(await run.held(tx), **changes)
        await tx.rows.update(written)
    return written
