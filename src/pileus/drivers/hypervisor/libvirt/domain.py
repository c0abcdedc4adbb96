"""One of our guests as libvirt holds it. Everything here blocks: it runs in the connection's threads."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self
from uuid import UUID
from xml.etree.ElementTree import Element

import libvirt
import libvirt_qemu  # type: ignore[import-untyped, unused-ignore]

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.libvirt import xml
from pileus.drivers.hypervisor.protocol import Disk, Held, Nic, Power
from pileus.drivers.hypervisor.reactions import Verb, must_act

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_OF_RUNNING = {
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
_PASSING = {
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: Power.OFF,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: Power.ON,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: Power.ON,
    libvirt.VIR_DOMAIN_PAUSED_DUMP: Power.ON,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: Power.ON,
}
"""libvirt holds the processors for a moment of its own; nobody paused the guest."""

_STILL_ASKED = "already in the process of unplug"
"""QEMU's words when an earlier request still waits for the guest."""

Devices = Mapping[UUID, Element]


class Domain:
    def __init__(self, guest: UUID, handle: libvirt.virDomain) -> None:
        self.guest = guest
        self.handle = handle

    @classmethod
    def lookup(cls, connection: libvirt.virConnect, marks: Collection[str], guest: UUID) -> Self | None:
        """None when libvirt knows no such domain, or it belongs to somebody else."""
        try:
            handle = connection.lookupByUUIDString(str(guest))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        return cls(guest, handle) if is_ours(handle, marks) else None

    @classmethod
    def find(cls, connection: libvirt.virConnect, marks: Collection[str], guest: UUID) -> Self:
        found = cls.lookup(connection, marks, guest)
        if found is None:
            raise Missing(f"libvirt knows no guest {guest}")
        return found

    def power(self) -> Power:
        state, reason = self.handle.state()
        if state == libvirt.VIR_DOMAIN_SHUTOFF:
            if self.handle.hasManagedSaveImage():
                return Power.SUSPENDED
            return Power.CRASHED if reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED else Power.OFF
        if state == libvirt.VIR_DOMAIN_PAUSED and reason in _PASSING:
            return _PASSING[reason]
        return _OF_RUNNING.get(state, Power.ON)

    def held(self, root: Element, *, marked: bool) -> Held:
        """As its description says."""
        disks, nics = frozenset(xml.disks(root)), frozenset(xml.nics(root))
        return Held(power=self.power(), marked=marked, disks=disks, nics=nics)

    def claim(self, cloud: str) -> None:
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if self.handle.isActive():
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        self.handle.setMetadata(element, xml.of(cloud), "pileus", xml.NAMESPACE, flags)

    def must(self, verb: Verb) -> bool:
        return must_act(verb, self.guest, self.power())

    def start(self) -> None:
        self._act(Verb.START, self.handle.create)

    def stop(self) -> None:
        self._act(Verb.STOP, self.handle.shutdownFlags, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def kill(self) -> None:
        self._act(Verb.KILL, self._pull_the_plug)

    def reboot(self) -> None:
        self._act(Verb.REBOOT, self.handle.reboot, libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    def reset(self) -> None:
        self._act(Verb.RESET, self.handle.reset)

    def pause(self) -> None:
        self._act(Verb.PAUSE, self.handle.suspend)

    def resume(self) -> None:
        self._act(Verb.RESUME, self.handle.resume)

    def suspend(self) -> None:
        # Also a paused guest runs when it is started again.
        self._act(Verb.SUSPEND, self.handle.managedSave, libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def undefine(self) -> None:
        if self.handle.isActive():
            self._destroy()
        self.handle.undefineFlags(_UNDEFINE)

    def devices(self, kind: str) -> Devices:
        """What the guest holds now, by id; `kind` is disk or interface."""
        return self._held(kind, live=bool(self.handle.isActive()))

    def attach(self, kind: str, key: UUID, element: str) -> None:
        self.must(Verb.ATTACH)
        flags = 0
        if self.handle.isActive() and key not in self._held(kind, live=True):
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        if key not in self._held(kind, live=False):
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if flags:
            self.handle.attachDeviceFlags(element, flags)

    def release(self, kind: str, key: UUID) -> bool:
        """Ask a running guest to let the device go; True when it holds it no more."""
        live = self._held(kind, live=True) if self.handle.isActive() else {}
        if key not in live and key not in self._held(kind, live=False):
            return True
        self.must(Verb.DETACH)
        if key not in live:
            return True
        try:
            self.handle.detachDeviceFlags(xml.device(live[key]), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            if self.holds(kind, key) and _STILL_ASKED not in str(error):
                raise
        return not self.holds(kind, key)

    def holds(self, kind: str, key: UUID) -> bool:
        return bool(self.handle.isActive()) and key in self._held(kind, live=True)

    def forget_device(self, kind: str, key: UUID) -> None:
        found = self._held(kind, live=False).get(key)
        if found is not None:
            self.handle.detachDeviceFlags(xml.device(found), libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def resize(self, volume: UUID, size: int) -> None:
        self.must(Verb.RESIZE)
        name = xml.target(self._disk(volume))
        if self.handle.blockInfo(name)[0] < size:
            self.handle.blockResize(name, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def snapshot(self, volume: UUID, snapshot: UUID) -> None:
        self.must(Verb.SNAPSHOT)
        node, known = self._block(volume)
        if str(snapshot) not in known:
            self._qmp("blockdev-snapshot-internal-sync", device=node, name=str(snapshot))

    def delete_snapshot(self, volume: UUID, snapshot: UUID) -> None:
        self.must(Verb.SNAPSHOT)
        node, known = self._block(volume)
        if str(snapshot) in known:
            self._qmp("blockdev-snapshot-delete-internal-sync", device=node, name=str(snapshot))

    def _act(self, verb: Verb, call: Callable[..., object], *arguments: object) -> None:
        if not self.must(verb):
            return
        try:
            call(*arguments)
        except libvirt.libvirtError:
            # The guest may have reached the wanted state by itself in the meantime.
            if self.must(verb):
                raise

    def _pull_the_plug(self) -> None:
        if self.handle.isActive():
            self._destroy()
        if self.handle.hasManagedSaveImage():
            self.handle.managedSaveRemove()

    def _destroy(self) -> None:
        try:
            self.handle.destroy()
        except libvirt.libvirtError:
            if self.handle.isActive():
                raise

    def _held(self, kind: str, *, live: bool) -> Devices:
        root = xml.parse(self.handle.XMLDesc(0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE))
        return xml.disks(root) if kind == "disk" else xml.nics(root)

    def _disk(self, volume: UUID) -> Element:
        found = self.devices("disk").get(volume)
        if found is None:
            raise Missing(f"guest {self.guest} holds no volume {volume}")
        return found

    def _block(self, volume: UUID) -> tuple[str, frozenset[str]]:
        """The name of the disk's top block node and of its internal snapshots."""
        self._disk(volume)
        alias = xml.alias(volume)
        for block in self._qmp("query-block"):
            if alias in block.get("qdev", "").split("/") and "inserted" in block:
                inserted = block["inserted"]
                snapshots = inserted["image"].get("snapshots", ())
                return inserted["node-name"], frozenset(one["name"] for one in snapshots)
        raise Missing(f"QEMU has no block node for volume {volume} of guest {self.guest}")

    def _qmp(self, command: str, **arguments: Any) -> Any:
        request = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(self.handle, request, 0))
        if "error" in answer:
            raise Refused(f"guest {self.guest}: {command}: {answer['error']['desc']}")
        return answer["return"]


def is_ours(handle: libvirt.virDomain, marks: Collection[str]) -> bool:
    return mark_of(handle) in marks


def mark_of(handle: libvirt.virDomain) -> str:
    """The cloud that a domain names; empty when it names none, or is gone."""
    try:
        found = handle.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml.NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return ""
        raise
    return xml.mark(found)


def attachable(device: Disk | Nic) -> tuple[str, UUID]:
    """The kind and the id of a device."""
    return ("disk", device.volume) if isinstance(device, Disk) else ("interface", device.port)
