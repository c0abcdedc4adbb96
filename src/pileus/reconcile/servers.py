"""What the hosts run, compared with what is recorded, a few hosts at a time.

A server with a live operation is never touched; whatever is written is checked again in its transaction. What a host
that does not answer has is unknown, so nothing is decided about it.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from pileus.core import alerts
from pileus.core.alerts import Finding
from pileus.core.block.records import Volume
from pileus.core.caller import system
from pileus.core.compute import hosts, lifecycle
from pileus.core.compute.records import Host, Server, State
from pileus.core.network.records import Port, PortUse
from pileus.core.operations import LIVE, Operation
from pileus.drivers.errors import DriverError, Unreachable
from pileus.drivers.hypervisor.protocol import Held, HostFacts, Survey
from pileus.reconcile.displaced import Displaced
from pileus.reconcile.following import Following
from pileus.reconcile.guests import devices, judge
from pileus.reconcile.pace import PAGE, Pace, pages
from pileus.reconcile.reactions import Drift, dammed, finding, told
from pileus.store import lt
from pileus.workflows.site import Site

log = structlog.get_logger()

LOOKS = 2
"""What nothing explains is removed when so many looks in a row found it, and what is plugged is believed as late."""
SLICE = 20
"""Hosts that are looked at together."""
PLUGGED = 200
"""Hosts of which one look compares the devices; in a large cloud the looks take turns."""
PATIENCE = 30.0
"""Seconds that a host has to answer a look."""
SEEN_OLD = timedelta(seconds=30)
"""The time at which a host was seen is written when it is so old."""
KINDS = told(*(drift for drift in Drift if drift.value.partition(" ")[0] in ("guest", "disk", "nic", "host")))

Answer = tuple[HostFacts, Survey]
Suspicion = tuple[UUID, Drift, frozenset[UUID]]


class Slice:
    """The records of the servers of a few hosts."""

    def __init__(self, hosts_: Sequence[Host], servers: Sequence[Server], busy: Collection[UUID]) -> None:
        self.servers: dict[UUID, dict[UUID, Server]] = {host.id: {} for host in hosts_}
        for server in servers:
            if server.host is not None:
                self.servers[server.host][server.id] = server
        self.busy = busy
        self.volumes: dict[UUID, set[UUID]] = {}
        self.ports: dict[UUID, set[UUID]] = {}
        self.compared = False
        """Whether volumes and ports were read."""


class Servers:
    """One a process; remembers between looks what it saw only once yet."""

    def __init__(self, site: Site) -> None:
        self.site, self.cloud = site, site.cloud
        self.following = Following(site)
        self.displaced = Displaced(site, self.following)
        self.strangers: Counter[tuple[UUID, UUID]] = Counter()
        """Looks in a row that found a guest that nothing explains, by host and guest."""
        self._found: dict[UUID, list[Finding]] = {}
        """What the last look at each host found; it stands while the host does not answer."""
        self._plugged: dict[UUID, list[Finding]] = {}
        """The same of its guests' devices."""
        self._suspected: dict[UUID, set[Suspicion]] = {}
        self._unseen: set[UUID] = set()
        """Hosts that have not answered since the start."""
        self._turn = 0

    async def look(self) -> None:
        """One round over every host; one that fails does not keep the others."""
        pace, self._turn = Pace(), self._turn + 1
        self.displaced.begin()
        self.following.begin()
        there: set[UUID] = set()
        async with self.cloud.view() as look:
            turns = -(-await look.count(Host) // PLUGGED)
        async for page in pages(self.cloud, Host, pace=pace):
            reached = [host for host in page if host.id in self.site.hypervisors]
            there |= {host.id for host in reached}
            for start in range(0, len(reached), SLICE):
                await self._hosts(reached[start : start + SLICE], turns, pace)
                await pace.rest()
        self._forget(there)
        resolved = await self.displaced.resolve()
        await self._settle([*resolved, *self.following.findings])
        await self.expunge()

    def _forget(self, there: Collection[UUID]) -> None:
        for memory in (self._found, self._plugged, self._suspected):
            for host in memory.keys() - there:
                del memory[host]
        self._unseen &= set(there)

    async def _settle(self, passing: Sequence[Finding]) -> None:
        lasting = await self.following.lasting()
        keep = set(lasting)
        if self._unseen:
            keep |= {alert.subject for alert in await alerts.standing(self.cloud, KINDS)}
        standing = [
            each for memory in (self._found, self._plugged) for found in memory.values() for each in found
        ]
        await alerts.settle(self.cloud, KINDS, dammed([*standing, *passing]), keep=keep)

    # --- one slice

    async def _hosts(self, hosts_: Sequence[Host], turns: int, pace: Pace) -> None:
        # Records first: what a guest does between the two readings is then newer than its record, and written
        # only while the record is still the one that was read.
        plugged = [host for host in hosts_ if turns <= 1 or host.id.int % turns == self._turn % turns]
        recorded = await self._recorded(hosts_, plugged or None, pace)
        answers = await asyncio.gather(*(self._ask(host) for host in hosts_))
        same = []
        for host, answer in zip(hosts_, answers, strict=True):
            if isinstance(answer, Unreachable):
                await self._away(host, answer)
            elif isinstance(answer, DriverError):
                self._found[host.id] = [
                    finding(Drift.HOST_REFUSES, host.id, host=host.hostname, why=str(answer), zone=host.zone)
                ]
            elif await self._compare(host, answer, recorded):
                same.append(host)
        old = self.cloud.now() - SEEN_OLD
        await hosts.seen_again(self.cloud, [host.id for host in same if host.seen_at < old])

    async def _recorded(self, hosts_: Sequence[Host], plugged: Sequence[Host] | None, pace: Pace) -> Slice:
        async with self.cloud.view() as look:
            servers = await look.list(Server, host=tuple(host.id for host in hosts_))
        keys = tuple(server.id for server in servers)
        async with self.cloud.view() as look:
            working = await look.list(Operation, key=keys, outcome=tuple(LIVE)) if keys else []
        found = Slice(hosts_, servers, {operation.key for operation in working})
        await pace.rest()
        if plugged is None:
            return found
        compared = tuple(key for host in plugged for key in found.servers[host.id])
        found.compared = True
        for start in range(0, len(compared), PAGE):
            chunk = compared[start : start + PAGE]
            async with self.cloud.view() as look:
                volumes = await look.list(Volume, server=chunk)
            async with self.cloud.view() as look:
                ports = await look.list(Port, device=chunk, use=PortUse.SERVER)
            for key in chunk:
                found.volumes[key], found.ports[key] = set(), set()
            for volume in volumes:
                assert volume.server is not None
                found.volumes[volume.server].add(volume.id)
            for port in ports:
                assert port.device is not None
                found.ports[port.device].add(port.id)
            await pace.rest()
        return found

    async def _ask(self, host: Host) -> Answer | DriverError:
        hypervisor = self.site.hypervisor(host.id)
        try:
            async with asyncio.timeout(PATIENCE):
                return await hypervisor.facts(), await hypervisor.survey()
        except TimeoutError:
            return Unreachable(f"it gave no answer in {PATIENCE:.0f} s")
        except DriverError as error:
            return error

    async def _away(self, host: Host, error: Unreachable) -> None:
        """No new server goes there. What is there is as it was recorded, until it answers again."""
        log.warning("host does not answer", host=host.hostname, error=str(error))
        if host.id not in self._found:
            self._unseen.add(host.id)
        self.displaced.silent.add(host.id)
        if host.up:
            await hosts.lost(self.cloud, host.id)
        gone = finding(
            Drift.HOST_AWAY,
            host.id,
            host=host.hostname,
            count=host.servers,
            why=str(error),
            zone=host.zone,
            pod=host.pod,
        )
        standing = [each for each in self._found.get(host.id, ()) if each.kind != gone.kind]
        self._found[host.id] = [*standing, gone]

    async def _compare(self, host: Host, answer: Answer, recorded: Slice) -> bool:
        """Whether the host is what it was. Its guests are compared before new servers may come to a host that was away."""
        facts, survey = answer
        self._unseen.discard(host.id)
        ours = recorded.servers[host.id]
        for server in ours.values():
            if server.id not in recorded.busy:
                await self._guest(host, server, survey.guests.get(server.id))
        self._found[host.id] = await self._strangers(host, survey, survey.guests.keys() - ours.keys())
        if recorded.compared and all(key in recorded.volumes for key in ours):
            await self._devices(host, survey, recorded)
        return await self._refresh(host, facts)

    async def _refresh(self, host: Host, facts: HostFacts) -> bool:
        """Write what is new; whether nothing was."""
        told_ = {
            "vcpus": facts.vcpus,
            "memory_mib": facts.memory_mib,
            "cpu_model": facts.cpu_model,
            "architecture": facts.architecture,
            "hypervisor_type": facts.hypervisor,
            "hypervisor_version": facts.version,
            "acceleration": facts.acceleration,
            "acceleration_reason": facts.reason,
        }
        up = host.up or host.forced_down
        if up and all(getattr(host, name) == value for name, value in told_.items()):
            return True
        await hosts.seen(self.cloud, host.id, told_)
        return False

    # --- what one host has

    async def _guest(self, host: Host, server: Server, held: Held | None) -> None:
        if held is None:
            self.displaced.missing[server.id] = server
            return
        if not held.marked:
            await self._claim(host, server.id)
        drift = judge(server, held.power)
        if drift is not None:
            await self.following.follow(server, drift, sure=True)

    async def _claim(self, host: Host, guest: UUID) -> None:
        try:
            await self.site.hypervisor(host.id).claim(guest)
        except DriverError as error:
            log.warning("guest cannot be marked", host=host.hostname, guest=str(guest), error=str(error))

    async def _strangers(self, host: Host, survey: Survey, unknown: Collection[UUID]) -> list[Finding]:
        """Guests that are not recorded here: elsewhere, or nowhere; ours, or somebody else's."""
        found: list[Finding] = []
        left: set[UUID] = set()
        servers, busy = await self._explain(unknown)
        foreign = len(survey.foreign)
        for guest in sorted(unknown):
            held, server = survey.guests[guest], servers.get(guest)
            if guest in busy or (server is not None and server.host == host.id):
                continue
            if server is not None:
                self.displaced.elsewhere.setdefault(guest, []).append((host, held))
            elif not held.marked:
                foreign += 1
            elif not await self._remove(host, guest):
                left.add(guest)
                found.append(finding(Drift.GUEST_LEFT, guest, host=host.hostname, id=guest, zone=host.zone))
        for key in [key for key in self.strangers if key[0] == host.id and key[1] not in left]:
            del self.strangers[key]
        if foreign:
            found.append(
                finding(Drift.GUEST_FOREIGN, host.id, host=host.hostname, count=foreign, zone=host.zone)
            )
        return found

    async def _explain(self, guests: Collection[UUID]) -> tuple[Mapping[UUID, Server], Collection[UUID]]:
        if not guests:
            return {}, set()
        keys = tuple(guests)
        async with self.cloud.view() as look:
            servers = {server.id: server for server in await look.list(Server, id=keys)}
            working = await look.list(Operation, key=keys, outcome=tuple(LIVE))
        return servers, {operation.key for operation in working}

    async def _remove(self, host: Host, guest: UUID) -> bool:
        """Whether it is gone: it was seen often enough, it carries our mark, and no record explains it."""
        self.strangers[host.id, guest] += 1
        if self.strangers[host.id, guest] < LOOKS:
            return False
        log.warning("guest without a record is removed", host=host.hostname, guest=str(guest))
        try:
            await self.site.hypervisor(host.id).undefine(guest)
        except DriverError as error:
            log.warning("guest cannot be removed", guest=str(guest), error=str(error))
            return False
        return True

    async def _devices(self, host: Host, survey: Survey, recorded: Slice) -> None:
        """What is unplugged is believed at the second sight, and plugged again by an operation."""
        suspected: set[Suspicion] = set()
        found: list[Finding] = []
        for key, server in recorded.servers[host.id].items():
            held = survey.guests.get(key)
            if held is None or key in recorded.busy:
                continue
            for drift, ids in devices(server, held, recorded.volumes[key], recorded.ports[key]):
                suspected.add((key, drift, ids))
                if (key, drift, ids) not in self._suspected.get(host.id, ()):
                    continue
                words = ", ".join(sorted(map(str, ids)))
                ours = drift in (Drift.DISK_UNPLUGGED, Drift.NIC_UNPLUGGED)
                project = server.project if ours else None
                found.append(
                    finding(drift, key, name=server.name, ids=words, project=project, zone=server.zone)
                )
                if ours:
                    await self.following.replug(server)
        self._suspected[host.id], self._plugged[host.id] = suspected, found

    async def expunge(self) -> None:
        """Destroyed servers go when their time to be recovered is over."""
        until = self.cloud.now() - timedelta(seconds=self.cloud.config.expunge_seconds)
        async with self.cloud.view() as look:
            due = await look.list(Server, lt("destroyed_at", until), state=State.DESTROYED, limit=PAGE)
        for server in due:
            await lifecycle.delete(self.cloud, system(), server.id, command="expunge")


__all__ = ["LOOKS", "Servers"]
