"""Every operation with the token of somebody who may only look, who was disabled, who lost the role, or who manages
another domain: nothing is changed, and nothing told."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
import pytest_asyncio
import structlog

from pileus.core.caller import MANAGER, MEMBER, READER, system
from pileus.core.identity import domains, users
from pileus.core.identity.authorization import assignments, roles
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Scope
from pileus.faces.wire.service import Operation
from tests import quick
from tests.contract.openstack.conftest import Person, give, token, usable
from tests.contract.test_walkers import good
from tests.contract.walking import Walk, path_of
from tests.contract.world import World, names, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOOKING = frozenset({"GET", "HEAD"})
OWN = (
    "/v3/auth/tokens",
    "/v3/users/{user}/password",
    "/os-keypairs",
    "/events/tickets",
)
"""What anybody may do for themselves, whatever the role: tokens, the own password, the own key pairs, own streams."""
READING = frozenset({"POST /volumes/{volume}/action os-show_image_metadata"})
"""Written as changes, and none."""
IN_THEIR_OWN = frozenset({"POST /v3/users", "POST /v3/groups", "POST /v3/projects"})
"""What the manager of a domain makes there when the request names no other."""
PEOPLE: dict[str, Person] = {}


async def arrive(world: World, name: str, role: str, place: Place, domain: UUID = domains.ROOT) -> Person:
    """A user with one role in one place, and a token for it."""
    cloud, me = world.cloud, system()
    user = await users.create(cloud, me, users.CreateUser(name=name, domain=domain, password="secret"))
    await give(cloud, me, user.id, role, place)
    return Person(world.kernel, token(cloud, user.id, place.scope, place.target), user, world.member.project)


async def people(world: World) -> None:
    cloud, me = world.cloud, system()
    home = Place(Scope.PROJECT, world.member.project.id)
    elsewhere = await domains.create(cloud, me, domains.CreateDomain(name="elsewhere"))
    PEOPLE["reader"] = await arrive(world, "reader", READER, home)
    PEOPLE["disabled"] = await arrive(world, "disabled", MEMBER, home)
    PEOPLE["dismissed"] = await arrive(world, "dismissed", MEMBER, home)
    there = Place(Scope.DOMAIN, elsewhere.id)
    PEOPLE["stranger"] = await arrive(world, "stranger", MANAGER, there, elsewhere.id)
    await users.update(cloud, me, PEOPLE["disabled"].user.id, users.UpdateUser(enabled=False))
    (member,) = await roles.list_all(cloud, me, name=MEMBER)
    await assignments.revoke(cloud, me, PEOPLE["dismissed"].user.id, member.id, home)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with structlog.testing.capture_logs(), quick.directory() as place:
        async with opened(place, also=people) as made:
            yield made


@pytest.fixture(params=[service.name for service in usable()])
def walk(request: pytest.FixtureRequest, world: World) -> Iterator[Walk]:
    yield Walk(world, world.services[request.param])
    for platform in world.platforms:
        platform.heal()


def closed(walk: Walk) -> Iterator[tuple[Operation, str]]:
    """Operations that need a token, with a path in which everything is the member's."""
    own = names(walk.world, walk.world.own)
    for operation in walk.service.operations:
        if not operation.public:
            yield operation, path_of(walk.service, operation, own)


async def test_who_may_only_look_changes_nothing(walk: Walk) -> None:
    for operation, path in closed(walk):
        if operation.method in LOOKING or operation.path.startswith(OWN) or operation.key in READING:
            continue
        await walk.send(PEOPLE["reader"], operation, path, what="reader", body=good(walk, operation))
    walk.skip_or_finish()


@pytest.mark.parametrize("who", ["disabled", "dismissed"])
async def test_a_live_token_ends_with_its_user_or_role(walk: Walk, who: str) -> None:
    for operation, path in closed(walk):
        body = good(walk, operation)
        await walk.send(PEOPLE[who], operation, path, what=who, body=body, statuses=frozenset({401}))
    walk.skip_or_finish()


async def test_the_manager_of_another_domain_neither_sees_nor_changes_anything(walk: Walk) -> None:
    own = walk.world.own
    for operation, path in closed(walk):
        if operation.path.startswith(OWN) or operation.key in IN_THEIR_OWN:
            continue
        if operation.method not in LOOKING:
            await walk.send(PEOPLE["stranger"], operation, path, what="stranger", body=good(walk, operation))
            continue
        statuses = frozenset({200, 204, 300, 400, 403, 404, 501})
        reply = await walk.send(PEOPLE["stranger"], operation, path, what="stranger", statuses=statuses)
        if reply is not None and operation.method == "GET" and reply.status < 400:
            shown = [kind for kind, value in own.ids.items() if value not in path and value in reply.text]
            if shown:
                walk.failures.append(f"{operation.key}: shows another domain's {', '.join(shown)}")
    walk.skip_or_finish()
