"""A private OVN, and network namespaces that stand for guests: real packets without a virtual machine."""

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from pileus.app.daemons.ovs import OvsDaemons
from pileus.config import Config
from pileus.drivers.network.ovn import OvnNetwork
from pileus.drivers.network.protocol import PortSpec

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
OPEN_SECONDS = 4.0
CLOSED_SECONDS = 0.5
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Place:
    """Where a socket can be opened: a network namespace, or (without a name) the machine itself."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace

    def enter(self, work: Callable[[], T]) -> T:
        """Run `work` inside; a thread of its own, for a thread cannot come back."""
        if not self.namespace:
            return work()
        result: list[T] = []

        def inside() -> None:
            descriptor = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
            failed = LIBC.setns(descriptor, CLONE_NEWNET)
            os.close(descriptor)
            assert not failed, os.strerror(ctypes.get_errno())
            result.append(work())

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return result[0]

    def open(self, kind: socket.SocketKind) -> socket.socket:
        opened = self.enter(lambda: socket.socket(socket.AF_INET, kind))
        opened.setblocking(False)
        return opened

    async def run(self, *command: str, check: bool = True) -> str:
        within = ("ip", "netns", "exec", self.namespace) if self.namespace else ()
        return await asyncio.to_thread(run, *within, *command, check=check)

    async def pings(self, address: str, *, expect: bool = True) -> bool:
        """One answer is enough; none is believed after a short while."""
        patience = ("-c", "4", "-W", "1") if expect else ("-c", "1", "-W", "1")
        return ", 0 received" not in await self.run(
            "ping", "-n", "-i", "0.2", *patience, address, check=False
        )


class Guest(Place):
    """A namespace plugged in where a guest's network card would be."""

    def __init__(self, name: str, port: PortSpec, address: str, gateway: str, lab: "Lab") -> None:
        super().__init__(name)
        self.port, self.address, self.gateway, self.lab = port, address, gateway, lab

    def plug(self) -> None:
        outer, inner = self.namespace, f"{self.namespace}p"
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        for device in (outer, inner):
            run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ip", "link", "set", inner, "netns", self.namespace, "name", "eth0", "address", self.port.mac)
        run("ip", "link", "set", outer, "up")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "mtu", "1442", "up")
        self.lab.vsctl("add-port", self.lab.config.integration_bridge, outer, "--", "set", "interface", outer,
                       f"external_ids:iface-id={self.port.id}")  # fmt: skip

    def configure(self) -> None:
        run("ip", "-n", self.namespace, "address", "replace", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "route", "replace", "default", "via", self.gateway)


async def tcp(
    source: Place, target: Place, address: str, port: int, *, at: int = 0, expect: bool = True
) -> str:
    """Connect to address:port and exchange a word; the caller's address as the target (listening at `at`) sees
    it, or nothing when the connection does not come about."""
    loop = asyncio.get_running_loop()
    with target.open(socket.SOCK_STREAM) as listening, source.open(socket.SOCK_STREAM) as calling:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("", at or port))
        listening.listen()
        try:
            async with asyncio.timeout(OPEN_SECONDS if expect else CLOSED_SECONDS):
                await loop.sock_connect(calling, (address, port))
                accepted, peer = await loop.sock_accept(listening)
                with accepted:
                    await loop.sock_sendall(accepted, b"welcome" * 1000)
                    assert (await loop.sock_recv(calling, 7)) == b"welcome"
                return str(peer[0])
        except (TimeoutError, ConnectionError, OSError):
            return ""


async def udp(
    source: Place, target: Place, address: str, port: int, *, at: int = 0, expect: bool = True
) -> str:
    """The same by a question and an answer."""
    loop = asyncio.get_running_loop()
    with target.open(socket.SOCK_DGRAM) as answering, source.open(socket.SOCK_DGRAM) as asking:
        answering.bind(("", at or port))

        async def answer() -> str:
            question, peer = await loop.sock_recvfrom(answering, 100)
            await loop.sock_sendto(answering, question, peer)
            return str(peer[0])

        async def ask() -> None:
            while True:
                await loop.sock_sendto(asking, b"hello", (address, port))
                try:
                    async with asyncio.timeout(0.3):
                        await loop.sock_recv(asking, 100)
                        return
                except TimeoutError:
                    continue

        try:
            async with asyncio.timeout(OPEN_SECONDS if expect else CLOSED_SECONDS):
                seen, _ = await asyncio.gather(answer(), ask())
                return seen
        except (TimeoutError, OSError):
            return ""


class Lab:
    """OVN with bridges, addresses and directories of its own, beside any other on the machine."""

    def __init__(self, state: Path, number: int) -> None:
        self.state = state
        self.name = f"t{os.getpid() % 100000}{number}"
        self.config = Config(
            state=state,
            integration_bridge=f"br-{self.name}",
            external_bridge=f"bx-{self.name}",
            external_cidr=f"172.24.{99 + number}.0/24",
        )
        self.daemons = OvsDaemons(self.config, state)
        self.guests: list[Guest] = []
        self.network: OvnNetwork

    async def start(self) -> None:
        await self.daemons.start()
        self.network = self.driver()

    def driver(
        self, patience: float = 5.0, *, cloud: UUID | None = None, notes: Path | None = None
    ) -> OvnNetwork:
        return OvnNetwork(self.daemons, patience=patience, cloud=cloud, notes=notes)

    async def stop(self) -> None:
        for guest in self.guests:
            await asyncio.to_thread(run, "ip", "link", "delete", guest.namespace, check=False)
            await asyncio.to_thread(run, "ip", "netns", "delete", guest.namespace, check=False)
        if hasattr(self, "network"):
            await self.network.close()
        await self.daemons.stop()

    async def guest(self, port: PortSpec, address: str, gateway: str) -> Guest:
        guest = Guest(f"g{self.name}{len(self.guests)}", port, address, gateway, self)
        self.guests.append(guest)
        await asyncio.to_thread(guest.plug)
        return guest

    def outside(self, number: int) -> str:
        """An address of the external network."""
        return str(self.config.external[number])

    def vsctl(self, *command: str) -> str:
        return run("ovs-vsctl", f"--db=unix:{self.daemons.ovs_socket}", "--timeout=10", *command)

    def nbctl(self, *command: str) -> str:
        return run("ovn-nbctl", f"--db=unix:{self.daemons.nb_socket}", "--timeout=10", *command)
