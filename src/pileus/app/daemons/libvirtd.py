"""libvirtd on this machine: the system's where systemd runs it, else our own with private directories.

libvirt's paths are compiled in, so our own lives in a mount namespace where they lead into the state
directory. Each start makes the same namespace anew; guests outlive it, and the next libvirtd finds them.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import structlog

from pileus.app.daemons.process import boot_id
from pileus.app.daemons.supervise import Daemon, listens
from pileus.config import Config
from pileus.drivers.errors import Refused

log = structlog.get_logger()

REAPER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("reaper.py")))
"""Guests are orphaned by libvirtd, and must leave the process table when they end."""
SYSTEMD = Path("/run/systemd/system")
SYSTEM_SOCKETS = (Path("/run/libvirt/libvirt-sock"), Path("/run/libvirt/virtqemud-sock"))
SYSTEM_URI = "qemu:///system"
PLACES: Mapping[str, str] = {
    "run": "/run",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
"""Our directory, and where libvirt looks for it."""
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LONGEST_SOCKET = 107
"""Bytes that the kernel takes as the path of a unix socket."""

ENTER = """
root=$1 ovs=$2; shift 2
mount --bind "$ovs" "$root/run/openvswitch"
mount --rbind "$root/run" /run
mount --bind "$root/etc" /etc/libvirt
mount --bind "$root/lib" /var/lib/libvirt
mount --bind "$root/log" /var/log/libvirt
mount --bind "$root/cache" /var/cache/libvirt
exec "$@"
"""
"""libvirt calls plain ovs-vsctl, which looks for the database in /run/openvswitch."""

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
remember_owner = 0
# Machines without systemd have cgroups of every shape, often read-only; and two libvirtds would
# share the names below them. Guests stay in the cgroup they are started from.
cgroup_controllers = []
# virtlogd bounds what a guest can write to its console log.
stdio_handler = "logd"
max_processes = 0
"""

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 0
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
# One client makes many calls at a time.
max_client_requests = 64
max_workers = 64
ovs_timeout = 60
log_outputs = "3:stderr"
host_uuid = "{host}"
"""

VIRTLOGD_CONF = """\
max_size = 2097152
max_backups = 3
max_clients = 100000
log_outputs = "3:stderr"
"""


class Libvirtd:
    """`ovs_run` is the directory of the socket db.sock of the Open vSwitch that guests are plugged into."""

    def __init__(self, config: Config, state: Path, *, ovs_run: Path | None = None) -> None:
        self.own = not config.libvirt_uri
        self.root = state.resolve() / "libvirt"
        self._ovs_run = ovs_run
        self._uri = config.libvirt_uri
        self._daemons: tuple[Daemon, ...] = ()

    @property
    def uri(self) -> str:
        """What to connect to; known once started."""
        return self._uri or f"qemu+unix:///system?socket={quote(str(self.socket))}"

    @property
    def socket(self) -> Path:
        """Our own libvirtd's."""
        return self.root / "run/libvirt/libvirt-sock"

    @property
    def logs(self) -> Path | None:
        """Where our own libvirtd keeps a log of each QEMU; nobody else rotates or removes them."""
        return self.root / "log/qemu" if self.own else None

    async def detect(self) -> bool:
        """Whether systemd runs a libvirtd, so that nothing of our own is needed."""
        return _is_booted_by_systemd() and any([await listens(socket) for socket in SYSTEM_SOCKETS])

    async def start(self) -> None:
        """Adopt or start what is needed. Repeatable. Raises Refused with what is missing."""
        if not self.own:
            return
        if not self._daemons and await self.detect():
            self.own, self._uri = False, SYSTEM_URI
            return
        self._check()
        self._lay_out()
        self._declare()
        for daemon in self._daemons:
            await daemon.start()

    async def stop(self) -> None:
        """End our own libvirtd. Guests run on, with virtlogd, which holds their consoles. Repeatable."""
        if not self.own or not self.root.exists():
            return
        self._declare()
        virtlogd, libvirtd = self._daemons
        await libvirtd.stop()
        if self._guests_run():
            await virtlogd.release()
        else:
            await virtlogd.stop()

    async def release(self) -> None:
        """Stop watching and leave everything running for the next start."""
        for daemon in self._daemons:
            await daemon.release()

    async def healthy(self) -> bool:
        if not self.own:
            return True
        running = all(daemon.process is not None for daemon in self._daemons)
        return running and await listens(self.socket)

    def _check(self) -> None:
        missing = [
            name for name in ("libvirtd", "virtlogd", "unshare") if not shutil.which(name, path=SEARCH)
        ]
        if missing:
            raise Refused(f"{', '.join(missing)} not found: install libvirt-daemon-system and util-linux")
        if os.geteuid() != 0:
            raise Refused("an own libvirtd needs root: run as root, or set libvirt_uri")
        for place in (*PLACES.values(), "/run/openvswitch"):
            if self.root.is_relative_to(Path(place).resolve()):
                raise Refused(
                    f"state directory {self.root.parent} lies under {place}, "
                    "which our own libvirtd does not see: choose another one"
                )
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET:
            raise Refused(f"{self.socket} is too long for a unix socket: choose a shorter state directory")

    def _lay_out(self) -> None:
        self._drop_stale_run()
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*PLACES, "run/lock", "run/libvirt", "run/openvswitch", "no-ovs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        identity = self.root / "host-uuid"
        if not identity.exists():
            identity.write_text(str(uuid4()))
        host = identity.read_text().strip()
        for name, text in (
            ("qemu.conf", QEMU_CONF),
            ("libvirtd.conf", LIBVIRTD_CONF.format(host=host)),
            ("virtlogd.conf", VIRTLOGD_CONF),
        ):
            (self.root / "etc" / name).write_text(text)

    def _drop_stale_run(self) -> None:
        """No /run survives a reboot: pid files and states of the last boot would mislead libvirt."""
        kept, now = self.root / "boot", boot_id()
        if kept.exists() and kept.read_text() == now:
            return
        shutil.rmtree(self.root / "run", ignore_errors=True)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept.write_text(now)

    def _declare(self) -> None:
        if not self._daemons:
            self._daemons = (
                self._daemon("virtlogd", self.root / "run/libvirt/virtlogd-sock"),
                self._daemon("libvirtd", self.socket, *REAPER),
            )

    def _daemon(self, name: str, socket: Path, *under: str) -> Daemon:
        async def is_ready() -> bool:
            return await listens(socket)

        ovs = self._ovs_run or self.root / "no-ovs"
        script = ("sh", "-euc", ENTER, name, str(self.root), str(ovs.resolve()))
        return Daemon(
            name,
            (*under, shutil.which(name, path=SEARCH) or name, "--pid-file", f"/run/{name}.pid"),
            self.root,
            ready=is_ready,
            namespace=("unshare", "--mount", "--propagation", "private", *script),
        )

    def _guests_run(self) -> bool:
        for file in (self.root / "run/libvirt/qemu").glob("*.pid"):
            pid = file.read_text().strip()
            if pid.isdecimal() and "qemu" in _command(int(pid)):
                return True
        return False


def _is_booted_by_systemd() -> bool:
    return SYSTEMD.is_dir()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


__all__ = ["Libvirtd"]
