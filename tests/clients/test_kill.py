"""Pileus is killed at random moments of creates and deletes; nothing is stuck, nothing leaks, guests do not notice."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pileus.cli.http import Api, Failed, administrator
from pileus.cli.profiles import read
from tests.clients.cloud import PILEUS, Login, RealCloud, run, until

ROUNDS, CREATES, DELETES = 10, 5, 3
SETTLED = {"ACTIVE", "ERROR"}


def api_of(cloud: RealCloud) -> Api:
    return administrator(cloud.url, read(cloud.state))


class Scene:
    """A network, a disk that boots nothing (its guest idles in the firmware), and a guest that watches."""

    def __init__(self, cloud: RealCloud, image: str, key: Path) -> None:
        self.cloud = cloud
        api = api_of(cloud)
        self.network = api.post("network", "/v2.0/networks", {"network": {"name": "kill"}})["network"]["id"]
        subnet = {"network_id": self.network, "cidr": "10.79.0.0/24", "ip_version": 4}
        self.subnet = api.post("network", "/v2.0/subnets", {"subnet": subnet})["subnet"]["id"]
        outside = api.get("network", "/v2.0/networks?router:external=True")["networks"][0]["id"]
        router = {"name": "kill", "external_gateway_info": {"network_id": outside}}
        self.router = api.post("network", "/v2.0/routers", {"router": router})["router"]["id"]
        self._interface(api, "add")
        group = {"name": "kill", "description": "SSH"}
        self.group = api.post("network", "/v2.0/security-groups", {"security_group": group})[
            "security_group"
        ]["id"]
        rule = {"security_group_id": self.group, "direction": "ingress", "protocol": "tcp"}
        api.post("network", "/v2.0/security-group-rules", {"security_group_rule": rule})
        blank = {"name": "blank", "disk_format": "raw", "container_format": "bare"}
        self.blank = api.post("image", "/v2/images", blank)["id"]
        api.send(
            "image", "PUT", f"/v2/images/{self.blank}/file", b"\0" * (1 << 20), "application/octet-stream"
        )
        pair = {"name": "kill", "public_key": key.with_suffix(".pub").read_text().strip()}
        api.post("compute", "/v2.1/os-keypairs", {"keypair": pair})
        guest = api.get("image", f"/v2/images?name={image}")["images"][0]["id"]
        self.watcher = self.create(api, "watcher", guest)
        until("the watcher is active", lambda: self.shown(api).get(self.watcher) == "ACTIVE", 120)
        port = api.get("network", f"/v2.0/ports?device_id={self.watcher}")["ports"][0]["id"]
        wanted = {"floating_network_id": outside, "port_id": port}
        made = api.post("network", "/v2.0/floatingips", {"floatingip": wanted})["floatingip"]
        self.floating = made["id"]
        self.ssh = Login(made["floating_ip_address"], key)
        self.ssh.wait()
        self.before = self.holdings()

    def _interface(self, api: Api, verb: str) -> None:
        path = f"/v2.0/routers/{self.router}/{verb}_router_interface"
        api.send("network", "PUT", path, {"subnet_id": self.subnet})

    def create(self, api: Api, name: str, image: str) -> str:
        wanted: dict[str, Any] = {"name": name, "flavorRef": "1", "imageRef": image, "key_name": "kill"}
        wanted |= {"networks": [{"uuid": self.network}], "security_groups": [{"name": "kill"}]}
        return str(api.post("compute", "/v2.1/servers", {"server": wanted})["server"]["id"])

    def shown(self, api: Api) -> dict[str, str]:
        return {s["id"]: s["status"] for s in api.get("compute", "/v2.1/servers/detail")["servers"]}

    def holdings(self) -> tuple[set[str], set[str], set[str]]:
        return self.cloud.guests(), self.cloud.disks(), self.cloud.switch_ports()

    def delete_all(self, api: Api) -> None:
        for server in self.shown(api):
            if server != self.watcher:
                api.send("compute", "DELETE", f"/v2.1/servers/{server}", None)
        until("all others are gone", lambda: set(self.shown(api)) == {self.watcher}, 120)

    def remove(self) -> None:
        api = api_of(self.cloud)
        self.delete_all(api)
        api.send("network", "DELETE", f"/v2.0/floatingips/{self.floating}", None)
        api.send("compute", "DELETE", f"/v2.1/servers/{self.watcher}", None)
        until("the watcher is gone", lambda: not self.shown(api), 120)
        self._interface(api, "remove")
        api.send("network", "DELETE", f"/v2.0/routers/{self.router}", None)
        api.send("network", "DELETE", f"/v2.0/networks/{self.network}", None)
        api.send("network", "DELETE", f"/v2.0/security-groups/{self.group}", None)
        api.send("image", "DELETE", f"/v2/images/{self.blank}", None)
        api.send("compute", "DELETE", "/v2.1/os-keypairs/kill", None)


@pytest.fixture
def scene(cloud: RealCloud, image: str, key: Path) -> Iterator[Scene]:
    made = Scene(cloud, image, key)
    yield made
    made.remove()


def strike(scene: Scene, moment: float) -> list[str]:
    """Creates and deletes at once, and the kill in the middle; the ids whose delete was accepted."""
    api = api_of(scene.cloud)
    victims = [server for server in scene.shown(api) if server != scene.watcher][:DELETES]
    accepted: list[str] = []

    def make(number: int) -> None:
        scene.create(api, f"k-{number}", scene.blank)

    def drop(server: str) -> None:
        api.send("compute", "DELETE", f"/v2.1/servers/{server}", None)
        accepted.append(server)

    with ThreadPoolExecutor(CREATES + DELETES) as pool:
        work = [pool.submit(make, number) for number in range(CREATES)]
        work += [pool.submit(drop, server) for server in victims]
        time.sleep(moment)
        scene.cloud.kill()
        for each in work:
            # What was not answered may or may not have been accepted; anything but a broken call is a defect.
            assert each.exception() is None or isinstance(each.exception(), Failed | ConnectionError)
    return accepted


def test_kill_minus_nine_leaves_nothing_stuck_and_nothing_leaked(scene: Scene) -> None:
    chance = random.Random(20261122)
    born = scene.ssh("cut -d. -f1 /proc/uptime")
    began = time.monotonic()
    for number in range(ROUNDS):
        moment = chance.uniform(0.0, 1.5)
        deleted = strike(scene, moment)
        scene.cloud.up()
        api = api_of(scene.cloud)
        place = f"round {number}, killed after {moment:.3f} s"
        until(f"{place}: all settled", lambda api=api: set(scene.shown(api).values()) <= SETTLED, 120)
        until(
            f"{place}: deletes end", lambda api=api, gone=deleted: not set(gone) & set(scene.shown(api)), 120
        )
        statuses = scene.shown(api)
        active = {server for server, status in statuses.items() if status == "ACTIVE"}
        assert "NOT SOUND" not in run([PILEUS, "status", "--state", scene.cloud.state]), place
        until(f"{place}: guests are as recorded", lambda active=active: scene.cloud.guests() == active, 30)
    assert int(scene.ssh("cut -d. -f1 /proc/uptime")) >= int(born) + int(time.monotonic() - began) - 2
    scene.delete_all(api)
    until("what is held is what was held before", lambda: scene.holdings() == scene.before, 60)
