"""A server that fits nowhere is told why, in the same words, by both unmodified clients."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cloud import PILEUS, SimulatedCloud, run

WHY = "No valid host was found for 2 vCPU, 300000 MiB memory, 1 GiB disk"
HOSTS = "2 hosts: 2 lack 300000 MiB memory (largest free "
ADVICE = "It would fit with "


@pytest.fixture(scope="module")
def network(simulated: SimulatedCloud) -> str:
    made = simulated.openstack("network", "create", "net", "-f", "json")
    simulated.openstack(
        "subnet", "create", "sub", "--network", "net", "--subnet-range", "10.9.0.0/24", "-f", "json"
    )
    return str(made["id"])


@pytest.fixture(scope="module")
def image(simulated: SimulatedCloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    content = tmp_path_factory.mktemp("image") / "disk"
    content.write_bytes(bytes(1 << 20))
    form = ["--disk-format", "raw", "--container-format", "bare", "--file", str(content)]
    return str(simulated.openstack("image", "create", "disk", "--public", *form, "-f", "json")["id"])


@pytest.fixture(scope="module")
def size(simulated: SimulatedCloud) -> str:
    """More memory than any host has."""
    form = ["--vcpus", "2", "--ram", "300000", "--disk", "1"]
    simulated.openstack("flavor", "create", "huge", *form, "-f", "json")
    offerings = simulated.cs("listServiceOfferings")["serviceoffering"]
    return str(next(each["id"] for each in offerings if each["name"] == "huge"))


def sound(text: str) -> bool:
    return all(part in text for part in (WHY, HOSTS, ADVICE))


def test_openstack_shows_the_reason_as_the_servers_fault(
    simulated: SimulatedCloud, network: str, image: str, size: str
) -> None:
    what = ["--flavor", "huge", "--image", image, "--network", network, "--wait"]
    assert "Error creating server" in simulated.refused("openstack", "server", "create", "nowhere", *what)
    shown = simulated.openstack("server", "show", "nowhere", "-c", "status", "-c", "fault", "-f", "json")
    assert shown["status"] == "ERROR"
    assert sound(shown["fault"]["message"]), shown
    told = run([PILEUS, "explain", "server", "nowhere", "--state", simulated.state])
    assert sound(told), told
    assert "sim-1" in told
    simulated.openstack("server", "delete", "nowhere", "--wait")


def test_cloudstack_fails_the_job_with_the_reason(
    simulated: SimulatedCloud, network: str, image: str, size: str
) -> None:
    (zone,) = simulated.cs("listZones")["zone"]
    what = {"zoneid": zone["id"], "templateid": image, "serviceofferingid": size, "networkids": network}
    said = simulated.refused(
        "cs", "deployVirtualMachine", *(f"{name}={value}" for name, value in what.items())
    )
    assert sound(said), said
    jobs: list[dict[str, Any]] = simulated.cs("listAsyncJobs", listall="true")["asyncjobs"]
    failed = [job["jobresult"]["errortext"] for job in jobs if job["jobstatus"] == 2]
    assert len(failed) == 2, "each client's server is a job, whoever asked for it"
    assert all(sound(text) for text in failed), failed


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "server", "web"],
        ["explain", "size", "tiny"],
        ["operation", "list"],
        ["events"],
        ["first-server"],
    ],
    ids=" ".join,
)
def test_a_cloud_that_does_not_run_is_told_in_one_line(tmp_path: Path, words: list[str]) -> None:
    asked = [str(PILEUS), *words, "--state", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"pileus: no cloud runs on {tmp_path}; start it with `pileus up --state {tmp_path}`\n"
    )


def test_a_cloud_with_webhooks_ends_when_it_is_asked_to(simulated: SimulatedCloud) -> None:
    simulated.cs("createWebhook", name="deaf", payloadurl="http://127.0.0.1:9/", scope="Local")
    simulated.openstack("network", "create", "told", "-f", "json")
    down = run([PILEUS, "down", "--state", simulated.state])
    simulated.up()
    assert down.splitlines() == ["pileus: the control plane ended"]


def test_a_simulated_cloud_is_not_started_as_a_real_one(simulated: SimulatedCloud) -> None:
    run([PILEUS, "down", "--state", simulated.state])
    asked = [str(PILEUS), "up", "--detach", "--state", str(simulated.state), "--port", str(simulated.port)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "holds a simulated cloud: start it with --simulate" in done.stderr
    assert not (simulated.state / "ovs").exists()
