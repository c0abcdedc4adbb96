"""The libvirt driver with real QEMU under an own libvirtd, and what happens to guests when that dies."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
import msgspec
import pytest
import pytest_asyncio

from pileus.app.daemons.libvirtd import Libvirtd
from pileus.app.daemons.ovs import OvsDaemons
from pileus.app.daemons.process import identify
from pileus.config import Config
from pileus.core.compute.records import State
from pileus.drivers.errors import Missing, Refused, Unreachable
from pileus.drivers.hypervisor.libvirt import connection
from pileus.drivers.hypervisor.libvirt.driver import LibvirtHypervisor
from pileus.drivers.hypervisor.libvirt.xml import NAMESPACE
from pileus.drivers.hypervisor.protocol import Disk, Guest, Power
from pileus.reconcile.reactions import Drift
from pileus.reconcile.servers import Servers
from tests.conformance.hypervisor import Bench, HypervisorConformance, until
from tests.integration import recorded, tiny_guest

PROGRAMS = ("libvirtd", "virtlogd", "qemu-system-x86_64", "qemu-img", "busybox", "cpio", "unshare", "ip")
missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.skipif(tiny_guest.kernel() is None, reason="no linux-image-cloud-amd64 in /boot"),
]


class Site:
    """One cloud's libvirtd with its driver."""

    def __init__(self, state: Path, bridge: str) -> None:
        self.state = state
        self.bridge = bridge
        self.daemon = self.new_daemon()
        self.hypervisor = self.new_hypervisor(state)

    def new_daemon(self) -> Libvirtd:
        return Libvirtd(Config(state=self.state), self.state)

    async def is_otherwise(self, guest: UUID) -> bool:
        return await self.hypervisor.power(guest) is not Power.ON

    def new_hypervisor(self, state: Path, *, cloud: UUID | None = None) -> LibvirtHypervisor:
        return LibvirtHypervisor(
            self.daemon.uri,
            state=state,
            cloud=cloud,
            virtualization="qemu",
            reason="tests",
            bridge=self.bridge,
            openvswitch=False,
            logs=self.daemon.logs,
        )

    def qemu(self, guest: UUID) -> int:
        return int((self.state / "libvirt/run/libvirt/qemu" / f"{guest}.pid").read_text())

    def libvirtd(self) -> int:
        return int((self.state / "libvirt/run/libvirtd.pid").read_text())

    async def close(self) -> None:
        """End what we started, also when the driver is what failed."""
        for file in (self.state / "libvirt/run/libvirt/qemu").glob("*.pid"):
            pid = int(file.read_text())
            if str(self.state).encode() in await asyncio.to_thread(command_of, pid):
                os.kill(pid, signal.SIGKILL)
                await until(partial(ended, pid), 10)
        await self.hypervisor.close()
        await self.daemon.stop()
        await asyncio.to_thread(shutil.rmtree, self.state)


class RealBench(Bench):
    def __init__(self, site: Site, boot: tuple[Path, Path]) -> None:
        super().__init__(site.hypervisor, site.state)
        self.site = site
        self.boot = boot

    async def disk(self, device: str) -> Disk:
        disk = await super().disk(device)
        create = ("qemu-img", "create", "-q", "-f", "qcow2", disk.path, "1G")
        assert await (await asyncio.create_subprocess_exec(*create)).wait() == 0
        return disk

    async def guest(self) -> Guest:
        kernel, ramdisk = map(str, self.boot)
        boot = {"kernel": kernel, "ramdisk": ramdisk, "cmdline": "console=ttyS0 quiet"}
        return msgspec.structs.replace(await super().guest(), **boot)

    async def until_up(self, guest: UUID) -> None:
        async def is_up() -> bool:
            return tiny_guest.BANNER in await self.hypervisor.console_log(guest)

        assert await until(is_up), (await self.hypervisor.console_log(guest)).decode()

    async def crash(self, guest: UUID) -> None:
        os.kill(self.site.qemu(guest), signal.SIGKILL)


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def ended(pid: int) -> bool:
    return not await asyncio.to_thread(command_of, pid)


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_guest.build(tmp_path_factory.mktemp("boot"))


@pytest.fixture(scope="module")
def bridge() -> Iterator[str]:
    name = f"plt{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


async def open_site(bridge: str) -> Site:
    # A short path: it becomes part of the paths of unix sockets.
    site = Site(Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="plt-")), bridge)
    try:
        await site.daemon.start()
    except BaseException:
        await site.close()
        raise
    return site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(bridge: str) -> AsyncIterator[Site]:
    site = await open_site(bridge)
    yield site
    await site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(site: Site, boot: tuple[Path, Path]) -> RealBench:
    return RealBench(site, boot)


class TestLibvirt(HypervisorConformance):
    pass


async def test_the_guest_sees_its_identity_and_its_disks_by_serial(bench: RealBench) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    serial = str(guest.disks[1].volume)[:20].encode()

    async def tells() -> bool:
        return b"vdb serial " + serial in await bench.hypervisor.console_log(guest.id)

    assert await until(tells)
    log = await bench.hypervisor.console_log(guest.id)
    assert b"OpenStack Compute" in log
    assert str(guest.id).encode() in log
    await bench.hypervisor.undefine(guest.id)


async def test_guests_of_another_cloud_are_neither_seen_nor_touched(site: Site, bench: RealBench) -> None:
    other, guest = site.new_hypervisor(site.state / "other"), await bench.guest()
    await bench.put(guest, Power.PAUSED)
    assert guest.id not in await other.guests()
    assert await other.power(guest.id) is None
    with pytest.raises(Missing):
        await other.resume(guest.id)
    with pytest.raises(Refused, match="is not of"):
        await other.define(guest)
    await other.stop(guest.id, force=True)
    await other.undefine(guest.id)
    assert await site.hypervisor.power(guest.id) is Power.PAUSED
    await other.close()
    await bench.hypervisor.undefine(guest.id)


@pytest.mark.parametrize(
    ("harm", "state", "alert"),
    [
        ("destroy", State.STOPPED, None),
        ("suspend", State.PAUSED, None),
        ("undefine", State.STOPPED, Drift.GUEST_LOST),
        ("kill", State.ERROR, Drift.GUEST_CRASHED),
    ],
)
async def test_a_record_follows_what_is_done_to_its_guest_by_hand(
    site: Site, bench: RealBench, tmp_path: Path, harm: str, state: State, alert: Drift | None
) -> None:
    guest = msgspec.structs.replace(await bench.guest(), disks=(), nics=())
    async with recorded.one_host(tmp_path, site.hypervisor) as (cloud_site, host):
        server = await recorded.record(cloud_site, host, guest.id)
        await site.hypervisor.define(guest)
        await site.hypervisor.start(guest.id)
        look = Servers(cloud_site)
        await look.look()
        assert await recorded.shown(cloud_site, server) == server
        await asyncio.to_thread(by_hand, site, guest.id, harm)
        assert await until(partial(site.is_otherwise, guest.id))
        await look.look()
        assert (await recorded.shown(cloud_site, server)).state is state
        assert await recorded.standing(cloud_site.cloud) == ({alert.value} if alert else set())
    await bench.hypervisor.undefine(guest.id)


async def test_what_is_ours_without_a_record_goes_and_what_is_not_stays(
    site: Site, bench: RealBench, tmp_path: Path
) -> None:
    """One guest with the mark of a cloud, one with another cloud's, one that somebody made with no mark at all."""
    bare = {"disks": (), "nics": ()}
    ours, theirs, plain = [msgspec.structs.replace(await bench.guest(), **bare) for _ in range(3)]
    own = site.new_hypervisor(site.state, cloud=uuid4())
    other = site.new_hypervisor(site.state / "other", cloud=uuid4())
    try:
        await own.define(ours)
        await other.define(theirs)
        await other.define(plain)
        await asyncio.to_thread(by_hand, site, plain.id, "unmark")
        async with recorded.one_host(tmp_path, own) as (cloud_site, host):
            look = Servers(cloud_site)
            await look.look()
            found = {Drift.GUEST_LEFT.value, Drift.GUEST_FOREIGN.value}
            assert await recorded.standing(cloud_site.cloud) == found
            await look.look()
            await look.look()
            assert await own.power(ours.id) is None
            assert await other.power(theirs.id) is Power.OFF
            assert plain.id in (await own.survey()).guests
            assert await recorded.standing(cloud_site.cloud) == {Drift.GUEST_FOREIGN.value}
            await recorded.record(cloud_site, host, plain.id)
            await look.look()
            assert (await own.survey()).guests[plain.id].marked
            await own.undefine(plain.id)
    finally:
        for hypervisor, guest in ((own, ours), (other, theirs), (own, plain)):
            await hypervisor.undefine(guest.id)
        await own.close()
        await other.close()


def by_hand(site: Site, guest: UUID, harm: str) -> None:
    """What an operator may do with virsh."""
    connection = libvirt.open(site.daemon.uri)
    try:
        domain = connection.lookupByUUIDString(str(guest))
        if harm == "kill":
            os.kill(site.qemu(guest), signal.SIGKILL)
        elif harm == "unmark":
            element, config = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
            domain.setMetadata(element, None, "pileus", NAMESPACE, config)
        elif harm == "undefine":
            domain.destroy()
            domain.undefine()
        else:
            getattr(domain, harm)()
    finally:
        connection.close()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
async def test_a_guest_boots_by_firmware_with_a_config_drive(bench: RealBench, firmware: str) -> None:
    drive = msgspec.structs.replace(await bench.disk("vdb"), cdrom=True, read_only=True)
    guest = await bench.guest()
    guest = msgspec.structs.replace(
        guest, kernel="", ramdisk="", cmdline="", firmware=firmware, disks=(guest.disks[0], drive)
    )
    await bench.hypervisor.define(guest)
    await bench.hypervisor.start(guest.id)
    assert await bench.hypervisor.power(guest.id) is Power.ON
    await bench.hypervisor.undefine(guest.id)
    assert await bench.hypervisor.power(guest.id) is None


async def test_two_clouds_hold_the_same_guest_side_by_side(site: Site, bench: RealBench) -> None:
    second = await open_site(site.bridge)
    try:
        guest = msgspec.structs.replace(await bench.guest(), disks=(), nics=())
        for hypervisor in (site.hypervisor, second.hypervisor):
            await hypervisor.define(guest)
            await hypervisor.start(guest.id)
        assert site.qemu(guest.id) != second.qemu(guest.id)
        await second.hypervisor.undefine(guest.id)
        assert await site.hypervisor.power(guest.id) is Power.ON
        await site.hypervisor.undefine(guest.id)
    finally:
        await second.close()


@pytest.mark.parametrize("victim", ["libvirtd", "its reaper"])
async def test_a_guest_outlives_a_kill_of(site: Site, bench: RealBench, victim: str) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    qemu = site.qemu(guest.id)
    libvirtd = int((site.state / "libvirt/run/libvirtd.pid").read_text())
    os.kill(libvirtd if victim == "libvirtd" else parent(libvirtd), signal.SIGKILL)
    assert await until(lambda: ended(libvirtd))

    async def is_back() -> bool:
        try:
            return await site.hypervisor.power(guest.id) is Power.ON
        except Unreachable:
            return False

    assert await until(is_back)
    assert int((site.state / "libvirt/run/libvirtd.pid").read_text()) != libvirtd
    assert site.qemu(guest.id) == qemu
    await reacts_still(bench, guest)


async def test_a_libvirt_that_is_frozen_breaks_the_calls_that_wait_for_it(
    site: Site, bench: RealBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE", 1)
    monkeypatch.setattr(connection, "MISSED", 1)
    impatient, libvirtd = site.new_hypervisor(site.state), site.libvirtd()
    known = await impatient.guests()
    os.kill(libvirtd, signal.SIGSTOP)
    try:
        async with asyncio.timeout(connection.PATIENCE / 2):
            with pytest.raises(Unreachable, match="keepalive"):
                await impatient.guests()
        # The next connection hangs as well: libvirtd's socket still accepts it.
        monkeypatch.setattr(connection, "TURN", 0.5)
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"has no answer yet to: list guests \(for \d+ s\)"):
                await impatient.guests()
    finally:
        os.kill(libvirtd, signal.SIGCONT)
    assert (await impatient.guests()).keys() == known.keys()
    await impatient.close()


async def test_a_guest_outlives_the_end_of_the_cloud(site: Site, bench: RealBench) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    qemu = identify(site.qemu(guest.id))
    await site.daemon.stop()
    with pytest.raises(Unreachable):
        await site.hypervisor.power(guest.id)
    assert qemu.alive()
    site.daemon = site.new_daemon()
    await site.daemon.start()
    assert await site.hypervisor.power(guest.id) is Power.ON
    assert site.qemu(guest.id) == qemu.pid
    await reacts_still(bench, guest)


async def test_a_cloud_that_was_killed_finds_its_daemons_again(site: Site, bench: RealBench) -> None:
    before = (site.state / "libvirt/run/libvirtd.pid").read_text()
    await site.daemon.release()
    site.daemon = site.new_daemon()
    await site.daemon.start()
    assert (site.state / "libvirt/run/libvirtd.pid").read_text() == before
    assert await site.daemon.healthy()
    await site.hypervisor.facts()


async def reacts_still(bench: RealBench, guest: Guest) -> None:
    """A device comes and goes, the guest writes to its console and hears its power button."""
    disk = await bench.disk("vdc")
    await bench.hypervisor.attach_disk(guest.id, disk)
    await bench.hypervisor.detach_disk(guest.id, disk.volume)
    await bench.hypervisor.stop(guest.id, force=False)
    assert await bench.becomes(guest.id, Power.OFF)
    assert b"power button" in await bench.hypervisor.console_log(guest.id)
    await bench.hypervisor.undefine(guest.id)


@pytest.mark.parametrize("place", ["/run/cloud", "/var/lib/libvirt/cloud"])
async def test_a_state_directory_that_libvirtd_cannot_see_is_refused(place: str) -> None:
    with pytest.raises(Refused, match="choose another one"):
        await Libvirtd(Config(), Path(place)).start()


@pytest.mark.skipif(not shutil.which("ovs-vsctl"), reason="openvswitch-switch is not installed")
async def test_a_guest_is_plugged_into_our_open_vswitch_by_the_name_of_its_port(bench: RealBench) -> None:
    state = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="plt-"))
    config = Config(
        state=state,
        integration_bridge=f"pi{os.getpid()}",
        external_bridge=f"px{os.getpid()}",
        external_cidr="198.51.100.0/28",
    )
    ovs = OvsDaemons(config, state)
    site = Site(state, config.integration_bridge)
    try:
        await ovs.start()
        site.daemon = Libvirtd(config, state, ovs_run=ovs.run_dir)
        await site.daemon.start()
        site.hypervisor = LibvirtHypervisor(
            site.daemon.uri,
            state=state,
            virtualization="qemu",
            bridge=config.integration_bridge,
            userspace=ovs.datapath_type == "netdev",
        )
        guest, nic = msgspec.structs.replace(await bench.guest(), disks=()), bench.nic()
        await site.hypervisor.define(guest)
        await site.hypervisor.start(guest.id)
        await site.hypervisor.attach_nic(guest.id, nic)
        assert await plugged(ovs.ovs_socket) == {str(nic.port), str(guest.nics[0].port)}
        await site.hypervisor.stop(guest.id, force=True)
        assert await plugged(ovs.ovs_socket) == set()
        await site.hypervisor.undefine(guest.id)
    finally:
        await ovs.stop()
        await site.close()


async def plugged(socket: Path) -> set[str]:
    """The port ids that the switch's interfaces carry."""
    command = ("ovs-vsctl", f"--db=unix:{socket}", "--bare", "--columns=external_ids", "list", "interface")
    listing = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    return {
        word.removeprefix("iface-id=") for word in output.decode().split() if word.startswith("iface-id=")
    }
