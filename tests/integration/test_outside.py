"""Servers reach the world through the machine, whose address stands in for theirs; with three namespaces as the parts."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

TAG = f"po{os.getpid() % 10000}"
SERVER, MACHINE, WORLD = (f"{TAG}-{part}" for part in ("server", "machine", "world"))
OPEN = """
import asyncio, sys
from pileus.app import outside
from pileus.config import Config

config = Config(external_bridge="inner", external_cidr="172.24.98.0/24")
act = outside.open_way if sys.argv[1] == "open" else outside.close_way
print(asyncio.run(act(config)) or "")
"""


def run(*command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def inside(namespace: str, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return run("ip", "netns", "exec", namespace, *command, check=check)


@pytest.fixture
def parts() -> Iterator[None]:
    """server -- (inner) machine (outer) -- world; the world knows no way to the server's network."""
    try:
        for namespace in (SERVER, MACHINE, WORLD):
            run("ip", "netns", "add", namespace)
            inside(namespace, "ip", "link", "set", "lo", "up")
        wires = (
            (SERVER, "eth0", "172.24.98.10/24", "inner", "172.24.98.1/24"),
            (WORLD, "eth0", "192.0.2.2/24", "outer", "192.0.2.1/24"),
        )
        for namespace, name, address, far, other in wires:
            run(
                "ip",
                "link",
                "add",
                name,
                "netns",
                namespace,
                "type",
                "veth",
                "peer",
                "name",
                far,
                "netns",
                MACHINE,
            )
            for where, device, cidr in ((namespace, name, address), (MACHINE, far, other)):
                inside(where, "ip", "addr", "add", cidr, "dev", device)
                inside(where, "ip", "link", "set", "dev", device, "up")
        inside(SERVER, "ip", "route", "add", "default", "via", "172.24.98.1")
        yield
    finally:
        for namespace in (SERVER, MACHINE, WORLD):
            run("ip", "netns", "delete", namespace, check=False)


def reaches() -> bool:
    return inside(SERVER, "ping", "-c", "1", "-W", "2", "192.0.2.2", check=False).returncode == 0


def test_the_way_is_opened_twice_and_closed(parts: None) -> None:
    assert not reaches()
    for _ in range(2):
        assert inside(MACHINE, sys.executable, "-c", OPEN, "open").stdout.strip() == ""
        assert reaches()
    listed = inside(MACHINE, "nft", "list", "table", "ip", "pileus_inner").stdout
    assert listed.count("masquerade") == 1
    for _ in range(2):
        inside(MACHINE, sys.executable, "-c", OPEN, "close")
        assert not reaches()
