"""Bad input and strangers, over every command that is declared, in one cloud that no request may change."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from pileus.faces import cloudstack
from pileus.faces.cloudstack import waiting
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.params import Rows
from pileus.faces.cloudstack.sessions import ANONYMOUS
from tests import quick
from tests.asgi import Client
from tests.contract.cloudstack.conftest import ENDPOINT, UNSIGNED, Stack, stack
from tests.contract.world import World, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIGNED = [name for name in COMMANDS if name not in ANONYMOUS]


async def furnish(world: World) -> None:
    cloudstack.mount(world.kernel)
    throttled = {"api_throttling_enabled": True, "api_throttling_max": 1 << 30}
    world.cloud.config = msgspec.structs.replace(world.cloud.config, **throttled)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with quick.directory() as place, pytest.MonkeyPatch.context() as patch:
        async with opened(place, also=furnish) as made:
            patch.setattr(waiting, "PATIENCE", 0.0)  # there is no worker to wait for
            yield made


@pytest_asyncio.fixture(loop_scope="module")
async def admin(world: World) -> Stack:
    return await stack(world.kernel, world.cloud, "admin")


@pytest_asyncio.fixture(loop_scope="module")
async def member(world: World) -> Stack:
    return await stack(world.kernel, world.cloud, "demo")


def required(name: str) -> dict[str, str]:
    """Every required parameter with a value of its type that names nothing."""
    samples: Mapping[Any, str] = {UUID: str(uuid4()), int: "1", bool: "true", tuple[UUID, ...]: str(uuid4())}
    specs = COMMANDS[name].params.specs.values()
    maps = (Rows, dict[str, str])
    return {
        f"{spec.wire}[0].key" if spec.type in maps else spec.wire: samples.get(spec.type, "x")
        for spec in specs
        if spec.required
    }


@pytest.mark.parametrize("name", SIGNED)
async def test_every_missing_parameter_is_named(name: str, admin: Stack, world: World) -> None:
    for wire in required(name):
        sent = {key: value for key, value in required(name).items() if key != wire}
        for value in ({},) if "[" in wire else ({}, {wire: ""}):
            said = await admin.refused(name, 431, **sent, **value)
            assert (
                said
                == f"Unable to execute API command {name.lower()} due to missing parameter {wire.partition('[')[0]}"
            )
    assert world.database.changes() == []


@pytest.mark.parametrize("name", SIGNED)
async def test_every_parameter_of_a_wrong_type_is_refused(name: str, admin: Stack, world: World) -> None:
    for spec in COMMANDS[name].params.specs.values():
        sent = required(name)
        if spec.type is str:
            sent[spec.wire] = "y" * (spec.length + 1)
        elif spec.type in (dict[str, str], tuple[dict[str, str], ...]):
            sent.pop(f"{spec.wire}[0].key", None)
            for bad in (f"{spec.wire}", f"{spec.wire}[0]", f"{spec.wire}[a].b", f"{spec.wire}[0].a[1].b"):
                assert bad in await admin.refused(name, 430, **sent, **{bad: "1"})
            continue
        elif spec.type == tuple[str, ...]:
            sent[spec.wire] = ",".join("x" * 501)
        else:
            sent[spec.wire] = "1-not-of-this-type"
        assert spec.wire in await admin.refused(name, 431, **sent)
    assert world.database.changes() == []


@pytest.mark.parametrize("name", SIGNED)
async def test_ids_that_name_nothing_are_never_an_internal_error(
    name: str, admin: Stack, world: World
) -> None:
    for spec in COMMANDS[name].params.specs.values():
        if spec.type is not UUID:
            continue
        reply = await admin.ask(name, **{**required(name), spec.wire: str(uuid4())})
        assert reply.status == 200 or 400 <= reply.status < 530 or reply.status > 530, reply.text
        assert reply.status != 200 or name.startswith("list"), f"{name} {spec.wire}: {reply.text}"
    assert world.database.changes() == []


@pytest.mark.parametrize("name", SIGNED)
async def test_no_command_is_served_to_who_does_not_sign(name: str, admin: Stack, world: World) -> None:
    client, good = Client(world.kernel), admin.signed(name, **required(name))
    unsigned = good.partition("&signature=")[0]
    bad = [
        unsigned,
        f"{good}x",
        f"{unsigned}&signature=",
        good.replace(admin.key, "0" * 32),
        good + "&extra=1",
    ]
    bad += [f"command={name}&response=json", f"command={name}&response=json&sessionkey=x"]
    for query in bad:
        reply = await client.get(f"{ENDPOINT}?{query}")
        body = reply.json()[COMMANDS[name].entry.envelope]
        assert (reply.status, body["errorcode"], body["errortext"]) == (401, 401, UNSIGNED)
        assert reply.headers["x-description"] == UNSIGNED
    assert world.database.changes() == []


@pytest.mark.parametrize("name", SIGNED)
async def test_no_role_calls_what_is_not_for_it(name: str, member: Stack, world: World) -> None:
    reply = await member.ask(name, **required(name))
    world.database.changes()
    if COMMANDS[name].allows("User"):
        assert reply.status not in (401, 432, 530)
    else:
        assert (reply.status, reply.json()["errorresponse"]["errorcode"]) == (432, 432)
