"""Who is who: log-in, callers of signed requests, and what ends them."""

import bcrypt
import pytest
from msgspec.structs import replace

from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, Caller
from pileus.core.errors import Exists, Forbidden, InUse, Invalid, NotFound, Unauthenticated
from pileus.core.identity import domains, projects, users
from pileus.core.identity.authentication import api_keys, credentials, login, revocations
from pileus.core.identity.authentication.login import ByPassword, Named, Wish
from pileus.core.identity.authorization import access, assignment_list, assignments, roles
from pileus.core.identity.authorization.assignments import SYSTEM, Place
from pileus.core.identity.domains import ROOT
from pileus.core.identity.names import names
from pileus.core.identity.records import Project, ProjectKind, Revocation, Scope, User
from pileus.core.image.records import Image


@pytest.fixture
async def account(cloud, admin):
    want = projects.CreateProject(name="acme", domain=ROOT, kind=ProjectKind.ACCOUNT)
    return await projects.create(cloud, admin, want)


@pytest.fixture
async def user(cloud, admin, account):
    want = users.CreateUser(name="ann", domain=ROOT, password="pw", account=account.id)
    made = await users.create(cloud, admin, want)
    await give(cloud, admin, made.id, MEMBER, Place(Scope.PROJECT, account.id))
    return made


async def give(cloud, admin, user, role, place):
    found = await roles.list_all(cloud, admin, name=role)
    await assignments.grant(cloud, admin, user, found[0].id, place)
    return found[0].id


def password(user, text="pw"):
    return [ByPassword(user=Named(id=user.id), password=text)]


def to(project):
    return Wish(scope=Scope.PROJECT, target=Named(id=project.id))


async def test_a_session_is_remembered_until_identity_changes(cloud, admin, user, account):
    issued = await login.authenticate(cloud, password(user), to(account))
    first = await access.present(cloud, issued.text)
    assert await access.present(cloud, issued.text) is first
    role = await give(cloud, admin, user.id, MANAGER, Place(Scope.PROJECT, account.id))
    assert MANAGER in (await access.present(cloud, issued.text)).caller.roles
    await assignments.revoke(cloud, admin, user.id, role, Place(Scope.PROJECT, account.id))
    assert (await access.present(cloud, issued.text)).caller == first.caller


async def test_a_remembered_session_expires_all_the_same(cloud, user, account, clock):
    issued = await login.authenticate(cloud, password(user), to(account))
    await access.present(cloud, issued.text)
    clock.move(cloud.config.token_seconds)
    with pytest.raises(Unauthenticated):
        await access.present(cloud, issued.text)
    assert await access.present(cloud, issued.text, allow_expired=True)


async def test_tokens_issued_after_a_revocation_are_good(cloud, admin, user, account, clock):
    old = await login.authenticate(cloud, password(user), to(account))
    clock.move(1)
    await users.update(cloud, admin, user.id, users.UpdateUser(enabled=False))
    await users.update(cloud, admin, user.id, users.UpdateUser(enabled=True))
    clock.move(1)
    new = await login.authenticate(cloud, password(user), to(account))
    assert await access.present(cloud, new.text)
    with pytest.raises(Unauthenticated):
        await access.present(cloud, old.text)


async def test_revocations_are_forgotten_when_nobody_can_ask_about_their_tokens_any_more(
    cloud, admin, user, clock
):
    for _ in range(3):
        await users.update(cloud, admin, user.id, users.UpdateUser(enabled=False))
        clock.move(cloud.config.token_seconds + revocations.WINDOW.total_seconds() + 1)
    async with cloud.view() as look:
        assert await look.count(Revocation) == 1


async def test_an_imported_hash_is_renewed_at_the_first_login(cloud, user):
    imported = bcrypt.hashpw(b"old", bcrypt.gensalt(4)).decode()
    async with cloud.transaction() as tx:
        await tx.put(replace(user, password=imported))
    await login.authenticate(cloud, password(user, "old"))
    async with cloud.view() as look:
        assert (await look.get(User, user.id)).password.startswith("$argon2id$")
    await login.authenticate(cloud, password(user, "old"))


async def test_proofs_of_two_users_are_none(cloud, admin, user):
    other = await users.create(cloud, admin, users.CreateUser(name="bob", domain=ROOT, password="pw"))
    with pytest.raises(Unauthenticated):
        await login.authenticate(cloud, [*password(user), *password(other)])
    with pytest.raises(Invalid):
        await login.authenticate(cloud, [])


async def test_a_signed_request_finds_its_user_and_secret(cloud, admin, user):
    pair = await credentials.renew(cloud, admin, user.id)
    found = await api_keys.holder(cloud, pair.credential.access)
    assert (found.user.id, found.secret) == (user.id, pair.secret)
    newer = await credentials.renew(cloud, admin, user.id)
    assert newer.credential.access != pair.credential.access
    with pytest.raises(Unauthenticated):
        await api_keys.holder(cloud, pair.credential.access)
    await users.update(cloud, admin, user.id, users.UpdateUser(enabled=False))
    with pytest.raises(Unauthenticated):
        await api_keys.holder(cloud, newer.credential.access)


async def test_a_user_acts_in_its_account(cloud, user, account):
    caller = await login.caller_of(cloud, user)
    assert (caller.user, caller.project, caller.project_domain) == (user.id, account.id, ROOT)
    assert caller.roles == {MEMBER, READER}
    assert caller.visible is None
    assert caller.domain is None


async def test_a_user_acts_only_in_projects_where_it_has_a_role(cloud, admin, user):
    project = await projects.create(cloud, admin, projects.CreateProject(name="p", domain=ROOT))
    with pytest.raises(Forbidden):
        await login.caller_of(cloud, user, project.id)
    await give(cloud, admin, user.id, READER, Place(Scope.PROJECT, project.id))
    assert (await login.caller_of(cloud, user, project.id)).roles == {READER}
    await projects.update(cloud, admin, project.id, projects.UpdateProject(enabled=False))
    with pytest.raises(Unauthenticated):
        await login.caller_of(cloud, user, project.id)


async def test_the_manager_of_a_domain_sees_what_is_in_and_below_it(cloud, admin):
    upper = await domains.create(cloud, admin, domains.CreateDomain(name="upper"))
    lower = await domains.create(cloud, admin, domains.CreateDomain(name="lower", parent=upper.id))
    inside = [
        await projects.create(cloud, admin, projects.CreateProject(name=name, domain=domain.id))
        for name, domain in (("a", upper), ("b", lower))
    ]
    outside = await projects.create(cloud, admin, projects.CreateProject(name="c", domain=ROOT))
    want = users.CreateUser(name="boss", domain=upper.id, account=inside[0].id)
    boss = await users.create(cloud, admin, want)
    await give(cloud, admin, boss.id, MANAGER, Place(Scope.DOMAIN, upper.id))
    caller = await login.caller_of(cloud, boss)
    assert caller.domain == upper.id
    assert caller.visible == {project.id for project in inside}
    assert not caller.admin
    assert not caller.sees(outside.id)
    made = await projects.create(cloud, caller, projects.CreateProject(name="d", domain=lower.id))
    assert made.domain == lower.id
    with pytest.raises(Forbidden):
        await projects.create(cloud, caller, projects.CreateProject(name="e", domain=ROOT))


async def test_an_administrator_of_the_system_is_one_in_its_account(cloud, admin, user):
    await give(cloud, admin, user.id, ADMIN, SYSTEM)
    assert (await login.caller_of(cloud, user)).admin


async def test_a_project_that_owns_something_says_what(cloud, admin, account):
    project = await projects.create(cloud, admin, projects.CreateProject(name="p", domain=ROOT))
    image = Image(id=cloud.new_id(), project=project.id, created_at=cloud.now(), updated_at=cloud.now())
    async with cloud.transaction() as tx:
        await tx.add(image)
    with pytest.raises(InUse, match="1 image"):
        await projects.delete(cloud, admin, project.id)
    async with cloud.transaction() as tx:
        await tx.remove(image)
    await projects.delete(cloud, admin, project.id)


async def test_an_account_is_not_deleted_under_its_users(cloud, admin, user, account):
    with pytest.raises(InUse):
        await projects.delete(cloud, admin, account.id)


async def test_projects_are_not_nested_without_end(cloud, admin):
    parent = None
    for depth in range(projects.DEEPEST - 1):
        want = projects.CreateProject(name=f"p{depth}", domain=ROOT, parent=parent)
        parent = (await projects.create(cloud, admin, want)).id
    with pytest.raises(Forbidden):
        await projects.create(cloud, admin, projects.CreateProject(name="x", domain=ROOT, parent=parent))


async def test_names_are_unique_in_their_domain(cloud, admin, user, account):
    with pytest.raises(Exists):
        await projects.create(cloud, admin, projects.CreateProject(name="acme", domain=ROOT))
    with pytest.raises(Exists):
        await users.create(cloud, admin, users.CreateUser(name="ann", domain=ROOT))
    for name in ("d", "Default"):
        if name == "d":
            await domains.create(cloud, admin, domains.CreateDomain(name=name))
        with pytest.raises(Exists):
            await domains.create(cloud, admin, domains.CreateDomain(name=name))
    other = await domains.create(cloud, admin, domains.CreateDomain(name="e"))
    assert await users.create(cloud, admin, users.CreateUser(name="ann", domain=other.id))


async def test_names_by_id(cloud, user, account):
    async with cloud.view() as look:
        assert await names(look, Project, [account.id, account.id, user.id]) == {account.id: "acme"}
        assert await names(look, User, []) == {}


STRANGERS_CANNOT = {
    "create a domain": lambda c, me, it: domains.create(c, me, domains.CreateDomain(name="x")),
    "list domains": lambda c, me, it: domains.list_all(c, me),
    "delete a domain": lambda c, me, it: domains.delete(c, me, ROOT),
    "create a project": lambda c, me, it: projects.create(
        c, me, projects.CreateProject(name="x", domain=ROOT)
    ),
    "show a project": lambda c, me, it: projects.show(c, me, it.account),
    "delete a project": lambda c, me, it: projects.delete(c, me, it.account),
    "list projects": lambda c, me, it: projects.list_all(c, me, projects.ProjectFilter()),
    "list the projects of a user": lambda c, me, it: projects.of_user(c, me, it.id),
    "create a user": lambda c, me, it: users.create(c, me, users.CreateUser(name="x", domain=ROOT)),
    "show a user": lambda c, me, it: users.show(c, me, it.id),
    "update a user": lambda c, me, it: users.update(c, me, it.id, users.UpdateUser(password="x")),
    "delete a user": lambda c, me, it: users.delete(c, me, it.id),
    "list users": lambda c, me, it: users.list_all(c, me, users.UserFilter(domain=ROOT)),
    "list roles": lambda c, me, it: roles.list_all(c, me),
    "create a role": lambda c, me, it: roles.create(c, me, roles.CreateRole(name="x")),
    "grant a role": lambda c, me, it: assignments.grant(c, me, me.user, it.id, SYSTEM),
    "list assignments": lambda c, me, it: assignment_list.list_all(c, me, assignment_list.AssignmentFilter()),
    "make key pairs": lambda c, me, it: credentials.renew(c, me, it.id),
}


@pytest.mark.parametrize("attempt", STRANGERS_CANNOT.values(), ids=STRANGERS_CANNOT)
@pytest.mark.parametrize("kind", ["member", "unscoped", "manager elsewhere"])
async def test_a_stranger_is_refused(cloud, admin, user, attempt, kind):
    elsewhere = await domains.create(cloud, admin, domains.CreateDomain(name="elsewhere"))
    stranger = Caller(user=cloud.new_id())
    if kind == "member":
        stranger = replace(stranger, project=cloud.new_id(), roles=frozenset({MEMBER, READER}))
    if kind == "manager elsewhere":
        held = frozenset({MANAGER, MEMBER, READER})
        stranger = replace(stranger, domain=elsewhere.id, roles=held)
        if attempt in (STRANGERS_CANNOT["list domains"], STRANGERS_CANNOT["list roles"]):
            return
        if attempt in (STRANGERS_CANNOT["list projects"], STRANGERS_CANNOT["list assignments"]):
            assert await attempt(cloud, stranger, user) == []
            return
    with pytest.raises((Forbidden, NotFound)):
        await attempt(cloud, stranger, user)
