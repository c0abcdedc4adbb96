"""One simulated host: its guests, what they do when asked, and what it refuses."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.faults import Fault, FaultKind, Faulty, Surroundings, calls_of, verb
from pileus.drivers.hypervisor.protocol import (
    Capabilities,
    Disk,
    Guest,
    Held,
    HostFacts,
    Hypervisor,
    Nic,
    Power,
    Screen,
    Survey,
)
from pileus.drivers.hypervisor.reactions import Verb, must_act
from pileus.drivers.hypervisor.rfb import RfbServer
from pileus.drivers.hypervisor.simulator.journal import Journal
from pileus.drivers.hypervisor.simulator.machine import BOOT, DOWN, Machine, Mark, console


class Storage(Protocol):
    """Where the files of the guests' disks are."""

    def grow(self, volume: UUID, size_gib: int) -> None: ...
    def snapshot(self, volume: UUID, snapshot: UUID) -> None: ...
    def forget_snapshot(self, volume: UUID, snapshot: UUID) -> None: ...


LIVELY = frozenset({Power.ON, Power.PAUSED})
"""What keeps memory of the host, and ends with its power."""


@cache
def capabilities_of(hypervisor: str) -> Capabilities:
    """One for all hosts."""
    return Capabilities(
        hypervisor=hypervisor,
        pause=True,
        suspend=True,
        hot_plug_volume=True,
        hot_plug_nic=True,
        live_snapshot=True,
        console_log=True,
        consoles=frozenset({"vnc"}),
    )


class SimulatedHypervisor(Faulty):
    """`clock` gives seconds; `stop_seconds` is how long a guest takes to do what it is asked. With a `journal` guests
    survive the process; `storage` has the files of their disks.
    `memory_mib`: what running guests may have in all; 0: whatever they want."""

    CALLS = calls_of(Hypervisor)
    PLATFORM = "the simulated host"

    def __init__(
        self,
        host_id: UUID,
        facts: HostFacts,
        clock: Callable[[], float] = time.time,
        *,
        stop_seconds: float = 0.0,
        memory_mib: int = 0,
        journal: Journal | None = None,
        storage: Storage | None = None,
    ) -> None:
        super().__init__()
        self.host_id = host_id
        self.capabilities = capabilities_of(facts.hypervisor)
        self._facts = facts
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._memory_mib = memory_mib
        self._journal = journal
        self._storage = storage
        self._screens: dict[UUID, RfbServer] = {}
        self._machines: dict[UUID, Machine] = {} if journal is None else journal.take(host_id)

    def __getstate__(self) -> dict[str, Any]:
        """What the platform holds; nobody looks at a copy's screens."""
        return {**self.__dict__, "_screens": {}, "_storage": None}

    def join(self, surroundings: Surroundings, name: str) -> None:
        super().join(surroundings, name)
        self._clock = surroundings.clock

    def impose(self, fault: Fault, key: UUID | None = None) -> UUID:
        made = super().impose(fault, key)
        if fault.kind is FaultKind.POWER_LOSS:
            for machine in self._machines.values():
                if machine.power in LIVELY:
                    self._close_screen(machine.guest.id)
                    machine.asked = ""
                    self._set(machine, Power.OFF)
        return made

    def _check_power(self, fault: Fault) -> None:
        if fault.after or not fault.lasts or fault.chance < 1 or fault.call or fault.times:
            raise ValueError(
                "a loss of power is at once and of the whole host; say only how many seconds it lasts"
            )

    # --- for tests and for the start of a simulation

    def adopt(self, guests: Iterable[tuple[Guest, Power]]) -> None:
        """Take guests as if they had been here all along."""
        for guest, power in guests:
            events = "" if power is Power.OFF else BOOT
            self._keep(Machine(guest=guest, power=power, events=events))

    def disown(self, guest: UUID, *, foreign: bool = False) -> None:
        """Let a guest carry no mark, or another cloud's."""
        machine = self._find(guest)
        machine.mark = Mark.OTHER if foreign else Mark.NONE
        self._keep(machine)

    def crash(self, guest: UUID) -> None:
        """Let a guest die by itself."""
        self._power_off(self._find(guest), Power.CRASHED)

    def deafen(self, guest: UUID) -> None:
        """Let a guest ignore the power button and hold on to its devices."""
        self._find(guest).deaf = True

    # --- the protocol

    @verb
    async def facts(self) -> HostFacts:
        return self._facts

    @verb
    async def define(self, guest: Guest) -> None:
        machine = self._lookup(guest.id)
        if machine is None:
            if guest.id in self._machines:
                raise Refused(f"simulated host {self.host_id} has a guest {guest.id} that is not ours")
            self._keep(Machine(guest=guest))
        elif must_act(Verb.DEFINE, guest.id, machine.power):
            machine.guest = guest
            self._keep(machine)

    @verb
    async def start(self, guest: UUID) -> None:
        machine = self._find(guest)
        if must_act(Verb.START, guest, machine.power):
            self._must_have_room(machine)
            if machine.power is not Power.SUSPENDED:
                machine.note(BOOT)
            self._set(machine, Power.ON)

    @verb
    async def stop(self, guest: UUID, *, force: bool) -> None:
        machine = self._lookup(guest)
        if machine is None:
            return
        if force and must_act(Verb.KILL, guest, machine.power):
            self._power_off(machine)
        elif not force and must_act(Verb.STOP, guest, machine.power):
            self._ask(machine, "stop")

    @verb
    async def reboot(self, guest: UUID, *, force: bool) -> None:
        machine = self._find(guest)
        must_act(Verb.RESET if force else Verb.REBOOT, guest, machine.power)
        if force:
            machine.note(BOOT)
            self._keep(machine)
        else:
            self._ask(machine, "reboot")

    @verb
    async def pause(self, guest: UUID) -> None:
        machine = self._find(guest)
        if must_act(Verb.PAUSE, guest, machine.power):
            self._set(machine, Power.PAUSED)

    @verb
    async def resume(self, guest: UUID) -> None:
        machine = self._find(guest)
        if must_act(Verb.RESUME, guest, machine.power):
            self._set(machine, Power.ON)

    @verb
    async def suspend(self, guest: UUID) -> None:
        machine = self._find(guest)
        if must_act(Verb.SUSPEND, guest, machine.power):
            self._close_screen(guest)
            self._set(machine, Power.SUSPENDED)

    @verb
    async def undefine(self, guest: UUID) -> None:
        if self._lookup(guest) is None:
            return
        self._close_screen(guest)
        if self._machines.pop(guest, None) is not None and self._journal is not None:
            self._journal.write(self.host_id, guest, None)

    @verb
    async def power(self, guest: UUID) -> Power | None:
        machine = self._lookup(guest)
        return None if machine is None else machine.power

    @verb
    async def guests(self) -> Mapping[UUID, Power]:
        return {guest: machine.power for guest in self._machines if (machine := self._lookup(guest))}

    @verb
    async def survey(self) -> Survey:
        found, foreign = {}, set()
        for guest, machine in self._machines.items():
            if machine.mark is Mark.OTHER:
                foreign.add(machine.guest.name)
                continue
            if machine.mark is Mark.OURS:
                self._lookup(guest)
            found[guest] = Held(
                power=machine.power,
                marked=machine.mark is Mark.OURS,
                disks=frozenset(disk.volume for disk in machine.guest.disks),
                nics=frozenset(nic.port for nic in machine.guest.nics),
            )
        return Survey(guests=found, foreign=frozenset(foreign))

    @verb
    async def claim(self, guest: UUID) -> None:
        machine = self._machines.get(guest)
        if machine is None:
            raise Missing(f"simulated host {self.host_id} knows no guest {guest}")
        if machine.mark is Mark.OTHER:
            raise Refused(f"guest {guest} is another cloud's")
        machine.mark = Mark.OURS
        self._keep(machine)

    @verb
    async def attach_disk(self, guest: UUID, disk: Disk) -> None:
        machine = self._find(guest)
        must_act(Verb.ATTACH, guest, machine.power)
        held = machine.guest.disks
        if any(one.volume == disk.volume for one in held):
            return
        if any(one.device == disk.device for one in held):
            raise Refused(f"guest {guest} has a disk at {disk.device} already")
        if disk.cdrom and machine.power in (Power.ON, Power.PAUSED):
            raise Refused(f"guest {guest} runs: a CD drive cannot be plugged in")
        machine.guest = msgspec.structs.replace(machine.guest, disks=(*held, disk))
        self._keep(machine)

    @verb
    async def detach_disk(self, guest: UUID, volume: UUID) -> None:
        machine = self._lookup(guest)
        if machine is not None and any(one.volume == volume for one in machine.guest.disks):
            self._must_release(machine, f"disk {volume}")
            left = tuple(one for one in machine.guest.disks if one.volume != volume)
            machine.guest = msgspec.structs.replace(machine.guest, disks=left)
            self._keep(machine)

    @verb
    async def attach_nic(self, guest: UUID, nic: Nic) -> None:
        machine = self._find(guest)
        must_act(Verb.ATTACH, guest, machine.power)
        held = machine.guest.nics
        if all(one.port != nic.port for one in held):
            machine.guest = msgspec.structs.replace(machine.guest, nics=(*held, nic))
            self._keep(machine)

    @verb
    async def detach_nic(self, guest: UUID, port: UUID) -> None:
        machine = self._lookup(guest)
        if machine is not None and any(one.port == port for one in machine.guest.nics):
            self._must_release(machine, f"nic {port}")
            left = tuple(one for one in machine.guest.nics if one.port != port)
            machine.guest = msgspec.structs.replace(machine.guest, nics=left)
            self._keep(machine)

    @verb
    async def disks(self, guest: UUID) -> frozenset[UUID]:
        return frozenset(disk.volume for disk in self._find(guest).guest.disks)

    @verb
    async def nics(self, guest: UUID) -> frozenset[UUID]:
        return frozenset(nic.port for nic in self._find(guest).guest.nics)

    @verb
    async def resize_disk(self, guest: UUID, volume: UUID, size_gib: int) -> None:
        machine = self._find(guest)
        must_act(Verb.RESIZE, guest, machine.power)
        self._disk(machine, volume)
        if self._storage is not None:
            self._storage.grow(volume, size_gib)

    @verb
    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        machine = self._find(guest)
        must_act(Verb.SNAPSHOT, guest, machine.power)
        disk = self._disk(machine, volume)
        if disk.format != "qcow2":
            raise Refused(f"volume {volume} of guest {guest} is {disk.format}: only qcow2 holds snapshots")
        machine.snapshots |= {(volume, snapshot)}
        if self._storage is not None:
            self._storage.snapshot(volume, snapshot)
        self._keep(machine)

    @verb
    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        machine = self._find(guest)
        must_act(Verb.SNAPSHOT, guest, machine.power)
        self._disk(machine, volume)
        machine.snapshots -= {(volume, snapshot)}
        if self._storage is not None:
            self._storage.forget_snapshot(volume, snapshot)
        self._keep(machine)

    @verb
    async def console_log(self, guest: UUID, *, max_bytes: int = 1 << 20) -> bytes:
        text = console(self._find(guest)).encode()
        return text[max(0, len(text) - max_bytes) :]

    @verb
    async def screen(self, guest: UUID) -> Screen:
        machine = self._find(guest)
        must_act(Verb.SCREEN, guest, machine.power)
        if guest not in self._screens:
            self._screens[guest] = await RfbServer(machine.guest.name).start()
        return Screen(address="127.0.0.1", port=self._screens[guest].port)

    async def close(self) -> None:
        for guest in tuple(self._screens):
            self._close_screen(guest)

    # --- inside

    def _lookup(self, guest: UUID) -> Machine | None:
        machine = self._machines.get(guest)
        if machine is not None and machine.mark is not Mark.OURS:
            return None
        if machine is not None and machine.asked and machine.power is Power.ON:
            self._obey(machine)
        return machine

    def _find(self, guest: UUID) -> Machine:
        machine = self._lookup(guest)
        if machine is None:
            raise Missing(f"simulated host {self.host_id} knows no guest {guest}")
        return machine

    def _disk(self, machine: Machine, volume: UUID) -> Disk:
        for disk in machine.guest.disks:
            if disk.volume == volume:
                return disk
        raise Missing(f"guest {machine.guest.id} holds no volume {volume}")

    def _must_release(self, machine: Machine, device: str) -> None:
        must_act(Verb.DETACH, machine.guest.id, machine.power)
        if machine.deaf and machine.power is Power.ON:
            raise Refused(f"guest {machine.guest.id} did not let {device} go")

    def _ask(self, machine: Machine, what: Literal["stop", "reboot"]) -> None:
        if not machine.deaf:
            machine.asked, machine.due = what, self._clock() + self._stop_seconds
            self._keep(machine)

    def _obey(self, machine: Machine) -> None:
        if self._clock() < machine.due:
            return
        asked, machine.asked = machine.asked, ""
        if asked == "stop":
            self._power_off(machine)
        else:
            machine.note(DOWN)
            machine.note(BOOT)
            self._keep(machine)

    def _power_off(self, machine: Machine, power: Power = Power.OFF) -> None:
        self._close_screen(machine.guest.id)
        if machine.power in (Power.ON, Power.PAUSED):
            machine.note(DOWN)
        machine.asked = ""
        self._set(machine, power)

    def _set(self, machine: Machine, power: Power) -> None:
        machine.power = power
        self._keep(machine)

    def _keep(self, machine: Machine) -> None:
        self._machines[machine.guest.id] = machine
        if self._journal is not None:
            self._journal.write(self.host_id, machine.guest.id, machine)

    def _must_have_room(self, machine: Machine) -> None:
        if not self._memory_mib:
            return
        held = sum(other.guest.memory_mib for other in self._machines.values() if other.power in LIVELY)
        if held + machine.guest.memory_mib > self._memory_mib:
            raise Refused(
                f"guest {machine.guest.id} needs {machine.guest.memory_mib} MiB; {self.name} has {held} of "
                f"{self._memory_mib} MiB in use"
            )

    def _close_screen(self, guest: UUID) -> None:
        screen = self._screens.pop(guest, None)
        if screen is not None:
            screen.close()
