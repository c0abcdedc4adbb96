"""Stop the servers of an account or a project that was disabled."""

from pileus.core.caller import system
from pileus.core.cloud import Tx
from pileus.core.compute import lifecycle
from pileus.core.compute.records import Server, State
from pileus.core.errors import CoreError
from pileus.core.identity.tenancy.tenants import SUSPEND
from pileus.workflows.engine import Run, Step, Wait, Workflow, register

RESTING = frozenset(
    {State.STOPPED, State.PAUSED, State.SUSPENDED, State.ERROR, State.DESTROYED, State.DELETING}
)
LOOK_AGAIN = 0.5


async def servers(run: Run) -> Wait | None:
    """Ask each that runs to stop, and wait until none runs; what is being built or changed is waited for."""
    async with run.cloud.view() as look:
        awake = [
            server for server in await look.list(Server, project=run.subject) if server.state not in RESTING
        ]
    why = f"{len(awake)} servers are being stopped"
    for server in awake:
        if server.state is State.ACTIVE:
            try:
                await lifecycle.stop(run.cloud, system(request=run.operation.request), server.id)
            except CoreError as error:
                why = error.public
    return Wait(LOOK_AGAIN, why) if awake else None


async def failed(run: Run, tx: Tx, fault: str) -> None:
    """What is still running is stopped when it is suspended again; nobody can use it meanwhile."""


WORKFLOWS = tuple(
    register(Workflow(name, steps=(Step("servers", servers),), failed=failed)) for name in SUSPEND.values()
)
