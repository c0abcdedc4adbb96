"""Limits of domains: charged with what is made below them, at one moment or not, on each database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from pileus.config import Config
from pileus.core import limits, quota, uses
from pileus.core.caller import MANAGER, MEMBER, READER, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.compute import server_groups
from pileus.core.compute.records import Affinity, Server, ServerGroup
from pileus.core.errors import Forbidden, Invalid, QuotaExceeded
from pileus.core.identity import domain_limits, domains, projects
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, ProjectKind
from pileus.core.identity.tenancy import domain_tree
from pileus.core.quota import UNLIMITED, Limit, Usage
from pileus.store import open_store
from tests import schema
from tests.blocked import DEADLINE, blocked

KIND = "server_groups"


class Lab:
    """ROOT > lab > annex, with two accounts in lab and two in annex."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.admin = cloud, system()
        self.lab = self.annex = ROOT
        self.accounts: list[UUID] = []

    async def furnish(self) -> None:
        async with self.cloud.transaction() as tx:
            await tx.add(Domain(id=ROOT, name="Default", created_at=self.cloud.now()))
        self.lab = await self.domain("lab", ROOT)
        self.annex = await self.domain("annex", self.lab)
        for number in range(4):
            self.accounts.append(await self.account(f"a{number}", self.lab if number < 2 else self.annex))

    async def domain(self, name: str, parent: UUID) -> UUID:
        want = domains.CreateDomain(name=name, parent=parent)
        return (await domains.create(self.cloud, self.admin, want)).id

    async def account(self, name: str, domain: UUID) -> UUID:
        want = projects.CreateProject(name=name, domain=domain, kind=ProjectKind.ACCOUNT)
        made = await projects.create(self.cloud, self.admin, want)
        await limits.change(self.cloud, self.admin, made.id, {KIND: UNLIMITED})
        return made.id

    async def make(self, number: int) -> UUID:
        project = self.accounts[number % len(self.accounts)]
        want = server_groups.Create(project=project, name=f"g{number}", affinity=Affinity.APART)
        return (await server_groups.create(self.cloud, self.admin, want)).group.id

    async def make_all(self, count: int) -> list[BaseException]:
        """What was refused, and why."""
        made = await asyncio.gather(*(self.make(n) for n in range(count)), return_exceptions=True)
        refused = [each for each in made if isinstance(each, BaseException)]
        assert all(isinstance(each, QuotaExceeded) for each in refused), refused
        return refused

    async def limit(self, domain: UUID, number: int, kind: str = KIND) -> None:
        await domain_limits.change(self.cloud, self.admin, domain, {kind: number})

    async def used(self, holder: UUID) -> int | None:
        async with self.cloud.view() as look:
            found = await look.maybe(Usage, holder, KIND)
        return found.used if found else None

    async def shown(self, domain: UUID) -> tuple[int, int]:
        async with self.cloud.view() as look:
            return (await domain_limits.usages(look, [domain]))[domain][KIND]

    async def wrong(self) -> list[str]:
        return [one.text for one in await uses.verify(self.cloud, self.admin)]


@asynccontextmanager
async def furnished(url: str, state: Path) -> AsyncIterator[Lab]:
    await schema.create(url)
    store = await open_store(url)
    try:
        made = Lab(Cloud(Config(state=state / "state"), store))
        await made.furnish()
        yield made
    finally:
        await store.close()


@pytest.fixture
async def lab(database_url: str, tmp_path: Path) -> AsyncIterator[Lab]:
    async with furnished(database_url, tmp_path) as made:
        yield made


async def test_of_64_creates_at_one_moment_a_domain_limited_to_10_takes_10(lab: Lab) -> None:
    await lab.limit(lab.lab, 10)
    refused = await lab.make_all(64)
    assert len(refused) == 54
    assert str(refused[0]) == (
        "The quota of server_groups of domain lab, with all below it, is 10: 10 are used and 1 more were asked for. "
        "Delete something, or let an administrator raise the quota of domain lab."
    )
    assert (await lab.used(lab.lab), await lab.shown(lab.lab)) == (10, (10, 10))
    assert await lab.wrong() == []


async def test_a_limit_that_comes_amid_creates_counts_each_of_them(lab: Lab) -> None:
    limiting = asyncio.create_task(lab.limit(lab.lab, 1000))
    assert await lab.make_all(32) == []
    await limiting
    assert await lab.used(lab.lab) == 32
    assert await lab.wrong() == []


async def test_the_limits_of_all_domains_above_hold(lab: Lab) -> None:
    await lab.limit(lab.lab, 3)
    await lab.limit(lab.annex, 1)
    await lab.make(2)
    with pytest.raises(QuotaExceeded, match="of domain annex"):
        await lab.make(3)
    await lab.make(0)
    await lab.make(1)
    with pytest.raises(QuotaExceeded, match="of domain lab"):
        await lab.make(4)
    assert (await lab.used(lab.annex), await lab.used(lab.lab)) == (1, 3)
    assert await lab.wrong() == []


async def test_what_is_given_back_is_free_in_the_domain_too(lab: Lab) -> None:
    await lab.limit(lab.annex, 1)
    group = await lab.make(2)
    await server_groups.remove(lab.cloud, lab.admin, group)
    await lab.make(3)
    assert await lab.used(lab.annex) == 1


async def test_an_account_made_after_the_limit_is_under_it(lab: Lab) -> None:
    await lab.limit(lab.lab, 0)
    lab.accounts = [await lab.account("late", await lab.domain("new", lab.annex))]
    with pytest.raises(QuotaExceeded, match="of domain lab"):
        await lab.make(0)


async def test_without_a_limit_a_domain_keeps_no_sum(lab: Lab) -> None:
    await lab.make_all(4)
    assert (await lab.used(lab.lab), await lab.shown(lab.lab)) == (None, (4, UNLIMITED))
    await lab.limit(lab.lab, 5)
    assert (await lab.used(lab.lab), await lab.shown(lab.annex)) == (4, (2, 5))
    await lab.limit(lab.lab, UNLIMITED)
    assert (await lab.used(lab.lab), await lab.shown(lab.lab)) == (None, (4, UNLIMITED))
    async with lab.cloud.view() as look:
        assert [usage.above for usage in await look.list(Usage)] == [()] * 4


async def test_a_domain_may_not_have_more_than_the_one_above(lab: Lab) -> None:
    await lab.limit(lab.lab, 10)
    with pytest.raises(Invalid, match="Domain lab has maximum allowed resource limit 10 for server_groups"):
        await lab.limit(lab.annex, 11)
    await lab.limit(lab.annex, 10)


async def test_who_manages_a_domain_limits_what_is_below_it_within_its_own(lab: Lab) -> None:
    await lab.limit(lab.lab, 10)
    project, other = lab.accounts[0], lab.accounts[2]
    boss = Caller(
        user=lab.cloud.new_id(),
        project=project,
        domain=lab.lab,
        visible=frozenset(lab.accounts),
        roles=frozenset({MANAGER, MEMBER, READER}),
    )
    await limits.delegate(lab.cloud, boss, other, {KIND: 10})
    with pytest.raises(Invalid, match="Domain lab has maximum"):
        await limits.delegate(lab.cloud, boss, other, {KIND: 11})
    with pytest.raises(Forbidden):
        await limits.delegate(lab.cloud, boss, project, {KIND: 1})
    await domain_limits.change(lab.cloud, boss, lab.annex, {KIND: 2})
    with pytest.raises(Forbidden):
        await domain_limits.change(lab.cloud, boss, lab.lab, {KIND: 2})


async def test_projects_of_a_domain_are_counted_when_one_is_made(lab: Lab) -> None:
    await lab.limit(lab.lab, 2, quota.PROJECTS)

    async def project(number: int) -> None:
        want = projects.CreateProject(name=f"p{number}", domain=(lab.lab, lab.annex)[number % 2])
        await projects.create(lab.cloud, lab.admin, want)

    made = await asyncio.gather(*(project(n) for n in range(8)), return_exceptions=True)
    refused = [each for each in made if each is not None]
    assert len(refused) == 6
    assert all("The quota of projects of domain lab" in str(each) for each in refused)


async def test_a_domain_that_goes_leaves_no_limit_and_no_sum(lab: Lab) -> None:
    await lab.limit(lab.lab, 10)
    await lab.limit(lab.annex, 5)
    groups = [await lab.make(number) for number in (2, 3)]
    for group in groups:
        await server_groups.remove(lab.cloud, lab.admin, group)
    await domains.update(lab.cloud, lab.admin, lab.annex, domains.UpdateDomain(enabled=False))
    await domains.delete(lab.cloud, lab.admin, lab.annex)
    async with lab.cloud.view() as look:
        gone = {lab.annex, *lab.accounts[2:]}
        assert not [row for row in await look.list(Limit) if row.project in gone]
        assert not [row for row in await look.list(Usage) if row.project in gone]
    assert (await lab.used(lab.lab), await lab.wrong()) == (0, [])


async def test_a_wrong_number_is_found_and_repaired(lab: Lab) -> None:
    await lab.limit(lab.lab, 10)
    await lab.make_all(4)
    async with lab.cloud.transaction() as tx:
        for holder, number in ((lab.accounts[0], 7), (lab.lab, 2)):
            row = await tx.get(Usage, holder, KIND)
            await tx.rows.put(Usage(project=holder, resource=KIND, used=number, above=row.above))
        await tx.rows.insert(Usage(project=lab.accounts[1], resource="images", used=3))
        stray = await tx.one(ServerGroup, project=lab.accounts[2])
        assert stray is not None
        await tx.rows.delete(ServerGroup, stray.id)
    assert sorted(await lab.wrong()) == [
        "images of project a1: 3 recorded, 0 counted",
        "server_groups of domain lab: 2 recorded, 3 counted",
        "server_groups of project a0: 7 recorded, 1 counted",
        "server_groups of project a2: 1 recorded, 0 counted",
    ]
    assert len(await uses.verify(lab.cloud, lab.admin, repair=True)) == 4
    assert await lab.wrong() == []
    assert await lab.used(lab.lab) == 3


async def test_first_charges_at_one_moment_all_count(lab: Lab) -> None:
    lab.accounts = lab.accounts[:1]
    assert await lab.make_all(16) == []
    assert await lab.used(lab.accounts[0]) == 16


async def test_the_operators_default_holds_for_who_has_no_limit(lab: Lab) -> None:
    await limits.change_defaults(lab.cloud, lab.admin, {KIND: 1})
    await limits.reset(lab.cloud, lab.admin, lab.accounts[0], (KIND,))
    await lab.make(0)
    with pytest.raises(QuotaExceeded, match="The quota of server_groups is 1"):
        await lab.make(0 + len(lab.accounts))
    assert await limits.defaults(lab.cloud, (KIND,)) == {KIND: 1}


async def test_a_domain_that_moves_takes_its_uses_along(lab: Lab) -> None:
    other = await lab.domain("other", ROOT)
    await lab.limit(lab.lab, 10)
    await lab.limit(other, 10)
    await lab.make_all(4)
    await domain_tree.move(lab.cloud, lab.admin, lab.annex, other)
    assert (await lab.used(lab.lab), await lab.used(other)) == (2, 2)
    await lab.make(2)
    assert (await lab.used(lab.lab), await lab.used(other)) == (2, 3)
    assert await lab.wrong() == []


@pytest.mark.parametrize("amount", [2, -1])
async def test_what_is_charged_while_a_domain_moves_counts_in_the_sums_above_it(
    postgres_url: str, tmp_path: Path, amount: int
) -> None:
    async with furnished(postgres_url, tmp_path) as lab:
        other = await lab.domain("other", ROOT)
        await lab.limit(lab.lab, 10)
        async with lab.cloud.transaction() as tx:
            await tx.charge(lab.accounts[0], KIND, 5)
        async with asyncio.timeout(DEADLINE):
            async with lab.cloud.transaction() as tx:
                await tx.charge(lab.accounts[0], KIND, amount)
                moving = asyncio.create_task(domain_tree.move(lab.cloud, lab.admin, lab.annex, other))
                await blocked(lab.cloud.store)
            await moving
        assert await lab.used(lab.lab) == 5 + amount


async def test_a_sum_that_nobody_began_loses_no_charge(postgres_url: str, tmp_path: Path) -> None:
    async with furnished(postgres_url, tmp_path) as lab:
        async with lab.cloud.transaction() as tx:
            for account in lab.accounts:
                await tx.rows.insert(Usage(project=account, resource=KIND, used=0, above=(lab.lab,)))

        async def charge(account: UUID) -> None:
            async with lab.cloud.transaction() as tx:
                await tx.charge(account, KIND, 1)

        async with asyncio.timeout(DEADLINE):
            async with lab.cloud.transaction() as tx:
                await tx.charge(lab.accounts[0], KIND, 1)
                waiting = asyncio.create_task(charge(lab.accounts[1]))
                await blocked(lab.cloud.store)
            await waiting
        assert await lab.used(lab.lab) == 2


async def test_a_recount_amid_a_deploy_lets_both_end(postgres_url: str, tmp_path: Path) -> None:
    async with furnished(postgres_url, tmp_path) as lab:
        project = lab.accounts[0]
        async with lab.cloud.transaction() as tx:
            for resource in ("servers", "memory_mib"):
                await tx.rows.insert(Usage(project=project, resource=resource, used=7))
        async with asyncio.timeout(DEADLINE):
            async with lab.cloud.transaction() as tx:
                await tx.charge(project, "servers", 1)
                counting = asyncio.create_task(uses.recount_project(lab.cloud, lab.admin, project))
                await blocked(lab.cloud.store)
                await tx.charge(project, "memory_mib", 1)
            assert set((await counting).values()) == {0}


async def test_limits_by_tags_are_charged_summed_and_moved_like_all_others(lab: Lab) -> None:
    kind, cloud = quota.tagged("servers", "gpu"), lab.cloud

    async def serve(number: int) -> None:
        fields = {"name": "s", "hostname": "s", "vcpus": 1, "memory_mib": 64, "disk_gib": 1}
        times = {"created_at": cloud.now(), "updated_at": cloud.now()}
        keys = {name: cloud.new_id() for name in ("id", "user", "size")}
        async with cloud.transaction() as tx:
            made = Server(project=lab.accounts[number % 4], host_tags=("gpu",), **keys, **fields, **times)
            await tx.add(made)
            for resource, amount in uses.USES[Server](made).items():
                await tx.charge(made.project, resource, amount)

    await lab.limit(lab.lab, 5, kind)
    made = await asyncio.gather(*(serve(number) for number in range(12)), return_exceptions=True)
    refused = [each for each in made if each is not None]
    assert len(refused) == 7
    assert {str(each).partition(":")[0] for each in refused} == {
        "The quota of servers with the tag gpu of domain lab, with all below it, is 5"
    }
    assert await lab.wrong() == []
    over = await lab.domain("over", ROOT)
    await lab.limit(over, 3, quota.tagged("vcpus", "gpu"))
    await domain_tree.move(cloud, lab.admin, lab.annex, over)
    assert await lab.wrong() == []
    async with cloud.view() as look:
        shown = await domain_limits.usages(look, [lab.lab, lab.annex], ["gpu"])
    assert shown[lab.lab][kind][0] + shown[lab.annex][kind][0] == 5
    assert (shown[lab.lab][kind][1], shown[lab.annex][kind][1]) == (5, UNLIMITED)
    with pytest.raises(Invalid, match=r"The limit 1 of volumes@gpu cannot be set"):
        await lab.limit(lab.lab, 1, "volumes@gpu")
