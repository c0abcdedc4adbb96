"""`make bench`: the figures of docs/bench.md that exist so far, measured on this machine and printed. Nothing is asserted.

One simulated cloud with many hosts and servers for the APIs; one real cloud, where this machine can run guests, for a boot.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from pileus.cli.http import Api
from pileus.cli.profiles import read
from tests.clients.cloud import PILEUS, REPOSITORY, RealCloud, free_port, run, until

HZ = os.sysconf("SC_CLK_TCK")


def report(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:<62} {figure:>22}   {goal}", flush=True)


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def timed(count: int, call: Callable[[], Any]) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def spread(taken: list[float]) -> str:
    return (
        f"p50 {statistics.median(taken):.1f} p99 {taken[min(len(taken) - 1, int(len(taken) * 0.99))]:.1f} ms"
    )


@contextlib.contextmanager
def simulated(hosts: int) -> Iterator[tuple[Api, int, float]]:
    """A cloud of simulated hosts: its API, its process, and the seconds from the command to the answer."""
    state = Path(tempfile.mkdtemp(prefix="pileus-bench"))
    command = [
        PILEUS,
        "up",
        "--detach",
        "--state",
        state,
        "--port",
        str(free_port()),
        "--simulate",
        str(hosts),
    ]
    try:
        run(command)
        run([PILEUS, "down", "--state", state])
        began = time.perf_counter()
        run(command)
        seconds = time.perf_counter() - began
        running = json.loads((state / "running.json").read_text())
        yield Api(running["url"], "admin", read(state)["admin_password"]), running["process"]["pid"], seconds
    finally:
        run([PILEUS, "down", "--state", state], check=False)
        shutil.rmtree(state, ignore_errors=True)


def tokens(api: Api, pid: int) -> None:
    headers_only = lambda: api.get("identity", "/v3/auth/projects")  # noqa: E731
    headers_only()
    before, count = cpu(pid), 1000
    for _ in range(count):
        headers_only()
    report(
        "an authenticated request, whole, CPU of the server", f"{(cpu(pid) - before) / count * 1000:.2f} ms"
    )
    took = asyncio.run(validation(pid, api))
    report("token validation, CPU, first look / remembered", took, "<= 0.2 ms")


async def validation(pid: int, api: Api) -> str:
    """In a process of our own on the same state: `present` with and without what it remembers."""
    from pileus.app.running import database_url
    from pileus.config import Config
    from pileus.core import records  # noqa: F401
    from pileus.core.cloud import Cloud
    from pileus.core.identity import access
    from pileus.store import open_store

    state = Path(find_state(pid))
    config = Config(state=state)
    store = await open_store(database_url(config))
    try:
        count, fresh = 300, 0.0
        for _ in range(count):
            cloud = Cloud(config, store)
            began = time.process_time()
            await access.present(cloud, api.token)
            fresh += time.process_time() - began
        cloud = Cloud(config, store)
        await access.present(cloud, api.token)
        began = time.process_time()
        for _ in range(2000):
            await access.present(cloud, api.token)
        known = (time.process_time() - began) / 2000
    finally:
        await store.close()
    return f"{fresh / count * 1000:.2f} / {known * 1000:.3f} ms"


def find_state(pid: int) -> str:
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return str(json.loads(next(a for a in arguments if a.startswith("{")))["state"])


def network(api: Api) -> str:
    made = api.post("network", "/v2.0/networks", {"network": {"name": "bench"}})["network"]["id"]
    api.post(
        "network", "/v2.0/subnets", {"subnet": {"network_id": made, "cidr": "10.0.0.0/16", "ip_version": 4}}
    )
    group = api.post("network", "/v2.0/security-groups", {"security_group": {"name": "bench"}})[
        "security_group"
    ]["id"]

    def rules() -> None:
        for port in range(20):
            rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp"}
            ports = {"port_range_min": 1000 + port, "port_range_max": 1000 + port}
            api.post("network", "/v2.0/security-group-rules", {"security_group_rule": rule | ports})

    report("20 security group rules by the Network API", f"{timed(1, rules)[0]:.0f} ms", "<= 200 ms")
    return str(made)


def image(api: Api) -> str:
    wanted = {"name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = api.post("image", "/v2/images", wanted)
    api.send("image", "PUT", f"/v2/images/{made['id']}/file", b"\0" * (1 << 20), "application/octet-stream")
    return str(made["id"])


def storm(api: Api, pid: int, count: int) -> None:
    """Create `count` servers one after another, and wait for the last to be active."""
    limits = {"instances": -1, "cores": -1, "ram": -1}
    api.send("compute", "PUT", f"/v2.1/os-quota-sets/{api.project}", {"quota_set": limits})
    api.send("network", "PUT", f"/v2.0/quotas/{api.project}", {"quota": {"port": -1}})
    wanted = {"flavorRef": "1", "imageRef": image(api), "networks": [{"uuid": network(api)}]}
    began = time.perf_counter()
    before = cpu(pid)
    taken = timed(count, lambda: api.post("compute", "/v2.1/servers", {"server": {"name": "bench"} | wanted}))
    report("server create, accepted (quota, record, operation durable)", spread(taken), "p50 <= 10 ms")
    until("active", lambda: not api.get("compute", "/v2.1/servers?status=BUILD&limit=1")["servers"], 600)
    seconds = time.perf_counter() - began
    report(
        f"boot storm, {count} servers, one client, networks on",
        f"{count / seconds:.0f} servers/s",
        ">= 200/s",
    )
    report("  CPU of the server a boot, requests included", f"{(cpu(pid) - before) / count * 1000:.1f} ms")
    server = api.get("compute", "/v2.1/servers?limit=1")["servers"][0]["id"]
    report(
        "show one server",
        spread(timed(300, lambda: api.get("compute", f"/v2.1/servers/{server}"))),
        "p50 <= 3 ms",
    )
    many = min(count, 1000)
    listed = timed(20, lambda: api.get("compute", f"/v2.1/servers/detail?limit={many}"))
    report(f"list {many} servers in detail", spread(listed), "p50 <= 30 ms")


def boots(number: int) -> None:
    """Real guests: the control plane's own share of a boot, from accepted to started, the image cached."""
    if os.geteuid() != 0:
        report("a real boot", "needs root")
        return
    cloud = RealCloud(number=number)
    try:
        cloud.up()
        built = cloud.state / "guest"
        run([REPOSITORY / "tools" / "build-guest-image", "-o", built])
        run([PILEUS, "first-server", "--state", cloud.state, "--image", built / "guest.qcow2"], timeout=600)
        run([PILEUS, "down", "--state", cloud.state])
        began = time.perf_counter()
        cloud.up()
        report(
            "real: `pileus up` to all APIs answer, daemons down before",
            f"{time.perf_counter() - began:.1f} s",
            "<= 3 s",
        )
        cloud.kill()
        began = time.perf_counter()
        cloud.up()
        report(
            "real: `pileus up` after a kill, daemons adopted",
            f"{time.perf_counter() - began:.1f} s",
            "<= 3 s",
        )
        report("real: resident memory, idle", f"{resident_mib(cloud.pid):.0f} MiB", "<= 200 MiB")
        shares = [own_share(cloud, index) for index in range(5)]
        whole, own = (statistics.median(column) for column in zip(*shares, strict=True))
        report("real: accepted to guest started, whole", f"p50 {whole:.0f} ms")
        report(
            "real: of it Pileus's own (without libvirt's and qemu-img's)", f"p50 {own:.0f} ms", "<= 300 ms"
        )
    finally:
        cloud.remove()


PLATFORM = ("disks", "define", "start")
"""Steps that are calls of qemu-img and libvirt and nothing else to speak of."""


def own_share(cloud: RealCloud, index: int) -> tuple[float, float]:
    api = Api(cloud.url, "admin", read(cloud.state)["admin_password"])
    source = api.get("image", "/v2/images?name=pileus-guest")["images"][0]["id"]
    net = api.get("network", "/v2.0/networks?name=private")["networks"][0]["id"]
    wanted = {"name": f"boot-{index}", "flavorRef": "1", "imageRef": source, "networks": [{"uuid": net}]}
    began = time.perf_counter()
    server = api.post("compute", "/v2.1/servers", {"server": wanted})["server"]["id"]
    path = f"/v2.1/servers/{server}"
    while api.get("compute", path)["server"]["status"] == "BUILD":
        time.sleep(0.005)
    whole = (time.perf_counter() - began) * 1000
    lines = (cloud.state / "pileus.log").read_text().splitlines()
    steps = [
        json.loads(line) for line in lines if f'"subject": "{server}"' in line and '"event": "step"' in line
    ]
    platform = sum(step["ms"] for step in steps if step["step"] in PLATFORM)
    api.send("compute", "DELETE", path, None)
    return whole, whole - platform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--skip-real", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.1f}, Python {sys.version.split()[0]}; {options.hosts} simulated hosts\n"
    )
    with simulated(options.hosts) as (api, pid, seconds):
        report("simulated: `pileus up` to all APIs answer", f"{seconds:.1f} s", "<= 3 s")
        report("simulated: resident memory, idle", f"{resident_mib(pid):.0f} MiB", "<= 200 MiB")
        tokens(api, pid)
        storm(api, pid, options.servers)
    with contextlib.suppress(KeyboardInterrupt):
        if not options.skip_real:
            boots(number=190)


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        sys.exit(str(error))
