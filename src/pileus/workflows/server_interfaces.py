"""The plugging and unplugging of a port as operations on its server."""

from dataclasses import replace
from typing import Any

import msgspec

from pileus.core.cloud import Tx
from pileus.core.compute.interfaces import Plug
from pileus.core.compute.nics import OnPort
from pileus.workflows.engine import Do, Run, Step, Workflow, register
from pileus.workflows.server_nics import connect, disconnect, plug, touch, unchanged, unplug


def on_port(run: Run) -> Run:
    """The same run, as the steps see it whose subject is the port."""
    operation = msgspec.structs.replace(run.operation, subject=run.want.port)
    return replace(run, operation=operation, want=Plug(server=run.subject))


def moved(step: Do) -> Do:
    async def do(run: Run) -> Any:
        return await step(on_port(run))

    return do


async def finished(run: Run, tx: Tx) -> None:
    await touch(on_port(run), tx)


ATTACH = register(
    Workflow(
        "server.attach_nic",
        steps=(
            Step("network", moved(connect), undo=moved(disconnect)),
            Step("plug", moved(plug), undo=moved(unplug)),
        ),
        finished=finished,
        failed=unchanged,
        want=OnPort,
    )
)
DETACH = register(
    Workflow(
        "server.detach_nic",
        steps=(Step("unplug", moved(unplug)), Step("network", moved(disconnect))),
        finished=finished,
        failed=unchanged,
        want=OnPort,
    )
)
