"""Build a server: a share of a host, its network, its disks, its guest. What fails is undone, and the server stays,
in error, with the reason."""

from typing import Any, NoReturn
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
from pileus.core.placement import claims, decisions
from pileus.core.placement.choice import TRIES, Choice, Full, propose, take
from pileus.core.placement.explanation import NO_HOST, explain, private, sentence
from pileus.drivers.hypervisor.protocol import Hypervisor, Power
from pileus.workflows import metadata
from pileus.workflows.disks import ensure_base, ensure_content, remove_content
from pileus.workflows.engine import LONG_LIMIT, Run, Step, Wait, Workflow, register
from pileus.workflows.guests import drive, guest_of
from pileus.workflows.network_sync import sync_port


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
    """Claim a share of a host; another worker may be quicker, then the next best. What was decided is kept."""
    build: Build = run.want
    server = await server_of(run)
    if server.host is not None:
        return str(server.host)
    need, where = await decisions.ask(run.cloud, server, build)
    for _ in range(TRIES):
        choice = await propose(run.cloud, need, where, consumer=server.id)
        if choice.host is None and where.taken:
            # A host that refused once may have room again: only what is so now is the answer.
            need, where = await decisions.ask(run.cloud, server, build)
            choice = await propose(run.cloud, need, where, consumer=server.id)
        if choice.host is None:
            await nowhere(run, server, choice)
        try:
            await settle(run, choice)
        except Full:
            taken = (*where.taken, choice.host)
            need, where = await decisions.ask(run.cloud, server, build)
            where = replace(where, taken=taken)
        else:
            return str(choice.host)
    raise NoCapacity(f"{NO_HOST}: every host that had room was taken meanwhile. Try again.")


async def settle(run: Run, choice: Choice) -> None:
    """The claim, the server's host and the decision in one transaction. Raises Full."""
    told, host = explain(choice), choice.host
    assert host is not None
    async with run.transaction() as tx:
        server = await tx.get(Server, run.subject)
        await take(tx, server, choice.sifted.need, host)
        await settle_on(tx, server, host)
        await decisions.keep(tx, server, choice, told)


async def nowhere(run: Run, server: Server, choice: Choice) -> NoReturn:
    """Keep why there is no host, and say so. Raises NoCapacity."""
    told = explain(choice)
    async with run.transaction() as tx:
        await decisions.keep(tx, server, choice, told)
    raise NoCapacity(sentence(told), private=private(told))


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


async def placed(run: Run) -> Hypervisor | None:
    """For an undo: the server is on no host any more, or a delete was quicker."""
    async with run.cloud.view() as look:
        server = await look.maybe(Server, run.subject)
    return run.site.hypervisor(server.host) if server is not None and server.host is not None else None


async def undefine(run: Run) -> None:
    if (hypervisor := await placed(run)) is not None:
        await hypervisor.undefine(run.subject)


async def power_on(run: Run) -> None:
    if run.want is None or getattr(run.want, "start", True):
        await (await hypervisor_of(run)).start(run.subject)


async def power_off(run: Run) -> None:
    if (hypervisor := await placed(run)) is not None:
        await hypervisor.stop(run.subject, force=True)


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
            Step("base", bring_base, light=True, interruptible=True, limit=LONG_LIMIT),
            Step("disks", fill, undo=empty, interruptible=True, limit=LONG_LIMIT),
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
