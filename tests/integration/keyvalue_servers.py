"""A real Redis and a real NATS server on loopback ports, each with its own directory."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

DEADLINE = 15.0
ESTABLISHED = "01"


class Ended(Exception):
    """The server did not stay: somebody else has the port meanwhile, perhaps."""


class Server:
    """A child process that can be stopped and started again on the same port with the same data."""

    def __init__(self, command: list[str], port: int) -> None:
        self.command, self.port = command, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        end = time.monotonic() + DEADLINE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                listening = True
            except OSError:
                listening = False
                time.sleep(0.02)
            if self._process.poll() is not None:
                raise Ended(f"{self.command[0]} ended with {self._process.returncode}")
            if listening:
                return
            assert time.monotonic() < end, f"{self.command[0]} does not listen"

    def pause(self) -> None:
        """It still listens, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def connections(self) -> int:
        """How many it has at its port, by the kernel's word."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[1].endswith(f":{self.port:04X}") and line[3] == ESTABLISHED for line in lines)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def redis(directory: Path) -> Iterator[Server]:
    yield from _running(
        directory,
        "redis-server",
        lambda port: [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(directory),
            "--save",
            "",
            "--appendonly",
            "yes",
        ],
    )


@contextmanager
def nats(directory: Path) -> Iterator[Server]:
    yield from _running(
        directory,
        "nats-server",
        lambda port: ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory)],
    )


def _running(directory: Path, program: str, options: Callable[[int], list[str]]) -> Iterator[Server]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    server = started(program, options)
    try:
        yield server
    finally:
        server.stop()


def started(program: str, options: Callable[[int], list[str]], tries: int = 3) -> Server:
    """On another port where somebody else took the first one meanwhile."""
    port = free_port()
    server = Server([program, *options(port)], port)
    try:
        server.start()
    except Ended:
        if tries == 1:
            raise
        return started(program, options, tries - 1)
    except BaseException:
        server.stop()
        raise
    return server
