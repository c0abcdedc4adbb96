"""Images as files in a directory: local, or shared by NFS."""

import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from pileus.drivers.errors import DriverError, Missing, Refused
from pileus.drivers.volume.file.qemu_img import QemuImg
from pileus.drivers.volume.file.threads import in_thread
from pileus.drivers.volume.file.workspace import Workspace, named, put_on_disk, refusal
from pileus.drivers.volume.inspection import Content, detect
from pileus.drivers.volume.inspection.confirm import Confirmation
from pileus.drivers.volume.protocol import Inspected

CHUNK = 1 << 20


class DirectoryImages:
    """Implements ImageStore: <directory>/<image id>, complete or not there."""

    def __init__(self, directory: Path, max_virtual_bytes: int) -> None:
        self._directory = directory.absolute()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_virtual_bytes = max_virtual_bytes
        self._workspace = Workspace(self._directory)
        self._confirmation = Confirmation(QemuImg(at_once=2))

    def close(self) -> None:
        """Give up the working place; the images stay."""
        self._workspace.close()

    async def owner(self) -> UUID | None:
        return await self._workspace.owner()

    async def claim(self, cloud: UUID) -> None:
        await self._workspace.claim(cloud)

    async def write(
        self, image: UUID, content: AsyncIterator[bytes], *, max_bytes: int
    ) -> tuple[int, str, str]:
        async with self._workspace.making(self._file(image)) as path:
            sink = await self._workspace.do(Sink, path)
            try:
                gathered = bytearray()
                async for piece in content:
                    gathered += piece
                    if sink.size + len(gathered) > max_bytes:
                        raise Refused(f"image {image} has more than the allowed {max_bytes} bytes")
                    if len(gathered) >= CHUNK:
                        await self._workspace.do(sink.add, bytes(gathered))
                        gathered.clear()
                await self._workspace.do(sink.add, bytes(gathered))
            finally:
                sink.close()
        return sink.result()

    async def inspect(self, image: UUID) -> Inspected:
        path = await self.path(image)
        try:
            found = await in_thread(examine, path, self._max_virtual_bytes)
            await self._confirmation.confirm(path, found)
        except DriverError as error:
            raise type(error)(f"image {image}: {error}") from error
        return found

    async def read(self, image: UUID, *, start: int = 0) -> AsyncIterator[bytes]:
        path = await self.path(image)
        file = await in_thread(path.open, "rb")
        try:
            file.seek(start)
            while piece := await in_thread(file.read, CHUNK):
                yield piece
        finally:
            file.close()

    async def path(self, image: UUID) -> Path:
        path = self._file(image)
        if not path.exists():
            raise Missing(f"there is no content of image {image} in {self._directory}")
        return path

    async def adopt(self, image: UUID, source: Path) -> tuple[int, str, str]:
        if not await in_thread(source.exists):
            # A repetition: the file has been moved in before.
            return await in_thread(measure, await self.path(image))
        try:
            return await in_thread(move_in, source, self._file(image))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise refusal(error, self._directory) from error
            # Another file system: a rename does not reach it.
            async with self._workspace.making(self._file(image)) as path:
                await self._workspace.do(shutil.copyfile, source, path)
            result = await in_thread(measure, self._file(image))
            await in_thread(source.unlink, missing_ok=True)
            return result

    async def delete(self, image: UUID) -> None:
        await self._workspace.do(self._file(image).unlink, missing_ok=True)

    async def images(self) -> frozenset[UUID]:
        return frozenset(await self._workspace.do(named, self._directory, ""))

    def _file(self, image: UUID) -> Path:
        return self._directory / str(image)


def move_in(source: Path, target: Path) -> tuple[int, str, str]:
    put_on_disk(source)
    result = measure(source)
    source.replace(target)
    put_on_disk(target.parent)
    return result


class Digest:
    """Size and both checksums of what passes by."""

    def __init__(self) -> None:
        self.size = 0
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._md5.update(piece)
        self._sha512.update(piece)

    def result(self) -> tuple[int, str, str]:
        return self.size, self._md5.hexdigest(), self._sha512.hexdigest()


class Sink(Digest):
    """A new file that is digested while it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def add(self, piece: bytes) -> None:
        left = memoryview(piece)
        while left:
            left = left[os.write(self._file, left) :]
        super().add(piece)

    def close(self) -> None:
        os.close(self._file)


def measure(path: Path) -> tuple[int, str, str]:
    digest = Digest()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.add(piece)
    return digest.result()


def examine(path: Path, max_virtual_bytes: int) -> Inspected:
    with Content(path) as content:
        return detect(content, max_virtual_bytes)
