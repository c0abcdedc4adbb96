"""A guest as the simulated platform holds it, and what it wrote to its serial port."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from pileus.drivers.hypervisor.protocol import Guest, Power

REMEMBERED_EVENTS = 20
"""Starts and ends of which the console log tells."""
BOOT, DOWN = "b", "d"


class Mark(StrEnum):
    """Whose the guest is."""

    OURS = "ours"
    NONE = "none"
    OTHER = "other"


class Machine(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Many are held at once, so that what most have not takes no room."""

    guest: Guest
    power: Power = Power.OFF
    events: str = ""
    """A letter for each boot and end, the oldest first."""
    snapshots: frozenset[tuple[UUID, UUID]] = frozenset()
    """(volume, snapshot)."""
    asked: Literal["", "stop", "reboot"] = ""
    due: float = 0.0
    """When the guest does what it was asked."""
    deaf: bool = False
    """Ignores the power button and holds on to its devices."""
    mark: Mark = Mark.OURS

    def note(self, event: str) -> None:
        self.events = (self.events + event)[-REMEMBERED_EVENTS:]


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
    told = {BOOT: boot, DOWN: "\n[   99.000000] reboot: Power down\n"}
    return "".join(told[event] for event in machine.events)
