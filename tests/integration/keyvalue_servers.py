"""A real Redis and a real NATS server on loopback ports, each with its own directory."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE = 15.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


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
                return
            except OSError:
                assert time.monotonic() < end, f"{self.command[0]} does not listen"
                assert self._process.poll() is None, f"{self.command[0]} ended"
                time.sleep(0.02)

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
    port = free_port()
    server = Server([program, *options(port)], port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
