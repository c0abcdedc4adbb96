"""A reader of the event stream while the cloud is killed and started again: it gets every event once, in order."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from pileus.cli.http import Api, Failed, administrator
from pileus.cli.profiles import read
from pileus.core.events import Event
from pileus.store import gt, open_store
from tests.clients.cloud import PILEUS, free_port, run, until

KILLS = 5
ALIVE = 60.0


@pytest.fixture
def state() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pileus-events", dir="/var/tmp"))
    try:
        yield made
    finally:
        run([PILEUS, "down", "--state", made], check=False)
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, state: Path) -> str:
    """The cloud's, one of each kind."""
    own = f"sqlite:///{state / 'pileus.db'}"
    return own if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def command(state: Path, hosts: int, database: str = "") -> list[str | Path]:
    made: list[str | Path] = [
        PILEUS,
        "up",
        "--detach",
        "--simulate",
        str(hosts),
        "--state",
        state,
        "--port",
        str(free_port()),
    ]
    return [*made, "--set", f"database={database}"]


class Reader(threading.Thread):
    """Reads the stream, and takes it up where it broke off by Last-Event-ID."""

    def __init__(self, api: Api, place: int) -> None:
        super().__init__(daemon=True)
        self.api, self.place = api, place
        self.events: list[dict[str, Any]] = []
        self.connections = 0
        self.broken: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        try:
            while not self._done.is_set():
                with suppress(OSError, HTTPException):  # refused and cut-off connections: the cloud is away
                    self._read()
                time.sleep(0.05)
        except BaseException as error:
            self.broken = error

    def stop(self) -> None:
        """At the next sign of life, or with the process."""
        self._done.set()

    def _read(self) -> None:
        headers = {
            "X-Auth-Token": self.api.token,
            "Accept": "text/event-stream",
            "Last-Event-ID": str(self.place),
        }
        request = urllib.request.Request(f"{self.api.url}/console/events", headers=headers)
        with urllib.request.urlopen(request, timeout=ALIVE) as answer:
            self.connections += 1
            block: dict[str, str] = {}
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    block[name] = value
                    continue
                if "data" in block and block["event"] != "end":
                    self.events.append(json.loads(block["data"]))
                if "id" in block:
                    self.place = int(block["id"])
                block = {}
                if self._done.is_set():
                    return


class Work(threading.Thread):
    """Makes and deletes servers for as long as it is let."""

    def __init__(self, api: Api, image: str, network: str) -> None:
        super().__init__(daemon=True)
        self.api, self.image, self.network = api, image, network
        self.accepted = 0
        self._done = threading.Event()
        self._ids: list[str] = []

    def run(self) -> None:
        while not self._done.is_set():
            try:
                self._ids.append(create(self.api, self.image, self.network))
                self.accepted += 1
                if len(self._ids) > 5:
                    self.api.send("compute", "DELETE", f"/v2.1/servers/{self._ids.pop(0)}", None)
            except (Failed, OSError, HTTPException):  # killed in the middle: it may or may not be accepted
                time.sleep(0.1)
            time.sleep(0.05)

    def stop(self) -> None:
        self._done.set()
        self.join(ALIVE)


def create(api: Api, image: str, network: str) -> str:
    wanted = {"name": "e", "flavorRef": "1", "imageRef": image, "networks": [{"uuid": network}]}
    return str(api.post("compute", "/v2.1/servers", {"server": wanted})["server"]["id"])


def prepare(api: Api) -> tuple[str, str]:
    """An image and a network."""
    network = str(api.post("network", "/v2.0/networks", {"network": {"name": "events"}})["network"]["id"])
    subnet = {"network_id": network, "cidr": "10.80.0.0/16", "ip_version": 4}
    api.post("network", "/v2.0/subnets", {"subnet": subnet})
    blank = {"name": "blank", "disk_format": "raw", "container_format": "bare"}
    image = str(api.post("image", "/v2/images", blank)["id"])
    api.send("image", "PUT", f"/v2/images/{image}/file", b"\0" * (1 << 16), "application/octet-stream")
    return image, network


def settled(api: Api) -> bool:
    shown = api.get("compute", "/v2.1/servers/detail")["servers"]
    return all(server["status"] in ("ACTIVE", "ERROR") for server in shown)


async def table(url: str, after: int) -> list[tuple[Any, ...]]:
    store = await open_store(url)
    try:
        async with store.view() as view:
            found = await view.list(Event, gt("seq", after), order=("seq",))
    finally:
        await store.close()
    return [(event.seq, event.kind, event.action, str(event.subject)) for event in found]


def kept(url: str, after: int) -> list[tuple[Any, ...]]:
    """The table, as the database has it."""
    return asyncio.run(table(url, after))


def more(reader: Reader, count: int) -> bool:
    assert reader.broken is None, reader.broken
    return len(reader.events) > count


def test_a_reader_has_every_event_once_and_in_order_whatever_is_killed(state: Path, database: str) -> None:
    up = command(state, 3, database)
    run(up)
    running = json.loads((state / "running.json").read_text())
    api = administrator(running["url"], read(state))
    image, network = prepare(api)
    begun = int(api.get("console", "/events?after=latest")["next"])
    reader, work, chance = Reader(api, begun), Work(api, image, network), random.Random(20261122)
    reader.start()
    work.start()
    for number in range(KILLS):
        until(f"events come, round {number}", partial(more, reader, len(reader.events) + 20), ALIVE)
        time.sleep(chance.uniform(0, 0.5))
        os.kill(json.loads((state / "running.json").read_text())["process"]["pid"], signal.SIGKILL)
        run(up)
    work.stop()
    until("all is settled", lambda: settled(api), ALIVE)
    for server in api.get("compute", "/v2.1/servers")["servers"]:
        with suppress(Failed):  # one that was being deleted is gone
            api.send("compute", "DELETE", f"/v2.1/servers/{server['id']}", None)
    until("all are gone", lambda: not api.get("compute", "/v2.1/servers")["servers"], ALIVE)

    def complete() -> bool:
        assert reader.broken is None, reader.broken
        return bool(reader.place >= kept(database, reader.place - 1)[-1][0])

    until("the reader has caught up", complete, ALIVE)
    reader.stop()
    whole = kept(database, begun)
    got = [(event["seq"], event["kind"], event["action"], event["resource"]) for event in reader.events]
    assert got == whole
    assert work.accepted > 10
    assert reader.connections > KILLS


def test_the_command_shows_what_changed(state: Path) -> None:
    run(command(state, 1))
    lines = run([PILEUS, "events", "--state", state, "--from", "1", "--json"]).splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == [
        seq for seq, *_ in kept(f"sqlite:///{state / 'pileus.db'}", 0)
    ]
    last = run([PILEUS, "events", "--state", state, "--kind", "host"]).splitlines()
    assert any("host.create" in line for line in last)


def test_the_command_follows_also_through_a_restart(state: Path) -> None:
    run(command(state, 1))
    asked = [PILEUS, "events", "--state", state, "--follow", "--kind", "network", "--json"]
    following = subprocess.Popen([str(part) for part in asked], stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout is not None
        for restart in (True, False):
            api = administrator(json.loads((state / "running.json").read_text())["url"], read(state))
            made = api.post("network", "/v2.0/networks", {"network": {"name": "f"}})["network"]["id"]
            while (event := json.loads(following.stdout.readline()))["resource"] != made:
                continue
            assert event["action"] == "create"
            if restart:
                run([PILEUS, "down", "--state", state])
                run(command(state, 1))
    finally:
        following.terminate()
        following.wait(ALIVE)
