"""Microsoft's formats: vhd (fixed and dynamic) and vhdx."""

from struct import Struct
from uuid import UUID

from pileus.drivers.errors import Refused
from pileus.drivers.volume.inspection.content import Content

FOOTER = Struct(">8sIIQI4sIIQQHBBII")
COOKIE = b"conectix"
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
BY_SIZE = frozenset((b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS", b"wa\0\0"))
"""Makers whose disks have the size that the footer names; of others the geometry decides, up to its largest."""
LARGEST_GEOMETRY = 65535 * 16 * 255

VHDX_MAGIC = b"vhdxfile"
REGIONS = (192 << 10, 256 << 10)
REGION_TABLE, REGION = Struct("<4sIII"), Struct("<16sQII")
METADATA_TABLE, ITEM = Struct("<8sHH20x"), Struct("<16sIII4x")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
HAS_PARENT = 1 << 1


def vhd_bytes(content: Content) -> int | None:
    """None: not a vhd. The footer is the last sector; a dynamic disk has a copy of it in front."""
    start = content.peek(0, FOOTER.size)
    if start[:8] != COOKIE and content.peek(content.size - 512, 8) != COOKIE:
        return None
    offset = 0 if start[:8] == COOKIE else content.size - 512
    found = content.unpack(FOOTER, offset, "the vhd footer")
    maker, size, cylinders, heads, sectors, kind, checksum = found[5], *found[9:15]
    raw = content.read(offset, 512, "the vhd footer")
    if checksum != ~sum(raw[:64] + raw[68:]) & 0xFFFFFFFF:
        raise Refused("the vhd footer's checksum is wrong; the file is damaged")
    if kind == DIFFERENCING:
        raise Refused("the vhd is a differencing disk with a parent; merge it before the export")
    if kind not in (FIXED, DYNAMIC) or (kind == DYNAMIC) != (offset == 0):
        raise Refused(f"the vhd is of type {kind}, which is neither a sound fixed nor dynamic disk")
    if kind == FIXED and size + 512 != content.size:
        raise Refused(f"the fixed vhd should have {size + 512} bytes, the file has {content.size}")
    blocks = cylinders * heads * sectors
    if maker in BY_SIZE or blocks == LARGEST_GEOMETRY:
        blocks = size // 512
    return int(blocks) * 512


def vhdx_bytes(content: Content) -> int | None:
    if content.peek(0, 8) != VHDX_MAGIC:
        return None
    table, length = region(content)
    signature, _, count = content.unpack(METADATA_TABLE, table, "the vhdx metadata table")
    if signature != b"metadata" or count > 2047:
        raise Refused("the vhdx has no sound metadata table")
    size = None
    for index in range(count):
        key, offset, _, _ = content.unpack(ITEM, table + 32 * (index + 1), "a vhdx metadata entry")
        item = UUID(bytes_le=key)
        if offset + 8 > length:
            raise Refused("a vhdx metadata entry lies outside of its region")
        value = int.from_bytes(content.read(table + offset, 8, "a vhdx metadata item"), "little")
        if item == PARENT_LOCATOR or (item == PARAMETERS and value >> 32 & HAS_PARENT):
            raise Refused("the vhdx is a differencing disk with a parent; merge it before the export")
        if item == SIZE:
            size = value
    if not size:
        raise Refused("the vhdx does not say its size")
    return size


def region(content: Content) -> tuple[int, int]:
    """Where the metadata are: offset and length."""
    for start in REGIONS:
        signature, _, count, _ = content.unpack(REGION_TABLE, start, "the vhdx region table")
        if signature != b"regi" or count > 2047:
            continue
        for index in range(count):
            at = start + REGION_TABLE.size + index * REGION.size
            key, offset, length, _ = content.unpack(REGION, at, "a vhdx region")
            if UUID(bytes_le=key) == METADATA:
                return offset, length
    raise Refused("the vhdx has no metadata region")
