"""A small RFB 3.8 (VNC) server with one still picture: the screen of a simulated guest."""

import asyncio
import struct
from typing import Self

WIDTH, HEIGHT = 64, 48
VERSION = b"RFB 003.008\n"
NO_AUTHENTICATION = 1
RAW = 0
PIXEL_FORMAT = struct.Struct(">BBBBHHHBBB3x")
NATIVE = PIXEL_FORMAT.pack(32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, KEY, POINTER, CUT_TEXT = 0, 2, 3, 4, 5, 6
LENGTHS = {SET_PIXEL_FORMAT: 19, SET_ENCODINGS: 3, UPDATE_REQUEST: 9, KEY: 7, POINTER: 5, CUT_TEXT: 7}
"""What follows the type byte of a client's message; two of them then say how much more comes."""
LONGEST_TEXT = 1 << 16


class RfbServer:
    """Listens on loopback from `start` on, at the port that it returns."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the screen is not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._clients:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            await self._greet(reader, writer)
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client is gone, or spoke another protocol
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(VERSION)
        if await reader.readexactly(len(VERSION)) != VERSION:
            raise ConnectionError("not RFB 3.8")
        writer.write(bytes([1, NO_AUTHENTICATION]))
        if await reader.readexactly(1) != bytes([NO_AUTHENTICATION]):
            raise ConnectionError("unknown security type")
        writer.write(struct.pack(">I", 0))
        await reader.readexactly(1)
        writer.write(struct.pack(">HH", WIDTH, HEIGHT) + NATIVE)
        writer.write(struct.pack(">I", len(self._name)) + self._name)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pixels = NATIVE
        while True:
            kind = (await reader.readexactly(1))[0]
            if kind not in LENGTHS:
                raise ConnectionError(f"unknown message {kind}")
            message = await reader.readexactly(LENGTHS[kind])
            if kind == SET_PIXEL_FORMAT:
                pixels = message[3:]
            elif kind == SET_ENCODINGS:
                await reader.readexactly(4 * struct.unpack(">xH", message)[0])
            elif kind == CUT_TEXT:
                await self._skip(reader, struct.unpack(">3xI", message)[0])
            elif kind == UPDATE_REQUEST and not message[0]:
                # The picture never changes, so an incremental request has nothing to wait for.
                writer.write(update(pixels))
                await writer.drain()

    async def _skip(self, reader: asyncio.StreamReader, length: int) -> None:
        if length > LONGEST_TEXT:
            raise ConnectionError("cut text too long")
        await reader.readexactly(length)


def update(pixels: bytes) -> bytes:
    """The whole picture, a gradient, in the client's pixel format."""
    bits, _, big, true_colour, *rest = PIXEL_FORMAT.unpack(pixels)
    if bits not in (8, 16, 32) or not true_colour:
        raise ConnectionError(f"pixel format of {bits} bits is not supported")
    limits, shifts = rest[:3], rest[3:]
    picture = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            shades = (x / (WIDTH - 1), y / (HEIGHT - 1), 0.5)
            value = sum(
                int(shade * limit) << shift
                for shade, limit, shift in zip(shades, limits, shifts, strict=True)
            )
            picture += (value & ((1 << bits) - 1)).to_bytes(bits // 8, "big" if big else "little")
    return struct.pack(">BxHHHHHi", 0, 1, 0, 0, WIDTH, HEIGHT, RAW) + bytes(picture)


__all__ = ["RfbServer"]
