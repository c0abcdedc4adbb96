"""Start, stop, reboot, pause, suspend and their opposites. What fails leaves the server as it was."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from pileus.core.cloud import Tx
from pileus.core.compute.lifecycle import Back
from pileus.core.compute.records import Server, State
from pileus.core.compute.states import VERBS, Verb
from pileus.drivers.hypervisor.protocol import Power
from pileus.workflows.engine import Run, Step, Wait, Workflow, register
from pileus.workflows.server_deploy import define, hypervisor_of, pause_after, running, server_of, write_drive

GRACE = 60.0
"""Seconds that a guest has to power off when asked; then the plug is pulled."""
MEMORY_LIMIT = 2 * 3600.0
"""Seconds that a try may take which writes a guest's memory or reads it back."""


async def ask_off(run: Run) -> None:
    """ACPI, unless the guest cannot hear it or was not to be asked."""
    hypervisor = await hypervisor_of(run)
    deaf = run.want.force or await hypervisor.power(run.subject) is Power.PAUSED
    await hypervisor.stop(run.subject, force=deaf)


async def off(run: Run) -> Wait | None:
    hypervisor = await hypervisor_of(run)
    if await hypervisor.power(run.subject) in (None, Power.OFF):
        return None
    now = run.cloud.now()
    if (now - (run.operation.first_try or now)).total_seconds() >= GRACE:
        await hypervisor.stop(run.subject, force=True)
    return Wait(pause_after(run), why="the guest was asked to power off")


async def cut_off(run: Run) -> None:
    """At once; saved memory is dropped, or it would come back at the start."""
    hypervisor = await hypervisor_of(run)
    if await hypervisor.power(run.subject) is Power.SUSPENDED:
        await hypervisor.undefine(run.subject)
    else:
        await hypervisor.stop(run.subject, force=True)


async def power_on(run: Run) -> None:
    await (await hypervisor_of(run)).start(run.subject)


async def freeze(run: Run) -> None:
    await (await hypervisor_of(run)).pause(run.subject)


async def thaw(run: Run) -> None:
    await (await hypervisor_of(run)).resume(run.subject)


async def save(run: Run) -> None:
    await (await hypervisor_of(run)).suspend(run.subject)


async def cut_off_where_placed(run: Run) -> None:
    if (await server_of(run)).host is not None:
        await cut_off(run)


def settled(after: State, **fields: Any) -> Callable[[Run, Tx], Awaitable[None]]:
    async def finished(run: Run, tx: Tx) -> None:
        server = await tx.get(Server, run.subject)
        if server.operation == run.operation.id:
            now = run.cloud.now()
            stamps = {"updated_at": now, "fault": "", "fault_at": None}
            if after is State.DESTROYED:
                stamps["destroyed_at"] = now
            await tx.put(replace(server, state=after, operation=None, **stamps, **fields))

    return finished


async def reverted(run: Run, tx: Tx, fault: str) -> None:
    """As it was before; where the platform has it otherwise now, the reconciler records that."""
    server = await tx.maybe(Server, run.subject)
    if server is not None and server.operation == run.operation.id:
        now = run.cloud.now()
        back = {
            "state": run.want.before,
            "operation": None,
            "fault": fault,
            "fault_at": now,
            "updated_at": now,
        }
        await tx.put(replace(server, **back))


ON = (Step("start", power_on, limit=MEMORY_LIMIT), Step("running", running))
UP = (Step("config drive", write_drive), Step("define", define), *ON)
"""A guest that its host has lost is made again from its records."""

STEPS: dict[Verb, tuple[Step, ...]] = {
    Verb.START: UP,
    Verb.STOP: (Step("ask", ask_off), Step("off", off)),
    Verb.REBOOT: (Step("ask", ask_off), Step("off", off), *ON),
    Verb.REBOOT_HARD: (Step("cut off", cut_off), *UP),
    Verb.PAUSE: (Step("freeze", freeze),),
    Verb.UNPAUSE: (Step("thaw", thaw),),
    Verb.SUSPEND: (Step("save", save, limit=MEMORY_LIMIT),),
    Verb.RESUME: ON,
    Verb.DESTROY: (Step("cut off", cut_off_where_placed),),
    Verb.RECOVER: (),
}

WORKFLOWS = {
    verb: register(
        Workflow(
            f"server.{verb.value.replace(' ', '_')}",
            steps=steps,
            finished=settled(VERBS[verb].after, **({"destroyed_at": None} if verb is Verb.RECOVER else {})),
            failed=reverted,
            want=Back,
            cancellable=verb is Verb.START,
        )
    )
    for verb, steps in STEPS.items()
}
