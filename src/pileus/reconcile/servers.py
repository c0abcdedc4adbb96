"""What the hosts run, compared with what is recorded: drift is recorded, leftovers are removed, time is up for some.

A server with a live operation is never touched; whatever is written is checked again in its transaction.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from msgspec.structs import replace

from pileus.core.caller import system
from pileus.core.compute import hosts, lifecycle
from pileus.core.compute.records import Host, Server, State
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Refused, Unreachable
from pileus.drivers.hypervisor.protocol import HostFacts, Hypervisor, Power
from pileus.store import lt
from pileus.workflows.site import Site

log = structlog.get_logger()

LOOKS = 2
"""A guest without a record is removed when so many looks in a row found it."""
HOSTS = 100
"""Hosts that are looked at together."""
SEEN_OLD = timedelta(seconds=30)
"""The time at which a host was seen is written when it is so old."""
SHOWN = {State.ACTIVE, State.STOPPED, State.PAUSED, State.SUSPENDED}

SEEN: Mapping[Power, State] = {
    Power.ON: State.ACTIVE,
    Power.OFF: State.STOPPED,
    Power.PAUSED: State.PAUSED,
    Power.SUSPENDED: State.SUSPENDED,
    Power.CRASHED: State.ERROR,
}


def drifted(server: Server, power: Power | None) -> Server | None:
    """The server as the platform has it; None where the record is right (or tells more than the platform can)."""
    if server.state not in SHOWN:
        return None
    if power is None:
        if server.state is State.STOPPED:
            return None
        return replace(
            server, state=State.STOPPED, fault="Its guest was gone from the host; start makes it again."
        )
    if power is Power.OFF and server.state is State.SUSPENDED:
        return replace(server, state=State.STOPPED, fault="Its saved memory was gone from the host.")
    state = SEEN[power]
    if state is server.state:
        return None
    return replace(
        server, state=state, fault="Its guest crashed; reboot it hard." if state is State.ERROR else ""
    )


class Servers:
    """One a process; remembers between looks which guests nobody knew."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.strangers: dict[tuple[UUID, UUID], int] = {}

    async def look(self) -> None:
        """One round over every host; one that fails does not keep the others."""
        async with self.cloud.view() as look:
            known = await look.list(Host)
        reached = [host for host in known if host.id in self.site.hypervisors]
        for start in range(0, len(reached), HOSTS):
            await self._hosts(reached[start : start + HOSTS])
        await self.expunge()

    async def _hosts(self, hosts_: Sequence[Host]) -> None:
        # Records first: what a guest does between the two readings is then newer than its record, and written
        # only while the record is still the one that was read.
        recorded: dict[UUID, dict[UUID, Server]] = {host.id: {} for host in hosts_}
        async with self.cloud.view() as look:
            for server in await look.list(Server, host=tuple(recorded)):
                if server.host is not None:
                    recorded[server.host][server.id] = server
        same = await asyncio.gather(*(self._host(host, recorded[host.id]) for host in hosts_))
        old = self.cloud.now() - SEEN_OLD
        unchanged = [
            host.id for host, is_same in zip(hosts_, same, strict=True) if is_same and host.seen_at < old
        ]
        await hosts.seen_again(self.cloud, unchanged)

    async def _host(self, host: Host, recorded: Mapping[UUID, Server]) -> bool:
        """Whether it answers, and is what it was."""
        hypervisor = self.site.hypervisor(host.id)
        try:
            same = await self._refresh(host, await hypervisor.facts())
            await self._compare(host, hypervisor, recorded)
        except Unreachable as error:
            log.warning("host does not answer", host=host.hostname, error=str(error))
            await hosts.lost(self.cloud, host.id)
        except Refused as error:
            log.warning("host cannot be compared", host=host.hostname, error=str(error))
        else:
            return same
        return False

    async def _refresh(self, host: Host, facts: HostFacts) -> bool:
        """Write what is new; whether nothing was."""
        told = {
            "vcpus": facts.vcpus,
            "memory_mib": facts.memory_mib,
            "cpu_model": facts.cpu_model,
            "architecture": facts.architecture,
            "hypervisor_type": facts.hypervisor,
            "hypervisor_version": facts.version,
            "acceleration": facts.acceleration,
            "acceleration_reason": facts.reason,
        }
        if host.up and all(getattr(host, name) == value for name, value in told.items()):
            return True
        await hosts.seen(self.cloud, host.id, told)
        return False

    async def _compare(self, host: Host, hypervisor: Hypervisor, recorded: Mapping[UUID, Server]) -> None:
        guests = await hypervisor.guests()
        for server in recorded.values():
            changed = drifted(server, guests.get(server.id))
            if changed is not None:
                await self._record(server, changed)
        await self._strangers(host, hypervisor, guests.keys() - recorded.keys())

    async def _record(self, before: Server, after: Server) -> None:
        now = self.cloud.now()
        async with self.cloud.transaction() as tx:
            held = await tx.maybe(Server, before.id)
            if held != before or await tx.one(Operation, key=before.id, outcome=tuple(LIVE)):
                return
            await tx.put(replace(after, fault_at=now if after.fault else None, updated_at=now))
        log.info("server drifted", server=str(before.id), before=before.state.value, after=after.state.value)

    async def _strangers(self, host: Host, hypervisor: Hypervisor, unknown: set[UUID]) -> None:
        for key in [key for key in self.strangers if key[0] == host.id and key[1] not in unknown]:
            del self.strangers[key]
        for guest in unknown:
            if await self._expected(host, guest):
                self.strangers.pop((host.id, guest), None)
                continue
            looks = self.strangers.get((host.id, guest), 0) + 1
            self.strangers[host.id, guest] = looks
            if looks >= LOOKS:
                log.warning("guest without a record is removed", host=host.hostname, guest=str(guest))
                try:
                    await hypervisor.undefine(guest)
                except DriverError as error:
                    log.warning("guest cannot be removed", guest=str(guest), error=str(error))
                    continue
                del self.strangers[host.id, guest]

    async def _expected(self, host: Host, guest: UUID) -> bool:
        async with self.cloud.view() as look:
            server = await look.maybe(Server, guest)
            busy = await look.one(Operation, key=guest, outcome=tuple(LIVE))
        return busy is not None or (server is not None and server.host == host.id)

    async def expunge(self) -> None:
        """Destroyed servers go when their time to be recovered is over."""
        until = self.cloud.now() - timedelta(seconds=self.cloud.config.expunge_seconds)
        async with self.cloud.view() as look:
            due = await look.list(Server, lt("destroyed_at", until), state=State.DESTROYED)
        for server in due:
            await lifecycle.delete(self.cloud, system(), server.id, command="expunge")
