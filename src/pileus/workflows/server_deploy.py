"""Build a server: a share of a host, its network, its disks, its guest. What fails is undone, and the server stays,
in error, with the reason."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.core.compute import lifecycle
from pileus.core.compute.deploy import Build
from pileus.core.compute.records import Server, State
from pileus.core.errors import NoCapacity
from pileus.core.network import ports
from pileus.core.placement import claims
from pileus.core.placement.choice import TRIES, Full, Need, Where, propose, take
from pileus.drivers.hypervisor.protocol import Hypervisor, Power
from pileus.workflows import metadata
from pileus.workflows.disks import ensure_base, ensure_content, remove_content
from pileus.workflows.engine import Run, Step, Wait, Workflow, register
from pileus.workflows.guests import drive, guest_of
from pileus.workflows.network_sync import sync_port


def need_of(server: Server) -> Need:
    return Need(vcpus=server.vcpus, memory_mib=server.memory_mib, disk_gib=server.disk_gib)


async def server_of(run: Run) -> Server:
    async with run.cloud.view() as look:
        return await look.get(Server, run.subject)


async def volumes_of(run: Run) -> list[Volume]:
    async with run.cloud.view() as look:
        return await volumes.of_server(look, run.subject)


async def reserved(run: Run) -> dict[str, list[str]]:
    """The ports that the request took; kept here, for the undo removes their records before their platform's side."""
    async with run.cloud.view() as look:
        held = await ports.of_server(look, run.subject)
    return {"ports": [str(port.id) for port, _ in held]}


async def give_back(run: Run) -> None:
    """Ports and volumes are free again, and those made for the server are gone."""
    async with run.transaction() as tx:
        released = await ports.release(tx, run.subject)
        for volume in await volumes.of_server(tx, run.subject):
            if volume.operation == run.operation.id:
                await (volumes.forget if volume.state is VolumeState.CREATING else volumes.let_go)(tx, volume)
    noted = run.done.get("reserved", {"ports": []})["ports"]
    for port in {*map(UUID, noted), *released}:
        await sync_port(run.site, port)


async def place(run: Run) -> str:
    """Claim a share of a host; another worker may be quicker, then the next best."""
    want: Build = run.want
    server = await server_of(run)
    where = Where(zone=want.zone, host=want.host, apart_from=want.apart_from)
    full: set[UUID] = set()
    for _ in range(TRIES):
        host = await propose(run.cloud, need_of(server), where, without=full)
        try:
            async with run.transaction() as tx:
                server = await tx.get(Server, run.subject)
                await take(tx, server, need_of(server), host)
                await settle_on(tx, server, host)
        except Full:
            full.add(host)
        else:
            return str(host)
    raise NoCapacity("No valid host was found: every host that had room was taken meanwhile. Try again.")


async def settle_on(tx: Tx, server: Server, host: UUID | None) -> None:
    await tx.put(replace(server, host=host, updated_at=tx.cloud.now()))
    for port, _ in await ports.of_server(tx, server.id):
        await tx.put(replace(port, host=host))


async def unplace(run: Run) -> None:
    async with run.transaction() as tx:
        await claims.release(tx, run.subject)
        server = await tx.maybe(Server, run.subject)
        if server is not None:
            await settle_on(tx, server, None)


async def connect(run: Run) -> None:
    """Bring the ports to the platform, and what they need there."""
    async with run.cloud.view() as look:
        held = await ports.of_server(look, run.subject)
    for port, _ in held:
        await sync_port(run.site, port.id)


async def bring_base(run: Run) -> None:
    for volume in await volumes_of(run):
        if (
            volume.state is VolumeState.CREATING
            and volume.image is not None
            and volume.source_snapshot is None
        ):
            await ensure_base(run.site, volume.pool, volume.image)


async def fill(run: Run) -> None:
    for volume in await volumes_of(run):
        if volume.state is VolumeState.CREATING and volume.operation == run.operation.id:
            await ensure_content(run.site, volume)


async def empty(run: Run) -> None:
    for volume in await volumes_of(run):
        if volume.state is VolumeState.CREATING and volume.operation == run.operation.id:
            await remove_content(run.site, volume)


async def write_drive(run: Run) -> dict[str, str] | None:
    """The config drive, where one was asked for, in the root disk's pool."""
    async with run.cloud.view() as look:
        server = await look.get(Server, run.subject)
        if not server.config_drive:
            return None
        root = (await volumes.of_server(look, server.id))[0]
        files = metadata.config_drive(await metadata.facts(run.cloud, look, server))
    written = await run.site.pool(root.pool).write_config_drive(server.id, files)
    return {"path": written.path, "format": written.format}


async def drop_drive(run: Run) -> None:
    for pool in {volume.pool for volume in await volumes_of(run)}:
        await run.site.pool(pool).delete_config_drive(run.subject)


async def hypervisor_of(run: Run) -> Hypervisor:
    server = await server_of(run)
    assert server.host is not None
    return run.site.hypervisor(server.host)


async def define(run: Run) -> None:
    server = await server_of(run)
    written: dict[str, Any] | None = run.done.get("config drive")
    disk = drive(server.id, **written) if written else None
    await (await hypervisor_of(run)).define(await guest_of(run.site, server, config_drive=disk))


async def undefine(run: Run) -> None:
    server = await server_of(run)
    if server.host is not None:
        await run.site.hypervisor(server.host).undefine(server.id)


async def power_on(run: Run) -> None:
    if run.want is None or getattr(run.want, "start", True):
        await (await hypervisor_of(run)).start(run.subject)


async def power_off(run: Run) -> None:
    server = await server_of(run)
    if server.host is not None:
        await run.site.hypervisor(server.host).stop(server.id, force=True)


async def running(run: Run) -> Wait | None:
    if not getattr(run.want, "start", True):
        return None
    if await (await hypervisor_of(run)).power(run.subject) is Power.ON:
        return None
    return Wait(pause_after(run), why="the guest is not running yet")


def pause_after(run: Run) -> float:
    """Look again soon at first, then every two seconds."""
    return min(2.0, 0.05 * 2.0 ** min(run.operation.tries, 6))


async def built(run: Run, tx: Tx) -> None:
    for volume in await volumes.of_server(tx, run.subject):
        if volume.operation == run.operation.id:
            await volumes.settle_in(tx, volume)
    server, now = await tx.get(Server, run.subject), run.cloud.now()
    if server.operation == run.operation.id:
        state = State.ACTIVE if run.want.start else State.STOPPED
        done = replace(server, state=state, operation=None, fault="", launched_at=now, updated_at=now)
        await tx.put(done)


async def broken(run: Run, tx: Tx, fault: str) -> None:
    """Not where a delete that called this off has the server in its hands already."""
    await lifecycle.fail(tx, run.subject, run.operation.id, fault)


WORKFLOW = register(
    Workflow(
        "server.deploy",
        steps=(
            Step("reserved", reserved, undo=give_back, light=True),
            Step("place", place, undo=unplace),
            Step("network", connect, light=True),
            Step("base", bring_base, light=True),
            Step("disks", fill, undo=empty),
            Step("config drive", write_drive, undo=drop_drive, light=True),
            Step("define", define, undo=undefine),
            Step("start", power_on, undo=power_off),
            Step("running", running, light=True),
        ),
        finished=built,
        failed=broken,
        want=Build,
    )
)
