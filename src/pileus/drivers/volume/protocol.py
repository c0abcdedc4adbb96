"""What is asked of anything that keeps disks (a storage pool).

Every call may be repeated and leaves no half-made file behind: a result appears under its name only when it is whole.
Sizes in GiB unless said otherwise. Any call may raise Missing, Refused or Unreachable (drivers/errors.py).
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec


class PoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    total_bytes: int
    used_bytes: int
    available_bytes: int


class DiskPath(msgspec.Struct, frozen=True, kw_only=True):
    """What a hypervisor needs to open the volume."""

    path: str
    format: str


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What an image file really is. `format`: qcow2, raw, vmdk, vhdx, vdi, vhd, iso (raw: nothing else was recognised)."""

    format: str
    virtual_bytes: int


class Pool(Protocol):
    """Disks of one pool. Bases are read-only copies of images that volumes share."""

    async def facts(self) -> PoolFacts: ...

    async def owner(self) -> UUID | None:
        """The cloud whose mark the pool carries; None: nobody's."""

    async def claim(self, cloud: UUID) -> None:
        """Put the cloud's mark on a pool that has none. Refused for one that is another cloud's."""

    async def has_base(self, image: UUID) -> bool: ...

    async def make_base(self, image: UUID, source: Path, format: str) -> None:
        """Bring an image (already inspected, of that format) into the pool as a base."""

    async def delete_base(self, image: UUID) -> None:
        """The caller knows that no volume uses it. Missing is fine."""

    async def create(self, volume: UUID, size_gib: int) -> None:
        """An empty volume."""

    async def create_from_base(self, volume: UUID, image: UUID, size_gib: int) -> None:
        """A thin copy of a base, at least as large as the base. Raises Missing when the base is not here."""

    async def create_from_snapshot(self, volume: UUID, source: UUID, snapshot: UUID, size_gib: int) -> None:
        """A full copy of a snapshot of `source`; works while `source` is in use."""

    async def create_from_volume(self, volume: UUID, source: UUID, size_gib: int) -> None:
        """A full copy of a volume that is not in use."""

    async def extend(self, volume: UUID, size_gib: int) -> None:
        """Grow a volume that is not in use; the present size is fine, a smaller one is Refused."""

    async def delete(self, volume: UUID) -> None:
        """Missing is fine."""

    async def snapshot(self, volume: UUID, snapshot: UUID) -> None:
        """Snapshot a volume that is not in use (a running guest's disk is asked of the hypervisor)."""

    async def delete_snapshot(self, volume: UUID, snapshot: UUID) -> None:
        """Missing is fine."""

    async def snapshots(self, volume: UUID) -> frozenset[UUID]: ...

    async def open(self, volume: UUID) -> DiskPath:
        """Raises Missing."""

    async def export(self, volume: UUID, target: Path, format: str) -> None:
        """Write the content of a volume that is not in use to a new file (qcow2 or raw)."""

    async def volumes(self) -> Mapping[UUID, int]:
        """Every volume in the pool with the bytes it occupies."""

    async def bases(self) -> frozenset[UUID]: ...

    async def write_config_drive(self, guest: UUID, files: Mapping[str, bytes]) -> DiskPath:
        """Make (or replace) the guest's config drive: an ISO 9660 image labelled config-2 with these files (paths relative)."""

    async def delete_config_drive(self, guest: UUID) -> None:
        """Missing is fine."""

    async def config_drives(self) -> frozenset[UUID]: ...


class ImageStore(Protocol):
    """Content of images ("secondary storage"), by image id."""

    async def owner(self) -> UUID | None:
        """As of a pool."""

    async def claim(self, cloud: UUID) -> None:
        """As of a pool."""

    async def write(
        self, image: UUID, content: AsyncIterator[bytes], *, max_bytes: int
    ) -> tuple[int, str, str]:
        """Store the whole content; (bytes, md5 hex, sha512 hex). Nothing is visible under the id until it is whole.
        Refused when it grows over max_bytes."""

    async def inspect(self, image: UUID) -> Inspected:
        """By content, in a resource-limited process. Raises Refused with the reason for a hostile or broken file:
        backing file, external data file, extents elsewhere, encrypted, or a virtual size over the limit."""

    def read(self, image: UUID, *, start: int = 0) -> AsyncIterator[bytes]:
        """Raises Missing."""

    async def path(self, image: UUID) -> Path:
        """A local file with the content, for conversion. Raises Missing."""

    async def adopt(self, image: UUID, source: Path) -> tuple[int, str, str]:
        """Move a finished local file in, as `write` would."""

    async def delete(self, image: UUID) -> None:
        """Missing is fine."""

    async def images(self) -> frozenset[UUID]: ...
