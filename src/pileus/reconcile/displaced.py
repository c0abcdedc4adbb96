"""Guests that are not where their records say: lost, moved, or there twice. Decided when every host was asked."""

from collections import Counter
from typing import Any
from uuid import UUID

import structlog

from pileus.core.alerts import Finding
from pileus.core.caller import system
from pileus.core.compute.records import Host, Server
from pileus.core.errors import CoreError
from pileus.core.operations import LIVE, Operation
from pileus.core.placement import claims
from pileus.core.placement.asking import need_of
from pileus.drivers.errors import DriverError
from pileus.drivers.hypervisor.protocol import Held, Power
from pileus.reconcile.following import Following, unchanged
from pileus.reconcile.guests import RUNNING, SHOWN, judge
from pileus.reconcile.reactions import Drift, finding
from pileus.workflows.server_deploy import settle_on
from pileus.workflows.site import Site

log = structlog.get_logger()

LOOKS = 2
OFF = frozenset({Power.OFF, Power.CRASHED})


class Displaced:
    """Filled host by host during a look, then resolved."""

    def __init__(self, site: Site, following: Following) -> None:
        self.site, self.cloud, self.following = site, site.cloud, following
        self.missing: dict[UUID, Server] = {}
        """Recorded on a host that answered and has no such guest."""
        self.elsewhere: dict[UUID, list[tuple[Host, Held]]] = {}
        """Guests of recorded servers on hosts that are not theirs."""
        self.silent: set[UUID] = set()
        """Hosts that did not answer."""
        self._copies: Counter[tuple[UUID, UUID]] = Counter()

    def begin(self) -> None:
        self.missing, self.elsewhere, self.silent = {}, {}, set()

    async def resolve(self) -> list[Finding]:
        found: list[Finding] = []
        copies: set[tuple[UUID, UUID]] = set()
        for guest, places in self.elsewhere.items():
            async with self.cloud.view() as look:
                server = await look.maybe(Server, guest)
                busy = await look.one(Operation, key=guest, outcome=tuple(LIVE))
            if server is None or busy is not None:
                continue
            for host, held in places:
                result = await self._place(server, host, held, copies)
                found += [] if result is None else [result]
        for key in [key for key in self._copies if key not in copies]:
            del self._copies[key]
        for guest, server in self.missing.items():
            drift = judge(server, None)
            if guest not in self.elsewhere and drift is not None:
                await self.following.follow(server, drift, sure=not self.silent)
        return found

    async def _place(
        self, server: Server, host: Host, held: Held, copies: set[tuple[UUID, UUID]]
    ) -> Finding | None:
        """One guest on one host that is not its server's."""
        if server.host == host.id:
            return None
        home, power, why = await self._home(server)
        words: dict[str, Any] = {"name": server.name, "project": server.project, "zone": server.zone}
        if why:
            return finding(Drift.GUEST_ELSEWHERE, server.id, host=home, other=host.hostname, why=why, **words)
        if held.power in RUNNING and power in RUNNING:
            return finding(Drift.GUEST_TWICE, server.id, host=home, other=host.hostname, **words)
        if power is None or (held.power in RUNNING and power in OFF):
            why = await self._move(server, host, held)
            if not why:
                return finding(Drift.GUEST_MOVED, server.id, host=home, other=host.hostname, **words)
            return finding(Drift.GUEST_ELSEWHERE, server.id, host=home, other=host.hostname, why=why, **words)
        copies.add((host.id, server.id))
        if await self._remove_copy(server.id, host, held):
            return None
        return finding(Drift.GUEST_COPY, server.id, host=home, other=host.hostname, **words)

    async def _home(self, server: Server) -> tuple[str, Power | None, str]:
        """The name of the host that is recorded, what it has of the guest, and why that is not known."""
        if server.host is None:
            return "none", None, "for its build failed"
        async with self.cloud.view() as look:
            home = await look.maybe(Host, server.host)
        name = home.hostname if home is not None else str(server.host)
        if server.state not in SHOWN:
            return name, None, f"where it is {server.state.value}"
        if server.host not in self.site.hypervisors:
            return name, None, "which is not connected"
        try:
            return name, await self.site.hypervisor(server.host).power(server.id), ""
        except DriverError:
            return name, None, "which does not answer"

    async def _move(self, server: Server, host: Host, held: Held) -> str:
        """The record follows: the share of the host, the ports. Or why not."""
        try:
            if not held.marked:
                await self.site.hypervisor(host.id).claim(server.id)
            async with self.cloud.transaction(system()) as tx:
                if not await unchanged(tx, server):
                    return "and it is being changed"
                need = await need_of(tx, server)
                await claims.claim(tx, server.id, need, host.id, project=server.project, user=server.user)
                await settle_on(tx, server, host.id)
        except claims.Full:
            return "and the other host has no room for it"
        except (CoreError, DriverError) as error:
            return f"and cannot be moved in the records: {error}"
        log.warning("server was moved by somebody", server=str(server.id), host=host.hostname)
        return ""

    async def _remove_copy(self, guest: UUID, host: Host, held: Held) -> bool:
        """Only what is off, keeps no memory and carries our mark; when several looks found it."""
        if held.power not in OFF or not held.marked:
            return False
        self._copies[host.id, guest] += 1
        if self._copies[host.id, guest] < LOOKS:
            return False
        log.warning("copy of a guest is removed", guest=str(guest), host=host.hostname)
        try:
            await self.site.hypervisor(host.id).undefine(guest)
        except DriverError as error:
            log.warning("guest cannot be removed", guest=str(guest), error=str(error))
            return False
        return True


__all__ = ["Displaced"]
