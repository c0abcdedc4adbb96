"""A cloud in which two projects own one of everything, and which is put back after each request that changed it."""

import asyncio
import base64
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from pileus.app.bootstrap import join_host, join_pool
from pileus.config import Config
from pileus.core import alerts
from pileus.core.block.records import StoragePool
from pileus.core.caller import ADMIN, MEMBER, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains, projects, users
from pileus.core.identity.authentication import credentials, secrets, tokens
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import ProjectKind, Scope
from pileus.core.identity.services.catalogue import service_key
from pileus.core.operations import Operation
from pileus.drivers.faults import Faulty
from pileus.drivers.federation.fake import FakeOpenId
from pileus.drivers.federation.saml import SamlMessages
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.mail.fake import FakeMailer
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.faces.wire import Kernel, Service
from pileus.store import REGISTRY, open_store
from pileus.workflows import catalogue
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema
from tests.contract import samples
from tests.contract.openstack.conftest import FACTS, POOL_FACTS, Person, give, person, usable

DEADLINE = 20.0
ITEM = {"item": "value"}
Row = tuple[Any, ...]
Tables = dict[str, list[Row]]
KEPT = frozenset({"counter"})
"""Numbers that only grow, and by which processes know that what they remember is old: never put back."""
COUNTED = frozenset({"login_failure"})
"""What a refused try leaves behind, so that the next ones have to wait: put back, and not told."""


class Database:
    """Looks at the file behind the store's back: whether anything was committed, and what it was."""

    def __init__(self, path: Path) -> None:
        self._rows = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._version = self._data_version()
        self.base: Tables = {}

    def close(self) -> None:
        self._rows.close()

    def keep(self) -> None:
        """What is there now is how it shall be."""
        self.base, self._version = self._read(), self._data_version()

    def changes(self) -> list[str]:
        """What differs from how it shall be, and puts it back; cheap where nothing was committed."""
        version = self._data_version()
        if version == self._version:
            return []
        found, now = [], self._read()
        self._rows.execute("BEGIN IMMEDIATE")
        for table, rows in now.items():
            if rows == self.base[table] or table in KEPT:
                continue
            known, seen = set(self.base[table]), set(rows)
            gone = [row for row in self.base[table] if row not in seen]
            new = [row for row in rows if row not in known]
            if table not in COUNTED:
                found.append(f"{table}: -{len(gone)} +{len(new)} {str(new or gone)[:160]}")
            if gone:
                self._rewrite(table)
            else:
                self._remove(table, new)
        self._rows.execute("COMMIT")
        self._version = self._data_version()
        return found

    def _rewrite(self, table: str) -> None:
        """All of it, so that the rows come in the same order."""
        self._rows.execute(f'DELETE FROM "{table}"')
        marks = ", ".join("?" * len(self.base[table][0]))
        self._rows.executemany(f'INSERT INTO "{table}" VALUES ({marks})', self.base[table])

    def _remove(self, table: str, rows: list[Row]) -> None:
        layout = REGISTRY.layouts[table]
        places = [list(layout.table.columns.keys()).index(name) for name in layout.key]
        where = " AND ".join(f'"{name}" = ?' for name in layout.key)
        keys = [tuple(row[place] for place in places) for row in rows]
        self._rows.executemany(f'DELETE FROM "{table}" WHERE {where}', keys)

    def _data_version(self) -> int:
        (number,) = self._rows.execute("PRAGMA data_version").fetchone()
        return int(number)

    def _read(self) -> Tables:
        return {
            layout.name: self._rows.execute(f'SELECT * FROM "{layout.name}"').fetchall()
            for layout in REGISTRY
        }


@dataclass
class Owned:
    """One of everything that a project can own, by kind; the texts are as paths and bodies name them."""

    ids: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> str:
        return self.ids[kind]

    def __setitem__(self, kind: str, value: str) -> None:
        self.ids[kind] = value


@dataclass
class World:
    kernel: Kernel
    cloud: Cloud
    site: Site
    database: Database
    admin: Person
    member: Person
    other: Person
    services: dict[str, Service]
    shared: dict[str, str] = field(default_factory=dict)
    own: Owned = field(default_factory=Owned)
    foreign: Owned = field(default_factory=Owned)
    """The ones of `member`, and of `other`."""

    @property
    def platforms(self) -> list[Faulty]:
        every = (
            *self.site.hypervisors.values(),
            self.site.network,
            *self.site.pools.values(),
            self.site.images,
        )
        return [platform for platform in every if isinstance(platform, Faulty)]


Furnish = Callable[[World], Awaitable[None]]


@contextmanager
def cheap_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@asynccontextmanager
async def opened(directory: Path, *, also: Furnish | None = None) -> AsyncIterator[World]:
    """The whole, with nothing left to do and no worker: from here on only requests change anything.

    `also` mounts and makes more, while the worker is still there.
    """
    with cheap_hashes():
        config = Config(state=directory / "state", simulate=1)
        path = directory / "pileus.db"
        await schema.start(f"sqlite:///{path}", config)
        store = await open_store(f"sqlite:///{path}")
        try:
            world = await make(Cloud(config, store), path, also)
            try:
                yield world
            finally:
                world.database.close()
        finally:
            await store.close()


async def make(cloud: Cloud, path: Path, also: Furnish | None) -> World:
    site = await platform(cloud)
    serving = list(usable())
    kernel = Kernel(
        serving,
        cloud=cloud,
        site=site,
        access_log=False,
        max_body_bytes=cloud.config.max_body_bytes,
        max_upload_bytes=cloud.config.max_image_bytes,
    )
    me = system()
    project = await projects.create(
        cloud, me, projects.CreateProject(name="other", domain=domains.ROOT, kind=ProjectKind.ACCOUNT)
    )
    want = users.CreateUser(name="other", domain=domains.ROOT, password="secret", account=project.id)
    user = await users.create(cloud, me, want)
    await credentials.renew(cloud, me, user.id)
    await give(cloud, me, user.id, MEMBER, Place(Scope.PROJECT, project.id))
    people = [await person(kernel, cloud, name) for name in (ADMIN, "demo", "other")]
    world = World(
        kernel, cloud, site, Database(path), *people, services={service.name: service for service in serving}
    )
    worker = Worker(site)
    await worker.start()
    try:
        await share(world)
        await furnish(world, world.member, world.own, "10.20.0.0/24")
        await furnish(world, world.other, world.foreign, "10.30.0.0/24")
        if also is not None:
            await also(world)
        async with asyncio.timeout(DEADLINE):
            await worker.idle()
    finally:
        await worker.stop()
    world.database.keep()
    return world


async def platform(cloud: Cloud) -> Site:
    catalogue.load()
    async with cloud.view() as look:
        pool = (await look.list(StoragePool))[0]
    host = await join_host(cloud, "simulator", FACTS, POOL_FACTS)
    await join_pool(cloud, pool, POOL_FACTS)
    return Site(
        cloud,
        hypervisors={host.id: SimulatedHypervisor(host.id, FACTS)},
        network=FakeNetwork(),
        pools={pool.id: MemoryPool()},
        images=MemoryImages(),
        mail=FakeMailer(),
        openid=FakeOpenId(),
        saml=SamlMessages(),
    )


async def ask(who: Person, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    """A request that must go well."""
    reply = await who.request(method, path, **({} if body is None else {"json": body}), **more)
    assert 200 <= reply.status < 300, f"{method} {path}: {reply.status} {reply.text[:500]}"
    found: dict[str, Any] = reply.json() if reply.body else {}
    return found


async def add(who: Person, path: str, one: str, **values: Any) -> str:
    return str((await ask(who, "POST", path, {one: values}))[one]["id"])


async def share(world: World) -> None:
    """What everybody sees."""
    admin, shared = world.admin, world.shared
    await ask(admin, "GET", "/network/v2.0/security-groups")
    networks = (await ask(admin, "GET", "/network/v2.0/networks?router:external=true"))["networks"]
    shared["external"] = networks[0]["id"]
    shared["external_subnet"] = networks[0]["subnets"][0]
    shared["project"], shared["user"] = admin.project.id.hex, admin.user.id.hex
    shared["domain"] = "default"
    shared["service"] = service_key("compute").hex
    rooms = {"service_id": shared["service"], "resource_name": "rooms", "default_limit": 5}
    made = await ask(admin, "POST", "/identity/v3/registered_limits", {"registered_limits": [rooms]})
    shared["registered_limit"] = made["registered_limits"][0]["id"]
    (role,) = (await ask(admin, "GET", "/identity/v3/roles?name=reader"))["roles"]
    shared["role"] = role["id"]
    await share_federation(admin)
    if "compute" in world.services:
        await ask(admin, "POST", "/compute/v2.1/os-aggregates", {"aggregate": {"name": "racks"}})


async def share_federation(admin: Person) -> None:
    """A provider that can be asked, and a cloud to go to."""
    federation, provider = "/identity/v3/OS-FEDERATION", {"enabled": True, "domain_id": "default"}
    await ask(admin, "PUT", f"{federation}/identity_providers/idp", {"identity_provider": provider})
    await ask(admin, "PUT", f"{federation}/mappings/rules", {"mapping": {"rules": samples.RULES}})
    protocol = {"protocol": {"mapping_id": "rules"}}
    await ask(admin, "PUT", f"{federation}/identity_providers/idp/protocols/openid", protocol)
    sky = {"auth_url": "https://sky.example/auth", "sp_url": "https://sky.example/ecp"}
    await ask(admin, "PUT", f"{federation}/service_providers/sky", {"service_provider": sky})
    settings = {"openid": {"issuer": "https://idp.example", "client": "pileus"}}
    await ask(admin, "PUT", "/console/identity-providers/idp/settings", {"settings": settings})


async def furnish(world: World, who: Person, owned: Owned, cidr: str) -> None:
    """Through the APIs, as its owner would."""
    owned["project"], owned["user"] = who.project.id.hex, who.user.id.hex
    await furnish_network(world, who, owned, cidr)
    await furnish_image(who, owned)
    if "compute" in world.services:
        await furnish_compute(who, owned)
    if "volume" in world.services:
        await furnish_volume(world, who, owned)
    await furnish_identity(world, who, owned)
    await furnish_console(world, who, owned)


async def furnish_console(world: World, who: Person, owned: Owned) -> None:
    async with world.cloud.view() as look:
        built = await look.one(Operation, subject=UUID(owned["server"]), workflow="server.deploy")
    assert built is not None
    owned["operation"] = str(built.id)
    async with world.cloud.transaction() as tx:
        about = {"subject": built.subject, "subject_kind": "server", "project": built.project}
        alert = await alerts.raise_(tx, alerts.Finding(kind="guest lost", text="It was gone.", **about))
    owned["alert"] = str(alert.id)
    owned["webhook"] = await add(who, "/console/webhooks", "webhook", name="h", url="http://192.0.2.1/")
    sent = await ask(who, "POST", f"/console/webhooks/{owned['webhook']}/test")
    owned["delivery"] = sent["delivery"]["id"]


TAGGED = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "floatingips": "floating_ip",
    "security-groups": "security_group",
}


async def furnish_network(world: World, who: Person, owned: Owned, cidr: str) -> None:
    v2 = "/network/v2.0"
    owned["network"] = await add(who, f"{v2}/networks", "network", name="net")
    owned["subnet"] = await add(
        who, f"{v2}/subnets", "subnet", network_id=owned["network"], ip_version=4, cidr=cidr
    )
    gateway = {"network_id": world.shared["external"]}
    owned["router"] = await add(who, f"{v2}/routers", "router", name="r", external_gateway_info=gateway)
    interface = f"{v2}/routers/{owned['router']}/add_router_interface"
    await ask(who, "PUT", interface, {"subnet_id": owned["subnet"]})
    owned["security_group"] = await add(who, f"{v2}/security-groups", "security_group", name="web")
    owned["security_rule"] = await add(
        who,
        f"{v2}/security-group-rules",
        "security_group_rule",
        security_group_id=owned["security_group"],
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
    )
    owned["port"] = await add(who, f"{v2}/ports", "port", network_id=owned["network"], name="port")
    owned["floating_ip"] = await add(
        who, f"{v2}/floatingips", "floatingip", floating_network_id=world.shared["external"]
    )
    owned["forwarding"] = await add(
        who,
        f"{v2}/floatingips/{owned['floating_ip']}/port_forwardings",
        "port_forwarding",
        protocol="tcp",
        internal_port_id=owned["port"],
        internal_port=22,
        external_port=2222,
    )
    for collection, kind in TAGGED.items():
        await ask(who, "PUT", f"{v2}/{collection}/{owned[kind]}/tags/tag")


async def furnish_image(who: Person, owned: Owned) -> None:
    made = await ask(
        who, "POST", "/image/v2/images", {"name": "img", "disk_format": "raw", "container_format": "bare"}
    )
    owned["image"] = made["id"]
    content = {"content-type": "application/octet-stream"}
    await ask(who, "PUT", f"/image/v2/images/{made['id']}/file", headers=content, data=b"\0" * 1024)
    await ask(who, "PUT", f"/image/v2/images/{made['id']}/tags/tag")
    await until(who, f"/image/v2/images/{made['id']}", lambda shown: shown["status"] == "active")


async def furnish_compute(who: Person, owned: Owned) -> None:
    v21, latest = "/compute/v2.1", {"openstack-api-version": "compute latest"}
    owned["key_pair"] = f"key-{who.project.name}"
    pair = {"keypair": {"name": owned["key_pair"], "public_key": public_key(), "type": "ssh"}}
    await ask(who, "POST", f"{v21}/os-keypairs", pair, headers=latest)
    body = {
        "name": "web",
        "flavorRef": "1",
        "imageRef": owned["image"],
        "networks": [{"uuid": owned["network"]}],
        "metadata": ITEM,
        "tags": ["tag"],
    }
    reply = await ask(who, "POST", f"{v21}/servers", {"server": body}, headers=latest)
    owned["server"] = path = reply["server"]["id"]
    await until(who, f"{v21}/servers/{path}", lambda shown: shown["server"]["status"] == "ACTIVE")
    owned["server_group"] = await add(
        who, f"{v21}/os-server-groups", "server_group", name="g", policies=["affinity"]
    )
    actions = await ask(who, "GET", f"{v21}/servers/{path}/os-instance-actions")
    owned["action"] = actions["instanceActions"][0]["request_id"]
    (interface,) = (await ask(who, "GET", f"{v21}/servers/{path}/os-interface"))["interfaceAttachments"]
    owned["interface"] = interface["port_id"]


async def furnish_volume(world: World, who: Person, owned: Owned) -> None:
    v3 = world.services["volume"].prefix + f"/{who.project.id.hex}"
    owned["volume"] = await add(who, f"{v3}/volumes", "volume", size=1, name="disk", metadata=ITEM)
    await until(
        who, f"{v3}/volumes/{owned['volume']}", lambda shown: shown["volume"]["status"] == "available"
    )
    owned["snapshot"] = await add(
        who, f"{v3}/snapshots", "snapshot", volume_id=owned["volume"], name="snap", metadata=ITEM
    )
    await until(
        who, f"{v3}/snapshots/{owned['snapshot']}", lambda shown: shown["snapshot"]["status"] == "available"
    )
    owned["attached"] = await add(who, f"{v3}/volumes", "volume", size=1, name="attached")
    path = f"{v3}/volumes/{owned['attached']}"
    await until(who, path, lambda shown: shown["volume"]["status"] == "available")
    if "server" in owned.ids:
        attach = f"/compute/v2.1/servers/{owned['server']}/os-volume_attachments"
        await ask(who, "POST", attach, {"volumeAttachment": {"volumeId": owned["attached"]}})
        await until(who, path, lambda shown: shown["volume"]["status"] == "in-use")


async def furnish_identity(world: World, who: Person, owned: Owned) -> None:
    path = f"/identity/v3/users/{owned['user']}"
    made = await add(who, f"{path}/application_credentials", "application_credential", name="robot")
    owned["application_credential"] = made
    rule = {"service": "compute", "method": "GET", "path": "/v2.1/servers"}
    await add(
        who, f"{path}/application_credentials", "application_credential", name="bound", access_rules=[rule]
    )
    rules = (await ask(who, "GET", f"{path}/access_rules"))["access_rules"]
    owned["access_rule"] = rules[0]["id"]
    owned["trust"] = await add(
        who,
        "/identity/v3/OS-TRUST/trusts",
        "trust",
        trustor_user_id=owned["user"],
        trustee_user_id=world.admin.user.id.hex,
        project_id=owned["project"],
        roles=[{"name": "member"}, {"id": world.shared["role"]}],
        impersonation=False,
    )
    await ask(world.admin, "PUT", f"/identity/v3/projects/{owned['project']}/tags/tag")
    rooms = {"service_id": world.shared["service"], "resource_name": "rooms", "resource_limit": 1}
    limits = {"limits": [{**rooms, "project_id": owned["project"]}]}
    owned["unified_limit"] = (await ask(world.admin, "POST", "/identity/v3/limits", limits))["limits"][0][
        "id"
    ]
    owned["group"] = await add(world.admin, "/identity/v3/groups", "group", name=f"of {who.project.name}")
    await ask(world.admin, "PUT", f"/identity/v3/groups/{owned['group']}/users/{owned['user']}")
    secret = {"type": "cert", "blob": "hidden", "user_id": owned["user"]}
    owned["credential"] = await add(who, "/identity/v3/credentials", "credential", **secret)
    ec2 = {"tenant_id": owned["project"]}
    owned["ec2"] = (await ask(who, "POST", f"{path}/credentials/OS-EC2", ec2))["credential"]["access"]


async def until(who: Person, path: str, right: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not right(shown := await ask(who, "GET", path)):
        assert time.monotonic() < end, f"{path}: {shown}"
        await asyncio.sleep(0.005)


def public_key() -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} somebody"


def expired(world: World, who: Person) -> str:
    """A token that was good an hour ago."""
    then = world.cloud.now() - timedelta(hours=2)
    return tokens.of(world.cloud).issue(
        tokens.Token(
            user=who.user.id,
            methods=("password",),
            scope=Scope.PROJECT,
            target=who.project.id,
            audit=(tokens.new_audit_id(),),
            issued_at=then,
            expires_at=then + timedelta(hours=1),
        )
    )


def names(world: World, owned: Owned) -> Mapping[str, str]:
    """Everything by kind: what everybody sees, and what the owner has."""
    return {**world.shared, **owned.ids}
