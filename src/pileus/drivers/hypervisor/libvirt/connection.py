"""One connection to libvirt and the threads that wait for it; reopened when lost."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import libvirt

from pileus import tracing
from pileus.drivers.errors import DriverError, Missing, Refused, Unreachable

T = TypeVar("T")

THREADS = 16
PATIENCE = 120.0
"""Seconds until a call without an answer counts as lost; its thread stays with libvirt until that answers."""

_LOST = frozenset(
    {
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
    }
)


def _keep_silent(_context: object, _error: object) -> None:
    """Errors arrive as exceptions; the library would also print them."""


libvirt.registerErrorHandler(_keep_silent, None)


class Connection:
    def __init__(self, uri: str, *, opened: Callable[[libvirt.virConnect], None] | None = None) -> None:
        """`opened` is called with every new connection, in a thread, before it is used."""
        self.uri = uri
        self._opened = opened
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt")
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None

    @tracing.calls("libvirt")
    async def run(
        self, what: str, call: Callable[[libvirt.virConnect], T], *, patience: float = PATIENCE
    ) -> T:
        """Make the blocking call in a thread; its errors come out as ours, beginning with `what`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                work = tracing.carried(partial(self._call, what, call))
                return await loop.run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise Unreachable(f"{what}: libvirt gave no answer in {patience:.0f} s") from error

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._drop)

    def _call(self, what: str, call: Callable[[libvirt.virConnect], T]) -> T:
        try:
            connection = self._open()
        except libvirt.libvirtError as error:
            raise Unreachable(f"{what}: cannot connect to libvirt at {self.uri}: {error}") from error
        try:
            return call(connection)
        except libvirt.libvirtError as error:
            raise self._translated(what, connection, error) from error

    def _open(self) -> libvirt.virConnect:
        with self._lock:
            if self._connection is None or not _is_alive(self._connection):
                connection = libvirt.open(self.uri)
                if self._opened is not None:
                    self._opened(connection)
                self._connection = connection
            return self._connection

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _translated(
        self, what: str, connection: libvirt.virConnect, error: libvirt.libvirtError
    ) -> DriverError:
        text = f"{what}: {error}"
        code = error.get_error_code()
        if not _is_alive(connection) or code in _LOST or error.get_error_domain() == libvirt.VIR_FROM_RPC:
            return Unreachable(text)
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return Missing(text)
        return Refused(text)


def _is_alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
