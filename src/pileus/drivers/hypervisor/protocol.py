"""What is asked of anything that runs guests.

Every call may be repeated: asking for what is already so succeeds quietly.
A driver keeps no state of its own; the platform under it is the truth.
Any call may raise Refused or Unreachable (drivers/errors.py).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec


class Power(StrEnum):
    ON = "on"
    OFF = "off"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    """Memory is saved on disk; `start` brings it back."""
    CRASHED = "crashed"


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as a guest sees it. `volume` is its serial number in the guest (first 20 characters)."""

    volume: UUID
    path: str
    format: str = "qcow2"
    device: str
    """Target name in the guest: vda, vdb, ..."""
    boot: bool = False
    read_only: bool = False
    cdrom: bool = False


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """`port` is the name of the logical port that the network driver serves; mac as aa:bb:cc:dd:ee:ff."""

    port: UUID
    mac: str
    mtu: int = 1442


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """A machine to define, free of any platform's vocabulary. Memory in MiB; the order of disks is the boot order."""

    id: UUID
    name: str
    vcpus: int
    memory_mib: int
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    kernel: str = ""
    """Path of a kernel for direct boot; with `ramdisk` and `cmdline`. Empty: boot from the first disk."""
    ramdisk: str = ""
    cmdline: str = ""
    firmware: str = "bios"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform can do, as data; faces offer only what is here."""

    hypervisor: str
    """As both products name it: QEMU or KVM (OpenStack), KVM or Simulator (CloudStack)."""
    pause: bool = False
    suspend: bool = False
    hot_plug_volume: bool = False
    hot_plug_nic: bool = False
    live_snapshot: bool = False
    console_log: bool = False
    consoles: frozenset[str] = frozenset()


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine is: memory in MiB; version as an integer such as 7002022 (libvirt's form)."""

    hostname: str
    vcpus: int
    memory_mib: int
    cpu_model: str = ""
    architecture: str = "x86_64"
    hypervisor: str
    version: int
    acceleration: str
    """kvm or tcg, with `reason`."""
    reason: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as a look found it: `disks` are volumes, `nics` ports. Not `marked`: no cloud's mark is on it."""

    power: Power
    marked: bool = True
    disks: frozenset[UUID] = frozenset()
    nics: frozenset[UUID] = frozenset()


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Every guest of a platform: those with our mark or with none, and the names of those that are another cloud's."""

    guests: Mapping[UUID, Held]
    foreign: frozenset[str] = frozenset()


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the guest's RFB (VNC) server listens: a unix socket, or address and port."""

    socket: str = ""
    address: str = ""
    port: int = 0


class Hypervisor(Protocol):
    capabilities: Capabilities

    async def facts(self) -> HostFacts:
        """What the host is and has."""

    async def define(self, guest: Guest) -> None:
        """Make the guest known to the platform, powered off. Known and off: its definition is replaced;
        known and running: left alone."""

    async def start(self, guest: UUID) -> None:
        """Power on, or resume from suspension. Raises Missing."""

    async def stop(self, guest: UUID, *, force: bool) -> None:
        """Power off; `force` pulls the plug, otherwise asks the guest (ACPI) and returns at once:
        poll `power`. A missing guest is already off."""

    async def reboot(self, guest: UUID, *, force: bool) -> None:
        """`force`: reset as by the button; otherwise ask the guest and return at once. Raises Missing."""

    async def pause(self, guest: UUID) -> None:
        """Freeze the guest's processors. Raises Missing; Refused when it is off."""

    async def resume(self, guest: UUID) -> None:
        """Let a paused guest run on. Raises Missing."""

    async def suspend(self, guest: UUID) -> None:
        """Save memory to disk and power off. Raises Missing; Refused when it is off."""

    async def undefine(self, guest: UUID) -> None:
        """Forget the guest and what the platform keeps about it (saved memory, console log).
        A running guest is powered off first; a missing guest is already forgotten."""

    async def power(self, guest: UUID) -> Power | None:
        """What the platform reports now; None when it knows no such guest."""

    async def guests(self) -> Mapping[UUID, Power]:
        """Every guest that carries our mark. Guests of others are never listed nor touched."""

    async def survey(self) -> Survey:
        """One look at everything, to compare it with what is recorded."""

    async def claim(self, guest: UUID) -> None:
        """Put our mark on a guest that has none. Raises Missing; Refused for one that is another cloud's."""

    async def attach_disk(self, guest: UUID, disk: Disk) -> None:
        """Add a disk to the definition and, if it runs, to the running guest. Raises Missing."""

    async def detach_disk(self, guest: UUID, volume: UUID) -> None:
        """Take the disk out of the definition and ask a running guest to let it go; returns when it is gone.
        Refused when the guest does not let go in 20 s. A missing guest or disk is already detached."""

    async def attach_nic(self, guest: UUID, nic: Nic) -> None:
        """Like attach_disk."""

    async def detach_nic(self, guest: UUID, port: UUID) -> None:
        """Like detach_disk."""

    async def disks(self, guest: UUID) -> frozenset[UUID]:
        """The volumes that the guest holds now. Raises Missing."""

    async def nics(self, guest: UUID) -> frozenset[UUID]:
        """The ports that the guest holds now. Raises Missing."""

    async def resize_disk(self, guest: UUID, volume: UUID, size_gib: int) -> None:
        """Grow the disk's file through the running guest (the platform holds the file). Raises Missing."""

    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        """Make an internal snapshot of one disk of a running guest, named by the snapshot's id."""

    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        """The opposite; a missing snapshot is already deleted."""

    async def console_log(self, guest: UUID, *, max_bytes: int = 1 << 20) -> bytes:
        """The end of what the guest wrote to its serial port. Raises Missing."""

    async def screen(self, guest: UUID) -> Screen:
        """Raises Missing; Refused when it is off."""

    async def close(self) -> None:
        """Let go of connections and threads; guests run on."""
