"""The ears of the metadata service and of the resolver: sockets in the namespace of each network, all served by this
process.

A network's socket tells which network asks, the address tells which port of it; nothing the guest sends is believed.
"""

import asyncio
import ctypes
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import msgspec
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

log = structlog.get_logger()

METADATA = ("169.254.169.254", 80)
NAMES = ("0.0.0.0", 53)  # noqa: S104 (all addresses of the network's own namespace)
NAMESPACES = Path("/run/netns")
PAUSE = 0.5
CLONE_NEWNET = 0x40000000
IP_FREEBIND = 15
_libc = ctypes.CDLL(None, use_errno=True)

Asgi = Callable[..., Awaitable[None]]


class Ears(msgspec.Struct, frozen=True):
    """What serves one network. `inode` tells its namespace from a later one of the same name."""

    inode: int
    metadata: asyncio.Server
    names: asyncio.DatagramTransport

    def close(self) -> None:
        self.metadata.close()
        self.names.close()


def listen_in(namespace: str) -> tuple[socket.socket, socket.socket]:
    """Sockets inside a network namespace: TCP on the metadata address, UDP for questions of names. Raises OSError.

    Only the calling thread enters the namespace, so it must be one that ends or returns; a socket stays where it was made.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(NAMESPACES / namespace, os.O_RDONLY)
        try:
            _enter(there)
            try:
                return _listen()
            finally:
                _enter(home)
        finally:
            os.close(there)
    finally:
        os.close(home)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _listen() -> tuple[socket.socket, socket.socket]:
    made: list[socket.socket] = []
    try:
        for kind, address in ((socket.SOCK_STREAM, METADATA), (socket.SOCK_DGRAM, NAMES)):
            ear = socket.socket(socket.AF_INET, kind)
            made.append(ear)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # The address may be put on the interface after us.
            ear.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            ear.bind(address)
            ear.setblocking(False)
        made[0].listen(128)
    except OSError:
        for ear in made:
            ear.close()
        raise
    return made[0], made[1]


class Listeners:
    """Keeps a listener for every namespace that `namespaces` names, and for no other."""

    def __init__(
        self,
        namespaces: Callable[[], Awaitable[Mapping[UUID, str]]],
        application: Callable[[UUID], Asgi],
        resolver: Callable[[UUID], asyncio.DatagramProtocol],
    ) -> None:
        self._namespaces = namespaces
        self._application = application
        self._resolver = resolver
        self._ears: dict[UUID, Ears] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="namespace")
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.refresh()
        self._loop = asyncio.create_task(self._run(), name="metadata listeners")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for network in list(self._ears):
            self._ears.pop(network).close()
        self._threads.shutdown()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            try:
                await self.refresh()
            except OSError as error:
                log.warning("metadata.listen", error=str(error))

    async def refresh(self) -> None:
        """Open and close sockets so that they match the namespaces. A namespace made anew is another one."""
        wanted = {
            n: (name, inode) for n, name in (await self._namespaces()).items() if (inode := _inode(name))
        }
        for network in [n for n, ears in self._ears.items() if wanted.get(n, ("", 0))[1] != ears.inode]:
            self._ears.pop(network).close()
        for network, (name, inode) in wanted.items():
            if network not in self._ears:
                await self._open(network, name, inode)

    async def _open(self, network: UUID, name: str, inode: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            metadata, names = await loop.run_in_executor(self._threads, listen_in, name)
        except OSError as error:
            log.warning("metadata.listen", network=str(network), namespace=name, error=str(error))
            return
        config = uvicorn.Config(
            self._application(network),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        config.load()
        state = ServerState()
        server = await loop.create_server(lambda: HttpToolsProtocol(config, state, {}), sock=metadata)
        transport, _ = await loop.create_datagram_endpoint(lambda: self._resolver(network), sock=names)
        self._ears[network] = Ears(inode, server, transport)


def _inode(namespace: str) -> int:
    try:
        return (NAMESPACES / namespace).stat().st_ino
    except FileNotFoundError:
        return 0
