"""qcow2, versions 2 and 3."""

from collections.abc import Iterator, Mapping
from struct import Struct

import msgspec

from pileus.drivers.errors import Refused
from pileus.drivers.volume.inspection.content import Content

MAGIC = b"QFI\xfb"
VERSION_2 = Struct(">4sIQIIQIIQQIIQ")
FEATURES = Struct(">QQQII")
EXTENSION = Struct(">II")
ENTRY = Struct(">QIHHIIQII")
"""Of the snapshot table; extra data, id and name follow."""

CORRUPT, EXTERNAL_DATA = 1 << 1, 1 << 2
KNOWN = 0b11111
"""Dirty, corrupt, external data file, compression type, extended L2 entries."""
EXTENSION_DATA_FILE, EXTENSION_ENCRYPTION = 0x44415441, 0x0537BE77
MOST_SNAPSHOTS = 65536


class Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    backing_offset: int
    cluster_bits: int
    virtual_bytes: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshot_count: int
    snapshot_offset: int
    incompatible: int
    length: int


def header(content: Content) -> Header:
    what = "the qcow2 header"
    _, version, backing, _, bits, size, crypt, l1, l1_at, refs_at, refs, count, table = content.unpack(
        VERSION_2, 0, what
    )
    if version not in (2, 3):
        raise Refused(
            f"qcow2 of version {version} is not supported; convert it with qemu-img convert -O qcow2"
        )
    incompatible, length = 0, VERSION_2.size
    if version == 3:
        incompatible, _, _, _, length = content.unpack(FEATURES, VERSION_2.size, what)
    return Header(
        version=version,
        backing_offset=backing,
        cluster_bits=bits,
        virtual_bytes=size,
        encryption=crypt,
        l1_entries=l1,
        l1_offset=l1_at,
        refcount_offset=refs_at,
        refcount_clusters=refs,
        snapshot_count=count,
        snapshot_offset=table,
        incompatible=incompatible,
        length=length,
    )


def virtual_bytes(content: Content) -> int | None:
    """None: not a qcow2 file. Refused: a hostile or broken one."""
    if content.peek(0, 4) != MAGIC:
        return None
    found = header(content)
    refuse_references(found)
    refuse_broken(found, content)
    for kind in extensions(found, content):
        if kind == EXTENSION_DATA_FILE:
            raise Refused("the qcow2 image names an external data file")
        if kind == EXTENSION_ENCRYPTION:
            raise Refused("the qcow2 image is encrypted")
    return found.virtual_bytes


def refuse_references(found: Header) -> None:
    if found.backing_offset:
        raise Refused("the qcow2 image has a backing file; flatten it with qemu-img convert")
    if found.encryption:
        raise Refused("the qcow2 image is encrypted")
    if found.incompatible & EXTERNAL_DATA:
        raise Refused("the qcow2 image keeps its data in an external data file")
    if found.incompatible & CORRUPT:
        raise Refused("the qcow2 image is marked corrupt; repair it with qemu-img check -r all")
    if unknown := found.incompatible & ~KNOWN:
        raise Refused(f"the qcow2 image needs unknown features (bits {unknown:#x})")


def refuse_broken(found: Header, content: Content) -> None:
    if not 9 <= found.cluster_bits <= 21:
        raise Refused(
            f"the qcow2 image has clusters of 2^{found.cluster_bits} bytes; 2^9 to 2^21 are possible"
        )
    if found.version == 3 and not 104 <= found.length <= 1 << found.cluster_bits:
        raise Refused(f"the qcow2 header claims a length of {found.length} bytes")
    entry_bits = 4 if found.incompatible & 1 << 4 else 3
    covered = 1 << (2 * found.cluster_bits - entry_bits)
    if found.l1_entries * covered < found.virtual_bytes:
        raise Refused(f"the qcow2 image claims {found.virtual_bytes} bytes, its tables hold fewer")
    tables = {
        "level 1 table": found.l1_offset + 8 * found.l1_entries,
        "refcount table": found.refcount_offset + (found.refcount_clusters << found.cluster_bits),
    }
    for name, end in tables.items():
        if end > content.size:
            raise Refused(f"the qcow2 image is cut off: its {name} ends at {end}, the file at {content.size}")


def extensions(found: Header, content: Content) -> Iterator[int]:
    offset, end = found.length, 1 << found.cluster_bits
    while offset + EXTENSION.size <= min(end, content.size):
        kind, length = content.unpack(EXTENSION, offset, "a qcow2 header extension")
        if kind == 0:
            return
        offset += EXTENSION.size + (length + 7) // 8 * 8
        if offset > end:
            raise Refused(f"a qcow2 header extension claims {length} bytes, more than its cluster has")
        yield kind


def snapshots(content: Content) -> Mapping[str, int]:
    """Name and virtual size in bytes of every internal snapshot."""
    found = header(content)
    if found.snapshot_count > MOST_SNAPSHOTS:
        raise Refused(f"the qcow2 image claims {found.snapshot_count} snapshots")
    offset, seen, what = found.snapshot_offset, {}, "the qcow2 snapshot table"
    for _ in range(found.snapshot_count):
        _, _, id_length, name_length, _, _, _, _, extra_length = content.unpack(ENTRY, offset, what)
        offset += ENTRY.size
        extra = content.read(offset, extra_length, what)
        name = content.read(offset + extra_length + id_length, name_length, what)
        size = int.from_bytes(extra[8:16], "big") if extra_length >= 16 else found.virtual_bytes
        seen[name.decode(errors="replace")] = size
        offset += (extra_length + id_length + name_length + 7) // 8 * 8
    return seen
