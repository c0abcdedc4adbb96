"""Accounts in the core, on both databases: their types, who belongs to them, and where a user acts."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.config import Config
from pileus.core import mail
from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Conflict, Forbidden, NotFound, Unauthenticated
from pileus.core.identity import projects, users
from pileus.core.identity.authentication import codes, keys, password_resets, second_factor
from pileus.core.identity.authorization.homes import home
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Actor, Assignment, Domain, Project, Role, Scope, User
from pileus.core.identity.tenancy import account_roles, account_types, account_users, accounts
from pileus.core.identity.tenancy.accounts import CreateAccount, NewUser
from pileus.core.identity.tenancy.domain_tree import CreateDomain
from pileus.core.identity.tenancy.domain_tree import create as create_domain
from pileus.core.identity.tenancy.tenancy_records import PasswordReset, RoleType
from pileus.store import open_store
from tests import schema

T = RoleType
IMPLIES = {READER: None, MEMBER: READER, MANAGER: MEMBER, ADMIN: MANAGER}


@pytest.fixture
async def cloud(database_url: str, tmp_path: Path) -> AsyncIterator[Cloud]:
    await schema.create(database_url)
    store = await open_store(database_url)
    made = Cloud(Config(state=tmp_path / "state", smtp_host="mail.example.org"), store)
    known: dict[str, Role] = {}
    async with made.transaction() as tx:
        for name, implied in IMPLIES.items():
            implies = (known[implied].id,) if implied else ()
            known[name] = await tx.add(
                Role(id=made.new_id(), name=name, implies=implies, created_at=made.now())
            )
        await tx.add(Domain(id=ROOT, name="Default", created_at=made.now()))
    await account_roles.ensure(made)
    try:
        yield made
    finally:
        await store.close()


async def account(cloud: Cloud, name: str, type: RoleType = T.USER, **more: Any) -> tuple[Project, User]:
    user = NewUser(name=name, password="secret", email=f"{name}@example.org")
    want = CreateAccount(name=name, user=user, type=type, **{"domain": ROOT, **more})
    return await accounts.create(cloud, system(), want)


async def acting(cloud: Cloud, user: User) -> Caller:
    return await keys.caller_of(cloud, user)


async def test_the_types_are_told_apart_one_by_one_and_in_lists(cloud: Cloud) -> None:
    made = {type: await account(cloud, type.value.lower(), type) for type in T}
    async with cloud.view() as look:
        people = await look.list(User)
        assert await account_types.of_users(look, people) == {
            user.id: type for type, (_, user) in made.items()
        }
        for type, (project, user) in made.items():
            found = await look.list(Project, await account_types.where_account(look, type))
            assert [each.id for each in found] == [project.id]
            people = await look.list(User, await account_types.where_user(look, type))
            assert [each.id for each in people] == [user.id]


async def test_what_is_granted_elsewhere_shows_in_the_type(cloud: Cloud) -> None:
    project, user = await account(cloud, "ann")
    lone = await users.create(cloud, system(), users.CreateUser(name="lone", domain=ROOT))
    async with cloud.transaction() as tx:
        role = await tx.one(Role, name=MANAGER)
        assert role is not None
        for actor in (user.id, lone.id):
            held = Assignment(
                id=cloud.new_id(),
                actor=actor,
                role=role.id,
                scope=Scope.DOMAIN,
                target=ROOT,
                created_at=cloud.now(),
            )
            await tx.add(held)
    async with cloud.view() as look:
        assert await account_types.of_accounts(look, [project]) == {project.id: T.DOMAIN_ADMIN}
        found = await look.list(User, await account_types.where_user(look, T.DOMAIN_ADMIN))
        assert {each.id for each in found} == {user.id, lone.id}
        assert await look.list(User, await account_types.where_user(look, T.USER)) == []


async def test_the_roles_are_the_accounts_and_change_with_its_type(cloud: Cloud) -> None:
    project, user = await account(cloud, "ann", T.DOMAIN_ADMIN)
    caller = await acting(cloud, user)
    assert (caller.domain, {MANAGER, MEMBER} <= caller.roles, caller.admin) == (ROOT, True, False)
    want = accounts.UpdateAccount(role=account_roles.DEFAULT[T.USER])
    assert (await accounts.update(cloud, system(), project.id, want)).account_role is None
    caller = await acting(cloud, user)
    assert (caller.domain, MANAGER in caller.roles) == (None, False)
    async with cloud.view() as look:
        (held,) = await look.list(Assignment)
    assert (held.actor, held.actor_kind, held.target) == (project.id, Actor.ACCOUNT, project.id)


async def test_nobody_has_power_over_those_who_may_more(cloud: Cloud) -> None:
    sales = await create_domain(cloud, system(), CreateDomain(name="sales", parent=ROOT))
    boss = await acting(cloud, (await account(cloud, "boss", T.DOMAIN_ADMIN, domain=sales.id))[1])
    strong, strong_user = await account(cloud, "strong", T.RESOURCE_ADMIN, domain=sales.id)
    far, far_user = await account(cloud, "far")
    mine, mine_user = await account(cloud, "mine", domain=sales.id)
    for key in (strong.id, far.id):
        for call in (accounts.disable, accounts.enable, accounts.lock, accounts.delete):
            with pytest.raises(Forbidden if key == strong.id else NotFound):
                await call(cloud, boss, key)
    for user in (strong_user, far_user):
        for change in (account_users.disable, account_users.lock, account_users.enable, account_users.delete):
            with pytest.raises(Forbidden if user is strong_user else NotFound):
                await change(cloud, boss, user.id)
    assert (await accounts.lock(cloud, boss, mine.id)).locked
    assert not (await account_users.disable(cloud, boss, mine_user.id)).enabled


async def test_the_last_administrators_stay(cloud: Cloud) -> None:
    first, user = await account(cloud, "first", T.ADMIN)
    for call in (accounts.disable, accounts.lock, accounts.delete):
        with pytest.raises(Conflict, match="last administrator"):
            await call(cloud, system(), first.id)
    for change in (account_users.disable, account_users.lock, account_users.delete):
        with pytest.raises(Conflict, match="last administrator"):
            await change(cloud, system(), user.id)
    await account(cloud, "second", T.ADMIN)
    assert (await accounts.lock(cloud, system(), first.id)).locked


async def test_a_locked_account_is_only_looked_at_by_its_own(cloud: Cloud) -> None:
    project, user = await account(cloud, "ann")
    await accounts.lock(cloud, system(), project.id)
    caller = await acting(cloud, user)
    caller.require("server.read", project=project.id)
    with pytest.raises(Forbidden, match="locked"):
        caller.require("server.create", project=project.id)
    system().require("server.stop", project=project.id)


async def test_a_user_without_an_account_acts_where_it_first_got_a_role(cloud: Cloud) -> None:
    user = await users.create(cloud, system(), users.CreateUser(name="kim", domain=ROOT))
    made = [
        await projects.create(cloud, system(), projects.CreateProject(name=name, domain=ROOT))
        for name in ("one", "two")
    ]
    async with cloud.transaction() as tx:
        assert await home(tx, user) is None
        role = await tx.one(Role, name=MEMBER)
        assert role is not None
        for project in reversed(made):
            await tx.add(
                Assignment(
                    id=cloud.new_id(),
                    actor=user.id,
                    role=role.id,
                    scope=Scope.PROJECT,
                    target=project.id,
                    created_at=cloud.now(),
                )
            )
        assert await home(tx, user) == made[1].id
        await tx.put(replace(user, default_project=made[0].id))
        assert await home(tx, await tx.get(User, user.id)) == made[0].id
        found = await tx.list(User, account_users.belonging([made[0].id]))
        assert [each.id for each in found] == [user.id]


async def test_of_two_that_show_one_code_at_once_one_is_refused(cloud: Cloud) -> None:
    _, user = await account(cloud, "ann")
    secret = await second_factor.set_up(cloud, await acting(cloud, user), "totp")
    key = codes.secret_of(secret)
    assert key is not None
    code = codes.code(key, codes.step_at(cloud.now()))
    both = [second_factor.show(cloud, user, code) for _ in range(2)]
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in done if each != "totp"] == [Unauthenticated], done


async def test_of_a_session_and_a_login_that_show_one_code_at_once_one_is_refused(cloud: Cloud) -> None:
    _, user = await account(cloud, "ann")
    secret = await second_factor.set_up(cloud, await acting(cloud, user), "totp")
    key = codes.secret_of(secret)
    assert key is not None
    before = codes.step_at(cloud.now()) - codes.EARLIER
    await second_factor.show(cloud, user, codes.code(key, before))
    code = codes.code(key, before + codes.EARLIER)
    both = (second_factor.show(cloud, user, code), second_factor.check(cloud, user, code))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in done if each not in ("totp", user)] == [Unauthenticated], done


async def test_of_two_that_use_one_token_at_once_one_sets_the_password(cloud: Cloud) -> None:
    await account(cloud, "ann")
    await password_resets.ask(cloud, ROOT, "ann", "/")
    async with cloud.view() as look:
        (letter,) = [mail.opened(cloud, each) for each in await look.list(mail.Mail)]
    found = re.search(r"token=(\S+)", letter.text)
    assert found
    uses = [password_resets.use(cloud, ROOT, "ann", found[1], password) for password in ("one", "two")]
    done = await asyncio.gather(*uses, return_exceptions=True)
    assert [type(each) for each in done if each is not None] == [password_resets.Wrong], done
    async with cloud.view() as look:
        assert not await look.count(PasswordReset)
