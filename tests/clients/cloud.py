"""A real cloud for the client tests, beside any other on the machine, driven from outside only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[2]
CLIENTS = REPOSITORY / ".venv-clients" / "bin"
PILEUS = Path(sys.executable).parent / "pileus"
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, check: Callable[[], T | bool | None], seconds: float = 120.0, pause: float = 0.2) -> T:
    """Ask until the answer is true; the last answer is told when it never comes."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what} (last: {answer!r})")
        time.sleep(pause)


def run(
    command: Sequence[str | Path],
    *,
    timeout: float = 300,
    env: dict[str, str] | None = None,
    check: bool = True,
) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, command))} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done.stdout


@dataclass
class RealCloud:
    """`pileus up` with a state directory, bridges and addresses of its own."""

    number: int
    state: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pileus-t", dir="/var/tmp")))
    port: int = field(default_factory=free_port)

    @property
    def external(self) -> str:
        return f"172.24.{self.number}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> str:
        return run(
            [
                PILEUS, "up", "--detach", "--state", self.state, "--port", str(self.port),
                "--set", f"integration_bridge=br-it{self.number}",
                "--set", f"external_bridge=br-et{self.number}",
                "--set", f"external_cidr={self.external}.0/24",
                "--set", "reconcile_seconds=2", "--set", "masquerade=false",
            ]
        )  # fmt: skip

    def down(self) -> None:
        run([PILEUS, "down", "--state", self.state, "--guests"], check=False)

    def remove(self) -> None:
        """End everything that is ours, whatever the test left."""
        self.down()
        for pid in self.stray():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.state, ignore_errors=True)

    def stray(self) -> list[int]:
        """Processes whose command line names our state directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if str(self.state) in (entry / "cmdline").read_text().replace("\0", " "):
                        found.append(int(entry.name))
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return found

    @property
    def pid(self) -> int:
        return int(json.loads((self.state / "running.json").read_text())["process"]["pid"])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def credentials(self, form: str, user: str = "admin") -> str:
        return run([PILEUS, "credentials", form, "--state", self.state, "--user", user])

    def environment(self, user: str = "admin") -> dict[str, str]:
        lines = [line.removeprefix("export ") for line in self.credentials("openrc", user).splitlines()]
        return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}

    def keys(self) -> dict[str, str]:
        """CloudStack's, as `cs` reads them from its environment."""
        lines = [
            line.split(" = ", 1) for line in self.credentials("cloudstack").splitlines() if " = " in line
        ]
        return {f"CLOUDSTACK_{name.upper()}": value for name, value in lines}

    def openstack(self, *arguments: str, user: str = "admin", timeout: float = 300) -> Any:
        """The unmodified client; decoded when it was asked for JSON."""
        output = run([CLIENTS / "openstack", *arguments], env=self.environment(user), timeout=timeout)
        return json.loads(output) if "json" in arguments else output.strip()

    def cs(self, command: str, /, **parameters: str) -> Any:
        """The unmodified client `cs`, as a program; it waits for jobs."""
        given = [f"{name}={value}" for name, value in parameters.items()]
        output = run([CLIENTS / "cs", "--quiet", command, *given], env=self.keys())
        return json.loads(output) if output.strip() else {}

    # what is really there

    def virsh(self, *arguments: str) -> str:
        uri = f"qemu+unix:///system?socket={self.state}/libvirt/run/libvirt/libvirt-sock"
        return run(["virsh", "-c", uri, *arguments])

    def guests(self) -> set[str]:
        return {line for line in self.virsh("list", "--all", "--uuid").split() if line}

    def nb(self, *arguments: str) -> str:
        return run(["ovn-nbctl", f"--db=unix:{self.state}/ovs/ovnnb_db.sock", *arguments])

    def switch_ports(self) -> set[str]:
        return set(self.nb("--bare", "--columns=name", "list", "Logical_Switch_Port").split())

    def nat(self) -> set[str]:
        return set(self.nb("--bare", "--columns=external_ip", "list", "NAT").split())

    def disks(self) -> set[str]:
        return {path.stem for path in (self.state / "pool" / "volumes").iterdir()}


@dataclass
class SimulatedCloud(RealCloud):
    """Two simulated hosts: no guests, no root needed."""

    number: int = 0

    def up(self) -> str:
        where = ["--state", str(self.state), "--port", str(self.port)]
        return run([PILEUS, "up", "--detach", "--simulate", "2", *where])

    def refused(self, client: str, *arguments: str) -> str:
        """All that a client prints which must end with an error."""
        done = subprocess.run(
            [str(CLIENTS / client), *arguments],
            env={**os.environ, **self.environment(), **self.keys()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr


@dataclass
class Login:
    """SSH into a guest by key."""

    address: str
    key: Path
    user: str = "pileus"

    def command(self, text: str) -> list[str]:
        options = (
            "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
            "ConnectTimeout=5", "IdentitiesOnly=yes",
        )  # fmt: skip
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", "-n", "-i", str(self.key), *flags, f"{self.user}@{self.address}", text]

    def wait(self, seconds: float = 300.0) -> None:
        until(f"SSH at {self.address}", lambda: self.tries("true"), seconds)

    def tries(self, text: str) -> bool:
        return (
            subprocess.run(self.command(text), capture_output=True, timeout=60, check=False).returncode == 0
        )

    def __call__(self, text: str) -> str:
        return run(self.command(text), timeout=120).strip()
