"""`make bench`: the figures of docs/bench.md, measured on this machine and printed. Nothing is asserted.

One simulated cloud with many hosts and servers for the APIs; one real cloud, where this machine can run guests, for a boot.
"""

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from pileus.cli.http import Api, by_password
from pileus.cli.profiles import read
from pileus.core.cloud import Cloud
from tests.clients.cloud import PILEUS, REPOSITORY, RealCloud, free_port, run, until
from tools import bench_events, bench_logins

HZ = os.sysconf("SC_CLK_TCK")
PER_NETWORK = 1000
PART = 10_000
WATCH_SECONDS = 25
"""Two rounds of the reconciler and more."""


def report(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:<66} {figure:>24}   {goal}", flush=True)


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def timed(count: int, call: Callable[[], Any]) -> list[float]:
    """Milliseconds of each call, the shortest first."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def spread(taken: list[float]) -> str:
    late = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
    return f"p50 {statistics.median(taken):.2f} p99 {late:.2f} ms"


class Line:
    """One connection that stays open, so that the server's time is measured and not the client's."""

    IDLE = 3.0
    """Seconds after which the server may have closed it."""

    def __init__(self, api: Api) -> None:
        self._used = 0.0
        self._connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=120)
        self._headers = {"X-Auth-Token": api.token, "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: Any = None) -> bytes:
        if time.monotonic() - self._used > self.IDLE:
            self._connection.close()
        self._used = time.monotonic()
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content


class Simulated:
    """A running cloud of simulated hosts."""

    def __init__(self, state: Path, seconds: float) -> None:
        running = json.loads((state / "running.json").read_text())
        self.state, self.seconds = state, seconds
        self.pid = int(running["process"]["pid"])
        self.api = by_password(running["url"], "admin", read(state)["admin_password"])
        self.line = Line(self.api)

    def cpu_ms(self, count: int, call: Callable[[], Any]) -> float:
        """Of the server, a call."""
        call()
        before = cpu(self.pid)
        for _ in range(count):
            call()
        return (cpu(self.pid) - before) / count * 1000


@contextlib.contextmanager
def simulated(hosts: int) -> Iterator[Simulated]:
    """Started twice: the first start, which makes everything, is not the one that is measured."""
    state = Path(tempfile.mkdtemp(prefix="pileus-bench", dir="/var/tmp"))
    command: list[str | Path] = [
        PILEUS,
        "up",
        "--detach",
        "--state",
        state,
        "--simulate",
        str(hosts),
        "--port",
        str(free_port()),
    ]
    try:
        run(command)
        run([PILEUS, "down", "--state", state])
        began = time.perf_counter()
        run(command)
        yield Simulated(state, time.perf_counter() - began)
    finally:
        run([PILEUS, "down", "--state", state], check=False)
        shutil.rmtree(state, ignore_errors=True)


def starts(hosts: int) -> None:
    for count in (1, hosts):
        with simulated(count) as cloud:
            time.sleep(2)
            report(
                f"`pileus up` to all APIs answer, {count} simulated hosts", f"{cloud.seconds:.1f} s", "<= 3 s"
            )
            report("  resident memory, idle", f"{resident_mib(cloud.pid):.0f} MiB", "<= 200 MiB")


# --- identity -------------------------------------------------------------------------------------


def tokens(cloud: Simulated) -> None:
    api, line = cloud.api, cloud.line
    scope = {"project": {"id": api.project}}
    asked = {"auth": {"identity": {"methods": ["token"], "token": {"id": api.token}}, "scope": scope}}
    path = "/identity/v3/auth/tokens"
    issue = cloud.cpu_ms(500, lambda: line.send("POST", path, asked))
    report("token issue by a token (no password hash), request, CPU", f"{issue:.2f} ms", "<= 5 ms")
    plain = cloud.cpu_ms(2000, lambda: line.send("GET", "/identity/v3/auth/projects"))
    report("an authenticated request, whole, CPU", f"{plain:.2f} ms")
    first, again = asyncio.run(validation(cloud))
    report("token validation, CPU: first look / remembered", f"{first:.2f} / {again:.3f} ms", "<= 0.2 ms")
    password = read(cloud.state)["demo_password"]
    waits = bench_logins.measure(api.url, api.token, "demo", password)
    report("a light request while 8 log in by password", str(waits), "longest <= 50 ms")
    rate = len(waits.logins) / bench_logins.SECONDS
    report(
        "logins by password, 8 at once", f"{rate:.0f}/s, p50 {waits.logins[len(waits.logins) // 2]:.0f} ms"
    )


@contextlib.asynccontextmanager
async def beside(cloud: Simulated) -> AsyncIterator[Cloud]:
    """The same state, opened in this process too."""
    from pileus.app.running import database_url
    from pileus.config import Config
    from pileus.core import records  # noqa: F401 - declares the tables
    from pileus.store import open_store

    config = Config(state=cloud.state)
    store = await open_store(database_url(config))
    try:
        yield Cloud(config, store)
    finally:
        await store.close()


async def validation(cloud: Simulated) -> tuple[float, float]:
    from pileus.core.identity.authentication import tokens as seals
    from pileus.core.identity.authorization import access

    async with beside(cloud) as known:
        count, fresh = 300, 0.0
        for _ in range(count):
            empty = Cloud(known.config, known.store)
            seals.of(empty)
            began = time.process_time()
            await access.present(empty, cloud.api.token)
            fresh += time.process_time() - began
        await access.present(known, cloud.api.token)
        began = time.process_time()
        for _ in range(2000):
            await access.present(known, cloud.api.token)
        return fresh / count * 1000, (time.process_time() - began) / 2


# --- networks, servers ----------------------------------------------------------------------------


def network(api: Api, name: str) -> str:
    made = api.post("network", "/v2.0/networks", {"network": {"name": name}})["network"]["id"]
    subnet = {"network_id": made, "cidr": "10.0.0.0/16", "ip_version": 4}
    api.post("network", "/v2.0/subnets", {"subnet": subnet})
    return str(made)


def rules(cloud: Simulated) -> None:
    group = cloud.api.post("network", "/v2.0/security-groups", {"security_group": {"name": "bench"}})
    rule = {"security_group_id": group["security_group"]["id"], "direction": "ingress", "protocol": "tcp"}

    def all_of_them() -> None:
        for port in range(1000, 1020):
            wanted = rule | {"port_range_min": port, "port_range_max": port}
            cloud.line.send("POST", "/network/v2.0/security-group-rules", {"security_group_rule": wanted})

    report("20 security group rules by the Network API", f"{timed(1, all_of_them)[0]:.0f} ms", "<= 200 ms")


def image(api: Api) -> str:
    wanted = {"name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = api.post("image", "/v2/images", wanted)
    api.send("image", "PUT", f"/v2/images/{made['id']}/file", b"\0" * (1 << 20), "application/octet-stream")
    return str(made["id"])


def unlimited(api: Api) -> None:
    limits = {"instances": -1, "cores": -1, "ram": -1}
    api.send("compute", "PUT", f"/v2.1/os-quota-sets/{api.project}", {"quota_set": limits})
    free = {"port": -1, "network": -1, "subnet": -1}
    api.send("network", "PUT", f"/v2.0/quotas/{api.project}", {"quota": free})


class Wanted:
    """Servers of the smallest size, each with a disk of its own and a port; every 1,000 share a network."""

    def __init__(self, cloud: Simulated, servers: int) -> None:
        self._cloud = cloud
        self._image = image(cloud.api)
        self._networks = [network(cloud.api, f"bench-{n}") for n in range(servers // PER_NETWORK + 2)]
        self._numbers = itertools.count()

    def create(self, line: Line) -> None:
        number = next(self._numbers)
        wanted = {
            "name": f"bench-{number}",
            "flavorRef": "1",
            "imageRef": self._image,
            "networks": [{"uuid": self._networks[number // PER_NETWORK]}],
        }
        line.send("POST", "/compute/v2.1/servers", {"server": wanted})

    def create_many(self, count: int, clients: int) -> None:
        def client() -> None:
            line = Line(self._cloud.api)
            for _ in range(count // clients):
                self.create(line)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def settled(self) -> None:
        path = "/v2.1/servers?status=BUILD&limit=1"
        until("active", lambda: not self._cloud.api.get("compute", path)["servers"], 1800, pause=0.05)


def alone(cloud: Simulated, wanted: Wanted) -> None:
    """One by one: each after the last server is active."""
    wanted.create(cloud.line)
    wanted.settled()
    taken = []
    for _ in range(100):
        taken += timed(1, lambda: wanted.create(cloud.line))
        wanted.settled()
    report(
        "server create, accepted (quota, record, operation durable)", spread(sorted(taken)), "p50 <= 10 ms"
    )


def storm(cloud: Simulated, servers: int) -> None:
    """By eight clients, in parts, so that it shows whether the rate stays."""
    unlimited(cloud.api)
    wanted = Wanted(cloud, servers)
    alone(cloud, wanted)
    part, rates = max(8, min(PART, servers)), []
    for start in range(0, servers, part):
        before, began = cpu(cloud.pid), time.perf_counter()
        wanted.create_many(part, 8)
        wanted.settled()
        seconds, spent = time.perf_counter() - began, (cpu(cloud.pid) - before) / part * 1000
        rates.append(part / seconds)
        report(
            f"boot storm, 8 clients, networks on, servers {start + 1} to {start + part}",
            f"{rates[-1]:.0f}/s, CPU {spent:.2f} ms each",
            ">= 200/s",
        )
        report("  resident memory", f"{resident_mib(cloud.pid):.0f} MiB")
    if len(rates) > 1:
        report("  the last part's rate against the first's", f"{rates[-1] / rates[0]:.0%}", ">= 80 %")
    report(f"  peak memory with {servers} servers", f"{peak_mib(cloud.pid):.0f} MiB")


def reads(cloud: Simulated, servers: int) -> None:
    line, many = cloud.line, min(servers, 1000)
    one = json.loads(line.send("GET", "/compute/v2.1/servers?limit=1"))["servers"][0]["id"]
    shown = timed(300, lambda: line.send("GET", f"/compute/v2.1/servers/{one}"))
    report("show one server", spread(shown), "p50 <= 3 ms")
    for what, path in (("list", "servers"), ("list in detail", "servers/detail")):

        def call(path: str = path) -> Any:
            return line.send("GET", f"/compute/v2.1/{path}?limit={many}")

        spent = cloud.cpu_ms(20, call)
        goal = "p50 <= 30 ms" if path == "servers" else ""
        report(f"{what} {many} servers (CPU {spent:.0f} ms)", spread(timed(20, call)), goal)


async def placement(cloud: Simulated) -> None:
    """Everything but the claim, which is a transaction: reading what is asked, the choice, its explanation."""
    from pileus.core.compute.deploy import Build
    from pileus.core.compute.records import Server
    from pileus.core.placement import decisions
    from pileus.core.placement.choice import propose
    from pileus.core.placement.explanation import explain
    from pileus.core.placement.inventory import current

    taken = []
    async with beside(cloud) as known:
        began = time.perf_counter()
        hosts = len(await current(known))
        report(f"reading the room of {hosts} hosts", f"{(time.perf_counter() - began) * 1000:.0f} ms")
        async with known.view() as look:
            server = (await look.list(Server, limit=1))[0]
        for _ in range(2000):
            began = time.perf_counter()
            need, where = await decisions.ask(known, server, Build())
            explain(await propose(known, need, where, consumer=server.id))
            taken.append((time.perf_counter() - began) * 1000)
    report(f"placement decision, {hosts} hosts", spread(sorted(taken)), "p50 <= 2, p99 <= 10 ms")


def events(cloud: Simulated) -> None:
    lag = bench_events.measure(cloud.api.url, cloud.api.token)
    report("commit to event in a client, 100 idle streams", str(lag), "p99 <= 200 ms")


def quiet(cloud: Simulated) -> None:
    """What the reconciler's rounds cost, and how long they make a light request wait."""
    before, began, taken = cpu(cloud.pid), time.perf_counter(), []
    while time.perf_counter() - began < WATCH_SECONDS:
        taken += timed(1, lambda: cloud.line.send("GET", "/identity/v3"))
        time.sleep(0.005)
    spent = (cpu(cloud.pid) - before) / WATCH_SECONDS * 100
    report(f"a light request while the reconciler looks, of {len(taken)}", spread(sorted(taken)))
    report("  the longest wait", f"{max(taken):.0f} ms", "<= 50 ms")
    report("  CPU meanwhile, these requests included", f"{spent:.1f} %")


# --- real guests ----------------------------------------------------------------------------------


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
        killed = cloud.pid
        cloud.kill()
        until("the killed process is gone", lambda: not Path(f"/proc/{killed}/cwd").exists(), 10, pause=0.01)
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
    api = by_password(cloud.url, "admin", read(cloud.state)["admin_password"])
    source = api.get("image", "/v2/images?name=pileus-guest")["images"][0]["id"]
    net = api.get("network", "/v2.0/networks?name=private")["networks"][0]["id"]
    wanted = {"name": f"boot-{index}", "flavorRef": "1", "imageRef": source, "networks": [{"uuid": net}]}
    began = time.perf_counter()
    server = api.post("compute", "/v2.1/servers", {"server": wanted})["server"]["id"]
    path = f"/v2.1/servers/{server}"
    while api.get("compute", path)["server"]["status"] == "BUILD":
        time.sleep(0.005)
    whole = (time.perf_counter() - began) * 1000
    told = [
        json.loads(line)
        for line in (cloud.state / "pileus.log").read_text().splitlines()
        if line.startswith("{") and server in line
    ]
    platform = sum(
        line["ms"]
        for line in told
        if line["event"] == "step" and line["subject"] == server and line["step"] in PLATFORM
    )
    api.send("compute", "DELETE", path, None)
    return whole, whole - platform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000, help="simulated hosts")
    parser.add_argument("--servers", type=int, default=100_000, help="servers of the boot storm")
    parser.add_argument("--skip-simulated", action="store_true")
    parser.add_argument("--skip-real", action="store_true")
    options = parser.parse_args()
    load, python = os.getloadavg()[0], sys.version.split()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {python}; {options.hosts} simulated hosts\n")
    if not options.skip_simulated:
        starts(options.hosts)
        with simulated(options.hosts) as cloud:
            tokens(cloud)
            rules(cloud)
            storm(cloud, options.servers)
            reads(cloud, options.servers)
            asyncio.run(placement(cloud))
            events(cloud)
            quiet(cloud)
    if not options.skip_real:
        boots(number=190)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    try:
        main()
    except (subprocess.TimeoutExpired, AssertionError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
