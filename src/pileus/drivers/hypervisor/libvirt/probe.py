"""Whether KVM really runs guests here, by measurement.

/dev/kvm may exist, and libvirt and QEMU may offer it, while the kernel interprets guest code one instruction
at a time, thousands of times slower than TCG. Only a loop that takes long enough to be measured tells.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Literal

import msgspec

SECONDS = 0.5
"""Hardware needs about a millisecond for the loop, an interpreting kernel several seconds."""
SETUP_SECONDS = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOP = Path(__file__).with_name("kvm_loop.py")


class Acceleration(msgspec.Struct, frozen=True, kw_only=True):
    virtualization: Literal["kvm", "qemu"]
    reason: str
    boot: str = ""


def probe(state: Path) -> Acceleration:
    """Measured once per boot of the machine and kept in the state directory. Blocks for up to a second."""
    kept, boot = state / "acceleration.json", BOOT_ID.read_text().strip()
    try:
        found = msgspec.json.decode(kept.read_bytes(), type=Acceleration)
    except (FileNotFoundError, msgspec.DecodeError):
        found = None
    if found is not None and found.boot == boot:
        return found
    usable, reason = measure()
    found = Acceleration(virtualization="kvm" if usable else "qemu", reason=reason, boot=boot)
    state.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(found))
    fresh.replace(kept)
    return found


def measure(device: Path = Path("/dev/kvm"), *, seconds: float = SECONDS) -> tuple[bool, str]:
    """Whether KVM is usable, and why or why not."""
    if not device.exists():
        return False, f"{device} does not exist: no hardware virtualization, or the kvm module is not loaded"
    if not os.access(device, os.R_OK | os.W_OK):
        return False, f"{device} may not be opened by this user: run as root or join the group kvm"
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LOOP)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        try:
            return _judge(child, seconds)
        finally:
            child.kill()


def _judge(child: subprocess.Popen[bytes], seconds: float) -> tuple[bool, str]:
    assert child.stdout is not None
    assert child.stderr is not None
    if _line(child.stdout, SETUP_SECONDS) != "ready":
        child.kill()
        return False, f"KVM cannot set up a guest: {_last(child.stderr)}"
    took = _line(child.stdout, seconds)
    if took is None:
        return False, f"KVM runs guest code, but not at hardware speed: a short loop took over {seconds} s"
    if not took:
        return False, f"KVM cannot run guest code: {_last(child.stderr)}"
    return True, f"KVM ran a short loop in {took} s"


def _line(stream: IO[bytes], seconds: float) -> str | None:
    """The next line, empty at the end; None when it does not come in time."""
    deadline, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        more = os.read(stream.fileno(), 1)
        if not more:
            return ""
        text += more
    return text.decode().strip()


def _last(stream: IO[bytes]) -> str:
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
