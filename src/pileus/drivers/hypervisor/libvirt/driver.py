"""The hypervisor protocol on libvirt's QEMU driver."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar
from uuid import UUID

import libvirt
import msgspec

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.libvirt import xml
from pileus.drivers.hypervisor.libvirt.connection import PATIENCE, Connection
from pileus.drivers.hypervisor.libvirt.domain import Domain, attachable, is_ours, mark_of
from pileus.drivers.hypervisor.protocol import (
    Capabilities,
    Disk,
    Guest,
    HostFacts,
    Nic,
    Power,
    Screen,
    Survey,
)
from pileus.drivers.hypervisor.reactions import Verb, must_act

T = TypeVar("T")

LONGEST_SOCKET = 107
"""Bytes that the kernel takes as the path of a unix socket."""
RELEASE_SECONDS = 20.0
RELEASE_POLL_SECONDS = 0.25
MEMORY_SECONDS = 3600.0
"""Writing a guest's memory to disk, and reading it back."""


class LibvirtHypervisor:
    """Guests of one libvirt that carry the mark of one cloud."""

    def __init__(
        self,
        uri: str,
        *,
        state: Path,
        virtualization: Literal["kvm", "qemu"],
        reason: str = "",
        bridge: str = "br-int",
        openvswitch: bool = True,
        userspace: bool = False,
        logs: Path | None = None,
        cloud: UUID | None = None,
    ) -> None:
        """`logs`: where an own libvirtd keeps QEMU's logs; they go with their guest. `cloud`: what our guests are marked
        by; None: the path of the state directory, as in older clouds."""
        state = state.resolve()
        name = "KVM" if virtualization == "kvm" else "QEMU"
        self.capabilities = Capabilities(
            hypervisor=name,
            pause=True,
            suspend=True,
            hot_plug_volume=True,
            hot_plug_nic=True,
            live_snapshot=True,
            console_log=True,
            consoles=frozenset({"vnc"}),
        )
        self._reason = reason
        self._logs = logs
        self._platform = xml.Platform(
            virtualization=virtualization,
            cloud=str(cloud or state),
            marks=frozenset({str(cloud or state), str(state)}),
            consoles=state / "consoles",
            screens=state / "run" / "vnc",
            bridge=bridge,
            openvswitch=openvswitch,
            userspace=userspace,
        )
        longest = len(os.fsencode(xml.screen(self._platform, UUID(int=0))))
        if longest > LONGEST_SOCKET:
            excess = longest - LONGEST_SOCKET
            raise ValueError(f"state directory {state}: its path is {excess} bytes too long for unix sockets")
        self._connection = Connection(uri, opened=self._prepare)

    async def facts(self) -> HostFacts:
        return await self._connection.run("facts of the host", self._facts)

    async def define(self, guest: Guest) -> None:
        def call(connection: libvirt.virConnect) -> None:
            try:
                found = Domain(guest.id, connection.lookupByUUIDString(str(guest.id)))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
            else:
                if not is_ours(found.handle, self._platform.marks):
                    raise Refused(f"libvirt has a guest {guest.id} that is not of {self._platform.cloud}")
                if not found.must(Verb.DEFINE):
                    return
            connection.defineXMLFlags(xml.domain(guest, self._platform), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

        await self._connection.run(f"define guest {guest.id}", call)

    async def start(self, guest: UUID) -> None:
        await self._on(guest, "start", Domain.start, patience=MEMORY_SECONDS)

    async def stop(self, guest: UUID, *, force: bool) -> None:
        await self._on_known(guest, "stop", Domain.kill if force else Domain.stop)

    async def reboot(self, guest: UUID, *, force: bool) -> None:
        await self._on(guest, "reboot", Domain.reset if force else Domain.reboot)

    async def pause(self, guest: UUID) -> None:
        await self._on(guest, "pause", Domain.pause)

    async def resume(self, guest: UUID) -> None:
        await self._on(guest, "resume", Domain.resume)

    async def suspend(self, guest: UUID) -> None:
        await self._on(guest, "suspend", Domain.suspend, patience=MEMORY_SECONDS)

    async def undefine(self, guest: UUID) -> None:
        await self._on_known(guest, "undefine", Domain.undefine)
        await asyncio.to_thread(self._remove_files, guest)

    async def power(self, guest: UUID) -> Power | None:
        return await self._on_known(guest, "power of", Domain.power)

    async def guests(self) -> Mapping[UUID, Power]:
        return await self._connection.run("list guests", self._guests)

    async def survey(self) -> Survey:
        return await self._connection.run("look at all guests", self._survey)

    async def claim(self, guest: UUID) -> None:
        def call(connection: libvirt.virConnect) -> None:
            handle = connection.lookupByUUIDString(str(guest))
            owner = mark_of(handle)
            if owner and owner not in self._platform.marks:
                raise Refused(f"guest {guest} is another cloud's: {owner}")
            if owner != self._platform.cloud:
                Domain(guest, handle).claim(self._platform.cloud)

        await self._connection.run(f"claim guest {guest}", call)

    async def attach_disk(self, guest: UUID, disk: Disk) -> None:
        await self._attach(guest, disk, xml.disk(disk, self._platform))

    async def detach_disk(self, guest: UUID, volume: UUID) -> None:
        await self._detach(guest, "disk", volume)

    async def attach_nic(self, guest: UUID, nic: Nic) -> None:
        await self._attach(guest, nic, xml.nic(nic, self._platform))

    async def detach_nic(self, guest: UUID, port: UUID) -> None:
        await self._detach(guest, "interface", port)

    async def disks(self, guest: UUID) -> frozenset[UUID]:
        return await self._on(guest, "disks of", lambda domain: frozenset(domain.devices("disk")))

    async def nics(self, guest: UUID) -> frozenset[UUID]:
        return await self._on(guest, "nics of", lambda domain: frozenset(domain.devices("interface")))

    async def resize_disk(self, guest: UUID, volume: UUID, size_gib: int) -> None:
        await self._on(guest, "resize a disk of", lambda domain: domain.resize(volume, size_gib << 30))

    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await self._on(guest, "snapshot a disk of", lambda domain: domain.snapshot(volume, snapshot))

    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await self._on(
            guest, "delete a disk snapshot of", lambda domain: domain.delete_snapshot(volume, snapshot)
        )

    async def console_log(self, guest: UUID, *, max_bytes: int = 1 << 20) -> bytes:
        if await self.power(guest) is None:
            raise Missing(f"libvirt knows no guest {guest}")
        return await asyncio.to_thread(tail, xml.console(self._platform, guest), max_bytes)

    async def screen(self, guest: UUID) -> Screen:
        power = await self._on(guest, "screen of", Domain.power)
        must_act(Verb.SCREEN, guest, power)
        return Screen(socket=str(xml.screen(self._platform, guest)))

    async def close(self) -> None:
        await self._connection.close()

    async def _on(
        self, guest: UUID, verb: str, call: Callable[[Domain], T], *, patience: float = PATIENCE
    ) -> T:
        """Raises Missing when there is no such guest."""
        return await self._connection.run(
            f"{verb} guest {guest}",
            lambda connection: call(Domain.find(connection, self._platform.marks, guest)),
            patience=patience,
        )

    async def _on_known(self, guest: UUID, verb: str, call: Callable[[Domain], T]) -> T | None:
        """None when there is no such guest."""
        try:
            return await self._on(guest, verb, call)
        except Missing:
            return None

    async def _attach(self, guest: UUID, device: Disk | Nic, element: str) -> None:
        kind, key = attachable(device)
        await self._on(guest, f"attach {kind} {key} to", lambda domain: domain.attach(kind, key, element))

    async def _detach(self, guest: UUID, kind: str, key: UUID) -> None:
        """The definition follows the running guest, so that a refusal leaves both as they were."""
        verb = f"detach {kind} {key} from"
        gone = await self._on_known(guest, verb, lambda domain: domain.release(kind, key))
        deadline = asyncio.get_running_loop().time() + RELEASE_SECONDS
        while gone is False:
            if asyncio.get_running_loop().time() > deadline:
                raise Refused(
                    f"guest {guest} did not let {kind} {key} go in {RELEASE_SECONDS:.0f} s: "
                    "free it in the guest, or stop the guest, and ask again"
                )
            await asyncio.sleep(RELEASE_POLL_SECONDS)
            gone = not await self._on_known(guest, verb, lambda domain: domain.holds(kind, key))
        await self._on_known(guest, verb, lambda domain: domain.forget_device(kind, key))

    def _guests(self, connection: libvirt.virConnect) -> Mapping[UUID, Power]:
        found = {}
        for handle in connection.listAllDomains():
            try:
                if is_ours(handle, self._platform.marks):
                    guest = UUID(handle.UUIDString())
                    found[guest] = Domain(guest, handle).power()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return found

    def _survey(self, connection: libvirt.virConnect) -> Survey:
        found, foreign = {}, set()
        for handle in connection.listAllDomains():
            try:
                root = xml.parse(handle.XMLDesc(0 if handle.isActive() else libvirt.VIR_DOMAIN_XML_INACTIVE))
                owner = xml.marked(root)
                if owner and owner not in self._platform.marks:
                    foreign.add(handle.name())
                else:
                    guest = UUID(handle.UUIDString())
                    found[guest] = Domain(guest, handle).held(root, marked=owner == self._platform.cloud)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return Survey(guests=found, foreign=frozenset(foreign))

    def _facts(self, connection: libvirt.virConnect) -> HostFacts:
        architecture, _, vcpus, *_ = connection.getInfo()
        # getInfo adds up NUMA cells, which do not always hold the whole memory.
        memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]
        model = xml.parse(connection.getCapabilities()).findtext("host/cpu/model", "")
        return HostFacts(
            hostname=connection.getHostname(),
            vcpus=vcpus,
            memory_mib=memory // 1024,
            cpu_model=model,
            architecture=architecture,
            hypervisor=self.capabilities.hypervisor,
            version=connection.getVersion(),
            acceleration="kvm" if self._platform.virtualization == "kvm" else "tcg",
            reason=self._reason,
        )

    def _prepare(self, connection: libvirt.virConnect) -> None:
        """Directories for consoles and screens; QEMU makes the screens' sockets under its own user."""
        self._platform.consoles.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._platform.screens.mkdir(mode=0o700, parents=True, exist_ok=True)
        for label in xml.parse(connection.getCapabilities()).iterfind("host/secmodel"):
            if label.findtext("model") == "dac":
                owner = label.findtext(f"baselabel[@type='{self._platform.virtualization}']", "")
                user, _, group = owner.replace("+", "").partition(":")
                if user.isdecimal() and group.isdecimal():
                    os.chown(self._platform.screens, int(user), int(group))
        if not takes_direct_io(self._platform.consoles):
            self._platform = msgspec.structs.replace(self._platform, cache="writeback")

    def _remove_files(self, guest: UUID) -> None:
        xml.screen(self._platform, guest).unlink(missing_ok=True)
        for directory in filter(None, (self._platform.consoles, self._logs)):
            for log in directory.glob(f"{guest}.log*"):
                log.unlink(missing_ok=True)


def takes_direct_io(directory: Path) -> bool:
    """Some file systems (older tmpfs, overlays, network shares) refuse O_DIRECT, which cache=none needs."""
    probe = directory / f".direct-{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def tail(log: Path, max_bytes: int) -> bytes:
    """The end of a log that virtlogd rolls over into log.0, log.1, ...; nothing yet: empty."""
    parts: list[bytes] = []
    for path in (log, *(Path(f"{log}.{n}") for n in range(3))):
        wanted = max_bytes - sum(map(len, parts))
        if wanted <= 0 or not path.exists():
            break
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - wanted))
            parts.append(file.read(wanted))
    return b"".join(reversed(parts))
