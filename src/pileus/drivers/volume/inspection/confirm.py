"""The second opinion: QEMU's own reading of the file, in a process that can do little else."""

from pathlib import Path

import msgspec

from pileus.drivers.errors import Refused
from pileus.drivers.volume.file.qemu_img import Limits, QemuImg
from pileus.drivers.volume.inspection.detect import DRIVERS
from pileus.drivers.volume.protocol import Inspected

LIMITS = Limits(memory_bytes=1 << 30, cpu_seconds=30, file_bytes=0, seconds=120)
NO_CHECK = 63
LEAKS = 3
"""Exit codes of `qemu-img check`: no check exists for the format; only space is wasted."""


class _Info(msgspec.Struct, frozen=True):
    format: str
    virtual_size: int = msgspec.field(name="virtual-size")
    backing: str | None = msgspec.field(name="backing-filename", default=None)
    encrypted: bool = False


class Confirmation:
    """Runs `qemu-img info` and `check` without network, privileges, or the right to write."""

    def __init__(self, qemu: QemuImg) -> None:
        self._qemu = qemu

    async def confirm(self, path: Path, found: Inspected) -> None:
        """Raises Refused where QEMU contradicts `found` or cannot read the file."""
        driver = DRIVERS[found.format]
        output = await self._qemu.run(
            ("info", "-U", "--output=json", "-f", driver, str(path)), LIMITS, confined=True
        )
        info = msgspec.json.decode(output, type=_Info)
        if info.backing or info.encrypted:
            raise Refused(f"the {found.format} image names another file or is encrypted")
        if (info.format, info.virtual_size) != (driver, found.virtual_bytes):
            raise Refused(
                f"the {found.format} image claims {found.virtual_bytes} bytes, "
                f"QEMU reads {info.format} of {info.virtual_size} bytes"
            )
        if driver != "raw":
            await self._qemu.run(
                ("check", "-q", "-U", "-f", driver, str(path)), LIMITS, confined=True, allow=(NO_CHECK, LEAKS)
            )
