"""Who comes in by a provider's word: the same user each time, with what the mapping says now; on both databases."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pileus.config import Config
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.changes import change_count
from pileus.core.identity.federation import arrivals, assertions, mappings, protocols, providers
from pileus.core.identity.federation.attributes import of_openid
from pileus.core.identity.records import Assignment, Domain, Group, Membership, Project, Role, Source, User
from pileus.store import open_store
from tests import schema
from tests.unit.core.identity.conftest import Clock

ISSUER = "https://idp.example"
RULES = [
    {
        "local": [
            {
                "user": {"name": "{0}"},
                "domain": {"name": "Default"},
                "projects": [{"name": "home", "roles": [{"name": "member"}], "domain": {"name": "Default"}}],
                "groups": "{1}",
            }
        ],
        "remote": [{"type": "name"}, {"type": "groups"}],
    }
]


@pytest.fixture
async def cloud(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Cloud]:
    await schema.create(database_url)
    store = await open_store(database_url)
    try:
        made = Cloud(Config(state=tmp_path / "state"), store, now=clock)
        async with made.transaction() as tx:
            root = await tx.add(Domain(id=providers.ROOT, name="Default", created_at=made.now()))
            for name in ("member", "reader"):
                await tx.add(Role(id=made.new_id(), name=name, created_at=made.now()))
            for name in ("dev", "ops"):
                await tx.add(Group(id=made.new_id(), domain=root.id, name=name, created_at=made.now()))
        yield made
    finally:
        await store.close()


async def ready(cloud: Cloud, version: str = "2.0", **more: Any) -> None:
    me = system()
    want = providers.CreateProvider(id="idp", enabled=True, remote_ids=(ISSUER,), **more)
    await providers.create(cloud, me, want)
    await mappings.create(cloud, me, "rules", RULES, version)
    await protocols.create(cloud, me, "idp", "openid", protocols.Uses(mapping="rules"))


async def come(cloud: Cloud, groups: tuple[str, ...] = ("dev",), name: str = "alice") -> User:
    at = await arrivals.door(cloud, "idp", "openid")
    said = of_openid(ISSUER, "1", {"name": (name,), "groups": groups})
    return (await arrivals.admit(cloud, at, ISSUER, said)).user


async def listed(cloud: Cloud, record: Any, **equals: Any) -> list[Any]:
    async with cloud.view() as look:
        found: list[Any] = await look.list(record, **equals)
        return found


async def test_the_same_subject_is_the_same_user_and_changes_nothing(cloud: Cloud) -> None:
    await ready(cloud)
    first = await come(cloud)
    assert (first.source, first.name, first.domain) == (Source.FEDERATED, "alice", providers.ROOT)
    async with cloud.view() as look:
        before = await change_count(look)
    assert (await come(cloud)).id == first.id
    async with cloud.view() as look:
        assert await change_count(look) == before
    assert len(await listed(cloud, User)) == 1
    (project,) = await listed(cloud, Project)
    (held,) = await listed(cloud, Assignment)
    assert (held.actor, held.target) == (first.id, project.id)


async def test_groups_are_memberships_for_as_long_as_the_login_counts(cloud: Cloud, clock: Clock) -> None:
    await ready(cloud, authorization_minutes=10)
    user = await come(cloud, ("dev", "nobody has heard of it"))
    (one,) = await listed(cloud, Membership, user=user.id)
    assert one.expires_at is not None
    clock.move(60)
    await come(cloud, ("dev",))
    (again,) = await listed(cloud, Membership, user=user.id)
    assert again.id == one.id
    assert again.expires_at is not None
    assert (again.expires_at - one.expires_at).total_seconds() == 60
    await come(cloud, ("ops",))
    (other,) = await listed(cloud, Membership, user=user.id)
    assert other.group != one.group


@pytest.mark.parametrize(("version", "left"), [("2.0", 2), ("3.0", 1)])
async def test_only_from_version_3_on_roles_are_taken_away_that_are_said_no_longer(
    cloud: Cloud, version: str, left: int
) -> None:
    await ready(cloud, version)
    await come(cloud)
    said = json.dumps(RULES).replace('"home"', '"other"').replace('"member"', '"reader"')
    changed = json.loads(said)
    await mappings.update(cloud, system(), "rules", changed, version)
    await come(cloud)
    assert len(await listed(cloud, Assignment)) == left


async def test_a_mapping_with_a_role_that_does_not_exist_makes_nothing(cloud: Cloud) -> None:
    await ready(cloud)
    changed = json.loads(json.dumps(RULES).replace("member", "emperor"))
    await mappings.update(cloud, system(), "rules", changed, "2.0")
    with pytest.raises(Unauthenticated):
        await come(cloud)
    assert await listed(cloud, User) == []
    assert await listed(cloud, Project) == []


async def test_another_issuer_than_the_remote_ids_is_refused(cloud: Cloud) -> None:
    await ready(cloud)
    at = await arrivals.door(cloud, "idp", "openid")
    with pytest.raises(Forbidden):
        await arrivals.admit(cloud, at, "https://other.example", {"name": ("x",), "groups": ("dev",)})


async def test_an_assertion_lets_in_once_until_it_is_forgotten(cloud: Cloud, clock: Clock) -> None:
    end = clock.at.replace(year=2031)
    await assertions.use(cloud, ISSUER, "_1", end)
    await assertions.use(cloud, "https://other.example", "_1", end)
    with pytest.raises(Unauthenticated):
        await assertions.use(cloud, ISSUER, "_1", end)


async def test_with_the_provider_go_the_users_who_have_no_other_way_in(cloud: Cloud) -> None:
    await ready(cloud)
    await come(cloud)
    await providers.delete(cloud, system(), "idp")
    assert await listed(cloud, User) == []
    assert await listed(cloud, Assignment) == []
