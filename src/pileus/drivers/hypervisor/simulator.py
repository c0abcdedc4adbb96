"""A hypervisor in memory, for tests, scale and demos; it behaves as libvirt's does, refusals included."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.faults import Faulty, calls_of, verb
from pileus.drivers.hypervisor.protocol import (
    Capabilities,
    Disk,
    Guest,
    HostFacts,
    Hypervisor,
    Nic,
    Power,
    Screen,
)
from pileus.drivers.hypervisor.reactions import Verb, must_act
from pileus.drivers.hypervisor.rfb import RfbServer

REMEMBERED_EVENTS = 20
"""Starts and ends of which the console log tells."""


class Machine(msgspec.Struct, kw_only=True):
    """A guest as the simulated platform holds it."""

    guest: Guest
    power: Power = Power.OFF
    events: list[str] = []
    """boot and down, the oldest first; the console log is made from them."""
    snapshots: dict[UUID, set[UUID]] = {}
    asked: Literal["", "stop", "reboot"] = ""
    due: float = 0.0
    """When the guest does what it was asked."""
    deaf: bool = False
    """Ignores the power button and holds on to its devices."""


class SimulatedHypervisor(Faulty):
    """`clock` gives seconds; `stop_seconds` is how long a guest takes to do what it is asked.
    With `state`, a file, guests survive the process."""

    CALLS = calls_of(Hypervisor)
    PLATFORM = "the simulated host"

    def __init__(
        self,
        host_id: UUID,
        facts: HostFacts,
        clock: Callable[[], float] = time.time,
        *,
        stop_seconds: float = 0.0,
        state: Path | None = None,
    ) -> None:
        super().__init__()
        self.host_id = host_id
        self.capabilities = Capabilities(
            hypervisor=facts.hypervisor,
            pause=True,
            suspend=True,
            hot_plug_volume=True,
            hot_plug_nic=True,
            live_snapshot=True,
            console_log=True,
            consoles=frozenset({"vnc"}),
        )
        self._facts = facts
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._state = state
        self._screens: dict[UUID, RfbServer] = {}
        self._machines: dict[UUID, Machine] = {}
        if state is not None:
            self._machines = remembered(state)

    # --- for tests and for the start of a simulation

    def adopt(self, guests: Iterable[tuple[Guest, Power]]) -> None:
        """Take guests as if they had been here all along."""
        for guest, power in guests:
            events = [] if power is Power.OFF else ["boot"]
            self._keep(Machine(guest=guest, power=power, events=events))

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
            self._keep(Machine(guest=guest))
        elif must_act(Verb.DEFINE, guest.id, machine.power):
            machine.guest = guest
            self._keep(machine)

    @verb
    async def start(self, guest: UUID) -> None:
        machine = self._find(guest)
        if must_act(Verb.START, guest, machine.power):
            if machine.power is not Power.SUSPENDED:
                self._note(machine, "boot")
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
            self._note(machine, "boot")
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
        self._machines.pop(guest, None)
        self._close_screen(guest)
        self._write(guest)

    @verb
    async def power(self, guest: UUID) -> Power | None:
        machine = self._lookup(guest)
        return None if machine is None else machine.power

    @verb
    async def guests(self) -> Mapping[UUID, Power]:
        return {guest: self._find(guest).power for guest in self._machines}

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

    @verb
    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        machine = self._find(guest)
        must_act(Verb.SNAPSHOT, guest, machine.power)
        disk = self._disk(machine, volume)
        if disk.format != "qcow2":
            raise Refused(f"volume {volume} of guest {guest} is {disk.format}: only qcow2 holds snapshots")
        machine.snapshots.setdefault(volume, set()).add(snapshot)
        self._keep(machine)

    @verb
    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        machine = self._find(guest)
        must_act(Verb.SNAPSHOT, guest, machine.power)
        self._disk(machine, volume)
        machine.snapshots.get(volume, set()).discard(snapshot)
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
            self._note(machine, "down")
            self._note(machine, "boot")
            self._keep(machine)

    def _power_off(self, machine: Machine, power: Power = Power.OFF) -> None:
        self._close_screen(machine.guest.id)
        if machine.power in (Power.ON, Power.PAUSED):
            self._note(machine, "down")
        machine.asked = ""
        self._set(machine, power)

    def _note(self, machine: Machine, event: str) -> None:
        machine.events = [*machine.events, event][-REMEMBERED_EVENTS:]

    def _set(self, machine: Machine, power: Power) -> None:
        machine.power = power
        self._keep(machine)

    def _keep(self, machine: Machine) -> None:
        self._machines[machine.guest.id] = machine
        self._write(machine)

    def _write(self, kept: Machine | UUID) -> None:
        """One more line: a guest as it is now, or the id of one that is gone."""
        if self._state is not None:
            with self._state.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(kept) + b"\n")

    def _close_screen(self, guest: UUID) -> None:
        screen = self._screens.pop(guest, None)
        if screen is not None:
            screen.close()


def remembered(state: Path) -> dict[UUID, Machine]:
    """The guests of a file, which is written anew without what is over. A last line that was cut off is left out."""
    machines: dict[UUID, Machine] = {}
    try:
        lines = state.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return machines
    for line in lines:
        if not line.endswith(b"\n"):
            break
        kept = msgspec.json.decode(line, type=Machine | UUID)
        if isinstance(kept, UUID):
            machines.pop(kept, None)
        else:
            machines[kept.guest.id] = kept
    if len(machines) < len(lines):
        fresh = state.with_suffix(".new")
        fresh.write_bytes(b"".join(msgspec.json.encode(machine) + b"\n" for machine in machines.values()))
        fresh.replace(state)
    return machines


def console(machine: Machine) -> str:
    """What the guest wrote to its serial port."""
    guest = machine.guest
    boot = (
        f"[    0.000000] Linux version 6.1.0-simulated, {guest.vcpus} CPUs, {guest.memory_mib} MiB\n"
        + "".join(
            f"[    0.4{n:05}] {disk.device}: volume {disk.volume}\n" for n, disk in enumerate(guest.disks)
        )
        + "".join(f"[    0.5{n:05}] eth{n}: {nic.mac}\n" for n, nic in enumerate(guest.nics))
        + f"[    1.000000] {guest.name} is up\n\n{guest.name} login: "
    )
    told = {"boot": boot, "down": "\n[   99.000000] reboot: Power down\n"}
    return "".join(told[event] for event in machine.events)
