"""One connection to libvirt and the threads that wait for it; reopened when lost."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import TypeVar

import libvirt
import structlog

from pileus import tracing
from pileus.drivers.errors import DriverError, Missing, Refused, Unreachable

log = structlog.get_logger()
T = TypeVar("T")

THREADS = 16
PATIENCE = 120.0
"""Seconds until a call without an answer counts as lost; its thread stays with libvirt until that answers."""
TURN = 60.0
"""Seconds that a call waits for a thread and an open connection, where others hang."""
KEEPALIVE, MISSED = 10, 5
"""Seconds of silence after which libvirt is asked whether it is there, and how often in vain until the connection
breaks; then the calls that hang on it end."""

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

_FIRST = threading.Lock()


@cache
def _events() -> None:
    """Begin libvirt's event loop, in a thread: nothing else sends keepalives. Before the first connection is opened."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="libvirt events", daemon=True).start()


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.error("libvirt.events_failed", error=str(error))
            time.sleep(1)


class Call:
    """One call on its way through a thread."""

    def __init__(self, what: str) -> None:
        self.what, self.since = what, time.monotonic()
        self.forsaken = False
        """Its caller is gone: it must not be made any more."""

    def __str__(self) -> str:
        return f"{self.what} (for {time.monotonic() - self.since:.0f} s)"


class Connection:
    def __init__(self, uri: str, *, opened: Callable[[libvirt.virConnect], None] | None = None) -> None:
        """`opened` is called with every new connection, in a thread, before it is used."""
        self.uri = uri
        self._opened = opened
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt")
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None
        self._under_way: dict[Call, None] = {}
        """What threads have in hand, oldest first."""

    @tracing.calls("libvirt")
    async def run(
        self, what: str, call: Callable[[libvirt.virConnect], T], *, patience: float = PATIENCE
    ) -> T:
        """Make the blocking call in a thread; its errors come out as ours, beginning with `what`."""
        loop, asked, begun = asyncio.get_running_loop(), Call(what), asyncio.Event()

        def begin() -> None:
            if not (asked.forsaken or limit.expired()):
                begun.set()
                limit.reschedule(loop.time() + patience)

        try:
            async with asyncio.timeout(min(TURN, patience)) as limit:
                told = partial(loop.call_soon_threadsafe, begin)
                work = tracing.carried(partial(self._call, asked, call, told))
                return await loop.run_in_executor(self._pool, work)
        except TimeoutError as error:
            if begun.is_set():
                raise Unreachable(f"{what}: libvirt gave no answer in {patience:.0f} s") from error
            raise Unreachable(
                f"{what}: libvirt at {self.uri} has no answer yet to: {self._oldest()}"
            ) from error
        finally:
            asked.forsaken = True

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._drop)

    def _oldest(self) -> str:
        return str(next(iter(tuple(self._under_way)), "nothing"))

    def _call(self, asked: Call, call: Callable[[libvirt.virConnect], T], begin: Callable[[], object]) -> T:
        what, asked.since = asked.what, time.monotonic()
        self._under_way[asked] = None
        try:
            connection = self._ready(what)
            if asked.forsaken:
                raise Unreachable(f"{what}: its caller did not wait for the connection")
            begin()
            return call(connection)
        except libvirt.libvirtError as error:
            raise self._translated(what, connection, error) from error
        finally:
            del self._under_way[asked]

    def _ready(self, what: str) -> libvirt.virConnect:
        try:
            return self._open()
        except libvirt.libvirtError as error:
            raise Unreachable(f"{what}: cannot connect to libvirt at {self.uri}: {error}") from error

    def _open(self) -> libvirt.virConnect:
        with self._lock:
            if self._connection is None or not _is_alive(self._connection):
                with _FIRST:
                    _events()
                connection = libvirt.open(self.uri)
                with suppress(libvirt.libvirtError):  # drivers without a daemon have no keepalive
                    connection.setKeepAlive(KEEPALIVE, MISSED)
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
