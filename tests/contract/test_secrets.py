"""Everything that is written is searched for every secret that was sent: logs, events, operations, and answers that refuse.

The requests are made from the declarations: what a new operation takes under the name of a secret is sent tomorrow.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import structlog

from pileus.core.events import Event
from pileus.core.operations import Operation as LongWork
from pileus.faces import cloudstack
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.wire.service import Operation
from tests import quick
from tests.asgi import Client
from tests.contract import samples
from tests.contract.cloudstack.conftest import ENDPOINT, stack
from tests.contract.openstack.conftest import usable
from tests.contract.test_walkers import good
from tests.contract.walking import Walk, path_of
from tests.contract.world import World, names, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = re.compile(
    r"passw|secret|token|blob|passcode|adminpass|codefor2fa|signature|user_?data|personality", re.IGNORECASE
)
CANARY = "Canary-7f3d9c-{}"
FOUND = re.compile(r"Canary-7f3d9c-\d+")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written() -> AsyncIterator[tuple[World, list[Any]]]:
    with structlog.testing.capture_logs() as logged, quick.directory() as place:
        async with opened(place, also=cloudstacks) as made:
            yield made, logged


async def cloudstacks(world: World) -> None:
    cloudstack.mount(world.kernel)


def counted() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield CANARY.format(number)


def poisoned(body: Any, canaries: Iterator[str]) -> Any:
    """The body with a canary for every text under the name of a secret; None when there is none."""
    changed = False
    for at in list(samples.leaves(body)):
        if at and SECRET.search(str(at[-1])) and isinstance(samples_at(body, at), str):
            body = samples.at_place(body, at, next(canaries))
            changed = True
    return body if changed else None


def samples_at(value: Any, at: Any) -> Any:
    for key in at:
        value = value[key]
    return value


async def told(world: World, logged: list[Any]) -> list[str]:
    """Where a canary was found in what the cloud keeps."""
    async with world.cloud.view() as look:
        events = [(event.kind, repr(event)) for event in await look.list(Event)]
        work = [(each.workflow, repr(each)) for each in await look.list(LongWork)]
    lines = [("log", repr(line)) for line in logged]
    return [f"{kind}: {text[:300]}" for kind, text in (*events, *work, *lines) if FOUND.search(text)]


async def test_no_secret_that_openstacks_clients_send_is_written(written: tuple[World, list[Any]]) -> None:
    world, logged = written
    canaries, sent, failures = counted(), 0, []
    own = names(world, world.own)
    for service in usable():
        walk = Walk(world, service)
        for operation in service.operations:
            for body in bodies(walk, operation, canaries):
                sent += 1
                path = path_of(service, operation, own)
                reply = await tried(world.admin, operation, path, body)
                if reply.status >= 400 and FOUND.search(reply.text):
                    failures.append(f"{operation.key}: {reply.status} {reply.text[:200]}")
                failures += [f"{operation.key}: {each}" for each in await told(world, logged)][:3]
                world.database.changes()
                logged.clear()
    assert sent > 10
    assert failures == []


def bodies(walk: Walk, operation: Operation, canaries: Iterator[str]) -> Iterator[Any]:
    """A good body with canaries, and what is wrong with a canary in it."""
    if operation.body is None and not operation.action:
        return
    body = good(walk, operation)
    if body is msgspec.UNSET:
        return
    whole = poisoned(body, canaries)
    if whole is not None:
        yield whole
        yield {"nonsense": whole}
        yield [whole]


async def tried(who: Client, operation: Operation, path: str, body: Any) -> Any:
    kind = sorted(operation.media)[-1] if operation.media else "application/json"
    headers = {"content-type": kind}
    return await who.request(operation.method, path, data=msgspec.json.encode(body), headers=headers)


async def test_no_secret_of_a_log_in_is_written(written: tuple[World, list[Any]]) -> None:
    world, logged = written
    canaries = counted()
    nobody = Client(world.kernel, {})
    for method, proof in (
        ("password", lambda text: {"user": {"name": "demo", "domain": {"id": "default"}, "password": text}}),
        ("totp", lambda text: {"user": {"id": world.member.user.id.hex, "passcode": text}}),
        ("token", lambda text: {"id": text}),
        ("application_credential", lambda text: {"id": world.own["application_credential"], "secret": text}),
    ):
        identity = {"methods": [method], method: proof(next(canaries))}
        reply = await nobody.post("/identity/v3/auth/tokens", json={"auth": {"identity": identity}})
        assert reply.status in (401, 404), (method, reply.text)
        assert not FOUND.search(reply.text)
    for header in ("x-auth-token", "x-subject-token", "authorization", "cookie"):
        await world.admin.get("/identity/v3/auth/tokens", headers={header: next(canaries)})
    assert await told(world, logged) == []
    assert any(line["event"] == "login refused" for line in logged)
    world.database.changes()
    logged.clear()


async def test_no_secret_that_cloudstacks_clients_send_is_written(written: tuple[World, list[Any]]) -> None:
    world, logged = written
    canaries, failures, sent = counted(), [], 0
    who = await stack(world.kernel, world.cloud, "admin")
    for name, command in COMMANDS.items():
        given = {
            spec.wire: next(canaries)
            for spec in command.params.specs.values()
            if SECRET.search(spec.wire) and not name.startswith("list")
        }
        if not given:
            continue
        sent += 1
        for query in (who.signed(name, **given), f"command={name}&response=json&" + joined(given)):
            for request in (who.get(f"{ENDPOINT}?{query}"), posted(who, query)):
                reply = await request
                if reply.status >= 400 and FOUND.search(reply.text):
                    failures.append(f"{name}: {reply.status} {reply.text[:200]}")
        failures += [f"{name}: {each}" for each in await told(world, logged)][:3]
        world.database.changes()
        logged.clear()
    assert sent > 3
    assert failures == []


def joined(given: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in given.items())


async def posted(who: Client, query: str) -> Any:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await who.post(ENDPOINT, data=query.encode(), headers=headers)
