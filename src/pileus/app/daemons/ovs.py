"""Open vSwitch and OVN on this machine: the system's where they run, else private ones under the state.

Several clouds can stand side by side: all they share is the kernel's names of devices, which are configured.
"""

import asyncio
import fcntl
import os
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import structlog

from pileus.app.daemons.supervise import Daemon, listens
from pileus.config import Config
from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.network.ovn.command import run
from pileus.drivers.network.ovn.namespaces import MARK

log = structlog.get_logger()

PHYSICAL_EXTERNAL = "external"
"""Name by which networks refer to the external bridge."""
DIRECTORIES = (
    "OVS_RUNDIR",
    "OVS_LOGDIR",
    "OVS_DBDIR",
    "OVS_SYSCONFDIR",
    "OVN_RUNDIR",
    "OVN_LOGDIR",
    "OVN_DBDIR",
    "OVN_SYSCONFDIR",
)
SYSTEM_OVS = Path("/var/run/openvswitch")
SYSTEM_OVN = Path("/var/run/ovn")
LOCK = Path("/run/lock/pileus-ovs")
"""Held while a vswitchd makes its datapath: all of them first call its device by the same name."""
QUIET = ("-vsyslog:off", "-vconsole:info")
USERSPACE_DEVICE = "ovs-netdev"


class OvsDaemons:
    def __init__(self, config: Config, state: Path) -> None:
        self.config = config
        self.own = True
        self.run_dir = state / "ovs"
        self.nb_socket = self.run_dir / "ovnnb_db.sock"
        self.sb_socket = self.run_dir / "ovnsb_db.sock"
        self.ovs_socket = self.run_dir / "db.sock"
        self.datapath_type = ""
        self.chassis = ""
        """OVN's name of this machine; known once started."""
        self.daemons: tuple[Daemon, ...] = ()

    @property
    def integration_bridge(self) -> str:
        return self.config.integration_bridge

    async def detect(self) -> bool:
        """Whether the system runs both, so that nothing of our own is needed."""
        sockets = (SYSTEM_OVS / "db.sock", SYSTEM_OVN / "ovnnb_db.sock", SYSTEM_OVN / "ovnsb_db.sock")
        return all([await listens(socket) for socket in sockets])

    async def start(self) -> None:
        """Adopt or start everything, and make the bridges. Repeatable."""
        if not self.daemons and await self.detect():
            self._use_system()
        else:
            await self._start_own()
        if not self.chassis:
            self.chassis = await self._get("open_vswitch", ".", "external_ids:system-id") or str(uuid4())
        await self._configure()
        if self.own:
            async with _only_one():
                await self._start_vswitchd()
            await self.daemons[5].start()
        else:
            await self._vsctl(*self._bridge())
        await self._dress()

    async def stop(self) -> None:
        """End what is ours, last first, with the devices and namespaces that hang on it. Repeatable."""
        if not self.daemons and await self.detect():
            self._use_system()
            return
        self._declare()
        *others, controller = self.daemons
        await controller.stop()
        if await listens(self.ovs_socket):
            await self._drop_devices()
        for daemon in reversed(others):
            await daemon.stop()
        bridges = (self.config.integration_bridge, self.config.external_bridge)
        for name in (*bridges, self._datapath_device):
            if await asyncio.to_thread(_abandoned, name):
                await run("ip", "link", "delete", name)

    async def release(self) -> None:
        """Stop watching and leave everything running for the next start."""
        for daemon in self.daemons:
            await daemon.release()

    async def healthy(self) -> bool:
        sockets = (self.nb_socket, self.sb_socket, self.ovs_socket)
        running = all(daemon.process is not None for daemon in self.daemons)
        return running and all([await listens(socket) for socket in sockets])

    def _use_system(self) -> None:
        self.own = False
        self.run_dir = SYSTEM_OVS
        self.nb_socket, self.sb_socket = SYSTEM_OVN / "ovnnb_db.sock", SYSTEM_OVN / "ovnsb_db.sock"
        self.ovs_socket = SYSTEM_OVS / "db.sock"

    # --- our own programs

    def _declare(self) -> None:
        if not self.daemons:
            self.daemons = (
                self._database("ovsdb-nb", "ovnnb", self.nb_socket),
                self._database("ovsdb-sb", "ovnsb", self.sb_socket),
                self._database("ovsdb-conf", "conf", self.ovs_socket),
                self._northd(),
                self._vswitchd(),
                self._controller(),
            )

    async def _start_own(self) -> None:
        self.run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._declare()
        for socket, name, schema in (
            (self.nb_socket, "ovnnb", "/usr/share/ovn/ovn-nb.ovsschema"),
            (self.sb_socket, "ovnsb", "/usr/share/ovn/ovn-sb.ovsschema"),
            (self.ovs_socket, "conf", "/usr/share/openvswitch/vswitch.ovsschema"),
        ):
            if not await listens(socket):
                await self._prepare(self.run_dir / f"{name}.db", Path(schema))
        await asyncio.gather(*(daemon.start() for daemon in self.daemons[:3]))
        await self.daemons[3].start()

    async def _prepare(self, database: Path, schema: Path) -> None:
        """An empty database, or the present one brought to the installed schema."""
        if not _exists(schema):
            raise Refused(f"{schema} is missing: install openvswitch-switch, ovn-central and ovn-host")
        if not _exists(database):
            await run("ovsdb-tool", "create", str(database), str(schema))
        elif (await run("ovsdb-tool", "needs-conversion", str(database), str(schema))).strip() == "yes":
            await run("ovsdb-tool", "convert", str(database), str(schema))

    def _daemon(self, name: str, program: str, *options: str, ready: Path | None = None) -> Daemon:
        answers = ready or self.run_dir / f"{name}.ctl"

        async def is_ready() -> bool:
            return await listens(answers)

        return Daemon(
            name,
            [program, f"--unixctl={self.run_dir / name}.ctl", *QUIET, *options],
            self.run_dir,
            ready=is_ready,
            environment=self._environment,
            restarted=self._dress if name == "ovs-vswitchd" else None,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return dict.fromkeys(DIRECTORIES, str(self.run_dir))

    def _database(self, name: str, database: str, socket: Path) -> Daemon:
        file = self.run_dir / f"{database}.db"
        return self._daemon(name, "ovsdb-server", f"--remote=punix:{socket}", str(file), ready=socket)

    def _northd(self) -> Daemon:
        databases = (f"--ovnnb-db=unix:{self.nb_socket}", f"--ovnsb-db=unix:{self.sb_socket}")
        return self._daemon("ovn-northd", "ovn-northd", *databases)

    def _vswitchd(self) -> Daemon:
        return self._daemon("ovs-vswitchd", "ovs-vswitchd", f"unix:{self.ovs_socket}")

    def _controller(self) -> Daemon:
        """Ready when the southbound database knows this machine: before, `settle` would wait for nobody."""
        query = ("--bare", "--columns=name", "find", "chassis")

        async def is_ready() -> bool:
            found = await run("ovn-sbctl", f"--db=unix:{self.sb_socket}", *query, f"name={self.chassis}")
            return found.strip() == self.chassis

        return Daemon(
            "ovn-controller",
            ["ovn-controller", *QUIET, f"unix:{self.ovs_socket}"],
            self.run_dir,
            ready=is_ready,
            environment=self._environment,
        )

    async def _start_vswitchd(self) -> None:
        daemon = self.daemons[4]
        owners = await asyncio.to_thread(_owners, USERSPACE_DEVICE)
        if self.datapath_type == "netdev" and owners and daemon.recorded() is None:
            raise Refused(
                f"the device {USERSPACE_DEVICE} is held by process {owners[0]}, another Open vSwitch with a "
                "userspace datapath, and both would use that name; end that one or rename its device"
            )
        await daemon.start()
        await self._vsctl(*self._bridge())
        await self._rename_datapath()

    # --- what they are told

    async def _configure(self) -> None:
        """OVN's settings of this machine; on the system's OVS only what is missing."""
        if self.own:
            await self._vsctl("--no-wait", "init")
            self.datapath_type = await self._get("open_vswitch", ".", "external_ids:ovn-bridge-datapath-type")
        self.datapath_type = self.datapath_type or await asyncio.to_thread(_probe_datapath, self.own)
        mappings = dict(
            item.split(":", 1)
            for item in (await self._get("open_vswitch", ".", "external_ids:ovn-bridge-mappings")).split(",")
            if ":" in item
        )
        mappings[PHYSICAL_EXTERNAL] = self.config.external_bridge
        wanted = {
            "system-id": self.chassis,
            "ovn-bridge-mappings": ",".join(f"{name}:{bridge}" for name, bridge in sorted(mappings.items())),
        }
        if self.own or not await self._get("open_vswitch", ".", "external_ids:ovn-remote"):
            wanted |= {
                "hostname": self.chassis,
                "ovn-remote": f"unix:{self.sb_socket}",
                "ovn-encap-type": "geneve",
                "ovn-encap-ip": "127.0.0.1",
                "ovn-bridge": self.config.integration_bridge,
                "ovn-bridge-datapath-type": self.datapath_type,
                "ovn-monitor-all": "true",
            }
        settings = [f'external_ids:{key}="{value}"' for key, value in wanted.items()]
        await self._vsctl("--no-wait", "set", "open_vswitch", ".", *settings)

    def _bridge(self) -> Sequence[str]:
        bridges = [self.config.external_bridge]
        if self.own:
            bridges.append(self.config.integration_bridge)
        command: list[str] = []
        for name in bridges:
            command += ["--", "--may-exist", "add-br", name]
            command += ["--", "set", "bridge", name, f"datapath_type={self.datapath_type}"]
        if self.own:
            command += ["--", "set", "bridge", self.config.integration_bridge, "fail_mode=secure"]
        return command[1:]

    async def _dress(self) -> None:
        """Give the external bridge its address; a vswitchd that starts makes the device anew, without one."""
        bridge = self.config.external_bridge
        deadline = time.monotonic() + 20
        while not await asyncio.to_thread(self._plugged, bridge):
            if time.monotonic() > deadline:
                error = await self._get("interface", bridge, "error") or "no reason given"
                raise Unreachable(f"Open vSwitch did not make the bridge {bridge}: {error}")
            await asyncio.sleep(0.05)
        if self.own:
            await self._rename_datapath()
        network = self.config.external
        await run("ip", "address", "replace", f"{network[1]}/{network.prefixlen}", "dev", bridge)
        await run("ip", "link", "set", bridge, "up")

    def _plugged(self, bridge: str) -> bool:
        """Whether the switch that runs now holds the device: that of a dead one stays in the kernel."""
        if not self.own or self.datapath_type != "netdev":
            return _device(bridge)
        process = self.daemons[4].process
        return process is not None and bridge in _taps(process.pid)

    async def _rename_datapath(self) -> None:
        """Free the one name that every userspace datapath takes; the switch keeps it by its descriptor."""
        process = self.daemons[4].process
        if process is None or process.pid not in await asyncio.to_thread(_owners, USERSPACE_DEVICE):
            return
        if _device(self._datapath_device):
            await run("ip", "link", "delete", self._datapath_device)
        await run("ip", "link", "set", USERSPACE_DEVICE, "name", self._datapath_device)

    @property
    def _datapath_device(self) -> str:
        return f"dp-{self.config.integration_bridge}"[:15]

    async def _drop_devices(self) -> None:
        """Namespaces that guests' networks had here, and the bridges where the kernel keeps them."""
        query = ("--columns=external_ids", "find", "interface", f"external_ids:{MARK}!=''")
        for word in (await self._vsctl("--bare", "--no-headings", *query)).split():
            key, _, namespace = word.partition("=")
            if key == MARK and _exists(Path("/run/netns", namespace)):
                await run("ip", "netns", "delete", namespace)
        if await listens(self.run_dir / "ovs-vswitchd.ctl"):
            for bridge in (self.config.integration_bridge, self.config.external_bridge):
                await self._vsctl("--if-exists", "del-br", bridge)

    async def _vsctl(self, *command: str) -> str:
        return await run("ovs-vsctl", f"--db=unix:{self.ovs_socket}", "--timeout=20", *command)

    async def _get(self, table: str, record: str, column: str) -> str:
        """A value as plain text; empty where it is not set."""
        text = await self._vsctl("--no-wait", "--if-exists", "get", table, record, column)
        return text.strip().strip('"').removeprefix("[]")


@asynccontextmanager
async def _only_one() -> AsyncIterator[None]:
    descriptor = await asyncio.to_thread(_lock)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock() -> int:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _exists(path: Path) -> bool:
    return path.exists()


def _device(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _probe_datapath(alone: bool) -> str:
    """`system` where the kernel switches packets itself.

    Two switch daemons would delete each other's ports from the kernel's one datapath, so a private one uses
    it only when no other runs.
    """
    module = Path("/sys/module/openvswitch")
    if not module.exists():
        subprocess.run(["modprobe", "-q", "openvswitch"], check=False)
    if not module.exists():
        return "netdev"
    return "netdev" if alone and _others() else "system"


def _others() -> bool:
    return bool(_switches())


def _switches() -> list[int]:
    """Process numbers of every ovs-vswitchd."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if path.read_text().strip() == "ovs-vswitchd":
                found.append(int(path.parent.name))
    return found


def _owners(tap: str) -> list[int]:
    """Which of them hold a tap device. Taps of a switch stay in the kernel when it ends, without an owner."""
    return [pid for pid in _switches() if tap in _taps(pid)]


def _abandoned(tap: str) -> bool:
    return Path("/sys/class/net", tap, "tun_flags").exists() and not _owners(tap)


def _taps(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in path.read_text().splitlines():
                if line.startswith("iff:"):
                    found.add(line.split()[1])
    return found


__all__ = ["PHYSICAL_EXTERNAL", "OvsDaemons"]
