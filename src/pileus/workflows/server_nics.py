"""Plug a port into a server's guest, and unplug it. The records follow the guest: a port is the server's until the
end of its unplugging, and a guest that does not let it go keeps it."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.cloud import Tx
from pileus.core.compute.records import Server
from pileus.core.network import ports
from pileus.core.network.ports import Plug
from pileus.core.network.records import Network, Port
from pileus.core.network.sync import sync
from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.guests import nic_of
from pileus.workflows.network_sync import sync_port


async def connect(run: Run) -> None:
    await sync_port(run.site, run.want.port)


async def _hypervisor(run: Run) -> Hypervisor | None:
    """None: the server is gone, or is on no host, so no guest has the port."""
    async with run.cloud.view() as look:
        server = await look.maybe(Server, run.subject)
    return run.site.hypervisor(server.host) if server is not None and server.host is not None else None


async def plug(run: Run) -> None:
    async with run.cloud.view() as look:
        port = await look.get(Port, run.want.port)
        network = await look.get(Network, port.network)
    hypervisor = await _hypervisor(run)
    if hypervisor is not None:
        await hypervisor.attach_nic(run.subject, nic_of(port, network.mtu))


async def unplug(run: Run) -> None:
    """A port whose record is gone already is unplugged as well."""
    hypervisor = await _hypervisor(run)
    if hypervisor is not None:
        await hypervisor.detach_nic(run.subject, run.want.port)


async def replug(run: Run) -> None:
    """The guest has what is still recorded as the server's. A guest that cannot take it now is left without: detaching
    is asked for again then, and succeeds."""
    hypervisor = await _hypervisor(run)
    if hypervisor is None or not await _is_servers(run):
        return
    try:
        if run.want.port not in await hypervisor.nics(run.subject):
            await plug(run)
    except (Missing, Refused):
        return


async def _is_servers(run: Run) -> bool:
    async with run.cloud.view() as look:
        port = await look.maybe(Port, run.want.port)
    return port is not None and port.device == run.subject


async def touch(run: Run, tx: Tx) -> None:
    server = await tx.maybe(Server, run.subject)
    if server is not None:
        await tx.put(replace(server, updated_at=run.cloud.now()))


async def release(run: Run, tx: Tx) -> None:
    """The port is free or gone, and its network learns that after the commit."""
    key: UUID = run.want.port
    port = await tx.maybe(Port, key)
    if port is not None and await ports.release(tx, run.subject, key):
        await sync(tx, port)
    await touch(run, tx)


async def not_attached(run: Run, tx: Tx, fault: str) -> None:
    await release(run, tx)


async def unchanged(run: Run, tx: Tx, fault: str) -> None:
    """The operation says why; the server is as it was."""


ATTACH = register(
    Workflow(
        "server.attach_nic",
        steps=(Step("network", connect), Step("plug", plug, undo=unplug)),
        finished=touch,
        failed=not_attached,
        want=Plug,
    )
)
DETACH = register(
    Workflow(
        "server.detach_nic",
        steps=(Step("unplug", unplug, undo=replug),),
        finished=release,
        failed=unchanged,
        want=Plug,
    )
)
