"""The one format that a file has. A file that is two things at once is refused: each reader would see another disk."""

from collections.abc import Callable, Mapping

from pileus.drivers.errors import Refused
from pileus.drivers.volume.inspection import microsoft, plain, qcow2, vmdk
from pileus.drivers.volume.inspection.content import Content
from pileus.drivers.volume.protocol import Inspected

FORMATS: Mapping[str, Callable[[Content], int | None]] = {
    "qcow2": qcow2.virtual_bytes,
    "vmdk": vmdk.virtual_bytes,
    "vhdx": microsoft.vhdx_bytes,
    "vhd": microsoft.vhd_bytes,
    "vdi": plain.vdi_bytes,
    "iso": plain.iso_bytes,
}

DRIVERS = {
    "qcow2": "qcow2",
    "raw": "raw",
    "iso": "raw",
    "vmdk": "vmdk",
    "vhdx": "vhdx",
    "vhd": "vpc",
    "vdi": "vdi",
}
"""QEMU's names of our formats."""


def detect(content: Content, max_virtual_bytes: int) -> Inspected:
    """Raises Refused for what is hostile, broken, ambiguous, empty or too large."""
    if content.size == 0:
        raise Refused("the file is empty")
    plain.refuse_unsupported(content)
    found = {name: size for name, measure in FORMATS.items() if (size := measure(content)) is not None}
    if len(found) > 1:
        raise Refused(f"the file is {' and '.join(found)} at once; convert it to one format")
    name, size = next(iter(found.items()), ("raw", plain.raw_bytes(content)))
    if size == 0:
        raise Refused(f"the {name} image has a virtual size of 0 bytes")
    if size > max_virtual_bytes:
        raise Refused(
            f"the {name} image has a virtual size of {size} bytes, the limit is {max_virtual_bytes}"
        )
    return Inspected(format=name, virtual_bytes=size)
