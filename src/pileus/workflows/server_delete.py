"""Remove a server from every state: its guest, its disks, its ports, its share of the host, at last its record."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core import icons, quota
from pileus.core.block import volumes
from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.cloud import Look, Tx
from pileus.core.compute import lifecycle, server_groups, sizes
from pileus.core.compute.lifecycle import Back
from pileus.core.compute.records import ConsoleToken, Host, Server
from pileus.core.facets import Facet
from pileus.core.network import ports
from pileus.core.placement import claims, decisions
from pileus.drivers.errors import Missing
from pileus.workflows.disks import AWAY, in_error, remove_content
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.network_sync import sync_port


async def found(run: Run) -> dict[str, list[str]]:
    """What there is, noted while the records still tell."""
    async with run.cloud.view() as look:
        held = await ports.of_server(look, run.subject)
        pools = {volume.pool for volume in await volumes.of_server(look, run.subject)}
    return {"ports": [str(port.id) for port, _ in held], "pools": sorted(map(str, pools))}


async def guest(run: Run) -> None:
    """Power off and forget. A host that was removed has taken its guests along."""
    async with run.cloud.view() as look:
        server = await look.get(Server, run.subject)
        there = server.host is not None and await look.maybe(Host, server.host) is not None
    if there and server.host is not None:
        await run.site.hypervisor(server.host).undefine(server.id)


async def drive(run: Run) -> None:
    for pool in run.done["found"]["pools"]:
        await run.site.pool(UUID(pool)).delete_config_drive(run.subject)


async def doomed(look: Look, server: UUID) -> tuple[list[Volume], list[Volume], list[Volume]]:
    """The server's volumes: to be deleted, to be retained for their snapshots, to be let go. One that has a deletion of
    its own is let go into that."""
    delete, retain, let_go = [], [], []
    for volume in await volumes.of_server(look, server):
        if not volume.delete_with_server or volume.state is VolumeState.DELETING:
            let_go.append(volume)
        elif await look.count(Snapshot, volume=volume.id):
            retain.append(volume)
        else:
            delete.append(volume)
    return delete, retain, let_go


async def disks(run: Run) -> None:
    async with run.cloud.view() as look:
        delete, _, _ = await doomed(look, run.subject)
    for volume in delete:
        await remove_content(run.site, volume)


async def lost(run: Run) -> None:
    """The deletion stopped half way: the disks that went already are told to be gone."""
    async with run.cloud.view() as look:
        delete, _, _ = await doomed(look, run.subject)
    for volume in delete:
        try:
            await run.site.pool(volume.pool).open(volume.id)
        except Missing:
            fault = "Its disk went with its server, the rest of which could not be deleted."
            async with run.transaction() as tx:
                await tx.put(in_error(await tx.get(Volume, volume.id), fault))


async def release(run: Run) -> None:
    async with run.transaction() as tx:
        await ports.release(tx, run.subject)


async def network(run: Run) -> None:
    """As the records have the ports now. Also the undo of their release: once the records are gone, nobody else
    would know what to remove."""
    for port in run.done["found"]["ports"]:
        await sync_port(run.site, UUID(port))


async def gone(run: Run, tx: Tx) -> None:
    """In the order in which a deploy locks what both change: size, host, what servers use, what volumes use."""
    server = await tx.get(Server, run.subject)
    delete, retain, let_go = await doomed(tx, server.id)
    await sizes.forget(tx, server.size, server.id)
    await claims.release(tx, server.id)
    uses = {"servers": 1, "vcpus": server.vcpus, "memory_mib": server.memory_mib}
    for resource, amount in quota.by_tags(uses, server.host_tags).items():
        await tx.charge(server.project, resource, -amount)
    for volume in delete:
        await volumes.forget(tx, volume)
    for volume in retain:
        await keep_out_of_sight(tx, volume)
    for volume in let_go:
        await volumes.let_go(tx, volume)
    await server_groups.leave(tx, server.id)
    await tx.rows.delete_where(Facet, subject=server.id)
    await tx.rows.delete_where(ConsoleToken, server=server.id)
    await decisions.forget(tx, server.id)
    await icons.forget(tx, server.id)
    await tx.remove(server)


async def keep_out_of_sight(tx: Tx, volume: Volume) -> None:
    if not volume.ephemeral:
        await tx.charge(volume.project, "volumes", -1)
        await tx.charge(volume.project, "volume_gib", -volume.size_gib)
    freed = await volumes.let_go(tx, volume)
    await tx.put(replace(freed, state=VolumeState.RETAINED))


async def failed(run: Run, tx: Tx, fault: str) -> None:
    text = f"It could not be deleted: {fault} Delete it again."
    await lifecycle.fail(tx, run.subject, run.operation.id, text)


WORKFLOW = register(
    Workflow(
        "server.delete",
        steps=(
            Step("found", found, patience=AWAY),
            Step("guest", guest, patience=AWAY),
            Step("config drive", drive, patience=AWAY),
            Step("disks", disks, undo=lost, patience=AWAY),
            Step("ports", release, undo=network, patience=AWAY),
            Step("network", network, patience=AWAY),
        ),
        finished=gone,
        failed=failed,
        want=Back,
        cancellable=False,
    )
)
