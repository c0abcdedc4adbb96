"""The end of a domain with everything in it, by enumeration of the steps."""

import asyncio
from uuid import UUID, uuid4

import pytest

from pileus.core.block import volumes
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.errors import InUse
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, Group, Project, ProjectKind, User
from pileus.core.identity.tenancy import domain_tree
from pileus.core.identity.tenancy.domain_tree import CreateDomain
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.workflows import domain_delete, tenant_delete
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.storage import World, world
from tests.unit.workflows.test_servers import WHENS, breaking, names, twice, with_step

__all__ = ["world"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (domain_delete, tenant_delete):
        monkeypatch.setattr(module, "LOOK_AGAIN", 0.005)


async def furnished(world: World) -> UUID:
    """A domain with another in it: an account with a volume, a project below a project, users and a group."""
    cloud, me = world.cloud, system()
    async with cloud.transaction() as tx:
        await tx.add(Domain(id=ROOT, name="Default", created_at=cloud.now()))
    top = await domain_tree.create(cloud, me, CreateDomain(name="sales", parent=ROOT))
    below = await domain_tree.create(cloud, me, CreateDomain(name="emea", parent=top.id))
    async with cloud.transaction() as tx:
        account = await tx.add(project(cloud, below.id, "ann", kind=ProjectKind.ACCOUNT))
        above = await tx.add(project(cloud, top.id, "above"))
        await tx.add(project(cloud, top.id, "under", parent=above.id))
        for name, of in (("ann", account.id), ("lone", None)):
            await tx.add(User(id=uuid4(), domain=below.id, name=name, account=of, created_at=cloud.now()))
        await tx.add(Group(id=uuid4(), domain=below.id, name="team", created_at=cloud.now()))
    await volumes.create(cloud, me, volumes.Create(project=account.id, size_gib=1, name="data"))
    await world.quiet()
    return top.id


def project(
    cloud: Cloud, domain: UUID, name: str, kind: ProjectKind = ProjectKind.PROJECT, parent: UUID | None = None
) -> Project:
    return Project(id=uuid4(), domain=domain, name=name, kind=kind, parent=parent, created_at=cloud.now())


async def gone(world: World) -> None:
    async with world.cloud.view() as look:
        assert [domain.id for domain in await look.list(Domain)] == [ROOT]
        for cls in (Project, User, Group):
            assert not await look.count(cls)
        assert not await look.count(Operation, outcome=tuple(LIVE))
    assert not await world.pool.volumes()


async def outcome(world: World, operation: Operation) -> Outcome:
    async with world.cloud.view() as look:
        return (await look.get(Operation, operation.id)).outcome


@pytest.mark.parametrize("step", names(domain_delete.WORKFLOW))
async def test_everything_goes_when_each_step_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    key = await furnished(world)
    with pytest.raises(InUse, match="3 accounts and projects, 2 users, 1 sub-domains"):
        await domain_tree.delete(world.cloud, system(), key, cleanup=False)
    workflow = WORKFLOWS["domain.delete"]
    monkeypatch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, twice))
    first = await domain_tree.delete(world.cloud, system(), key, cleanup=True)
    again = await domain_tree.delete(world.cloud, system(), key, cleanup=True)
    assert again.operation.id == first.operation.id
    await world.quiet()
    assert await outcome(world, first.operation) is Outcome.DONE
    await gone(world)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("step", names(domain_delete.WORKFLOW))
async def test_what_could_not_be_deleted_is_deleted_when_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    key = await furnished(world)
    workflow = WORKFLOWS["domain.delete"]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, breaking(when)))
        failed = await domain_tree.delete(world.cloud, system(), key, cleanup=True)
        await world.quiet()
    assert await outcome(world, failed.operation) is Outcome.FAILED
    if (step, when) != ("domains", "after"):
        async with world.cloud.view() as look:
            assert not (await look.get(Domain, key)).enabled
        await domain_tree.delete(world.cloud, system(), key, cleanup=True)
        await world.quiet()
    await gone(world)


async def test_a_process_that_dies_meanwhile_goes_on_afterwards(world: World) -> None:
    key = await furnished(world)
    accepted = await domain_tree.delete(world.cloud, system(), key, cleanup=True)
    for _ in range(3):
        await asyncio.sleep(0)
        await world.restart()
    await world.quiet()
    assert await outcome(world, accepted.operation) is Outcome.DONE
    await gone(world)
