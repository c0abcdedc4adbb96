"""Records that follow their guests, and the work that brings a guest back to what its record says."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec.structs import replace

from pileus.core import alerts
from pileus.core.alerts import Finding
from pileus.core.block import volumes
from pileus.core.caller import system
from pileus.core.cloud import Tx
from pileus.core.compute import lifecycle
from pileus.core.compute.records import Server, State
from pileus.core.compute.states import Verb
from pileus.core.errors import CoreError
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Missing
from pileus.reconcile.guests import followed
from pileus.reconcile.reactions import RULES, Drift, finding, told
from pileus.workflows.site import Site

log = structlog.get_logger()

LOST = (Drift.GUEST_LOST, Drift.GUEST_CRASHED)
TRIES = 3
WITHIN = timedelta(hours=1)
"""A guest that dies at once again, or does not take its devices, is not helped for ever."""


class Tries:
    """Counts what was tried, by subject."""

    def __init__(self) -> None:
        self._tried: dict[UUID, list[datetime]] = {}

    def take(self, key: UUID, now: datetime) -> bool:
        """Whether there is one more, which is then taken."""
        recent = [at for at in self._tried.get(key, ()) if at > now - WITHIN]
        allowed = len(recent) < TRIES
        self._tried[key] = [*recent, now] if allowed else recent
        return allowed


class Following:
    """`findings` are those of the present look."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.findings: list[Finding] = []
        self._restarts, self._replugs = Tries(), Tries()

    def begin(self) -> None:
        self.findings = []

    async def follow(self, server: Server, drift: Drift, *, sure: bool) -> None:
        """`sure`: the guest can be nowhere else, so that it may be started again."""
        after = followed(server, drift)
        done = False
        if drift in LOST and server.state is State.ACTIVE and self.cloud.config.restart_lost_guests:
            why = "" if sure else "not every host answers, and it may run on one of those"
            why = why or await self._not_startable(server)
            if not why:
                done, why = await self._restart(server, after)
            if why:
                after = replace(after, fault=f"{after.fault} It was not started again: {why}.")
        if (done or await self._write(server, after)) and RULES[drift].severity is not None:
            self.findings.append(
                finding(
                    drift,
                    server.id,
                    name=server.name,
                    project=server.project,
                    zone=server.zone,
                )
            )

    async def _not_startable(self, server: Server) -> str:
        """Why not; empty when its disks are there, and it has not died too often."""
        async with self.cloud.view() as look:
            held = await volumes.of_server(look, server.id)
        for volume in held:
            try:
                await self.site.pool(volume.pool).open(volume.id)
            except Missing:
                return f"the disk of volume {volume.id} is gone"
            except (CoreError, DriverError) as error:
                return f"its disks cannot be seen: {error}"
        if not self._restarts.take(server.id, self.cloud.now()):
            return f"its guest died {TRIES} times in an hour"
        return ""

    async def _restart(self, server: Server, after: Server) -> tuple[bool, str]:
        """Stopped, and started by an operation, in one transaction; or why not."""
        try:
            async with self.cloud.transaction(system()) as tx:
                if not await unchanged(tx, server):
                    return False, ""
                now = tx.cloud.now()
                stopped = replace(after, state=State.STOPPED, fault_at=now, updated_at=now)
                await lifecycle.begin(tx, system(), await tx.put(stopped), Verb.START)
        except CoreError as error:
            return False, str(error)
        log.warning("lost guest is started again", server=str(server.id))
        return True, ""

    async def _write(self, before: Server, after: Server) -> bool:
        """Whether the record was still the one that was read."""
        async with self.cloud.transaction() as tx:
            if not await unchanged(tx, before):
                return False
            now = tx.cloud.now()
            await tx.put(replace(after, fault_at=now if after.fault else None, updated_at=now))
        log.info("server drifted", server=str(before.id), before=before.state.value, after=after.state.value)
        return True

    async def replug(self, server: Server) -> None:
        """Start the work that plugs in what is missing, unless it did not help before."""
        if not self._replugs.take(server.id, self.cloud.now()):
            return
        async with self.cloud.transaction(system()) as tx:
            if await unchanged(tx, server):
                await tx.start("server.replug", subject=server)

    async def lasting(self) -> Collection[UUID]:
        """Servers whose lost guest is still not back: their alerts stand until somebody starts or deletes them."""
        open_ = await alerts.standing(self.cloud, told(*LOST))
        keys = tuple(alert.subject for alert in open_)
        if not keys:
            return ()
        async with self.cloud.view() as look:
            held = await look.list(Server, id=keys, state=(State.STOPPED, State.ERROR, State.STARTING))
        return [server.id for server in held if server.fault]


async def unchanged(tx: Tx, server: Server) -> bool:
    """Whether the record is the one that was read, and nobody is at work on it."""
    if await tx.maybe(Server, server.id) != server:
        return False
    return await tx.one(Operation, key=server.id, outcome=tuple(LIVE)) is None


__all__ = ["Following", "unchanged"]
