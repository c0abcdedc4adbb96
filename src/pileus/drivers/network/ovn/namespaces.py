"""Network namespaces of this machine that stand in the guests' networks: there the metadata service listens."""

import asyncio
from ipaddress import ip_interface
from pathlib import Path
from uuid import UUID

from pileus.drivers.network.ovn.command import run
from pileus.drivers.network.ovn.networks import METADATA, metadata_mac, metadata_port
from pileus.drivers.network.protocol import Address, NetworkSpec

MARK = "pileus-namespace"
"""external_ids key of an OVS interface whose other end lies in the named namespace."""
INNER = "eth0"
MOUNTED = Path("/run/netns")


def namespace(network: UUID) -> str:
    """Also the name of the device outside; its peer has one letter more, and the kernel takes 15."""
    return f"pm-{network.hex[-11:]}"


class Namespaces:
    """`notes`: a directory with a file for every network whose namespace was begun here and not removed since. So what
    a killed process left is found by its name, and is known to be ours."""

    def __init__(self, switch: Path, bridge: str, notes: Path | None = None) -> None:
        self._notes = notes
        self._vsctl = ("ovs-vsctl", f"--db=unix:{switch}", "--timeout=20")
        self._bridge = bridge
        self._locks: dict[UUID, asyncio.Lock] = {}

    async def apply(self, spec: NetworkSpec) -> None:
        """As the network wants it: with a metadata address there is one, without there is none."""
        async with self._locks.setdefault(spec.id, asyncio.Lock()):
            if spec.metadata_address is None:
                await self._remove(spec.id)
            else:
                await self._make(spec, spec.metadata_address)

    async def remove(self, network: UUID) -> None:
        async with self._locks.setdefault(network, asyncio.Lock()):
            await self._remove(network)
        self._locks.pop(network, None)

    async def begun(self) -> frozenset[UUID]:
        """The networks of which there is, or was being made, a namespace."""
        return await asyncio.to_thread(self._noted)

    def _noted(self) -> frozenset[UUID]:
        if self._notes is None or not self._notes.is_dir():
            return frozenset()
        return frozenset(UUID(path.name) for path in self._notes.iterdir())

    def _note(self, network: UUID, begun: bool) -> None:
        if self._notes is None:
            return
        if begun:
            self._notes.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._notes / str(network)).touch()
        else:
            (self._notes / str(network)).unlink(missing_ok=True)

    async def _make(self, spec: NetworkSpec, address: Address) -> None:
        name = namespace(spec.id)
        if not await asyncio.to_thread(_there, name):
            await self._remove(spec.id)
            await asyncio.to_thread(self._note, spec.id, True)
            await self._create(name)
        await _batch(_inside(spec, address), "-n", name)
        await run("ip", "link", "set", name, "mtu", str(spec.mtu), "up")
        ids = (f"external_ids:iface-id={metadata_port(spec.id)}", f"external_ids:{MARK}={name}")
        plug = ("--may-exist", "add-port", self._bridge, name, "--", "set", "interface", name, *ids)
        await run(*self._vsctl, *plug)

    async def _create(self, name: str) -> None:
        """The pair is made outside, because the switch reads from it with offloads off on both ends: it would
        forward unfinished checksums."""
        peer = f"{name}p"
        await run("ip", "netns", "add", name)
        await run("ip", "link", "add", name, "type", "veth", "peer", "name", peer)
        for device in (name, peer):
            await run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        await run("ip", "link", "set", peer, "netns", name, "name", INNER)

    async def _remove(self, network: UUID) -> None:
        name = namespace(network)
        held, device = await asyncio.to_thread(_parts, name)
        if held or device:
            await run(*self._vsctl, "--no-wait", "--if-exists", "del-port", self._bridge, name)
        if device:
            await run("ip", "link", "delete", name)
        if held:
            await run("ip", "netns", "delete", name)
        await asyncio.to_thread(self._note, network, False)


def _inside(spec: NetworkSpec, address: Address) -> list[str]:
    own = next((subnet.cidr for subnet in spec.subnets if address in subnet.cidr), None)
    length = own.prefixlen if own is not None else address.max_prefixlen
    lines = [
        "link set lo up",
        f"link set {INNER} address {metadata_mac(spec)} mtu {spec.mtu} up",
        f"address replace {ip_interface((address, length))} dev {INNER}",
        f"address replace {METADATA}/32 dev {INNER}",
    ]
    others = [subnet.cidr for subnet in spec.subnets if subnet.cidr != own]
    return lines + [
        f"route replace {cidr} dev {INNER} src {METADATA}" for cidr in others if cidr.version == 4
    ]


async def _batch(lines: list[str], *options: str) -> None:
    await run("ip", *options, "-batch", "-", input="\n".join(lines) + "\n")


def existing() -> frozenset[str]:
    return frozenset(path.name for path in MOUNTED.glob("pm-*"))


def _there(name: str) -> bool:
    return all(_parts(name))


def _parts(name: str) -> tuple[bool, bool]:
    """Whether the namespace and the device outside exist."""
    return (MOUNTED / name).exists(), Path("/sys/class/net", name).exists()


__all__ = ["MARK", "Namespaces", "existing", "namespace"]
