"""A whole cloud in memory under the OpenStack faces: real store, real worker, simulated platforms."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from argon2 import PasswordHasher

import pileus.core.records
import pileus.faces.openstack
import pileus.workflows
from pileus.app.bootstrap import join_host, join_pool
from pileus.config import Config
from pileus.core.block.records import StoragePool
from pileus.core.caller import ADMIN, MEMBER, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains, projects, users
from pileus.core.identity.authentication import secrets, tokens
from pileus.core.identity.authorization import roles
from pileus.core.identity.authorization.assignments import Place, grant
from pileus.core.identity.records import Project, Scope, User
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import PoolFacts
from pileus.faces.wire import Kernel, Service
from pileus.store import open_store
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema
from tests.asgi import Client

FACTS = HostFacts(
    hostname="host-1",
    vcpus=64,
    memory_mib=262_144,
    hypervisor="Simulator",
    version=1_000_000,
    acceleration="tcg",
    reason="simulated",
)
POOL_FACTS = PoolFacts(total_bytes=1 << 44, used_bytes=0, available_bytes=1 << 44)


class Person(Client):
    """A client that speaks for one user in one project."""

    def __init__(self, app: Kernel, token: str, user: User, project: Project) -> None:
        super().__init__(app, {"x-auth-token": token})
        self.token, self.user, self.project = token, user, project


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state=tmp_path / "state", simulate=1)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm with the least work: tests log in often."""
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
async def platform(cloud: Cloud) -> Site:
    """With one simulated host."""
    for module in pkgutil.iter_modules(pileus.workflows.__path__):
        importlib.import_module(f"pileus.workflows.{module.name}")
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
    )


@pytest.fixture
async def worker(platform: Site) -> AsyncIterator[Worker]:
    """At work; `await worker.idle()` returns when nothing is left to do."""
    worker = Worker(platform)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


@pytest.fixture
def site(platform: Site, worker: Worker) -> Site:
    """The whole, with the worker running."""
    return platform


def packages() -> list[str]:
    """Of every service with declared operations: OpenStack's and the console."""
    found = pkgutil.iter_modules(pileus.faces.openstack.__path__)
    return [
        *(f"pileus.faces.openstack.{module.name}" for module in found if module.ispkg),
        "pileus.faces.console",
    ]


def services(package: str) -> list[Service]:
    module = importlib.import_module(package)
    return list(getattr(module, "SERVICES", None) or [module.SERVICE])


def usable() -> Iterator[Service]:
    """All services with declared operations."""
    for package in packages():
        yield from services(package)


@cache
def whole() -> Kernel:
    """Built once: its routes and policies are the same for every cloud."""
    return Kernel(usable(), access_log=False)


@pytest.fixture
def kernel(site: Site) -> Kernel:
    return whole().serving(site.cloud, site)


async def person(kernel: Kernel, cloud: Cloud, name: str) -> Person:
    """The first user of that name, in the project of the same name."""
    async with cloud.view() as look:
        user = await look.one(User, name=name)
        assert user is not None
        project = await look.one(Project, name=name)
        assert project is not None
    return Person(kernel, token(cloud, user.id, Scope.PROJECT, project.id), user, project)


def token(cloud: Cloud, user: UUID, scope: Scope | None, target: UUID = tokens.NIL) -> str:
    """As a log-in by password issues it, without its hash."""
    now = cloud.now()
    return tokens.of(cloud).issue(
        tokens.Token(
            user=user,
            methods=("password",),
            scope=scope,
            target=target,
            audit=(tokens.new_audit_id(),),
            issued_at=now,
            expires_at=now + timedelta(seconds=cloud.config.token_seconds),
        )
    )


@pytest.fixture
async def admin(kernel: Kernel, cloud: Cloud) -> Person:
    return await person(kernel, cloud, ADMIN)


@pytest.fixture
async def member(kernel: Kernel, cloud: Cloud) -> Person:
    return await person(kernel, cloud, "demo")


@pytest.fixture
async def other(kernel: Kernel, cloud: Cloud) -> Person:
    """A member of a project that the others have nothing to do with."""
    me = system()
    project = await projects.create(cloud, me, projects.CreateProject(name="other", domain=domains.ROOT))
    user = await users.create(
        cloud, me, users.CreateUser(name="other", domain=domains.ROOT, password="secret")
    )
    await give(cloud, me, user.id, MEMBER, Place(Scope.PROJECT, project.id))
    return await person(kernel, cloud, "other")


async def give(cloud: Cloud, caller: Caller, user: UUID, role: str, place: Place) -> None:
    found = await roles.list_all(cloud, caller, name=role)
    await grant(cloud, caller, user, found[0].id, place)


@pytest.fixture(params=packages())
def package(request: pytest.FixtureRequest) -> str:
    """Each service's package."""
    return str(request.param)


@pytest.fixture
def exported(package: str) -> list[Service]:
    return services(package)
