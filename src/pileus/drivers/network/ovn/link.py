"""A connection to an OVSDB server in a thread of its own; the event loop hands it functions on the copy."""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from ovs import poller
from ovs.db import idl
from ovsdbapp.backend.ovs_idl import idlutils

from pileus import tracing
from pileus.drivers.errors import DriverError, Refused, Unreachable
from pileus.drivers.network.ovn.rows import Replica

log = structlog.get_logger()
T = TypeVar("T")

READABLE = 1
TURN = 10.0
"""Seconds longer than its own that a call waits for the thread, which tells in time that the server is away unless it
hangs in a call to it itself."""
TABLES = (
    "ACL",
    "DHCP_Options",
    "DNS",
    "Gateway_Chassis",
    "Load_Balancer",
    "Logical_Router",
    "Logical_Router_Policy",
    "Logical_Router_Port",
    "Logical_Router_Static_Route",
    "Logical_Switch",
    "Logical_Switch_Port",
    "NAT",
    "NB_Global",
    "Port_Group",
)


class Job(Generic[T]):
    """A function of the copy and a transaction, and where its result goes."""

    def __init__(self, work: Callable[[Replica, Any], T], seconds: float) -> None:
        self.work = tracing.carried(work)
        self.deadline = time.monotonic() + seconds
        self.result: Future[T] = Future()

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline


class Link:
    """Reconnects by itself. While the server is away, calls wait `patience` seconds and raise Unreachable."""

    def __init__(self, socket: Path, *, patience: float = 5.0, cloud: str = "") -> None:
        self.socket = socket
        self._cloud = cloud
        self._patience = patience
        self._jobs: deque[Job[Any]] = deque()
        self._closing = threading.Event()
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._wake, False)
        self._thread = threading.Thread(target=self._serve, name="ovn northbound", daemon=True)
        self._begun = False
        self._busy: tuple[str, float] | None = None
        """What the thread waits for in one blocking call, and since when."""

    @tracing.calls("ovn")
    async def change(self, work: Callable[[Replica, Any], T], seconds: float | None = None) -> T:
        """Run `work` in one transaction; it may run again when the database changed under it.

        Raises Refused with the server's words, Unreachable when no answer came, and what `work` raises.
        """
        job = Job(work, self._patience if seconds is None else seconds)
        if self._closing.is_set():
            raise Unreachable(f"the connection to {self.socket} is closed")
        if not self._begun:
            self._begun = True
            self._thread.start()
        self._jobs.append(job)
        self._alert()
        try:
            async with asyncio.timeout(job.deadline - time.monotonic() + TURN) as limit:
                return await asyncio.wrap_future(job.result)
        except TimeoutError as error:
            if not limit.expired():
                raise
            what, since = self._busy or ("the changes before", job.deadline)
            raise Unreachable(
                f"OVN's northbound database at {self.socket} gave no answer: it hangs in {what} "
                f"for {time.monotonic() - since:.0f} s"
            ) from error

    async def look(self, work: Callable[[Replica], T]) -> T:
        return await self.change(lambda replica, _: work(replica))

    async def close(self) -> None:
        self._closing.set()
        self._alert()
        if self._begun:
            await asyncio.to_thread(self._thread.join, TURN)
        if self._thread.is_alive():
            log.warning("ovn.link_left", socket=str(self.socket), reason="its server hangs")
            return  # the thread still needs the pipe
        for descriptor in (self._awake, self._wake):
            os.close(descriptor)

    def _alert(self) -> None:
        try:
            os.write(self._wake, b"x")
        except BlockingIOError:
            return  # the pipe is full of calls to wake up

    # --- in the thread

    def _serve(self) -> None:
        replica: Replica | None = None
        while not self._closing.is_set():
            try:
                replica = replica or self._connect()
                if replica is None:
                    self._expire()
                    time.sleep(0.05)
                else:
                    self._turn(replica)
            except Exception as error:
                log.error("ovn.link_failed", socket=str(self.socket), error=str(error), exc_info=True)
                self._abandon(replica)
                replica = None
        self._abandon(replica)
        while self._jobs:
            self._fail(self._jobs.popleft(), "closed")

    def _connect(self) -> Replica | None:
        """None while the server does not even tell its schema."""
        remote = f"unix:{self.socket}"
        self._busy = "reading the schema", time.monotonic()
        try:
            schema = idlutils.get_schema_helper(remote, "OVN_Northbound")
        except Exception as error:
            log.debug("ovn.unreachable", socket=str(self.socket), error=str(error))
            return None
        finally:
            self._busy = None
        for table in TABLES:
            schema.register_table(table)
        return Replica(idl.Idl(remote, schema), self._cloud)

    def _abandon(self, replica: Replica | None) -> None:
        if replica is not None:
            replica.idl.close()

    def _turn(self, replica: Replica) -> None:
        replica.idl.run()
        if self._jobs and _whole(replica):
            self._do(replica, self._jobs.popleft())
            return
        self._expire()
        self._block(replica, 0.05 if self._jobs else None)

    def _block(self, replica: Replica, seconds: float | None, txn: Any = None) -> None:
        waiting = poller.Poller()
        replica.idl.wait(waiting)
        if txn is not None:
            txn.wait(waiting)
        waiting.fd_wait(self._awake, READABLE)
        if seconds is not None:
            waiting.timer_wait(int(seconds * 1000))
        waiting.block()
        try:
            os.read(self._awake, 4096)
        except BlockingIOError:
            return

    def _do(self, replica: Replica, job: Job[Any]) -> None:
        if not job.result.set_running_or_notify_cancel():
            return
        try:
            result = self._attempt(replica, job)
        except DriverError as error:
            job.result.set_exception(error)
        except Exception as error:
            job.result.set_exception(error)
            raise
        else:
            job.result.set_result(result)

    def _attempt(self, replica: Replica, job: Job[Any]) -> Any:
        while True:
            txn = idl.Transaction(replica.idl)
            try:
                result = job.work(replica, txn)
            except BaseException:
                txn.abort()
                raise
            status = self._commit(replica, txn, job)
            if status in (txn.SUCCESS, txn.UNCHANGED):
                return result
            if status != txn.TRY_AGAIN:
                raise Refused(f"OVN's database refused the change: {txn.get_error()}")
            self._recover(replica, job)

    def _commit(self, replica: Replica, txn: Any, job: Job[Any]) -> Any:
        status = txn.commit()
        while status == txn.INCOMPLETE:
            if job.late:
                txn.abort()
                raise Unreachable(f"no answer from {self.socket} to a change")
            replica.idl.run()
            status = txn.commit()
            if status == txn.INCOMPLETE:
                self._block(replica, 0.05, txn)
        return status

    def _recover(self, replica: Replica, job: Job[Any]) -> None:
        """After a lost connection or a conflict: until the copy is whole again."""
        while True:
            self._block(replica, 0.02)
            replica.idl.run()
            if job.late:
                raise Unreachable(f"{self.socket} is away; the change was not made or its answer was lost")
            if _whole(replica):
                return

    def _expire(self) -> None:
        for job in [job for job in tuple(self._jobs) if job.late]:
            self._jobs.remove(job)
            self._fail(job, "not reachable")

    def _fail(self, job: Job[Any], why: str) -> None:
        if job.result.set_running_or_notify_cancel():
            job.result.set_exception(Unreachable(f"OVN's northbound database at {self.socket} is {why}"))


def _whole(replica: Replica) -> bool:
    """Whether the copy is complete and follows the server. The library keeps its state while it is not
    connected, and tells the connection only here."""
    copy = replica.idl
    return bool(copy.state == copy.IDL_S_MONITORING and copy._session.is_connected())


__all__ = ["Link"]
