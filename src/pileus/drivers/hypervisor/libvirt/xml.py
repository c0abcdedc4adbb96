"""The domain that libvirt is asked for, built from a Guest by pure functions, and what is read from one."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from uuid import UUID
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec

from pileus.drivers.hypervisor.protocol import Disk, Guest, Nic

NAMESPACE = "urn:pileus:guest"
ElementTree.register_namespace("pileus", NAMESPACE)

SERIAL_LENGTH = 20
"""What virtio-blk carries; the whole id travels in the alias."""

_ALIAS = re.compile(r"ua-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OFF = dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """What a domain needs to know of its host."""

    virtualization: Literal["kvm", "qemu"]
    cloud: str
    """Our mark on our domains; several clouds may share one libvirt."""
    marks: frozenset[str] = frozenset()
    """The same, with what we marked our domains by before."""
    consoles: Path
    screens: Path
    bridge: str = "br-int"
    openvswitch: bool = True
    """False: a plain Linux bridge."""
    userspace: bool = False
    """The bridge forwards in user space and cannot finish checksums or segments: no offloads."""
    cache: str = "none"


def domain(guest: Guest, platform: Platform) -> str:
    root = _e(
        "domain",
        _e("name", str(guest.id)),
        _e("uuid", str(guest.id)),
        _e("title", printable(guest.name)) if guest.name.strip() else None,
        _e("metadata", _e(f"{{{NAMESPACE}}}guest", cloud=platform.cloud)),
        _e("memory", str(guest.memory_mib), unit="MiB"),
        _e("vcpu", str(guest.vcpus)),
        _sysinfo(guest.id),
        _os(guest),
        _e("features", _e("acpi"), _e("apic")),
        _cpu(platform),
        _e("clock", *_timers(platform), offset="utc"),
        _e("on_poweroff", "destroy"),
        _e("on_reboot", "restart"),
        _e("on_crash", "destroy"),
        _e("pm", _e("suspend-to-mem", enabled="no"), _e("suspend-to-disk", enabled="no")),
        _devices(guest, platform),
        type=platform.virtualization,
    )
    return _text(root)


def disk(disk: Disk, platform: Platform, *, target: str = "", boot: int = 0) -> str:
    return _text(_disk(disk, platform, target=target or disk.device, boot=boot))


def nic(nic: Nic, platform: Platform) -> str:
    return _text(_nic(nic, platform))


def parse(text: str) -> Element:
    """For libvirt's own answers: they hold no document type, so no entities."""
    return ElementTree.fromstring(text)  # noqa: S314


def mark(metadata: str) -> str:
    """The cloud that a domain's metadata element names."""
    return parse(metadata).get("cloud", "")


def of(cloud: str) -> str:
    """The metadata element that marks a domain as a cloud's; libvirt puts it into the namespace."""
    return _text(_e("guest", cloud=cloud))


def marked(root: Element) -> str:
    """The cloud that a domain names; empty when it names none."""
    found = root.find(f"metadata/{{{NAMESPACE}}}guest")
    return "" if found is None else found.get("cloud", "")


def disks(root: Element) -> Mapping[UUID, Element]:
    return {volume: found for found in root.iterfind("devices/disk") if (volume := _alias(found))}


def nics(root: Element) -> Mapping[UUID, Element]:
    """By logical port; on a plain bridge, which has no such name, by the alias."""
    return {port: found for found in root.iterfind("devices/interface") if (port := _alias(found))}


def device(found: Element) -> str:
    return _text(found)


def target(found: Element) -> str:
    """The target name of a disk element."""
    element = found.find("target")
    return "" if element is None else element.get("dev", "")


def alias(key: UUID) -> str:
    """libvirt keeps aliases that begin with ua-, and QEMU knows the device by them."""
    return f"ua-{key}"


def screen(platform: Platform, guest: UUID) -> Path:
    return platform.screens / guest.hex


def console(platform: Platform, guest: UUID) -> Path:
    return platform.consoles / f"{guest}.log"


def tap(port: UUID) -> str:
    """A device name made from the port: what a dead guest left in the switch is replaced, not doubled. An id ends in
    random digits, and begins with the time."""
    return f"tap{port.hex[-12:]}"


def printable(name: str) -> str:
    """Names are users' text; XML has no form for control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _e(tag: str, *children: Element | str | None, **attributes: str) -> Element:
    element = Element(tag, attributes)
    for child in children:
        if isinstance(child, str):
            element.text = child
        elif child is not None:
            element.append(child)
    return element


def _text(element: Element) -> str:
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode")


def _alias(found: Element) -> UUID | None:
    element = found.find("alias")
    name = "" if element is None else element.get("name", "")
    return UUID(name.removeprefix("ua-")) if _ALIAS.fullmatch(name) else None


def _sysinfo(guest: UUID) -> Element:
    # Guests recognise the OpenStack metadata service by this product name.
    entries = {
        "manufacturer": "Pileus",
        "product": "OpenStack Compute",
        "serial": str(guest),
        "uuid": str(guest),
        "family": "Virtual Machine",
    }
    system = _e("system", *(_e("entry", value, name=name) for name, value in entries.items()))
    return _e("sysinfo", system, type="smbios")


def _os(guest: Guest) -> Element:
    root = _e("os", _e("type", "hvm", arch="x86_64", machine="pc"))
    if guest.firmware == "uefi":
        root.set("firmware", "efi")
        root.append(_e("firmware", _e("feature", enabled="no", name="secure-boot")))
    for tag, value in (("kernel", guest.kernel), ("initrd", guest.ramdisk), ("cmdline", guest.cmdline)):
        if guest.kernel and value:
            root.append(_e(tag, value))
    root.append(_e("smbios", mode="sysinfo"))
    return root


def _cpu(platform: Platform) -> Element:
    if platform.virtualization == "kvm":
        return _e("cpu", mode="host-passthrough")
    # QEMU's default model is older than x86-64-v2, below which newer distributions do not boot.
    return _e("cpu", _e("model", "Nehalem", fallback="forbid"), mode="custom", match="exact", check="none")


def _timers(platform: Platform) -> Iterator[Element]:
    if platform.virtualization == "kvm":
        yield _e("timer", name="rtc", tickpolicy="catchup")
        yield _e("timer", name="pit", tickpolicy="delay")
        yield _e("timer", name="hpet", present="no")


def _devices(guest: Guest, platform: Platform) -> Element:
    root = _e("devices")
    root.extend(_disks(guest, platform))
    root.extend(_nic(one, platform) for one in guest.nics)
    log = str(console(platform, guest.id))
    listen = _e("listen", type="socket", socket=str(screen(platform, guest.id)))
    root.extend(
        (
            _e("controller", type="usb", model="none"),
            _e("serial", _e("log", file=log, append="on"), _e("target", port="0"), type="pty"),
            _e("channel", _e("target", type="virtio", name="org.qemu.guest_agent.0"), type="unix"),
            _e("graphics", listen, type="vnc"),
            _e("video", _e("model", type="vga")),
            _e("memballoon", _e("stats", period="10"), model="virtio"),
            _e("rng", _e("backend", "/dev/urandom", model="random"), model="virtio"),
        )
    )
    return root


def _disks(guest: Guest, platform: Platform) -> Iterator[Element]:
    """Bootable disks come first in the order of boot; when none is marked, every disk may be tried."""
    marked = any(one.boot for one in guest.disks)
    order = cdroms = 0
    for one in guest.disks:
        name = one.device
        if one.cdrom:
            name, cdroms = f"hd{'abcd'[min(cdroms, 3)]}", cdroms + 1
        bootable = not guest.kernel and (one.boot or not marked)
        order += bootable
        yield _disk(one, platform, target=name, boot=order if bootable else 0)


def _disk(disk: Disk, platform: Platform, *, target: str, boot: int) -> Element:
    is_block = disk.path.startswith("/dev/")
    driver = {"name": "qemu", "type": disk.format}
    if not disk.cdrom:
        driver |= {"cache": platform.cache, "discard": "unmap"}
    return _e(
        "disk",
        _e("driver", **driver),
        _e("source", **{"dev" if is_block else "file": disk.path}),
        _e("target", dev=target, bus="ide" if disk.cdrom else "virtio"),
        _e("readonly") if disk.read_only or disk.cdrom else None,
        _e("serial", str(disk.volume)[:SERIAL_LENGTH]),
        _e("boot", order=str(boot)) if boot else None,
        _e("alias", name=alias(disk.volume)),
        type="block" if is_block else "file",
        device="cdrom" if disk.cdrom else "disk",
    )


def _nic(nic: Nic, platform: Platform) -> Element:
    port = _e("virtualport", _e("parameters", interfaceid=str(nic.port)), type="openvswitch")
    offloads = _e("driver", _e("host", **_OFF, gso="off"), _e("guest", **_OFF), name="qemu")
    return _e(
        "interface",
        _e("mac", address=nic.mac),
        _e("source", bridge=platform.bridge),
        port if platform.openvswitch else None,
        _e("target", dev=tap(nic.port)),
        _e("model", type="virtio"),
        offloads if platform.userspace else None,
        _e("mtu", size=str(nic.mtu)),
        _e("rom", enabled="no"),
        _e("alias", name=alias(nic.port)),
        type="bridge",
    )
