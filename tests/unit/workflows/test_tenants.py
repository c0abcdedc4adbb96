"""The end of an account and of a project with everything in it, and their suspension, by enumeration of the steps."""

import asyncio
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from pileus.core.caller import system
from pileus.core.compute import server_groups, servers
from pileus.core.compute.records import Affinity, ServerGroup, State
from pileus.core.errors import InUse
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, Project, ProjectKind, User
from pileus.core.identity.tenancy import tenants
from pileus.core.image.records import Image
from pileus.core.network import isolated, networks, ports, routers, subnets
from pileus.core.network.networks import NetworkWant
from pileus.core.network.ports import PortWant
from pileus.core.network.routers import RouterWant
from pileus.core.network.subnets import SubnetWant
from pileus.core.operations import Operation, Outcome
from pileus.core.quota import Usage
from pileus.workflows import tenant_delete, tenant_suspend
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.deleting import DELETE, active, external, group, in_use, quick
from tests.unit.workflows.storage import World, world
from tests.unit.workflows.test_servers import WHENS, breaking, names, twice, with_step

__all__ = ["quick", "world"]

PROJECT, ACCOUNT = ProjectKind.PROJECT, ProjectKind.ACCOUNT
STEPS = [step.name for step in tenant_delete.STEPS]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tenant_delete, tenant_suspend):
        monkeypatch.setattr(module, "LOOK_AGAIN", 0.005)


async def tenant(world: World, kind: ProjectKind) -> UUID:
    """The project that the world's caller works in, as a record; an account with a user."""
    key, now = world.caller.home, world.cloud.now()
    async with world.cloud.transaction() as tx:
        if await tx.maybe(Domain, ROOT) is None:
            await tx.add(Domain(id=ROOT, name="Default", created_at=now))
        await tx.add(Project(id=key, domain=ROOT, name="t", kind=kind, created_at=now))
        if kind is ACCOUNT:
            await tx.add(User(id=uuid4(), domain=ROOT, name="u", account=key, created_at=now))
    return key


async def furnish(world: World, *, server: bool = True) -> None:
    """Something of everything that is owned, some of it in the way of the rest."""
    cloud, caller = world.cloud, world.caller
    volume = (await in_use(world))[0] if server else await world.volume()
    await world.snapshot(volume)
    await world.volume()
    image = await world.image()
    async with cloud.transaction() as tx:
        held = await tx.get(Image, image.id)
        await tx.put(replace(held, protected=True))
    await external(world)
    await isolated.create(cloud, caller, isolated.IsolatedWant(name="own"))
    network, _ = await networks.create(cloud, caller, NetworkWant(name="routed"))
    subnet = await subnets.create(cloud, caller, SubnetWant(network=network.id, cidr="10.9.0.0/24"))
    router = (await routers.create(cloud, caller, RouterWant(name="r"))).router
    await routers.add_interface(cloud, caller, router.id, subnet=subnet.id)
    await ports.create(cloud, caller, PortWant(network=network.id))
    await group(world, None)
    await server_groups.create(
        cloud, caller, server_groups.Create(project=caller.home, name="g", affinity=Affinity.APART)
    )
    await world.quiet()


async def gone(world: World, key: UUID) -> None:
    async with world.cloud.view() as look:
        assert await look.maybe(Project, key) is None
        assert await look.count(User, account=key) == 0
        for cls in (*DELETE, ServerGroup):
            assert await look.list(cls, project=key) == [], cls
        assert await look.list(Usage, project=key) == []
    assert await world.host.guests() == {}
    assert not await world.pool.volumes()
    assert not await world.images.images()


async def outcome(world: World, operation: Operation) -> Operation:
    async with world.cloud.view() as look:
        return await look.get(Operation, operation.id)


@pytest.mark.parametrize("kind", [PROJECT, ACCOUNT])
async def test_everything_goes_when_the_steps_are_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: ProjectKind
) -> None:
    key = await tenant(world, kind)
    await furnish(world)
    workflow = WORKFLOWS[tenants.DELETE[kind]]
    for step in STEPS:
        workflow = with_step(workflow, step, twice)
    monkeypatch.setitem(WORKFLOWS, workflow.name, workflow)
    accepted = await tenants.delete(world.cloud, system(), key)
    again = await tenants.delete(world.cloud, system(), key)
    assert (again.operation.id, again.resource.enabled) == (accepted.operation.id, False)
    await world.quiet()
    done = await outcome(world, accepted.operation)
    assert (done.outcome, done.fault) == (Outcome.DONE, "")
    await gone(world, key)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("step", STEPS)
async def test_what_could_not_be_deleted_is_deleted_when_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    key = await tenant(world, PROJECT)
    await furnish(world, server=step == "servers")
    workflow = WORKFLOWS["project.delete"]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, breaking(when)))
        accepted = await tenants.delete(world.cloud, system(), key)
        await world.quiet()
    failed = await outcome(world, accepted.operation)
    assert (failed.outcome, failed.fault) == (Outcome.FAILED, "injected")
    async with world.cloud.view() as look:
        held = await look.maybe(Project, key)
    if (step, when) != ("itself", "after"):
        assert held is not None
        assert not held.enabled
        await tenants.delete(world.cloud, system(), key)
        await world.quiet()
    await gone(world, key)


async def test_without_cleanup_only_an_empty_project_goes(world: World) -> None:
    key = await tenant(world, PROJECT)
    await group(world, None)
    with pytest.raises(InUse, match="1 security group"):
        await tenants.delete(world.cloud, system(), key, cleanup=False)
    async with world.cloud.view() as look:
        assert (await look.get(Project, key)).enabled


@pytest.mark.parametrize("step", names(tenant_suspend.WORKFLOWS[0]))
async def test_a_suspended_tenant_has_no_server_that_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    key = await tenant(world, PROJECT)
    server = await active(world)
    workflow = WORKFLOWS["project.suspend"]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, breaking("before")))
        failed = await tenants.suspend(world.cloud, system(), key)
        await world.quiet()
    assert (await outcome(world, failed.operation)).outcome is Outcome.FAILED
    monkeypatch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, twice))
    accepted = await tenants.suspend(world.cloud, system(), key)
    await world.quiet()
    assert (await outcome(world, accepted.operation)).outcome is Outcome.DONE
    assert (await servers.show(world.cloud, world.caller, server.id)).state is State.STOPPED
    held = await tenants.activate(world.cloud, system(), key)
    assert held.enabled


async def test_a_process_that_dies_meanwhile_goes_on_afterwards(world: World) -> None:
    key = await tenant(world, ACCOUNT)
    await furnish(world)
    accepted = await tenants.delete(world.cloud, system(), key)
    for _ in range(3):
        await asyncio.sleep(0)
        await world.restart()
    await world.quiet()
    assert (await outcome(world, accepted.operation)).outcome is Outcome.DONE
    await gone(world, key)
