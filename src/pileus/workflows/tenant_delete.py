"""Delete a tenant, an account or a project: what it owns by the usual deletes, kind after kind, then itself."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.block import removal as volumes
from pileus.core.block import snapshots
from pileus.core.block.records import Snapshot, Volume
from pileus.core.block.volumes import SHOWN
from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute import lifecycle, server_groups
from pileus.core.compute.records import Server, ServerGroup
from pileus.core.errors import CoreError
from pileus.core.identity import leftovers, projects, users
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy.tenants import DELETE
from pileus.core.image import images
from pileus.core.image.records import Image
from pileus.core.network import addresses, groups, ports, removal, routers, subnets
from pileus.core.network.plugs import CHARGED
from pileus.core.network.records import (
    Address,
    Network,
    NetworkKind,
    Port,
    PortUse,
    Router,
    SecurityGroup,
    Subnet,
)
from pileus.workflows.engine import Run, Step, Wait, Workflow, register

PATIENCE = 3600.0
LOOK_AGAIN = 0.5
"""Seconds until it is looked whether what was asked for has ended."""
End = Callable[[Cloud, Caller, Any], Awaitable[Any]]


def wave(name: str, record: Any, end: End, **equals: Any) -> Step:
    """Ask for the end of all records of a kind that the tenant owns, and wait until there are none."""

    async def do(run: Run) -> Wait | None:
        why = ""
        for one in await _there(run, record, equals):
            if getattr(one, "state", "") == deletion.DELETING:
                continue
            try:
                await end(run.cloud, _caller(run), one)
            except CoreError as error:
                why = error.public
        left = await _there(run, record, equals)
        return Wait(LOOK_AGAIN, why or f"{len(left)} {name} are on their way out") if left else None

    return Step(name, do, patience=PATIENCE)


async def _there(run: Run, record: Any, equals: Mapping[str, Any]) -> list[Any]:
    async with run.cloud.view() as look:
        return await look.list(record, project=run.subject, **equals)


def _caller(run: Run) -> Caller:
    return system(request=run.operation.request)


async def _image(cloud: Cloud, caller: Caller, image: Image) -> None:
    """A protected one too: who protected it goes."""
    if image.protected:
        async with cloud.transaction(caller) as tx:
            await tx.put(replace(await tx.get(Image, image.id), protected=False))
    await images.delete(cloud, caller, image.id)


async def _router(cloud: Cloud, caller: Caller, router: Router) -> None:
    await routers.remove_routes(cloud, caller, router.id, router.routes)
    async with cloud.view() as look:
        plugged = await look.list(Port, device=router.id, use=PortUse.ROUTER_INTERFACE)
    for port in plugged:
        await routers.remove_interface(cloud, caller, router.id, port=port.id)
    await routers.delete(cloud, caller, router.id)


def by_id(delete: Callable[..., Awaitable[Any]]) -> End:
    async def end(cloud: Cloud, caller: Caller, one: Any) -> None:
        await delete(cloud, caller, one.id)

    return end


async def _itself(run: Run) -> Wait | None:
    async with run.transaction() as tx:
        held = await tx.maybe(Project, run.subject)
        if held is None:
            return None
        left = await leftovers.left(tx, held.id)
        if left:
            return Wait(LOOK_AGAIN, f"It still owns {', '.join(left)}.")
        for user in await tx.list(User, account=held.id):
            await users.remove(tx, user)
        await projects.remove(tx, held)
        await changed(tx)
    return None


async def _failed(run: Run, tx: Tx, fault: str) -> None:
    """It stays disabled with what is left in it; its deletion may be asked for again."""


ISOLATED = {"kind": NetworkKind.ISOLATED}
STEPS = (
    wave("servers", Server, by_id(lifecycle.delete)),
    wave("snapshots", Snapshot, by_id(snapshots.delete)),
    wave("volumes", Volume, by_id(volumes.delete), state=SHOWN),
    wave("images", Image, _image),
    wave("addresses", Address, by_id(addresses.release), source_nat=False),
    wave("ports", Port, by_id(ports.delete), use=tuple(CHARGED)),
    wave("isolated networks", Network, by_id(removal.delete), **ISOLATED),
    wave("routers", Router, _router),
    wave("networks", Network, by_id(removal.delete)),
    wave("subnets", Subnet, by_id(subnets.delete)),
    wave("security groups", SecurityGroup, by_id(groups.delete), default=False),
    wave("server groups", ServerGroup, by_id(server_groups.remove)),
    Step("itself", _itself, patience=PATIENCE),
)
WORKFLOWS = tuple(
    register(Workflow(name, steps=STEPS, failed=_failed, cancellable=False)) for name in DELETE.values()
)
