"""Bad input over every operation of every OpenStack service: refused in the service's own words, and nothing changes."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
import structlog

from pileus.faces.wire.service import Operation
from tests import quick
from tests.asgi import Client
from tests.contract import samples
from tests.contract.openstack.conftest import usable
from tests.contract.walking import Everything, Walk, collections, parameters, path_of, version_of
from tests.contract.world import World, expired, names, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNAUTHENTICATED = frozenset({401})
BAD = frozenset({400})
ANY = frozenset({*range(200, 300), 300, 400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 501})
ELSEWHERE = frozenset({403, 404})
NOWHERE = "00000000-0000-4000-8000-00000000dead"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with structlog.testing.capture_logs(), quick.directory() as place:
        async with opened(place) as made:
            yield made


@pytest.fixture(params=[service.name for service in usable()])
def walk(request: pytest.FixtureRequest, world: World) -> Iterator[Walk]:
    """What a request made wrong with a platform would slow down, or break, the walks that follow."""
    yield Walk(world, world.services[request.param])
    for platform in world.platforms:
        platform.heal()


def each(walk: Walk, *, body: bool = False) -> Iterator[tuple[Operation, str]]:
    """Operations with a path in which everything is the member's own."""
    own = names(walk.world, walk.world.own)
    for operation in walk.service.operations:
        if not body or operation.body is not None or operation.action:
            yield operation, path_of(walk.service, operation, own)


def good(walk: Walk, operation: Operation) -> Any:
    version = version_of(walk.service, operation)
    return samples.body(operation, version, names(walk.world, walk.world.own))


async def test_without_a_good_token_nothing_is_told_or_done(walk: Walk) -> None:
    world = walk.world
    tokens = {
        "no token": None,
        "empty token": "",
        "garbage": "gAAAAAgarbage",
        "expired": expired(world, world.admin),
        "cut off": world.admin.token[:-5],
        "unprintable": "\x7f\u00e9",
        "long": "a" * 100_000,
    }
    for operation, path in each(walk):
        for what, token in tokens.items():
            who = Client(world.kernel, {} if token is None else {"x-auth-token": token})
            statuses = ANY if operation.public else UNAUTHENTICATED
            await walk.send(who, operation, path, what=what, body=good(walk, operation), statuses=statuses)
    walk.skip_or_finish()


async def test_what_is_not_json_is_refused(walk: Walk) -> None:
    admin = walk.world.admin
    broken = {
        "half": b'{"a": ',
        "words": b"hello",
        "not UTF-8": b'{"a": "\xff\xfe"}',
        "NUL": b'{"a\\u0000": "b\\u0000"}',
        "bare NUL": b"\0",
        "two values": b"{} {}",
        "NaN": b'{"a": NaN}',
        "empty": b"",
        "spaces": b"  \n",
        "deep list": b"[" * 100_000,
        "deep object": b'{"a":' * 100_000,
        "closed deep list": b"[" * 5_000 + b"]" * 5_000,
        "huge number": b'{"a": 1' + b"0" * 5_000 + b"}",
        "huge exponent": b'{"a": 1e999999}',
        "lone surrogate": b'{"a": "\\ud800"}',
    }
    for operation, path in each(walk, body=True):
        for what, data in broken.items():
            await walk.send(admin, operation, path, what=what, data=data, statuses=BAD)
    walk.skip_or_finish()


LOOSE = ("/tags", "/quotas/{project}")
"""Neutron's, which pass over other keys."""


async def test_a_body_of_another_shape_is_refused(walk: Walk) -> None:
    admin = walk.world.admin
    for operation, path in each(walk, body=True):
        body = good(walk, operation)
        shapes: dict[str, Any] = {"list": [], "string": "x", "number": 1, "null": None, "true": True}
        if isinstance(body, list):
            shapes["list"] = ["x"]
        elif len(body) == 1:
            (inner,) = body.values()
            shapes |= {"another envelope": {"nonsense": inner}, "two envelopes": {**body, "nonsense": {}}}
            shapes |= {"no envelope": inner, "in a list": [body], "empty": {}}
        if operation.key.endswith(LOOSE):
            del shapes["two envelopes"]
        for what, shape in shapes.items():
            if not walk.takes(operation, shape):
                await walk.send(admin, operation, path, what=what, body=shape, statuses=BAD)
    walk.skip_or_finish()


async def test_fields_of_a_wrong_type_missing_and_unknown_ones_are_refused(walk: Walk) -> None:
    admin = walk.world.admin
    for operation, path in each(walk, body=True):
        for what, body in misshapen(walk, operation):
            statuses = BAD | {404} if what.startswith(SOUGHT) else BAD
            await walk.send(admin, operation, path, what=what, body=body, statuses=statuses)
    walk.skip_or_finish()


SOUGHT = "remote_group_id="
"""Neutron looks for whatever is sent there, and does not find it."""


def misshapen(walk: Walk, operation: Operation) -> Iterator[tuple[str, Any]]:
    """From the declaration, so that a field of tomorrow is tried tomorrow."""
    known = names(walk.world, walk.world.own)
    body = good(walk, operation)
    one, attributes = samples.attributes(operation, collections())
    for attribute in attributes:
        for value in samples.refused(attribute):
            yield f"{attribute.name}={value!r}", {one: {**body[one], attribute.name: value}}
        if attribute.required and operation.method == "POST":
            yield f"without {attribute.name}", samples.without(body, (one, attribute.name))
    if attributes:
        yield "an unknown field", {one: {**body[one], "nonsense": 1}}
    envelope, shape = samples.resolved(operation.body, version_of(walk.service, operation))
    if shape is None or samples.open_ended(shape):
        return
    key = operation.action or envelope
    inner = body if key is None else body[key]
    for at, kind, holder in samples.parts(shape, known):
        where = ".".join(map(str, at))
        for value in samples.wrong(kind):
            changed = samples.put(inner, at, value, shape, known)
            yield f"{where}={value!r}", changed if key is None else {key: changed}
        if isinstance(at[-1], str) and forbids(holder):
            changed = samples.put(inner, at, samples.sample(kind, known, at[-1]), shape, known)
            changed = samples.at_place(changed, (*at[:-1], "nonsense"), 1)
            yield f"{where} and an unknown one", changed if key is None else {key: changed}
        if isinstance(at[-1], str) and len(at) == 1 and isinstance(inner, dict) and required(holder, at[-1]):
            changed = samples.without(inner, at)
            yield f"without {where}", changed if key is None else {key: changed}


def forbids(holder: Any) -> bool:
    return bool(holder.__struct_config__.forbid_unknown_fields)


def required(holder: Any, name: str) -> bool:
    return any(field.encode_name == name and field.required for field in samples.fields(holder))


EXTREMES: tuple[Any, ...] = (
    "",
    " ",
    "x" * 300,
    "x" * 70_000,
    "\u202e\u0001\u001f",
    "\U0001f409",
    "../../etc/passwd",
    "'; DROP TABLE server; --",
    "%00",
    "{0}%s%(x)s",
    NOWHERE,
    0,
    -1,
    1 << 31,
    (1 << 63) - 1,
    1 << 64,
    -(1 << 63),
    1e308,
    0.1,
    True,
    None,
    [],
    {},
    ["x"] * 1_000,
    [None],
    [{"x": "x"}] * 60,
    {"x" * 300: "x"},
    {str(number): "x" for number in range(1_000)},
)


async def test_no_value_of_any_field_is_an_internal_error(walk: Walk) -> None:
    admin = walk.world.admin
    for operation, path in each(walk, body=True):
        for what, body in extreme(walk, operation):
            await walk.send(admin, operation, path, what=what, body=body, statuses=ANY, unchanged=False)
    walk.skip_or_finish()


def extreme(walk: Walk, operation: Operation) -> Iterator[tuple[str, Any]]:
    known = names(walk.world, walk.world.own)
    body = good(walk, operation)
    for number, value in enumerate(EXTREMES):
        for at in samples.leaves(body):
            yield f"{'.'.join(map(str, at))}=#{number}", samples.at_place(body, at, value)
        one, attributes = samples.attributes(operation, collections())
        for attribute in attributes:
            for given in (value, [value]):
                yield f"{attribute.name}=#{number}", {one: {**body[one], attribute.name: given}}
        envelope, shape = samples.resolved(operation.body, version_of(walk.service, operation))
        if shape is None or samples.open_ended(shape):
            continue
        key = operation.action or envelope
        inner = body if key is None else body[key]
        for at, kind, _ in samples.parts(shape, known):
            if samples.fits(value, kind):
                changed = samples.put(inner, at, value, shape, known)
                yield f"{'.'.join(map(str, at))}=#{number}", changed if key is None else {key: changed}


async def test_what_no_path_or_query_may_hold_is_no_internal_error(walk: Walk) -> None:
    admin = walk.world.admin
    ids = ["%00", "%ff%fe", "a" * 5_000, "..", "%2e%2e%2f", "-1", "9" * 30, "%F0%9F%90%89", "%20", "x"]
    ids += [NOWHERE, NOWHERE.replace("-", ""), NOWHERE.upper(), "{" + NOWHERE + "}", "null", "%0d%0aX:%20y"]
    for operation, _ in each(walk):
        own = names(walk.world, walk.world.own)
        held = [(kind, place) for kind, place in parameters(operation)]
        for at, (kind, _) in enumerate(held):
            for id_ in ids:
                wild = Everything(id_)
                known = [wild if number == at else own for number in range(len(held))]
                path = path_of(walk.service, operation, *known)
                free = not kind or operation.key in ANY_ID
                statuses = ANY if free or operation.public else ANY - frozenset(range(200, 300))
                await walk.send(
                    admin,
                    operation,
                    path,
                    what=f"{held[at][1]}={id_[:40]}",
                    body=good(walk, operation),
                    statuses=statuses,
                    unchanged=not free,
                )
    walk.skip_or_finish()


ANY_ID = frozenset(
    {
        *(f"{verb} /v2.0/quotas/{{project}}" for verb in ("GET", "PUT", "DELETE")),
        *(f"GET /v2.0/quotas/{{project}}/{part}" for part in ("default", "details", "details.json")),
        *(f"{verb} /os-quota-sets/{{project}}" for verb in ("GET", "PUT", "DELETE")),
        *(f"GET /os-quota-sets/{{project}}/{part}" for part in ("defaults", "detail")),
        "GET /v3/users/{user}/application_credentials",
        "GET /allocations/{consumer}",
    }
)
"""Where the originals do not ask whether what is named exists: quotas, and what a user or consumer has."""
JUNK = (
    "limit=-1",
    "limit=x",
    "limit=99999999999999999999",
    "limit=",
    "limit=1.5",
    "marker=junk",
    f"marker={NOWHERE}",
    "sort_key=junk",
    "sort_key=",
    "sort=junk:up",
    "sort_dir=sideways",
    "sort_dirs=x&sort_keys=y",
    "page_reverse=maybe",
    "fields=junk",
    "nonsense=1",
    "=",
    "&&&",
    "a=%ff",
    "a=%00",
    "name=" + "x" * 3_000,
    "id=x",
    "project_id=x",
    "tenant_id=",
    "all_tenants=junk",
    "changes-since=junk",
    "status=junk",
    "created_at=junk",
    "name=%F0%9F%90%89%25%5F%27",
    "&".join(f"a{number}=1" for number in range(5_000)),
    "limit=1&limit=2",
    "offset=-1",
    "offset=99999999999999999999",
)


async def test_no_query_is_an_internal_error_or_changes_anything(walk: Walk) -> None:
    world = walk.world
    for operation, path in each(walk):
        if operation.method not in ("GET", "HEAD") or (operation.public and not operation.query):
            continue
        for query in (*JUNK, *declared_junk(operation, walk)):
            for who in (world.admin, world.member):
                await walk.send(who, operation, f"{path}?{query}", what=f"?{query[:60]}", statuses=ANY)
    walk.skip_or_finish()


def declared_junk(operation: Operation, walk: Walk) -> Iterator[str]:
    _, shape = samples.resolved(operation.query, version_of(walk.service, operation))
    if shape is None:
        return
    for field in samples.fields(shape):
        for value in (
            "",
            "x",
            "-1",
            "99999999999999999999",
            NOWHERE,
            "x" * 300,
            "%E2%80%AE",
            "1.5",
            "in:,",
            "gt:x",
        ):
            yield f"{field.encode_name}={value}"


async def test_a_body_beyond_the_limit_is_refused_unread(walk: Walk) -> None:
    for operation, path in each(walk):
        if operation.body is None and not operation.action and not operation.media:
            continue
        limit = walk.world.cloud.config.max_image_bytes if operation.media else 0
        limit = max(limit, walk.world.cloud.config.max_body_bytes)
        statuses = TOO_LARGE if operation.body is not None or operation.action else TOO_LARGE | {409}
        headers = {"content-length": str(limit + 1)}
        await walk.send(
            walk.world.admin, operation, path, what="too large", data=b"{", headers=headers, statuses=statuses
        )
    walk.skip_or_finish()


TOO_LARGE = frozenset({413})


NOBODYS = frozenset(
    {
        *(
            "/os-hypervisors/{hypervisor}",
            "/os-hypervisors/{pattern}",
            "/services/{service}",
            "/groups/{group}",
        ),
        *("/endpoints/{endpoint}", "/roles/{role}", "/roles/{prior}", "/implies/{implied}", "/types/{type}"),
        "/resource_providers/{provider}",
        "/faults/{fault}",
        *("/registrations/{registration}", "/invitations/{invitation}"),
        "/registered_limits/{limit}",
        *("/endpoint_groups/{group}", "/policies/{policy}", "/consumers/{consumer}", "/authorize/{token}"),
        *("/config/{group}", "/{group}/{option}", "/access_tokens/{token}"),
    }
)


async def test_whose_everything_is_that_a_path_names_is_known_here(walk: Walk) -> None:
    """A path with a parameter that is new: say in samples.KINDS, samples.WORDS or NOBODYS whose it is."""
    for operation in walk.service.operations:
        parts = operation.path.split("/")
        for before, part in pairwise(parts):
            if part.startswith("{") and before not in samples.WORDS and f"/{before}/{part}" not in NOBODYS:
                kind = samples.KINDS.get(before)
                assert kind in walk.world.foreign.ids, f"{operation.key}: whose is {before}/{part}?"


async def test_nothing_of_another_project_is_shown_or_touched(walk: Walk) -> None:
    world = walk.world
    own, foreign = names(world, world.own), names(world, world.foreign)
    for operation, _ in each(walk):
        kinds = [kind for kind, _ in parameters(operation)]
        theirs = [at for at, kind in enumerate(kinds) if kind in world.foreign.ids]
        if not theirs or operation.public:
            continue
        whole = path_of(walk.service, operation, foreign)
        tries = {"all theirs": whole}
        for at in theirs if len(theirs) > 1 else ():
            mixed = [foreign if number == at else own for number in range(len(kinds))]
            tries[f"{kinds[at]} theirs"] = path_of(walk.service, operation, *mixed)
        for what, path in tries.items():
            body = good(walk, operation)
            statuses = EARLIER.get(operation.key, ELSEWHERE)
            reply = await walk.send(world.member, operation, path, what=what, body=body, statuses=statuses)
            if reply is not None and reply.status == 404 and operation.method != "HEAD":
                walk.reveals(operation, reply, world.foreign, path)
        if operation.method == "GET":
            await walk.send(
                world.other, operation, whole, what="the owner", statuses=frozenset({200, 204, 403})
            )
    walk.skip_or_finish()


EARLIER = {
    "PUT /servers/{server}/os-volume_attachments/{volume}": BAD,
    "GET /os-quota-sets/{project}/defaults": ELSEWHERE | {200},
}
"""Answered before anything is looked at: what is refused to all, and what is the same for all."""


async def test_no_body_reaches_what_another_project_owns(walk: Walk) -> None:
    world = walk.world
    for operation, path in each(walk, body=True):
        for what, body in reaching(walk, operation):
            await walk.send(world.member, operation, path, what=what, body=body)
    walk.skip_or_finish()


def reaching(walk: Walk, operation: Operation) -> Iterator[tuple[str, Any]]:
    """The good body with an object of the other project in each field that names one."""
    foreign = walk.world.foreign
    known = names(walk.world, walk.world.own)
    body = good(walk, operation)
    for at in samples.leaves(body):
        kind = samples.FIELDS.get(str(at[-1])) if at else None
        if kind in foreign.ids:
            yield f"{'.'.join(map(str, at))} theirs", samples.at_place(body, at, foreign[str(kind)])
    one, attributes = samples.attributes(operation, collections())
    for attribute in attributes:
        kind = samples.FIELDS.get(attribute.name)
        if kind in foreign.ids:
            many = attribute.name.endswith("s")
            value: Any = [foreign[str(kind)]] if many else foreign[str(kind)]
            yield f"{attribute.name} theirs", {one: {**body[one], attribute.name: value}}
        elif attribute.name == "project_id":
            yield "project_id theirs", {one: {**body[one], "project_id": foreign["project"]}}
        elif attribute.name == "fixed_ips":
            taken = [{"subnet_id": foreign["subnet"]}]
            yield "fixed_ips theirs", {one: {**body[one], "fixed_ips": taken}}
    envelope, shape = samples.resolved(operation.body, version_of(walk.service, operation))
    if shape is None or samples.open_ended(shape):
        return
    key = operation.action or envelope
    inner = body if key is None else body[key]
    for at, kind_, _ in samples.parts(shape, known):
        kind = samples.FIELDS.get(str(at[-1])) if at else None
        if kind in foreign.ids and samples.fits(foreign[str(kind)], kind_):
            changed = samples.put(inner, at, foreign[str(kind)], shape, known)
            yield f"{'.'.join(map(str, at))} theirs", changed if key is None else {key: changed}


async def test_no_list_shows_what_another_project_owns(walk: Walk) -> None:
    world = walk.world
    theirs = {value: kind for kind, value in world.foreign.ids.items()}
    for operation, path in each(walk):
        if operation.method != "GET" or operation.public:
            continue
        for query in ("", "?all_tenants=1", "?all_projects=1", f"?project_id={world.foreign['project']}"):
            reply = await walk.send(world.member, operation, path + query, what=f"list {query}", statuses=ANY)
            shown = reply.text if reply is not None and reply.status < 300 else ""
            found = [kind for value, kind in theirs.items() if value in shown and value not in query]
            if found:
                walk.failures.append(f"{operation.key}{query}: shows another's {', '.join(found)}")
    walk.skip_or_finish()
