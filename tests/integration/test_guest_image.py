"""The small guest of tools/build-guest-image, booted by QEMU alone: what it must do for every other test of a real server."""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType

import pytest

from pileus.drivers.volume import config_drive
from pileus.drivers.volume.inspection import Content, detect

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "build-guest-image"
DEADLINE = 240.0
"""Typically 5 to 10 seconds; far more on a machine that is busy."""
INSTANCE = "6f1f4b6c-0a52-4ef1-a3cf-5a0c58e3f2a1"
CMDLINE = "root=LABEL=pileus-root console=ttyS0 quiet panic=10"


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with guest.qcow2, vmlinuz, initrd and rootfs."""
    directory = tmp_path_factory.mktemp("guest-image")
    built = subprocess.run([TOOL, "-o", directory], capture_output=True, check=False, text=True)
    if "missing Debian packages" in built.stderr:
        pytest.skip(built.stderr)
    assert built.returncode == 0, built.stderr
    return directory


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, look: Callable[[], bool], explain: Callable[[], str]) -> None:
    end = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < end, f"{what}: not in {DEADLINE:.0f} s\n{explain()}"
        time.sleep(0.1)


@dataclass
class Machine:
    """QEMU with emulated processors (TCG), a disk over the image, a card with a way in by SSH."""

    image: Path
    directory: Path
    key: Path
    by_kernel: bool = True
    drive: dict[str, bytes] = field(default_factory=dict)
    metadata_port: int = 0
    """Where, on this machine, the metadata service of the guest's network listens."""

    def __enter__(self) -> "Machine":
        self.port = free_port()
        disk = self.directory / "root.qcow2"
        base = self.image / "guest.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, "1G")
        self.console = self.directory / "console"
        self.console.touch()
        self.serial = self.directory / "serial"
        with (self.directory / "qemu").open("wb") as output:
            self.process = subprocess.Popen(
                self.command(disk), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def command(self, disk: Path) -> list[str | Path]:
        serial = f"socket,id=serial,path={self.serial},server=on,wait=off,logfile={self.console}"
        command: list[str | Path] = ["qemu-system-x86_64", "-accel", "tcg", "-m", "192", "-display", "none"]
        command += ["-chardev", serial, "-serial", "chardev:serial"]
        command += ["-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"]
        command += ["-drive", f"file={disk},format=qcow2,if=none,id=root,cache=unsafe"]
        command += ["-device", "virtio-blk-pci,drive=root,bootindex=1", "-device", "virtio-rng-pci"]
        network = f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        if self.metadata_port:
            network += f",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:busybox nc 127.0.0.1 {self.metadata_port}"
        command += ["-netdev", network]
        command += ["-device", "virtio-net-pci,netdev=net,romfile="]
        if self.drive:
            path = self.directory / "config-drive"
            config_drive.write(self.drive, path)
            command += ["-drive", f"file={path},format=raw,if=virtio,readonly=on"]
        if self.by_kernel:
            command += [
                "-kernel",
                self.image / "vmlinuz",
                "-initrd",
                self.image / "initrd",
                "-append",
                CMDLINE,
            ]
        return command

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ]
        words = [
            word
            for option in (*options, "ConnectTimeout=10", "IdentitiesOnly=yes")
            for word in ("-o", option)
        ]
        target = ["-i", str(self.key), "-p", str(self.port), "pileus@127.0.0.1", command]
        return subprocess.run(
            ["ssh", "-F", "none", *words, *target], capture_output=True, check=False, text=True, timeout=60
        )

    def ask(self, command: str) -> str:
        answer = self.ssh(command)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def said(self) -> str:
        return self.console.read_text(errors="replace") + (self.directory / "qemu").read_text()

    def wait_until(self, what: str, look: Callable[[], bool]) -> None:
        def alive() -> bool:
            assert self.process.poll() is None, f"QEMU ended\n{self.said()}"
            return look()

        wait_for(what, alive, self.said)

    def boot(self) -> None:
        self.wait_until("SSH by key", lambda: self.ssh("true").returncode == 0)
        self.wait_until("end of the boot", lambda: "boot finished" in self.said())

    def command_qemu(self, execute: str, **arguments: object) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.directory / "qmp"))
            file = link.makefile("rw")
            file.readline()
            for name, values in (("qmp_capabilities", {}), (execute, arguments)):
                file.write(json.dumps({"execute": name, "arguments": values}))
                file.flush()
                while "return" not in (answer := json.loads(file.readline())):
                    assert "error" not in answer, answer


def drive(key: Path, user_data: str, **extra: object) -> dict[str, bytes]:
    public = key.with_suffix(".pub").read_text()
    metadata = {"uuid": INSTANCE, "hostname": "web-1.example.org", "public_keys": {"mine": public}, **extra}
    return {
        "openstack/latest/meta_data.json": json.dumps(metadata).encode(),
        "openstack/latest/user_data": user_data.encode(),
    }


SCRIPT = '#!/bin/sh\necho "$(id -un) on $(hostname)" > /tmp/from-user-data\n'


@pytest.mark.parametrize("by_kernel", [True, False], ids=["by kernel", "by GRUB"])
def test_a_guest_is_what_its_config_drive_says(image: Path, key: Path, tmp_path: Path, by_kernel: bool):
    with Machine(image, tmp_path, key, by_kernel, drive(key, SCRIPT)) as machine:
        machine.boot()
        assert machine.ask("hostname") == "web-1"
        assert machine.ask("cat /tmp/from-user-data") == "root on web-1"
        root = "df -m / | awk 'END { print $2 }'"
        machine.wait_until("root grown to 1 GiB", lambda: int(machine.ask(root)) > 800)
        assert machine.ask("ls /sys/block | grep -c '^vd'") == "2"

        run("qemu-img", "create", "-q", "-f", "raw", tmp_path / "data", "16M")
        node = {
            "driver": "raw",
            "node-name": "data",
            "file": {"driver": "file", "filename": str(tmp_path / "data")},
        }
        machine.command_qemu("blockdev-add", **node)
        machine.command_qemu("device_add", driver="virtio-blk-pci", drive="data", id="data", serial="data-1")
        serial = "cat /sys/block/vdc/size /sys/block/vdc/serial"
        machine.wait_until("the new disk", lambda: machine.ssh(serial).stdout.split() == ["32768", "data-1"])
        machine.wait_until("word of the new disk", lambda: "disk vdc plugged in" in machine.said())

        machine.command_qemu("system_powerdown")
        wait_for("power off by button", lambda: machine.process.poll() is not None, machine.said)


def log_in(machine: Machine, user: str, password: str) -> bool:
    """Type at the serial console; true when a shell answers."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(machine.serial))
        link.settimeout(1.0)
        read = b""

        def until(words: bytes) -> bool:
            nonlocal read
            try:
                read += link.recv(4096)
            except TimeoutError:
                link.sendall(b"\n" if not read else b"")
            assert machine.process.poll() is None
            return words in read

        wait_for("login prompt", lambda: until(b"login: "), machine.said)
        read = b""
        link.sendall(f"{user}\n".encode())
        wait_for("password prompt", lambda: until(b"assword: "), machine.said)
        read = b""
        link.sendall(f"{password}\n".encode())
        wait_for("an answer", lambda: until(b"ncorrect") or b"$ " in read or b"# " in read, machine.said)
        return b"ncorrect" not in read


CLOUD_CONFIG = (
    "#cloud-config\npassword: 'let me in'\nchpasswd: {expire: False}\nssh_authorized_keys:\n  - %s\n"
)


@pytest.mark.parametrize("source", ["cloud-config", "admin_pass"])
def test_a_password_opens_the_console_but_not_ssh(image: Path, key: Path, tmp_path: Path, source: str):
    if source == "cloud-config":
        text = CLOUD_CONFIG % key.with_suffix(".pub").read_text()
        files = drive(key, text, public_keys={})
    else:
        files = drive(key, "", admin_pass="let me in")
    with Machine(image, tmp_path, key, drive=files) as machine:
        machine.boot()
        assert "$6$" not in machine.said()
        # Dropbear names the methods that it would take.
        refused = subprocess.run(
            ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "PreferredAuthentications=none", "-p", str(machine.port), "pileus@127.0.0.1", "true"],
            capture_output=True, check=False, text=True, timeout=60,
        )  # fmt: skip
        assert "(publickey)" in refused.stderr
        assert log_in(machine, "pileus", "let me in")


def test_nobody_logs_in_with_a_default_password(image: Path, key: Path, tmp_path: Path):
    with Machine(image, tmp_path, key, drive=drive(key, "")) as machine:
        machine.boot()
        assert not log_in(machine, "pileus", "pileus")


@pytest.fixture
def cloudstack_drive(key: Path) -> dict[str, bytes]:
    return {
        "cloudstack/metadata/instance-id.txt": b"i-2-3-VM",
        "cloudstack/metadata/local-hostname.txt": b"from-cloudstack",
        "cloudstack/metadata/public-keys.txt": key.with_suffix(".pub").read_bytes(),
        "cloudstack/userdata/user_data.txt": SCRIPT.encode(),
    }


def test_a_cloudstack_config_drive_is_understood(
    image: Path, key: Path, tmp_path: Path, cloudstack_drive: dict[str, bytes]
):
    with Machine(image, tmp_path, key, drive=cloudstack_drive) as machine:
        machine.boot()
        assert machine.ask("cat /tmp/from-user-data") == "root on from-cloudstack"


def answering(tree: dict[str, str]) -> ThreadingHTTPServer:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = tree.get(self.path.lstrip("/"))
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Answer)


@pytest.mark.parametrize("tree", ["openstack", "ec2", "cloudstack"])
def test_the_metadata_service_is_understood(image: Path, key: Path, tmp_path: Path, tree: str):
    public = key.with_suffix(".pub").read_text()
    if tree == "openstack":
        served = {path: content.decode() for path, content in drive(key, SCRIPT).items()}
    else:
        served = {
            "latest/meta-data/instance-id": "i-1",
            "latest/meta-data/local-hostname": "web-1.example.org",
            "latest/user-data": SCRIPT,
        }
        if tree == "ec2":
            served |= {"latest/meta-data/public-keys/": "0=mine"}
            served |= {"latest/meta-data/public-keys/0/openssh-key": public}
        else:
            served |= {"latest/meta-data/public-keys": public}
    service = answering(served)
    thread = Thread(target=service.serve_forever)
    thread.start()
    try:
        with Machine(image, tmp_path, key, metadata_port=service.server_port) as machine:
            machine.boot()
            assert machine.ask("hostname; cat /tmp/from-user-data").split("\n") == ["web-1", "root on web-1"]
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


def test_the_image_is_a_sound_qcow2_of_a_few_mebibytes(image: Path):
    path = image / "guest.qcow2"
    with Content(path) as content:
        found = detect(content, 1 << 30)
    assert (found.format, found.virtual_bytes) == ("qcow2", 96 << 20)
    assert path.stat().st_size < 60 << 20


def test_kernel_and_initrd_are_printed(image: Path, tmp_path: Path):
    assert run(TOOL, "-k", "-o", tmp_path).split() == [str(tmp_path / "vmlinuz"), str(tmp_path / "initrd")]


def test_what_is_missing_is_named(tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sed", "dirname", "ls", "grep", "sort", "tail"):
        (programs / name).symlink_to(run("which", name).strip())
    command = [
        "bash",
        "-c",
        f"exec bash <(sed 's,^export PATH=.*,,; s,\\$(dirname \"$0\"),{TOOL.parent},' {TOOL})",
    ]
    answer = subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, check=False, text=True)
    assert answer.returncode == 1
    assert "apt-get install" in answer.stderr
    assert "qemu-utils" in answer.stderr
