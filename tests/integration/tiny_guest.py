"""A kernel and a ramdisk that boot in seconds: they print to the serial port, react to the power button
and give hot-plugged devices a driver."""

import gzip
import shutil
import subprocess
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "button", "evdev")
BANNER = b"tiny guest is up"

INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
exec >/dev/ttyS0 2>&1
cat /sys/class/dmi/id/product_name /sys/class/dmi/id/product_serial
for disk in /sys/block/vd*; do echo "$disk serial $(cat $disk/serial)"; done
n=3
for event in /dev/input/event*; do
  eval "exec $n<$event"
  eval "(dd bs=24 count=1 of=/dev/null 2>/dev/null <&$n && echo power button && poweroff -f) &"
  n=$((n + 1))
done
echo tiny guest is up
while :; do sleep 1; done
"""
"""Whichever input device speaks first is the power button: nobody types here. All of them are open before
the guest says that it is up, for a button pressed earlier is not heard."""


def kernel() -> Path | None:
    found = sorted(Path("/boot").glob("vmlinuz-*cloud-amd64"))
    return found[-1] if found else None


def build(directory: Path) -> tuple[Path, Path]:
    """Kernel and ramdisk."""
    image = kernel()
    assert image is not None
    root = directory / "root"
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    order = _copy_modules(image.name.removeprefix("vmlinuz-"), root / "modules")
    (root / "modules/order").write_text("\n".join(order))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet"],
        cwd=root,
        input=names.encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    ramdisk = directory / "ramdisk"
    ramdisk.write_bytes(gzip.compress(archive, 1))
    return image, ramdisk


def _copy_modules(release: str, target: Path) -> list[str]:
    """The modules with what they depend on, in an order in which they can be loaded."""
    order: list[str] = []
    for module in MODULES:
        listed = subprocess.run(
            ["modprobe", "--show-depends", "--set-version", release, module],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        for line in listed.splitlines():
            path = Path(line.split()[1])
            if line.startswith("insmod") and path.name not in order:
                shutil.copy(path, target)
                order.append(path.name)
    return order
