"""`make up` as a new user meets it: twice, and the way down."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.cloud import PILEUS, REPOSITORY, Login, RealCloud, run


@pytest.fixture
def empty() -> Iterator[RealCloud]:
    """A state directory and addresses for a cloud that the test itself starts."""
    if os.geteuid() != 0:
        pytest.skip("real guests on real networks need root")
    made = RealCloud(number=150 + os.getpid() % 40)
    try:
        yield made
    finally:
        made.remove()


def options(cloud: RealCloud) -> list[str]:
    number = cloud.number
    settings = (
        f"integration_bridge=br-it{number}",
        f"external_bridge=br-et{number}",
        f"external_cidr={cloud.external}.0/24",
        "masquerade=false",
    )
    chosen = ["--state", str(cloud.state), "--port", str(cloud.port)]
    return chosen + [part for setting in settings for part in ("--set", setting)]


def test_up_makes_a_server_that_answers_and_a_second_up_changes_nothing(empty: RealCloud) -> None:
    command = [REPOSITORY / "tools" / "up", *options(empty)]
    told = run(command, timeout=600)
    assert "all APIs answer at" in told
    assert "server first answers: ssh -i" in told
    servers, guests = empty.openstack("server", "list", "-f", "json"), empty.guests()
    again = run(command, timeout=600)
    assert "runs already at" in again
    assert "booting" not in again
    assert empty.openstack("server", "list", "-f", "json") == servers
    floating = empty.openstack("floating", "ip", "list", "-f", "json")[0]["Floating IP Address"]
    ssh = Login(floating, empty.state / "first" / "id_ed25519")
    assert ssh("hostname") == "first"

    run([PILEUS, "down", "--state", empty.state])
    assert run(["pgrep", "-f", f"guest={guests.pop()}|{empty.state}/libvirt"], check=False).strip(), (
        "guests run on"
    )
    run(command, timeout=600)
    assert int(float(ssh("cut -d. -f1 /proc/uptime"))) > 0


def test_a_port_in_use_is_told_before_anything_is_started(empty: RealCloud) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [PILEUS, "up", "--detach", "--state", empty.state, "--port", str(port)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert not (empty.state / "ovs").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "colour=blue"], "expected NAME=VALUE with a NAME of docs/operator/settings.md"),
        (["--set", "memory_overcommit=lots"], "Expected `float`"),
        (["--set", "simulate_latency=some"], "it is none or realistic"),
        (["--simulate", "0"], "0 is not in the range"),
        (["--set", "database=mysql://x"], "no database of the kind 'mysql'"),
    ],
)
def test_up_refuses_with_a_plain_reason(empty: RealCloud, arguments: list[str], reason: str) -> None:
    command = [str(PILEUS), "up", "--state", str(empty.state), "--port", str(empty.port), "--simulate", "1"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
