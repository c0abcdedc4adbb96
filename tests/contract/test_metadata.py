"""What a guest reads at 169.254.169.254, in three forms, and that it reads nobody else's."""

import asyncio
import base64
from typing import Any
from uuid import UUID

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from pileus.faces import metadata
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.asgi import Client
from tests.contract.openstack.conftest import *  # noqa: F403 (its fixtures)
from tests.contract.openstack.conftest import Person

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"
SCRIPT = b"#!/bin/sh\necho hello\n"


class Guest:
    """Speaks to the service of a network from one address, whatever it claims in its headers."""

    def __init__(self, site: Site, network: str, address: str) -> None:
        served = metadata.application(site, UUID(network))

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await served({**scope, "client": (address, 40000)}, receive, send)

        self.client = Client(app, host="169.254.169.254")

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        reply = await self.client.get(path, headers=headers)
        return reply.status, reply.text


@pytest.fixture
async def server(member: Person, admin: Person, worker: Worker) -> dict[str, Any]:
    """A server with a key, user data and metadata, on a network of its own."""
    image = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = (await admin.post("/image/v2/images", json=image)).json()
    octets = {"content-type": "application/octet-stream"}
    assert (
        await admin.put(f"/image/v2/images/{made['id']}/file", data=b"\0" * 1024, headers=octets)
    ).status == 204
    network = (await member.post("/network/v2.0/networks", json={"network": {"name": "n"}})).json()["network"]
    subnet = {"network_id": network["id"], "cidr": "10.3.0.0/24", "ip_version": 4}
    assert (await member.post("/network/v2.0/subnets", json={"subnet": subnet})).status == 201
    pair = {"keypair": {"name": "me", "public_key": KEY}}
    assert (await member.post("/compute/v2.1/os-keypairs", json=pair)).status in (200, 201)
    wanted = {
        "name": "My Server",
        "flavorRef": "1",
        "imageRef": made["id"],
        "key_name": "me",
        "networks": [{"uuid": network["id"]}],
        "metadata": {"role": "web"},
        "user_data": base64.b64encode(SCRIPT).decode(),
    }
    reply = await member.post("/compute/v2.1/servers", json={"server": wanted})
    assert reply.status == 202, reply.text
    await worker.idle()
    shown = (await member.get(f"/compute/v2.1/servers/{reply.json()['server']['id']}")).json()["server"]
    assert shown["status"] == "ACTIVE"
    return {"id": shown["id"], "network": network["id"], "address": shown["addresses"]["n"][0]["addr"]}


@pytest.fixture
def guest(site: Site, server: dict[str, Any]) -> Guest:
    return Guest(site, server["network"], server["address"])


async def test_the_openstack_tree(guest: Guest, server: dict[str, Any]) -> None:
    status, text = await guest.get("/openstack")
    assert status == 200
    assert "latest" in text.split()
    from msgspec.json import decode

    for version in ("latest", "2018-08-27"):
        told = decode((await guest.get(f"/openstack/{version}/meta_data.json"))[1])
        assert (told["uuid"], told["name"], told["hostname"]) == (server["id"], "My Server", "my-server")
        assert told["meta"] == {"role": "web"}
        assert told["public_keys"] == {"me": KEY}
        assert "admin_pass" not in told
    assert await guest.get("/openstack/latest/user_data") == (200, SCRIPT.decode())
    network = decode((await guest.get("/openstack/latest/network_data.json"))[1])
    assert [each["type"] for each in network["networks"]] == ["ipv4_dhcp"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/latest/meta-data/local-hostname", "my-server"),
        ("/latest/meta-data/public-keys/", "0=me"),
        ("/latest/meta-data/public-keys/0/openssh-key", f"{KEY}\n"),
        ("/2009-04-04/meta-data/placement/availability-zone", "nova"),
        ("/latest/user-data", SCRIPT.decode()),
        ("/latest/meta-data/service-offering", "tiny"),
    ],
)
async def test_the_ec2_and_cloudstack_trees(guest: Guest, path: str, content: str) -> None:
    assert await guest.get(path) == (200, content)


async def test_listings_name_what_can_be_read(guest: Guest, server: dict[str, Any]) -> None:
    names = (await guest.get("/latest/meta-data/"))[1].split("\n")
    assert {"instance-id", "local-ipv4", "vm-id", "service-offering", "public-keys/"} <= set(names)
    for name in names:
        status, text = await guest.get(f"/latest/meta-data/{name}")
        assert (status, bool(text) or name in ("public-ipv4", "security-groups", "cloud-identifier")) in (
            (200, True),
            (200, False),
        )
    assert await guest.get("/latest/meta-data/vm-id") == (200, server["id"])
    assert await guest.get("/latest/meta-data/local-ipv4") == (200, server["address"])


@pytest.mark.parametrize(
    "path", ["/nothing", "/openstack/1999-01-01", "/latest/meta-data/nothing", "/latest/dynamic"]
)
async def test_what_is_not_there_is_not_found(guest: Guest, path: str) -> None:
    assert (await guest.get(path))[0] == 404


async def test_an_address_that_is_no_servers_learns_nothing(site: Site, server: dict[str, Any]) -> None:
    stranger = Guest(site, server["network"], "10.3.0.77")
    lies = {"x-forwarded-for": server["address"], "x-instance-id": server["id"]}
    assert (await stranger.get("/openstack/latest/meta_data.json", **lies))[0] == 404


async def test_nothing_can_be_written(guest: Guest) -> None:
    assert (await guest.client.post("/openstack/latest/password", data=b"x")).status == 405


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("my-server", "A", "NOERROR", 1),
        ("my-server.pileus.local", "A", "NOERROR", 1),
        ("MY-SERVER.pileus.local", "A", "NOERROR", 1),
        ("my-server", "AAAA", "NOERROR", 0),
        ("my-server", "MX", "NOERROR", 0),
        ("nobody", "A", "NXDOMAIN", 0),
        ("nobody.pileus.local", "AAAA", "NXDOMAIN", 0),
        ("example.org", "A", "SERVFAIL", 0),
    ],
)
async def test_the_resolver_answers_every_question_at_once(
    site: Site, server: dict[str, Any], name: str, kind: str, code: str, answers: int
) -> None:
    resolver = metadata.Resolver(site, UUID(server["network"]))
    question = dns.message.make_query(name, kind)
    answer = dns.message.from_wire((await resolver.answer(question)).to_wire())
    assert (dns.rcode.to_text(answer.rcode()), len(answer.answer)) == (code, answers)
    assert answer.id == question.id
    if answers:
        assert [each.address for each in answer.answer[0]] == [server["address"]]


async def test_the_resolver_survives_what_is_no_question(site: Site, server: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    transport, resolver = await loop.create_datagram_endpoint(
        lambda: metadata.Resolver(site, UUID(server["network"])), local_addr=("127.0.0.1", 0)
    )
    address = transport.get_extra_info("sockname")
    try:
        for junk in (b"", b"\0" * 11, b"\xff" * 600, bytes(range(256))):
            resolver.datagram_received(junk, ("127.0.0.1", 9))
        reply = await dns.asyncquery.udp(
            dns.message.make_query("my-server", "A"), address[0], port=address[1], timeout=20
        )
        assert len(reply.answer) == 1
    finally:
        transport.close()
