"""Records that contradict each other, of which there are none, and long work that needs a person; looked for a page at a
time, each page in one view."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import structlog

from pileus.core import alerts
from pileus.core.alerts import NOTHING, Finding
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host, Server
from pileus.core.invariants import BY_CLIENT, transitional, worked_on
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.core.placement.records import Claim
from pileus.reconcile.pace import PAGE, Pace, pages
from pileus.reconcile.reactions import Drift, dammed, finding, told
from pileus.store import gt
from pileus.store.records import Layout
from pileus.workflows.site import Site

log = structlog.get_logger()

KINDS = told(Drift.UNSOUND, Drift.FLAGGED)
NAMED = 10
"""Violations that an alert names."""
HOSTS = 20
"""Hosts whose claims and servers are summed in one view."""


async def look(site: Site) -> None:
    cloud = site.cloud
    broken = [text async for text in violations(cloud)]
    found: list[Finding] = []
    if broken:
        log.error("records contradict each other", count=len(broken), first=broken[:NAMED])
        found.append(finding(Drift.UNSOUND, count=len(broken), what="; ".join(sorted(broken)[:NAMED])))
    async with cloud.view() as view:
        flagged = await view.list(Operation, outcome=Outcome.FLAGGED, limit=PAGE)
    found += [
        finding(
            Drift.FLAGGED,
            each.id,
            id=each.id,
            what=each.workflow,
            why=f"{each.why}; {each.fault}",
            project=each.project,
        )
        for each in flagged
    ]
    await alerts.settle(cloud, KINDS, dammed(found))


async def violations(cloud: Cloud) -> AsyncIterator[str]:
    """Transitional states without a live operation, steady ones that name one, shares of hosts that do not add up."""
    pace = Pace()
    for layout in worked_on():
        async for text in stuck(cloud, layout, pace):
            yield text
    async for page in pages(cloud, Host, pace=pace):
        for start in range(0, len(page), HOSTS):
            for text in await miscounted(cloud, [host.id for host in page[start : start + HOSTS]]):
                yield text
            await pace.rest()


async def stuck(cloud: Cloud, layout: Layout[Any], pace: Pace) -> AsyncIterator[str]:
    """Only the records that could be: those that name an operation, and those that must."""
    after: tuple[Any, ...] | None = None
    while True:
        # In the order of their operations, so that the index on those gives them.
        naming = {"order": ("operation",), "after": after, "limit": PAGE}
        async with cloud.view() as view:
            rows = await view.list(layout.cls, gt("operation", NOTHING), **naming)
            named = tuple(row.operation for row in rows)
            live = {each.id for each in await view.list(Operation, id=named, outcome=tuple(LIVE))}
        for row in rows:
            if text := wrong(layout, row, live):
                yield text
        await pace.rest()
        if len(rows) < PAGE:
            break
        after = (rows[-1].operation, rows[-1].id)
    async for page in pages(cloud, layout.cls, pace=pace, **perhaps_moving(layout)):
        for row in page:
            if row.operation is None and (text := wrong(layout, row, set())):
                yield text


def perhaps_moving(layout: Layout[Any]) -> dict[str, Any]:
    """A filter. Without an index on the state a search for the few that are moving would hold the loop for long, which
    reading them all in pages does not."""
    if not any(next(iter(index.columns)).name == "state" for index in layout.table.indexes):
        return {}
    return {"state": tuple(state for state in states(layout) if transitional(state))}


def states(layout: Layout[Any]) -> tuple[Any, ...]:
    return tuple(layout.cls.__annotations__["state"])


def wrong(layout: Layout[Any], row: Any, live: set[UUID]) -> str:
    """Empty for one that is as it must be."""
    moving = transitional(row.state)
    if moving and row.operation not in live and not (row.operation is None and row.state in BY_CLIENT):
        return f"{layout.name} {row.id} is {row.state.value} without a live operation"
    if not moving and row.operation is not None:
        return f"{layout.name} {row.id} is {row.state.value} and names operation {row.operation}"
    return ""


async def miscounted(cloud: Cloud, keys: list[UUID]) -> list[str]:
    """Hosts whose counters are not the sum of their claims, and servers that are not where their claims are."""
    found = []
    async with cloud.view() as view:
        hosts = await view.list(Host, id=tuple(keys))
        claims = await view.list(Claim, host=tuple(keys))
        servers = await view.list(Server, host=tuple(keys))
    for host in hosts:
        held = [claim for claim in claims if claim.host == host.id]
        sums = (
            sum(claim.vcpus for claim in held),
            sum(claim.memory_mib for claim in held),
            sum(claim.disk_gib for claim in held),
            len(held),
        )
        kept = (host.vcpus_used, host.memory_mib_used, host.disk_gib_used, host.servers)
        if kept != sums:
            found.append(f"host {host.hostname} counts {kept}, its claims sum to {sums}")
        placed = {server.id for server in servers if server.host == host.id}
        for key in placed ^ {claim.id for claim in held}:
            found.append(f"server {key} is {'without a claim' if key in placed else 'not'} on host {host.id}")
    return found


__all__ = ["look", "violations"]
