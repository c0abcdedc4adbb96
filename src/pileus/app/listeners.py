"""The metadata service's ears: one listening socket in the namespace of each network, all served by this process.

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

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

log = structlog.get_logger()

ADDRESS = ("169.254.169.254", 80)
NAMESPACES = Path("/run/netns")
PAUSE = 0.5
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

Asgi = Callable[..., Awaitable[None]]


def listen_in(namespace: str) -> socket.socket:
    """A socket that listens on the metadata address inside a network namespace. Raises OSError.

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


def _listen() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The address may be put on the interface after us.
        made.setsockopt(socket.SOL_IP, getattr(socket, "IP_FREEBIND", 15), 1)
        made.bind(ADDRESS)
        made.listen(128)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


class Listeners:
    """Keeps a listener for every namespace that `namespaces` names, and for no other."""

    def __init__(
        self, namespaces: Callable[[], Awaitable[Mapping[UUID, str]]], application: Callable[[UUID], Asgi]
    ) -> None:
        self._namespaces = namespaces
        self._application = application
        self._servers: dict[UUID, tuple[int, asyncio.Server]] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="namespace")
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.refresh()
        self._loop = asyncio.create_task(self._run(), name="metadata listeners")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for network in list(self._servers):
            await self._close(network)
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
        for network in [n for n, (inode, _) in self._servers.items() if wanted.get(n, ("", 0))[1] != inode]:
            await self._close(network)
        for network, (name, inode) in wanted.items():
            if network not in self._servers:
                await self._open(network, name, inode)

    async def _open(self, network: UUID, name: str, inode: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            ear = await loop.run_in_executor(self._threads, listen_in, name)
        except OSError as error:
            log.warning("metadata.listen", network=str(network), namespace=name, error=str(error))
            return
        config = uvicorn.Config(
            self._application(network), http="httptools", ws="none", lifespan="off", log_config=None
        )
        config.load()
        state = ServerState()
        server = await loop.create_server(lambda: HttpToolsProtocol(config, state, {}), sock=ear)
        self._servers[network] = (inode, server)

    async def _close(self, network: UUID) -> None:
        _, server = self._servers.pop(network)
        server.close()


def _inode(namespace: str) -> int:
    try:
        return (NAMESPACES / namespace).stat().st_ino
    except FileNotFoundError:
        return 0
