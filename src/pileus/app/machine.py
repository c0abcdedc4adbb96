"""This machine as a cloud: its daemons, and the drivers on top of them."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from pileus.app import outside
from pileus.app.daemons.libvirtd import Libvirtd
from pileus.app.daemons.ovs import OvsDaemons
from pileus.config import Config
from pileus.core import mark
from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.libvirt import probe
from pileus.drivers.hypervisor.libvirt.driver import LibvirtHypervisor
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.drivers.network.ovn import OvnNetwork
from pileus.drivers.network.protocol import NetworkDriver
from pileus.drivers.volume.file import FilePool
from pileus.drivers.volume.images import DirectoryImages
from pileus.drivers.volume.protocol import ImageStore, Pool

PROGRAMS: Mapping[str, str] = {
    "libvirtd": "libvirt-daemon-system",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ovs-vswitchd": "openvswitch-switch",
    "ovn-northd": "ovn-central",
    "ovn-controller": "ovn-host",
    "ip": "iproute2",
    "ethtool": "ethtool",
}
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing() -> str:
    """Why this machine cannot run guests, with the fix; empty when it can."""
    if os.geteuid() != 0:
        return (
            "Guests on real networks need root. Run it as root, or add --simulate for a cloud without guests."
        )
    packages = sorted(
        {package for program, package in PROGRAMS.items() if not shutil.which(program, path=SEARCH)}
    )
    if packages:
        return (
            f"Programs are missing. Install them: apt-get install {' '.join(packages)} (or add --simulate)."
        )
    if not Path("/dev/net/tun").exists():
        return "The kernel has no /dev/net/tun: load the module tun (modprobe tun), or add --simulate."
    return ""


class Machine:
    """Starts what is not running, adopts what is. `hosts` are the drivers by host name until the records give them ids."""

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self.config = config
        self._say = say
        self.ovs = OvsDaemons(config, config.state)
        self.libvirtd = Libvirtd(config, config.state, ovs_run=self.ovs.run_dir)
        self.hosts: list[Hypervisor] = []
        self.cloud: UUID | None = None
        """What this cloud's guests and networks are marked by; given before the start."""

    async def start(self) -> None:
        """Raises Refused with what is missing and how to get it."""
        if reason := missing():
            raise Refused(reason)
        self._say("starting the virtual network (OVS, OVN)")
        await self.ovs.start()
        if self.config.masquerade and (why := await outside.open_way(self.config)):
            self._say(f"servers cannot reach the world through this machine: {why}")
        self.libvirtd = Libvirtd(self.config, self.config.state, ovs_run=self.ovs.run_dir)
        self._say("starting libvirt")
        await self.libvirtd.start()
        found = await asyncio.to_thread(probe.probe, self.config.state)
        self._say(
            f"guests run by {'KVM' if found.virtualization == 'kvm' else 'emulation (TCG)'}: {found.reason}"
        )
        self.hosts = [
            LibvirtHypervisor(
                self.libvirtd.uri,
                state=self.config.state,
                virtualization=found.virtualization,
                reason=found.reason,
                bridge=self.config.integration_bridge,
                userspace=self.ovs.datapath_type == "netdev",
                logs=self.libvirtd.logs,
                cloud=self.cloud,
            )
        ]
        self._network = OvnNetwork(self.ovs, cloud=self.cloud, notes=self.config.state / "run" / "namespaces")

    @property
    def network(self) -> NetworkDriver:
        return self._network

    def pool(self, path: str) -> Pool:
        return FilePool(Path(path))

    def image_store(self, path: str) -> ImageStore:
        return DirectoryImages(Path(path), max_virtual_bytes=self.config.max_image_virtual_gib << 30)

    async def metadata_namespaces(self) -> Mapping[UUID, str]:
        return await self._network.metadata_namespaces()

    async def release(self) -> None:
        """Let go of everything and leave it running."""
        for host in self.hosts:
            await host.close()
        await self._network.close()
        await self.libvirtd.release()
        await self.ovs.release()

    async def stop(self, *, guests: bool) -> None:
        """End the daemons that are ours (for `pileus down`), and before them the guests if asked."""
        if guests and await self.libvirtd.healthy():
            hypervisor = LibvirtHypervisor(
                self.libvirtd.uri,
                state=self.config.state,
                virtualization="qemu",
                cloud=mark.noted(self.config.state),
            )
            for guest in await hypervisor.guests():
                await hypervisor.stop(guest, force=True)
            await hypervisor.close()
        await self.libvirtd.stop()
        await self.ovs.stop()
        await outside.close_way(self.config)
