"""vdi, ISO 9660, and formats that are known only to be refused."""

from struct import Struct

from pileus.drivers.errors import Refused
from pileus.drivers.volume.inspection.content import Content

VDI_MAGIC, VDI_AT = 0xBEDA107F, 64
VDI_FORM = Struct("<IIII")
VDI_SIZE = Struct("<QIIII16s16s16s16s")
VDI_DYNAMIC, VDI_STATIC = 1, 2

ISO_AT, ISO_MAGIC = 32768, b"CD001"
VOLUME_SPACE, BLOCK = Struct("<I"), Struct("<H")

UNSUPPORTED = {
    b"QED\0": "qed",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
    b"Bochs Virtual HD Image": "bochs",
}


def refuse_unsupported(content: Content) -> None:
    start = content.peek(0, 64)
    for magic, name in UNSUPPORTED.items():
        if start.startswith(magic):
            raise Refused(f"the format {name} is not supported; convert it with qemu-img convert -O qcow2")
    if start.startswith(b"LUKS\xba\xbe"):
        raise Refused("the image is encrypted (LUKS)")


def vdi_bytes(content: Content) -> int | None:
    if content.peek(VDI_AT, 4) != VDI_MAGIC.to_bytes(4, "little"):
        return None
    _, version, _, kind = content.unpack(VDI_FORM, VDI_AT, "the vdi header")
    if version != 0x00010001:
        raise Refused(f"vdi of version {version:#x} is not supported")
    if kind not in (VDI_DYNAMIC, VDI_STATIC):
        raise Refused(f"the vdi is of type {kind}; only dynamic and static disks stand alone")
    size, _, _, _, _, _, _, link, parent = content.unpack(VDI_SIZE, 368, "the vdi header")
    if any(link) or any(parent):
        raise Refused("the vdi has a parent; clone it to a disk of its own before the export")
    return (int(size) + 511) // 512 * 512


def iso_bytes(content: Content) -> int | None:
    """A hybrid with a partition table in front is an ISO as well."""
    descriptor = content.peek(ISO_AT, 2048)
    if descriptor[1:6] != ISO_MAGIC:
        return None
    if len(descriptor) < 2048:
        raise Refused("the ISO 9660 image is cut off in its volume descriptor")
    claimed = VOLUME_SPACE.unpack_from(descriptor, 80)[0] * BLOCK.unpack_from(descriptor, 128)[0]
    if descriptor[0] == 1 and claimed > content.size:
        raise Refused(
            f"the ISO 9660 image is cut off: it claims {claimed} bytes, the file has {content.size}"
        )
    return raw_bytes(content)


def raw_bytes(content: Content) -> int:
    return (content.size + 511) // 512 * 512
