"""Long work as a table of named, repeatable steps with undo: its vocabulary, and how one operation goes on.

A step has at most one outside effect, and its output (JSON builtins) is journalled under its name; names are stored,
so a rename is a migration. A killed process repeats at most the step it was in, and the light ones before it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec
import structlog

from pileus import tracing
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import CoreError, Unavailable
from pileus.core.operations import LASTING, Operation, Outcome, Taken
from pileus.drivers.errors import Unreachable
from pileus.store.errors import Conflicted, Disconnected
from pileus.workflows.interruption import Interrupted, interruptibly, within
from pileus.workflows.site import Site
from pileus.workflows.timeline import note

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds that a step may wait in all before waiting becomes failure; they begin with the end of its first try."""
LIMIT, LONG_LIMIT = 900.0, 86_400.0
"""Seconds that one try of a step may take, and of one that copies or fetches content."""
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
    taken: list[Taken] = field(default_factory=list)
    """The steps that ended, for the operation's timeline; written with the journal."""

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


Do = Callable[[Run], Coroutine[Any, Any, Any]]
Undo = Callable[[Run], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Step:
    """`undo` copes with a step that broke before or after its effect, and may be repeated.
    `light`: repeating it costs less than a commit, so its output is journalled together with the next one's.
    `interruptible`: it may take minutes, and a cancellation ends it at any of its awaits; `undo` copes with that.
    `limit`: seconds after which one try of it, or of its undo, is cut off at its await and counts as Unreachable."""

    name: str
    do: Do
    undo: Undo | None = None
    patience: float = PATIENCE
    light: bool = False
    interruptible: bool = False
    limit: float = LIMIT


async def _nothing(run: Run, tx: Tx) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Workflow:
    """`finished` and `failed` run in the transaction that ends the operation: the last word on the subject's state.
    `failed` gets the public reason. `cancellable`: a person may call it off; not where the undo cannot restore what
    was, nor for what must come to its end (a delete)."""

    name: str
    steps: Sequence[Step]
    failed: Callable[[Run, Tx, str], Awaitable[None]]
    finished: Callable[[Run, Tx], Awaitable[None]] = _nothing
    want: type[msgspec.Struct] | None = None
    cancellable: bool = True


WORKFLOWS: dict[str, Workflow] = {}


def register(workflow: Workflow) -> Workflow:
    WORKFLOWS[workflow.name] = workflow
    (LASTING.discard if workflow.cancellable else LASTING.add)(workflow.name)
    return workflow


async def advance(site: Site, workflow: Workflow, operation: Operation) -> Operation:
    """Go on from the journal: to the end, to a wait, or back to nothing. Raises Fenced."""
    want = operation.wanted(workflow.want) if workflow.want else None
    run = Run(site, operation, want, dict(operation.done), list(operation.taken))
    with tracing.within(tracing.parse(operation.trace, site.cloud.spans)):
        return await _advance(run, workflow)


async def _advance(run: Run, workflow: Workflow) -> Operation:
    operation = run.operation
    while operation.outcome is Outcome.RUNNING:
        step = next((s for s in workflow.steps if s.name not in run.done), None)
        if operation.cancelled:
            operation = await _turn_back(run, operation.ending, "")
        elif step is None:
            operation = await _finish(run, workflow)
        else:
            operation, waits = await _try(run, step)
            if waits:
                return operation
        run = _now(run, operation)
    return operation if operation.outcome is Outcome.DONE else await _unwind(run, workflow)


def _now(run: Run, operation: Operation) -> Run:
    return Run(run.site, operation, run.want, run.done, run.taken)


async def _try(run: Run, step: Step) -> tuple[Operation, bool]:
    """One step: journal its output; or a wait; or the turn back."""
    at, began = run.cloud.now(), perf_counter()
    try:
        with _span(run, step.name):
            output = await _do(run, step)
    except Fenced:
        raise
    except (Unreachable, Unavailable, Conflicted, Disconnected) as error:
        output = Wait(RETRY[min(run.operation.tries, len(RETRY) - 1)], why=str(error))
    except Exception as error:
        if not isinstance(error, CoreError | Interrupted):
            log.warning("step failed", operation=str(run.operation.id), step=step.name, exc_info=True)
        _note(run, step, at, began, fault=_public(error))
        return await _turn_back(run, _public(error), step.name, _kind(error)), False
    if not isinstance(output, Wait):
        run.done[step.name] = output
        milliseconds = _note(run, step, at, began)
        log.info(
            "step", operation=str(run.operation.id), subject=str(run.subject), step=step.name, ms=milliseconds
        )
        if step.light and not run.operation.tries:
            return run.operation, False
        changes = {"step": step.name, "tries": 0, "first_try": None, "why": ""}
        return await _write(run, changes), False
    first = run.operation.first_try or run.cloud.now()
    if (run.cloud.now() - first).total_seconds() > step.patience:
        fault = f"Gave up after {step.patience:.0f} s: {output.why}"
        _note(run, step, at, began, fault=fault)
        return await _turn_back(run, fault, step.name), False
    return await _sleep(run, output, first, step.name), True


async def _do(run: Run, step: Step) -> Any:
    work = step.do(run)
    if step.interruptible:
        work = interruptibly(run.cloud, run.operation, work)
    return await within(step.limit, work, step.name)


def _span(run: Run, what: str) -> AbstractContextManager[tracing.Span | None]:
    operation = run.operation
    about = {"pileus.operation": str(operation.id), "pileus.subject": str(operation.subject)}
    return tracing.span(f"{operation.workflow} {what}", tracing.Kind.INTERNAL, about)


def _note(run: Run, step: Step, at: datetime, began: float, *, fault: str = "", undo: bool = False) -> float:
    """Put what ended on the timeline; its milliseconds."""
    milliseconds = round((perf_counter() - began) * 1000, 1)
    tries = 1 if undo else run.operation.tries + 1
    note(run.taken, Taken(step=step.name, at=at, ms=milliseconds, tries=tries, undo=undo, fault=fault))
    return milliseconds


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
            at, began = run.cloud.now(), perf_counter()
            try:
                with _span(run, f"undo {step.name}"):
                    await within(step.limit, step.undo(run), step.name)
            except Fenced:
                raise
            except Exception as error:
                _note(run, step, at, began, fault=_public(error), undo=True)
                return await _undo_later(run, step, error)
            _note(run, step, at, began, undo=True)
        if run.done.pop(step.name, None) is not None:
            run = _now(run, await _write(run, {"step": step.name, "tries": 0, "first_try": None}))
    async with run.cloud.transaction(operation=run.operation) as tx:
        held = await run.held(tx)
        await workflow.failed(run, tx, run.operation.fault)
        return await _end(run, tx, held, Outcome.FAILED)


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
    """Done; or turned back, when a cancellation was committed before this."""
    async with run.cloud.transaction(operation=run.operation) as tx:
        held = await run.held(tx)
        if not held.cancelled:
            await workflow.finished(run, tx)
            return await _end(run, tx, held, Outcome.DONE)
    return await _turn_back(run, held.ending, "")


async def _end(run: Run, tx: Tx, held: Operation, outcome: Outcome) -> Operation:
    """Close the operation and wake the next of its key, in the caller's transaction."""
    now = run.cloud.now()
    changes = {"outcome": outcome, "finished_at": now, "owner": "", "lease_until": None, "why": ""}
    ended = msgspec.structs.replace(held, done=run.done, taken=tuple(run.taken), **changes)
    await tx.rows.update(ended)
    waiting = {"key": ended.key, "outcome": (Outcome.RUNNING, Outcome.UNWINDING), "owner": ""}
    # Whenever they would wake: one that a worker is putting to sleep right now sleeps for BLOCKED from a later now.
    await tx.rows.update_where(Operation, {"wake_at": now}, **waiting)
    tx.rows.after_commit(lambda: run.cloud.on_operation())
    return ended


async def _write(run: Run, changes: dict[str, Any]) -> Operation:
    """A fenced write of the journal; returns the row as it is now, cancellation included."""
    async with run.cloud.transaction(operation=run.operation) as tx:
        held = await run.held(tx)
        written = msgspec.structs.replace(held, done=run.done, taken=tuple(run.taken), **changes)
        if written.cancelled and written.outcome is Outcome.RUNNING:
            # Whoever cancelled it woke it; a wait that began meanwhile is over too.
            written = msgspec.structs.replace(written, wake_at=run.cloud.now())
        await tx.rows.update(written)
    return written
