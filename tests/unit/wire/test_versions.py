from typing import Any
from uuid import UUID

import msgspec
import pytest

from pileus.faces.wire import Request, Service, Versioned, Versions
from tests.asgi import Client

from .conftest import KEY

V = "/things/v2.1"
WANTED = {
    "none": ({}, "2.1"),
    "number": ({"openstack-api-version": "things 2.35"}, "2.35"),
    "alias": ({"openstack-api-version": "thing 2.35"}, "2.35"),
    "latest": ({"openstack-api-version": "things latest"}, "2.104"),
    "several": ({"openstack-api-version": "volume 3.1, things 2.40 , placement x"}, "2.40"),
    "others only": ({"openstack-api-version": "volume 3.1"}, "2.1"),
    "upper case": ({"openstack-api-version": "Things LATEST"}, "2.104"),
    "legacy": ({"x-things-version": "2.36"}, "2.36"),
    "legacy latest": ({"x-things-version": "latest"}, "2.104"),
    "newer header first": ({"openstack-api-version": "things 2.35", "x-things-version": "2.36"}, "2.35"),
}


@pytest.mark.parametrize("case", WANTED)
async def test_the_version_is_answered_with_its_number(client: Client, case):
    headers, version = WANTED[case]
    reply = await client.get(f"{V}/names/x", headers=headers)
    assert reply.status == 200
    assert reply.headers["openstack-api-version"] == f"things {version}"
    assert reply.headers["x-things-version"] == version
    assert reply.headers["vary"] == "OpenStack-API-Version, X-Things-Version"


@pytest.mark.parametrize(
    "asked", ["2", "2.x", "2.01", "x", "", "2.1.1", "-2.1", "2.1 3", "٢.1", "2." + "9" * 99]
)
async def test_a_malformed_version_is_a_bad_request(client: Client, asked):
    reply = await client.get(f"{V}/names/x", headers={"openstack-api-version": f"things {asked}"})
    assert (reply.status, reply.json()["fault"]["code"]) == (400, 400)
    assert "openstack-api-version" not in reply.headers
    assert "vary" in reply.headers


@pytest.mark.parametrize("asked", ["2.0", "2.105", "3.0", "1.99"])
async def test_a_version_out_of_range_is_not_acceptable(client: Client, asked):
    reply = await client.get(f"{V}/names/x", headers={"openstack-api-version": f"things {asked}"})
    told = f"Version {asked} is not supported by the API. Minimum is 2.1 and maximum is 2.104."
    assert reply.status == 406
    assert reply.json()["fault"] == {"code": 406, "message": told, "minimum": "2.1", "maximum": "2.104"}


@pytest.mark.parametrize("asked", ["2.0", "x"])
async def test_discovery_takes_any_version(client: Client, asked):
    reply = await client.get(V, headers={"openstack-api-version": f"things {asked}"})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("2.34", None),
        ("2.35", "version"),
        ("2.43", "version"),
        ("2.44", None),
        ("2.50", "later"),
        ("2.104", "later"),
    ],
)
async def test_an_operation_exists_in_its_versions_only(client: Client, version, answer):
    reply = await client.get(f"{V}/ranged", headers={"x-things-version": version})
    assert (reply.status, answer in reply.json()) == ((200, True) if answer else (404, False))


@pytest.mark.parametrize(("version", "status"), [("2.43", 202), ("2.44", 404)])
async def test_an_action_exists_in_its_versions_only(client: Client, version, status):
    reply = await client.post(
        f"{V}/servers/{KEY}/action", json={"addFloatingIp": {}}, headers={"x-things-version": version}
    )
    assert reply.status == status


@pytest.mark.parametrize("path", ["form", "wrapped"])
@pytest.mark.parametrize(
    ("version", "key", "form"), [("2.18", "before", "OldForm"), ("2.19", "after", "NewForm")]
)
async def test_a_body_is_the_variant_of_its_version(client: Client, path, version, key, form):
    good, bad = ({key: 1}, {"x": 1})
    if path == "wrapped":
        good, bad = {"w": good}, {"w": bad}
    headers = {"x-things-version": version}
    assert (await client.put(f"{V}/{path}", json=good, headers=headers)).json() == {"form": form}
    assert (await client.put(f"{V}/{path}", json=bad, headers=headers)).status == 400


@pytest.mark.parametrize(
    ("version", "content", "flavor"),
    [("2.90", {"flavorRef": "1"}, None), ("2.91", {"flavorRef": "1"}, "1"), ("2.91", None, None)],
)
async def test_an_action_takes_the_body_of_its_version(client: Client, version, content, flavor):
    reply = await client.post(
        f"{V}/servers/{KEY}/action", json={"shelve": content}, headers={"x-things-version": version}
    )
    assert (reply.status, reply.json()) == (202, {"flavor": flavor})


@pytest.mark.parametrize(
    ("version", "shown"), [("2.18", {"old"}), ("2.19", {"old", "description"}), ("2.21", {"description"})]
)
async def test_a_field_is_shown_in_its_versions_only(client: Client, version, shown):
    sent = {"server": {"name": "a", "flavorRef": "1"}}
    reply = await client.post(f"{V}/servers", json=sent, headers={"x-things-version": version})
    assert reply.json()["server"].keys() & {"old", "description"} == shown


@pytest.mark.parametrize(("version", "status"), [("2.18", 400), ("2.19", 202)])
@pytest.mark.parametrize("value", ["x", None])
async def test_a_field_is_read_in_its_versions_only(client: Client, version, status, value):
    sent = {"server": {"name": "a", "flavorRef": "1", "description": value}}
    reply = await client.post(f"{V}/servers", json=sent, headers={"x-things-version": version})
    assert (reply.status, "'description' was unexpected" in reply.text) == (status, status == 400)


def test_operations_of_the_same_versions_are_declared_once():
    service = Service("s", "/s", versions=Versions("s", (2, 1), (2, 9)))

    @service.operation("GET", "/a/{one}", until=(2, 4))
    async def first(request: Request, one: str) -> None: ...

    @service.operation("GET", "/a/{two}", since=(2, 5))
    async def second(request: Request, two: str) -> None: ...

    with pytest.raises(ValueError, match=r"GET /a/\{three\} is declared twice"):

        @service.operation("GET", "/a/{three}", since=(2, 4))
        async def third(request: Request, three: str) -> None: ...


def test_before_its_first_variant_nothing_is_declared():
    variants: Versioned = Versioned({(2, 19): "new", (2, 5): "old"})
    assert [variants.at(v) for v in ((2, 4), (2, 5), (2, 18), (2, 19), (3, 0))] == [
        None,
        "old",
        "old",
        "new",
        "new",
    ]


def test_operations_can_be_read(service: Service):
    by_key = {operation.key: operation for operation in service.operations}
    create = by_key["POST /servers"]
    assert (create.method, create.path, create.policy, create.status) == ("POST", "/servers", "t:create", 202)
    assert (create.versions, create.service) == ((None, None), "things")
    assert by_key["POST /servers/{server}/action addFloatingIp"].versions == (None, (2, 43))


class Size(msgspec.Struct):
    n: int


@pytest.mark.parametrize(
    "handler",
    [
        lambda request: None,
        lambda request, server: None,
        lambda request, server, body, extra: None,
        lambda request, other, body: None,
        lambda: None,
    ],
)
def test_a_handler_must_take_what_its_operation_gives(handler: Any):
    from pileus.faces.wire.call import Call

    service = Service("s", "/s")
    service.operation("PUT", "/a/{server}", body=Size)(handler)
    with pytest.raises(TypeError, match=r"must take \(request, server, body\)"):
        Call(service.operations[0])


def test_annotations_may_be_text():
    from pileus.faces.wire.call import Call

    service = Service("s", "/s")

    async def handler(request: "Request", server: "UUID") -> None: ...

    service.operation("GET", "/a/{server}")(handler)
    assert Call(service.operations[0])._convert[0](KEY.hex) == KEY
