"""The main job with the unmodified OpenStack client, from an empty project to a deleted server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cloud import Login, RealCloud, until

USER_DATA = "#!/bin/sh\necho ran-as-$(id -un) > /var/lib/user-data-ran\n"
CIDR = "10.77.0.0/24"


@pytest.fixture(scope="module")
def network(cloud: RealCloud) -> Iterator[str]:
    cloud.openstack("network", "create", "net1", "-f", "json")
    cloud.openstack("subnet", "create", "sub1", "--network", "net1", "--subnet-range", CIDR, "-f", "json")
    cloud.openstack("router", "create", "r1", "-f", "json")
    cloud.openstack("router", "set", "r1", "--external-gateway", "public")
    cloud.openstack("router", "add", "subnet", "r1", "sub1")
    for rule in (["--protocol", "icmp"], ["--protocol", "tcp", "--dst-port", "22"]):
        cloud.openstack("security", "group", "rule", "create", "default", "--ingress", *rule, "-f", "json")
    yield "net1"
    cloud.openstack("router", "remove", "subnet", "r1", "sub1")
    cloud.openstack("router", "delete", "r1")
    cloud.openstack("network", "delete", "net1")


@pytest.fixture(scope="module")
def pair(cloud: RealCloud, key: Path) -> Iterator[str]:
    cloud.openstack("keypair", "create", "k1", "--public-key", str(key.with_suffix(".pub")), "-f", "json")
    yield "k1"
    cloud.openstack("keypair", "delete", "k1")


class Server:
    """A server with a floating IP, as the client made it."""

    def __init__(self, cloud: RealCloud, name: str, key: Path) -> None:
        self.cloud, self.name = cloud, name
        shown = cloud.openstack("server", "show", name, "-f", "json")
        assert shown["status"] == "ACTIVE", shown
        self.id = shown["id"]
        made = cloud.openstack("floating", "ip", "create", "public", "-f", "json")
        self.floating = made["floating_ip_address"]
        cloud.openstack("server", "add", "floating", "ip", name, self.floating)
        self.fixed = next(a for a in shown["addresses"]["net1"] if a.startswith("10.77."))
        self.ssh = Login(self.floating, key)

    def delete(self) -> None:
        self.cloud.openstack("server", "delete", self.name, "--wait")
        self.cloud.openstack("floating", "ip", "delete", self.floating)


@pytest.fixture(scope="module")
def servers(
    cloud: RealCloud, network: str, pair: str, image: str, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """Two servers: the first is told about itself by the metadata service, the second by a config drive."""
    script = tmp_path_factory.mktemp("data") / "script"
    script.write_text(USER_DATA)
    options = [
        "--flavor",
        "tiny",
        "--image",
        image,
        "--network",
        network,
        "--key-name",
        pair,
        "--user-data",
        str(script),
    ]
    for name, drive in (("web-1", []), ("web-2", ["--use-config-drive"])):
        cloud.openstack(
            "server", "create", name, *options, *drive, "--property", "role=web", "--wait", "-f", "json"
        )
    made = tuple(Server(cloud, name, key) for name in ("web-1", "web-2"))
    for server in made:
        server.ssh.wait()
    yield made[0], made[1]


def test_a_server_answers_ssh_on_its_floating_ip(servers: tuple[Server, Server]) -> None:
    for server in servers:
        assert server.ssh("hostname") == server.name


def test_user_data_runs_and_metadata_comes_from_both_sources(servers: tuple[Server, Server]) -> None:
    for server in servers:
        until("user data", lambda server=server: server.ssh.tries("test -s /var/lib/user-data-ran"), 60)
        assert server.ssh("cat /var/lib/user-data-ran") == "ran-as-root"
    logs = [server.cloud.openstack("console", "log", "show", server.name) for server in servers]
    assert ["source=openstack" in logs[0], "source=config-drive" in logs[1]] == [True, True], logs


def test_servers_of_one_network_ping_each_other_by_name_and_address(servers: tuple[Server, Server]) -> None:
    one, two = servers
    assert " 0% packet loss" in one.ssh(f"ping -c 2 -w 20 {two.fixed}")
    assert " 0% packet loss" in one.ssh(f"ping -c 2 -w 20 {two.name}")
    assert " 0% packet loss" in two.ssh(f"ping -c 2 -w 20 {one.name}")


def test_a_port_closed_in_the_security_group_is_closed_until_it_is_opened(
    cloud: RealCloud, servers: tuple[Server, Server]
) -> None:
    one = servers[0]
    one.ssh("setsid sh -c 'while true; do echo hello | nc -l -p 8080; done' > /dev/null 2>&1 &")

    def says() -> str:
        command = ["timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{one.floating}/8080 && cat <&3"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert says() == ""
    made = cloud.openstack(
        "security",
        "group",
        "rule",
        "create",
        "default",
        "--protocol",
        "tcp",
        "--dst-port",
        "8080",
        "-f",
        "json",
    )
    until("the opened port answers", lambda: "hello" in says(), 30)
    cloud.openstack("security", "group", "rule", "delete", made["id"])
    until("the closed port is closed", lambda: says() == "", 30)


def test_a_volume_carries_data_from_one_server_to_the_other(
    cloud: RealCloud, servers: tuple[Server, Server]
) -> None:
    one, two = servers
    cloud.openstack("volume", "create", "data", "--size", "1", "-f", "json")
    until("volume", lambda: cloud.openstack("volume", "show", "data", "-f", "json")["status"] == "available")
    cloud.openstack("server", "add", "volume", one.name, "data")
    until("the disk is seen", lambda: one.ssh.tries("test -b /dev/vdb"), 60)
    assert one.ssh("cat /sys/block/vdb/size") == str(2 * 1024 * 1024)
    writer = Login(one.floating, one.ssh.key, user="root")
    writer("echo carried | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null")
    cloud.openstack("server", "remove", "volume", one.name, "data")
    until(
        "detached", lambda: cloud.openstack("volume", "show", "data", "-f", "json")["status"] == "available"
    )
    until("the disk is gone", lambda: one.ssh.tries("test ! -b /dev/vdb"), 60)
    cloud.openstack("server", "add", "volume", two.name, "data")
    until("the disk is seen", lambda: two.ssh.tries("test -b /dev/vdb"), 60)
    reader = Login(two.floating, two.ssh.key, user="root")
    assert reader("dd if=/dev/vdb bs=512 count=1 2>/dev/null | head -n 1").strip("\0") == "carried"
    cloud.openstack("server", "remove", "volume", two.name, "data")
    until(
        "detached", lambda: cloud.openstack("volume", "show", "data", "-f", "json")["status"] == "available"
    )
    cloud.openstack("volume", "delete", "data")


def test_a_switch_deleted_by_hand_comes_back(
    cloud: RealCloud, network: str, servers: tuple[Server, Server]
) -> None:
    key = cloud.openstack("network", "show", network, "-f", "json")["id"]
    before = cloud.switch_ports()

    def row() -> str:
        return cloud.nb(
            "--bare", "--columns=_uuid", "find", "Logical_Switch", f"external_ids:pileus\\:id={key}"
        ).strip()

    cloud.nb("ls-del", row())
    until("the switch is back with its ports", lambda: bool(row()) and cloud.switch_ports() == before, 60)
    servers[0].ssh.wait(60)
    assert " 0% packet loss" in servers[0].ssh(f"ping -c 2 -w 20 {servers[1].fixed}")


def test_stop_and_start_keep_the_server(cloud: RealCloud, servers: tuple[Server, Server]) -> None:
    one = servers[0]
    for verb, status in (
        ("pause", "PAUSED"),
        ("unpause", "ACTIVE"),
        ("suspend", "SUSPENDED"),
        ("resume", "ACTIVE"),
        ("stop", "SHUTOFF"),
        ("start", "ACTIVE"),
    ):
        cloud.openstack("server", verb, one.name)
        until(
            status,
            lambda status=status: (
                cloud.openstack("server", "show", one.name, "-f", "json")["status"] == status
            ),
        )
    one.ssh.wait()
    assert "pileus-guest" in cloud.openstack("console", "log", "show", one.name)


def test_delete_leaves_nothing(cloud: RealCloud, servers: tuple[Server, Server]) -> None:
    ports = {p["ID"] for p in cloud.openstack("port", "list", "--network", "net1", "-f", "json")}
    made = {server.id for server in servers}
    assert made <= cloud.guests()
    for server in servers:
        server.delete()
    assert not made & cloud.guests()
    left = {p["ID"] for p in cloud.openstack("port", "list", "--network", "net1", "-f", "json")}
    gone = ports - left
    assert len(gone) == 2
    until("ports gone in OVN", lambda: not gone & cloud.switch_ports(), 20)
    assert not {server.floating for server in servers} & cloud.nat()
    until("disks gone", lambda: cloud.disks() == set(), 20)
    assert list((cloud.state / "pool" / "configdrives").iterdir()) == []
