"""The first server, made as a user would: through the public APIs, with everything it needs, and reached by SSH."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from pileus.cli.http import Api, Failed, administrator
from pileus.cli.lifecycle import complain, say
from pileus.cli.profiles import read

NAME = "first"
NETWORK, CIDR = "private", "10.0.0.0/24"
IMAGE = "pileus-guest"
LOGIN = "pileus"
SIZE = "tiny"
BUILD_SECONDS = 180.0
SSH_SECONDS = 300.0


def run(state: Path, image: Path | None) -> int:
    """Exit code 0 when the server answers (or, simulated, is active)."""
    from pileus.app.running import found

    running = found(state.absolute())
    if running is None:
        complain(f"no cloud runs on {state}; start it with `pileus up --state {state}`")
        return 1
    try:
        api = administrator(running.url, read(state))
        first = First(api, state.absolute(), simulated=bool(running.config.simulate))
        first.make(image)
    except Failed as error:
        complain(f"the first server was not made: {error}")
        return 1
    return 0


class First:
    """Each `_ensure` returns what is there, or makes it."""

    def __init__(self, api: Api, state: Path, *, simulated: bool) -> None:
        self.api, self.simulated = api, simulated
        self.key = state / "first" / "id_ed25519"

    def make(self, image: Path | None) -> None:
        source = self._ensure_image(image)
        network = self._ensure_network()
        self._ensure_rules()
        self._ensure_key()
        server = self._ensure_server(source, network)
        address = self._ensure_address(server)
        if self.simulated:
            say(f"server {NAME} is active at {address} (simulated)")
            return
        self._reach(address)
        say(f"server {NAME} answers: ssh -i {self.key} {LOGIN}@{address}")

    def _one(self, service: str, path: str, plural: str, name: str) -> Any:
        listed = self.api.get(service, path)[plural]
        return next((each for each in listed if each["name"] == name), None)

    def _ensure_image(self, file: Path | None) -> str:
        held = self._one("image", f"/v2/images?name={IMAGE}", "images", IMAGE)
        if held is not None and held["status"] == "active":
            return str(held["id"])
        if file is None and not self.simulated:
            raise Failed(
                f"there is no image {IMAGE}; build one (tools/build-guest-image) and name it with --image"
            )
        say(f"uploading image {IMAGE}")
        format = "qcow2" if file else "raw"
        if held is None:
            wanted = {
                "name": IMAGE,
                "disk_format": format,
                "container_format": "bare",
                "visibility": "public",
            }
            held = self.api.post("image", "/v2/images", wanted)
        content = file.read_bytes() if file else b"\0" * (1 << 20)
        self.api.send("image", "PUT", f"/v2/images/{held['id']}/file", content, "application/octet-stream")
        return str(held["id"])

    def _ensure_network(self) -> str:
        held = self._one("network", f"/v2.0/networks?name={NETWORK}", "networks", NETWORK)
        if held is None:
            say(f"making network {NETWORK} with a router to the outside")
            held = self.api.post("network", "/v2.0/networks", {"network": {"name": NETWORK}})["network"]
        subnet = self._ensure_subnet(held["id"])
        outside = self.api.get("network", "/v2.0/networks?router:external=True")["networks"][0]["id"]
        router = self._one("network", f"/v2.0/routers?name={NETWORK}", "routers", NETWORK)
        if router is None:
            wanted = {"name": NETWORK, "external_gateway_info": {"network_id": outside}}
            router = self.api.post("network", "/v2.0/routers", {"router": wanted})["router"]
        ports = self.api.get("network", f"/v2.0/ports?device_id={router['id']}&network_id={held['id']}")[
            "ports"
        ]
        if not ports:
            self.api.send(
                "network", "PUT", f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet}
            )
        return str(held["id"])

    def _ensure_subnet(self, network: str) -> str:
        listed = self.api.get("network", f"/v2.0/subnets?network_id={network}")["subnets"]
        if listed:
            return str(listed[0]["id"])
        wanted = {"name": NETWORK, "network_id": network, "cidr": CIDR, "ip_version": 4}
        return str(self.api.post("network", "/v2.0/subnets", {"subnet": wanted})["subnet"]["id"])

    def _ensure_rules(self) -> None:
        """SSH and ping from everywhere, as users of a first server expect."""
        project = self.api.project
        groups = self.api.get("network", f"/v2.0/security-groups?name=default&project_id={project}")
        group = groups["security_groups"][0]
        for protocol, port in (("tcp", 22), ("icmp", None)):
            there = [
                r
                for r in group["security_group_rules"]
                if r["protocol"] == protocol and r["direction"] == "ingress"
            ]
            if not there:
                rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": protocol}
                ports = {"port_range_min": port, "port_range_max": port} if port else {}
                self.api.post("network", "/v2.0/security-group-rules", {"security_group_rule": rule | ports})

    def _ensure_key(self) -> None:
        self.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.key.exists():
            command = [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "pileus-first",
                "-f",
                str(self.key),
            ]
            subprocess.run(command, check=True)
        names = [each["keypair"]["name"] for each in self.api.get("compute", "/v2.1/os-keypairs")["keypairs"]]
        if NAME not in names:
            public = self.key.with_suffix(".pub").read_text().strip()
            self.api.post("compute", "/v2.1/os-keypairs", {"keypair": {"name": NAME, "public_key": public}})

    def _ensure_server(self, image: str, network: str) -> Any:
        server = self._one("compute", f"/v2.1/servers/detail?name=^{NAME}$", "servers", NAME)
        if server is None:
            sizes = self.api.get("compute", "/v2.1/flavors")["flavors"]
            size = next((each["id"] for each in sizes if each["name"] == SIZE), sizes[0]["id"])
            say(f"booting server {NAME}")
            wanted = {
                "name": NAME,
                "flavorRef": size,
                "imageRef": image,
                "key_name": NAME,
                "networks": [{"uuid": network}],
            }
            server = self.api.post("compute", "/v2.1/servers", {"server": wanted})["server"]
        elif server["status"] == "SHUTOFF":
            say(f"starting server {NAME}")
            self.api.post("compute", f"/v2.1/servers/{server['id']}/action", {"os-start": None})
        return self._until_active(server["id"])

    def _until_active(self, server: str) -> Any:
        deadline = time.monotonic() + BUILD_SECONDS
        while time.monotonic() < deadline:
            shown = self.api.get("compute", f"/v2.1/servers/{server}")["server"]
            if shown["status"] == "ACTIVE":
                return shown
            if shown["status"] == "ERROR":
                raise Failed(f"server {server}: {shown.get('fault', {}).get('message', 'no reason given')}")
            time.sleep(0.1)
        raise Failed(f"server {server} was not active after {BUILD_SECONDS:.0f} s")

    def _ensure_address(self, server: Any) -> str:
        port = self.api.get("network", f"/v2.0/ports?device_id={server['id']}")["ports"][0]["id"]
        held = self.api.get("network", f"/v2.0/floatingips?port_id={port}")["floatingips"]
        if held:
            return str(held[0]["floating_ip_address"])
        outside = self.api.get("network", "/v2.0/networks?router:external=True")["networks"][0]["id"]
        wanted = {"floating_network_id": outside, "port_id": port}
        made = self.api.post("network", "/v2.0/floatingips", {"floatingip": wanted})
        return str(made["floatingip"]["floating_ip_address"])

    def _reach(self, address: str) -> None:
        say(f"waiting for SSH at {address}")
        options = (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=5",
        )
        command = ["ssh", "-n", "-i", str(self.key), "-o", "BatchMode=yes"]
        command += [part for option in options for part in ("-o", option)] + [
            f"{LOGIN}@{address}",
            "hostname",
        ]
        deadline = time.monotonic() + SSH_SECONDS
        while True:
            tried = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"SSH_AUTH_SOCK": ""}
            )
            if tried.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise Failed(f"server {NAME} did not answer SSH at {address}: {tried.stderr.strip()}")
            time.sleep(0.3)
