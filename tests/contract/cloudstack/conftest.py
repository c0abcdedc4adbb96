"""A whole cloud in memory under CloudStack's face, and clients that sign as CloudStack's own do."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from argon2 import PasswordHasher

import pileus.core.records  # noqa: F401 - every table
from pileus.app.bootstrap import join_host, join_pool
from pileus.config import Config
from pileus.core.block.records import StoragePool
from pileus.core.caller import MEMBER, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains, projects, users
from pileus.core.identity.authentication import credentials, secrets
from pileus.core.identity.authentication.credential_records import CLOUDSTACK
from pileus.core.identity.authorization import roles
from pileus.core.identity.authorization.assignments import Place, grant
from pileus.core.identity.records import Project, ProjectKind, Scope, User
from pileus.core.image import images
from pileus.core.image.records import Image, Visibility
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import PoolFacts
from pileus.faces import cloudstack
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.wire import Kernel
from pileus.store import open_store
from pileus.workflows import catalogue, image_upload
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema
from tests.asgi import Client, Reply

ENDPOINT = "/client/api"
UNSIGNED = "unable to verify user credentials and/or request signature"
DEADLINE = 20.0
FACTS = HostFacts(
    hostname="host-1",
    vcpus=64,
    memory_mib=262_144,
    hypervisor="Simulator",
    version=1_000_000,
    acceleration="tcg",
    reason="simulated",
)
POOL = PoolFacts(total_bytes=1 << 44, used_bytes=0, available_bytes=1 << 44)


class Stack(Client):
    """A client that signs with a user's keys. `call` gives the envelope's content."""

    def __init__(self, app: Kernel, key: str, secret: str, user: User, account: Project) -> None:
        super().__init__(app)
        self.key, self.secret, self.user, self.account = key, secret, user, account

    def signed(self, command: str, **params: Any) -> str:
        """The query, signed."""
        sent = {"command": command, "apikey": self.key, "response": "json"}
        sent |= {name: value if isinstance(value, str) else text(value) for name, value in params.items()}
        query = "&".join(
            f"{name}={quote(value, safe='.-*_')}"
            for name, value in sorted(sent.items(), key=lambda pair: pair[0].lower())
        )
        digest = hmac.new(self.secret.encode(), query.lower().encode(), hashlib.sha1).digest()
        return f"{query}&signature={quote(base64.b64encode(digest).decode(), safe='')}"

    async def ask(self, command: str, **params: Any) -> Reply:
        return await self.get(f"{ENDPOINT}?{self.signed(command, **params)}")

    async def call(self, command: str, **params: Any) -> Any:
        """Must go well; what is answered is as the catalogue says."""
        reply = await self.ask(command, **params)
        assert reply.status == 200, f"{command} {params}: {reply.status} {reply.text}"
        (envelope, content), *more = reply.json().items()
        assert (envelope, more) == (COMMANDS[command].entry.envelope, [])
        check(command, content)
        return content

    async def refused(self, command: str, code: int, **params: Any) -> str:
        """Must be refused with this code; gives the text."""
        reply = await self.ask(command, **params)
        (content,) = reply.json().values()
        assert (reply.status, content["errorcode"]) == (code, code), f"{command} {params}: {reply.text}"
        return str(content["errortext"])

    async def job(self, worker: Worker, command: str, **params: Any) -> Any:
        """An asynchronous command to its end: the job's result."""
        started = await self.call(command, **params)
        async with asyncio.timeout(DEADLINE):
            await worker.idle()
        done = await self.call("queryAsyncJobResult", jobid=started["jobid"])
        assert done["jobstatus"] == 1, done
        return done["jobresult"]

    async def failed(self, worker: Worker, command: str, **params: Any) -> Any:
        started = await self.call(command, **params)
        async with asyncio.timeout(DEADLINE):
            await worker.idle()
        done = await self.call("queryAsyncJobResult", jobid=started["jobid"])
        assert (done["jobstatus"], done["jobresultcode"]) == (2, done["jobresult"]["errorcode"]), done
        return done["jobresult"]


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check(command: str, content: dict[str, Any]) -> None:
    """No field that CloudStack's object does not have, nothing that is null."""
    entry = COMMANDS[command].entry
    found = content.get(COMMANDS[command].object, [])
    known = CATALOGUE.fields(entry.response)
    for shown in found if isinstance(found, list) else [found]:
        if known and isinstance(shown, dict):
            unknown = shown.keys() - known.keys() - {"jobid", "jobstatus"}
            assert not unknown, f"{command} shows what {entry.response} does not have: {unknown}"
            assert None not in shown.values(), f"{command} shows null: {shown}"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state=tmp_path / "state", simulate=1)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
async def cloud(config: Config, tmp_path: Path) -> AsyncIterator[Cloud]:
    """After the first start."""
    url = f"sqlite:///{tmp_path / 'pileus.db'}"
    await schema.start(url, config)
    store = await open_store(url)
    try:
        yield Cloud(config, store)
    finally:
        await store.close()


@pytest.fixture
async def site(cloud: Cloud) -> Site:
    """With one simulated host."""
    catalogue.load()
    async with cloud.view() as look:
        pool = (await look.list(StoragePool))[0]
    host = await join_host(cloud, "simulator", FACTS, POOL)
    await join_pool(cloud, pool, POOL)
    return Site(
        cloud,
        hypervisors={host.id: SimulatedHypervisor(host.id, FACTS)},
        network=FakeNetwork(),
        pools={pool.id: MemoryPool()},
        images=MemoryImages(),
    )


@pytest.fixture
async def worker(site: Site) -> AsyncIterator[Worker]:
    worker = Worker(site)
    await worker.start()
    try:
        await worker.idle()
        yield worker
    finally:
        await worker.stop()


@pytest.fixture
def kernel(site: Site, worker: Worker) -> Kernel:
    made = Kernel((), cloud=site.cloud, site=site, access_log=False)
    cloudstack.mount(made)
    return made


async def stack(kernel: Kernel, cloud: Cloud, name: str) -> Stack:
    async with cloud.view() as look:
        user = await look.one(User, name=name)
        assert user is not None
        assert user.account is not None
        account = await look.get(Project, user.account)
    (held,) = await credentials.list_all(cloud, system(), user.id, CLOUDSTACK)
    return Stack(kernel, held.credential.access, held.secret, user, account)


@pytest.fixture
async def admin(kernel: Kernel, cloud: Cloud) -> Stack:
    return await stack(kernel, cloud, "admin")


@pytest.fixture
async def member(kernel: Kernel, cloud: Cloud) -> Stack:
    return await stack(kernel, cloud, "demo")


async def give(cloud: Cloud, caller: Caller, user: UUID, role: str, place: Place) -> None:
    found = await roles.list_all(cloud, caller, name=role)
    await grant(cloud, caller, user, found[0].id, place)


@pytest.fixture
async def other(kernel: Kernel, cloud: Cloud) -> Stack:
    """Of an account that the others have nothing to do with."""
    await account(cloud, "other", domains.ROOT)
    return await stack(kernel, cloud, "other")


async def account(cloud: Cloud, name: str, domain: UUID) -> tuple[User, Project]:
    """An account with one user of its name and with keys."""
    me = system()
    project = await projects.create(
        cloud, me, projects.CreateProject(name=name, domain=domain, kind=ProjectKind.ACCOUNT)
    )
    want = users.CreateUser(name=name, domain=domain, password="secret", account=project.id)
    user = await users.create(cloud, me, want)
    await give(cloud, me, user.id, MEMBER, Place(Scope.PROJECT, project.id))
    await credentials.renew(cloud, me, user.id)
    return user, project


@pytest.fixture
async def image(site: Site, admin: Stack) -> Image:
    """A public template with content."""
    me = system()
    want = images.Create(
        project=admin.account.id,
        name="guest",
        visibility=Visibility.PUBLIC,
        featured=True,
        disk_format="raw",
        container_format="bare",
    )
    made = await images.create(site.cloud, me, want)
    assert isinstance(made, Image)

    async def content() -> AsyncIterator[bytes]:
        yield b"\0" * 4096

    return await image_upload.receive(site, me, made.id, content())


@pytest.fixture
async def place(member: Stack, image: Image) -> dict[str, str]:
    """What every machine needs: zone, offering and template."""
    zone = (await member.call("listZones"))["zone"][0]["id"]
    offerings = (await member.call("listServiceOfferings"))["serviceoffering"]
    size = next(each["id"] for each in offerings if each["name"] == "small")
    return {"zoneid": zone, "serviceofferingid": size, "templateid": str(image.id)}
