"""Decisions that are kept with their server, and what a placement would meet now."""

from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute import sizes
from pileus.core.compute.deploy import Build
from pileus.core.compute.records import Server, State, Zone
from pileus.core.errors import NotFound
from pileus.core.operations import Operation
from pileus.core.placement import asking
from pileus.core.placement.asking import Where
from pileus.core.placement.choice import Choice, propose
from pileus.core.placement.explanation import explain, public
from pileus.core.placement.inventory import Need, known
from pileus.core.placement.records import Decision, Explanation

KEPT = 10
"""Of one server; the older ones go."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """`decision`: the latest; `earlier`: those before it, the newest first; `now`: for a server in error."""

    server: Server
    decision: Decision | None
    earlier: tuple[Decision, ...] = ()
    now: Explanation | None = None


async def keep(tx: Tx, server: Server, choice: Choice, told: Explanation) -> Decision:
    """Record what was decided, quietly: it is no change of the server."""
    older = await tx.list(Decision, server=server.id, order=("-at",))
    for old in older[KEPT - 1 :]:
        await tx.rows.delete(Decision, old.id)
    return await tx.rows.insert(
        Decision(
            id=tx.cloud.new_id(),
            server=server.id,
            operation=tx.operation.id if tx.operation else None,
            project=server.project,
            at=tx.cloud.now(),
            host=choice.host,
            strategy=choice.strategy,
            explanation=told,
        )
    )


async def forget(tx: Tx, server: UUID) -> None:
    """With the server."""
    await tx.rows.delete_where(Decision, server=server)


async def ask(cloud: Cloud, server: Server, build: Build) -> tuple[Need, Where]:
    """What a placement of a recorded server asks; zones and host groups are brought up to date on the way."""
    async with cloud.view() as look:
        await known(cloud).groups.refresh(look)
        return await asking.need_of(look, server), await asking.where_of(look, server, build)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Explained:
    """Why the server is where it is, or nowhere. Raises NotFound."""
    async with cloud.view() as look:
        server = await caller.find(look.rows, Server, key, "server.read")
        found = await look.list(Decision, server=key, order=("-at",), limit=KEPT)
        request = await _request(look, found[0] if found else None)
    now = None
    if server.state is State.ERROR and server.host is None:
        now = await _now(cloud, caller, *await ask(cloud, server, request), server.id)
    shown = [_for(caller, decision) for decision in found]
    return Explained(server=server, decision=shown[0] if shown else None, earlier=tuple(shown[1:]), now=now)


async def _request(look: Look, decision: Decision | None) -> Build:
    """What the request named, as its operation has it."""
    operation = await look.maybe(Operation, decision.operation) if decision and decision.operation else None
    if operation is None or operation.workflow != "server.deploy":
        return Build()
    found: Build = operation.wanted(Build)
    return found


async def would_fit(
    cloud: Cloud, caller: Caller, size: UUID | str, *, zone: UUID | str | None = None
) -> Explanation:
    """What a server of this size (id or ref) would meet now, in a zone (id or name) or in any. Raises NotFound."""
    async with cloud.view() as look:
        inventory = known(cloud)
        await inventory.groups.refresh(look)
        found = await sizes.find(look, caller, size)
        place = await _zone(look, zone) if zone else None
    need = asking.need(found.vcpus, found.memory_mib, found.disk_gib, found, None)
    where = Where(
        zone=place.id if place else None,
        metadata=tuple(sorted(sizes.host_metadata(found).items())),
        project=caller.project,
        strategy=found.extra_specs.get(asking.STRATEGY, ""),
    )
    return await _now(cloud, caller, need, where)


async def _zone(look: Look, key: UUID | str) -> Zone:
    found = await (look.maybe(Zone, key) if isinstance(key, UUID) else look.one(Zone, name=key))
    if found is None:
        raise NotFound("Zone", key)
    return found


async def _now(
    cloud: Cloud, caller: Caller, need: Need, where: Where, consumer: UUID | None = None
) -> Explanation:
    told = explain(await propose(cloud, need, where, consumer=consumer))
    return told if caller.admin else public(told)


def _for(caller: Caller, decision: Decision) -> Decision:
    if caller.admin:
        return decision
    return replace(decision, host=None, explanation=public(decision.explanation))
