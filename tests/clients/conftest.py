"""One real cloud and one guest image for all client tests."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cloud import CLIENTS, REPOSITORY, RealCloud, SimulatedCloud, run


@pytest.fixture(scope="session")
def guest_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("guest")
    run([REPOSITORY / "tools" / "build-guest-image", "-o", directory])
    return directory / "guest.qcow2"


@pytest.fixture(scope="session")
def cloud() -> Iterator[RealCloud]:
    if os.geteuid() != 0:
        pytest.skip("real guests on real networks need root")
    if not (CLIENTS / "openstack").exists():
        pytest.fail("the clients are not installed: run tools/install test")
    made = RealCloud(number=200 + os.getpid() % 50)
    try:
        made.up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedCloud]:
    """Two hosts that are not there, without guests."""
    if not (CLIENTS / "openstack").exists():
        pytest.fail("the clients are not installed: run tools/install test")
    made = SimulatedCloud()
    try:
        made.up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def image(cloud: RealCloud, guest_image: Path) -> str:
    """The small guest, public, by name."""
    cloud.openstack(
        "image", "create", "guest", "--public", "--disk-format", "qcow2", "--container-format", "bare",
        "--property", "os_type=linux", "--file", str(guest_image), "-f", "json",
    )  # fmt: skip
    return "guest"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path
