"""VMware's hosted sparse form, alone in one file: monolithicSparse and streamOptimized."""

import re
from struct import Struct

from pileus.drivers.errors import Refused
from pileus.drivers.volume.inspection.content import Content

MAGIC = b"KDMV"
HEADER = Struct("<4sIIQQQQIQQQBIH")
SECTOR = 512
AT_END = 0xFFFFFFFFFFFFFFFF
"""In place of the grain directory's offset: a footer at the end of the file has the true one."""
KINDS = ("monolithicSparse", "streamOptimized")
EXTENT = re.compile(r'^\s*(RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)(?:\s+"([^"]*)")?', re.IGNORECASE)
SETTING = re.compile(r'^\s*(\w+)\s*=\s*"?([^"\r\n]*)"?\s*$')
LONGEST_DESCRIPTOR = 20 << 10


def virtual_bytes(content: Content) -> int | None:
    """None: not a sparse vmdk. Refused: one that is more than itself, or broken."""
    start = content.peek(0, 4096)
    if start[:4] == b"COWD":
        raise Refused(f"a vmdk of an ESX sparse disk is not supported; export it as {' or '.join(KINDS)}")
    if start.lstrip().lower().startswith(b"# disk descriptorfile"):
        raise Refused(f"a vmdk descriptor has no data of its own; export the disk as {' or '.join(KINDS)}")
    if start[:4] != MAGIC:
        return None
    capacity, descriptor_at, descriptor_sectors, directory = place(content, 0)
    if directory == AT_END:
        footer = place(content, content.size - 2 * SECTOR)
        if footer[:3] != (capacity, descriptor_at, descriptor_sectors):
            raise Refused("the footer of the vmdk contradicts its header")
    # QEMU takes a sparse file without capacity for a descriptor, and looks for the descriptor in the second sector.
    if not capacity:
        raise Refused("the vmdk has no capacity of its own")
    if descriptor_at != 1 or not descriptor_sectors:
        raise Refused("the vmdk has no embedded descriptor behind its header")
    length = descriptor_sectors * SECTOR
    if length > LONGEST_DESCRIPTOR:
        raise Refused(f"the vmdk's descriptor claims {length} bytes; {LONGEST_DESCRIPTOR} are the most")
    text = content.read(SECTOR, length, "the vmdk's descriptor").split(b"\0")[0]
    refuse_references(text.decode(errors="replace"))
    return int(capacity) * SECTOR


def place(content: Content, offset: int) -> tuple[int, int, int, int]:
    """Capacity, offset and length of the descriptor, offset of the directory; all in sectors."""
    found = content.unpack(HEADER, offset, "the vmdk header")
    if found[0] != MAGIC:
        raise Refused("the vmdk is cut off: its footer is missing")
    if found[1] not in (1, 2, 3):
        raise Refused(f"vmdk of version {found[1]} is not supported")
    return found[3], found[5], found[6], found[9]


def refuse_references(descriptor: str) -> None:
    settings: dict[str, str] = {}
    extents: list[tuple[str, str]] = []
    for line in descriptor.splitlines():
        if extent := EXTENT.match(line):
            extents.append((extent[3].upper(), extent[4] or ""))
        elif setting := SETTING.match(line):
            settings.setdefault(setting[1].lower(), setting[2])
    kind = settings.get("createtype", "")
    if kind not in KINDS:
        raise Refused(
            f"a vmdk of type {kind or 'unknown'} is not supported; export it as {' or '.join(KINDS)}"
        )
    if settings.get("parentcid", "ffffffff").lower() != "ffffffff" or "parentfilenamehint" in settings:
        raise Refused("the vmdk has a parent; consolidate its snapshots before the export")
    if len(extents) != 1 or extents[0][0] != "SPARSE":
        raise Refused("the vmdk has extents besides itself; a single sparse extent is allowed")
    if "/" in extents[0][1] or "\\" in extents[0][1]:
        raise Refused(f"the vmdk's extent names another file, {extents[0][1]!r}")
