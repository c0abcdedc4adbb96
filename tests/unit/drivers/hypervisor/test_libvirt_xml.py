"""Golden files: `PILEUS_WRITE_GOLDEN=1` writes them anew; read the difference before it is kept."""

import os
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from pileus.drivers.hypervisor.libvirt import xml
from pileus.drivers.hypervisor.protocol import Disk, Guest, Nic

GOLDEN = Path(__file__).with_name("golden")
ROOT, DATA, DRIVE = (UUID(int=n) for n in (1, 2, 3))
PLATFORM = xml.Platform(
    virtualization="qemu",
    cloud="/var/lib/pileus",
    consoles=Path("/var/lib/pileus/consoles"),
    screens=Path("/var/lib/pileus/run/vnc"),
)
GUEST = Guest(
    id=UUID("00000000-0000-4000-8000-000000000001"),
    name="web",
    vcpus=2,
    memory_mib=512,
    disks=(
        Disk(volume=ROOT, path="/srv/root.qcow2", device="vda", boot=True),
        Disk(volume=DATA, path="/dev/vg/data", format="raw", device="vdb"),
        Disk(volume=DRIVE, path="/srv/config.iso", format="raw", device="vdc", cdrom=True, read_only=True),
    ),
    nics=(Nic(port=UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), mac="fa:16:3e:00:00:01"),),
)
KVM = msgspec.structs.replace(PLATFORM, virtualization="kvm")
USERSPACE = msgspec.structs.replace(PLATFORM, userspace=True)
PLAIN = msgspec.structs.replace(PLATFORM, openvswitch=False, bridge="virbr0")
DIRECT = msgspec.structs.replace(
    GUEST, kernel="/srv/vmlinuz", ramdisk="/srv/initrd", cmdline="root=/dev/vda", disks=GUEST.disks[:1]
)


@pytest.mark.parametrize(
    ("name", "guest", "platform"),
    [
        ("qemu", GUEST, PLATFORM),
        ("kvm", GUEST, KVM),
        ("userspace", GUEST, USERSPACE),
        ("plain-bridge", GUEST, PLAIN),
        ("direct-boot", DIRECT, PLATFORM),
        ("uefi", msgspec.structs.replace(GUEST, firmware="uefi", nics=()), KVM),
    ],
)
def test_a_domain_is_written_as_it_always_was(name: str, guest: Guest, platform: xml.Platform) -> None:
    golden = GOLDEN / f"{name}.xml"
    written = xml.domain(guest, platform) + "\n"
    if os.environ.get("PILEUS_WRITE_GOLDEN"):
        golden.write_text(written)
    assert written == golden.read_text()


def test_what_is_written_can_be_read_back() -> None:
    root = xml.parse(xml.domain(GUEST, PLATFORM))
    assert set(xml.disks(root)) == {ROOT, DATA, DRIVE}
    assert set(xml.nics(root)) == {GUEST.nics[0].port}
    assert xml.target(xml.disks(root)[DATA]) == "vdb"
    assert xml.mark(xml.device(root.find("metadata")[0])) == PLATFORM.cloud  # type: ignore[index, arg-type]


def test_devices_that_are_not_ours_are_passed_over() -> None:
    devices = "<disk/><disk><alias name='virtio-disk0'/></disk><disk><alias name='ua-mine'/></disk>"
    assert not xml.disks(xml.parse(f"<domain><devices>{devices}</devices></domain>"))


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "a\x1bb", "a\ud800b", "<&'\">", " ", ""])
def test_any_name_makes_a_document(name: str) -> None:
    guest = msgspec.structs.replace(GUEST, name=name)
    assert xml.parse(xml.domain(guest, PLATFORM)).findtext("uuid") == str(GUEST.id)


def test_the_marked_disks_boot_in_their_order_and_others_never() -> None:
    disks = (
        Disk(volume=ROOT, path="/a", device="vda"),
        Disk(volume=DATA, path="/b", device="vdb", boot=True),
        Disk(volume=DRIVE, path="/c", device="vdc", boot=True, cdrom=True),
    )
    root = xml.parse(xml.domain(msgspec.structs.replace(GUEST, disks=disks), PLATFORM))
    orders = {xml.target(one): one.find("boot") for one in root.iterfind("devices/disk")}
    assert orders["vda"] is None
    assert {name: one.get("order") for name, one in orders.items() if one is not None} == {
        "vdb": "1",
        "hda": "2",
    }


def test_a_tap_has_a_name_that_the_kernel_takes() -> None:
    assert len(xml.tap(GUEST.nics[0].port)) <= 15
