import pytest

from tests.asgi import Client

from .conftest import KEY, OTHER

V = "/things/v2.1"
GOOD = {"name": "web", "flavorRef": "1"}
JSON = {"content-type": "application/json"}

BODIES = {
    "empty": (b"", "The request has no body; send a JSON object with the key 'server'."),
    "spaces": (b"  \n", "The request has no body"),
    "cut off": (b'{"server": {"name"', "it is not JSON"),
    "not json": (b"name=web", "it is not JSON"),
    "trailing": (b'{"server": {"name": "a", "flavorRef": "1"}} x', "it is not JSON"),
    "list": (b"[]", "a JSON object with the single key 'server'"),
    "null": (b"null", "a JSON object with the single key 'server'"),
    "text": (b'"server"', "a JSON object with the single key 'server'"),
    "wrong key": (b'{"srv": {}}', "the single key 'server' (Object contains unknown field 'srv')"),
    "no key": (b"{}", "the single key 'server' (Object missing required field 'server')"),
    "several keys": (b'{"server": {"name": "a", "flavorRef": "1"}, "b": 1}', "unknown field 'b'"),
    "null inside": (b'{"server": null}', "field/attribute server: Expected 'object', got 'null'."),
    "missing field": (b'{"server": {"name": "a"}}', "attribute server: 'flavorRef' is a required property."),
    "unknown field": (
        b'{"server": {"name": "a", "flavorRef": "1", "bad": 1}}',
        "attribute server: Additional properties are not allowed ('bad' was unexpected).",
    ),
    "wrong type": (
        b'{"server": {"name": 7, "flavorRef": "1"}}',
        "Invalid input for field/attribute name: Expected 'str', got 'int'.",
    ),
    "too short": (
        b'{"server": {"name": "", "flavorRef": "1"}}',
        "attribute name: Expected 'str' of length >= 1.",
    ),
    "in a list": (
        b'{"server": {"name": "a", "flavorRef": "1", "networks": [{"uuid": "x"}]}}',
        "attribute networks[0].uuid: Invalid UUID.",
    ),
    "in a mapping": (
        b'{"server": {"name": "a", "flavorRef": "1", "metadata": {"k": "123456789"}}}',
        "attribute metadata[...]: Expected 'str' of length <= 8.",
    ),
    "key of a mapping": (
        b'{"server": {"name": "a", "flavorRef": "1", "metadata": {"k": 1}}}',
        "metadata[...]",
    ),
    "not utf-8": (b'{"server": {"name": "\xff", "flavorRef": "1"}}', "Malformed request body"),
    "raw nul": (b'{"server": {"name": "a\0", "flavorRef": "1"}}', "it is not JSON"),
    "nul": (b'{"server": {"name": "a\\u0000", "flavorRef": "1"}}', "the character U+0000"),
    "half a surrogate": (b'{"server": {"name": "\\ud800", "flavorRef": "1"}}', "it is not JSON"),
    "deep": (b'{"server": ' + b"[" * 2000, "Expected 'object', got 'array'"),
    "deep known": (b'{"server": {"extra": ' + b'{"a":' * 1500, "nested too deeply"),
    "huge number": (b'{"server": {"name": "a", "flavorRef": "1", "count": 1e999}}', "Number out of range"),
    "huge integer": (
        b'{"server": {"name": "a", "flavorRef": "1", "count": ' + b"9" * 3000 + b"}}",
        "64 bits",
    ),
    "big integer": (b'{"server": {"name": "a", "flavorRef": "1", "count": 9223372036854775808}}', "64 bits"),
    "bad escape": (b'{"server": {"name": "\\x", "flavorRef": "1"}}', "it is not JSON"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_bad_body_is_refused_with_its_cause(client: Client, case):
    data, told = BODIES[case]
    reply = await client.post(f"{V}/servers", data=data, headers=JSON)
    assert reply.status == 400, reply.text
    assert told in reply.json()["fault"]["message"]


@pytest.mark.parametrize("size", [65537, 200_000])
@pytest.mark.parametrize("declared", [True, False])
async def test_an_oversized_body_is_refused(client: Client, size, declared):
    data = b"x" * size
    reply = await client.post(
        f"{V}/servers", data=data if declared else [data[:60000], data[60000:]], headers=JSON
    )
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert "65536" in reply.json()["fault"]["message"]


@pytest.mark.parametrize("length", ["-1", "x", "1" * 30, "²"])
async def test_a_length_that_is_no_number_is_refused(client: Client, length):
    reply = await client.post(f"{V}/servers", data=b"{}", headers={**JSON, "content-length": length})
    assert reply.status == 400


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json", ""]
)
async def test_json_types_are_accepted(client: Client, kind):
    reply = await client.post(f"{V}/servers", json={"server": GOOD}, headers={"content-type": kind})
    assert reply.status == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
@pytest.mark.parametrize("path", ["/servers", f"/servers/{KEY}/action"])
async def test_other_types_are_refused(client: Client, kind, path):
    reply = await client.post(V + path, data=b"{}", headers={"content-type": kind})
    assert (reply.status, kind in reply.text) == (400, True)


async def test_a_good_body_arrives_typed(client: Client):
    sent = {**GOOD, "networks": [{"uuid": OTHER}], "metadata": {"a": "b"}}
    reply = await client.post(f"{V}/servers", json={"server": sent})
    shown = reply.json()["server"]
    assert (reply.status, shown["name"], shown["count"], shown["nics"]) == (202, "web", 1, 1)


@pytest.mark.parametrize(("data", "before"), [(b"", None), (b"null", None), (b'{"before": 1}', 1)])
async def test_a_body_may_be_optional(client: Client, data, before):
    assert (await client.put(f"{V}/optional", data=data)).json() == {"before": before}


async def test_a_written_escape_is_no_nul(client: Client):
    reply = await client.post(f"{V}/servers", json={"server": {**GOOD, "name": "a\\u0000"}})
    assert reply.json()["server"]["name"] == "a\\u0000"


QUERIES = {
    "": {"limit": None, "deleted": False, "owner": None, "tag": [], "ports": []},
    "limit=5&deleted=true&other=1": {"limit": 5, "deleted": True},
    f"owner={KEY.hex}": {"owner": str(KEY)},
    "deleted=0": {"deleted": False},
    "tag=a&tag=b%20c": {"tag": ["a", "b c"]},
    "ports=1&ports=2": {"ports": [1, 2]},
    "limit=1&limit=2": {"limit": 2},
}


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_becomes_typed(client: Client, query):
    reply = await client.get(f"{V}/servers?{query}")
    assert reply.json()["query"].items() >= QUERIES[query].items()


@pytest.mark.parametrize(
    "query",
    [
        *("limit=x", "limit=", "deleted=perhaps", "owner=x", "ports=a", "ports=1&ports=2&ports=3&ports=4"),
        "limit=99999999999999999999",
        *("tag=%00", "%00=1", "tag=%ff", "&".join(f"t{n}=1" for n in range(5000))),
    ],
)
async def test_a_bad_query_is_refused(client: Client, query):
    reply = await client.get(f"{V}/servers?{query}")
    assert reply.status == 400, reply.text


async def test_unknown_query_parameters_are_refused_where_the_struct_says_so(client: Client):
    reply = await client.get(f"{V}/servers/detail?name=a&bad=1")
    assert (reply.status, "'bad' was unexpected" in reply.text) == (400, True)


@pytest.mark.parametrize(("version", "status"), [("2.99", 200), ("2.100", 400), ("latest", 400)])
@pytest.mark.parametrize("path", ["/servers", "/names/x", f"/servers/{KEY}"])
async def test_unknown_query_parameters_are_refused_from_a_version_on(client: Client, path, version, status):
    reply = await client.get(f"{V}{path}?bad=1", headers={"openstack-api-version": f"things {version}"})
    assert reply.status == status


ACTIONS = {
    "empty": (b"", 400, "no body"),
    "not json": (b"{", 400, "it is not JSON"),
    "list": (b"[]", 400, "Invalid input for the request: Expected 'object', got 'array'."),
    "none": (b"{}", 400, "exactly one key"),
    "two": (b'{"resize": {}, "os-start": null}', 400, "it has 2: os-start, resize"),
    "unknown": (b'{"explode": null}', 400, "There is no such action: explode"),
    "bad inside": (
        b'{"resize": {"flavorRef": 1}}',
        400,
        "attribute resize.flavorRef: Expected 'str', got 'int'.",
    ),
    "missing inside": (b'{"resize": {}}', 400, "attribute resize: 'flavorRef' is a required property."),
    "null inside": (b'{"resize": null}', 400, "attribute resize: Expected 'object', got 'null'."),
    "nul": (b'{"resize": {"flavorRef": "\\u0000"}}', 400, "U+0000"),
    "deep": (b'{"resize": ' + b"[" * 3000, 400, "Malformed"),
    "not allowed": (b'{"os-start": null}', 403, "Policy doesn't allow t:start to be performed."),
    "good": (b'{"resize": {"flavorRef": "2"}}', 202, '"flavor":"2"'),
    "of a version": (b'{"addFloatingIp": {"anything": 1}}', 202, ""),
}


@pytest.mark.parametrize("case", ACTIONS)
async def test_an_action_is_chosen_by_the_single_key(client: Client, case):
    data, status, told = ACTIONS[case]
    reply = await client.post(f"{V}/servers/{KEY}/action", data=data, headers=JSON)
    assert (reply.status, told in (reply.text if status == 202 else reply.json()["fault"]["message"])) == (
        status,
        True,
    )


async def test_an_action_without_a_body_ignores_what_stands_under_its_key(admin: Client):
    for content in (None, {}, "x", {"a": 1}):
        reply = await admin.post(f"{V}/servers/{KEY}/action", json={"os-start": content})
        assert (reply.status, reply.body, reply.headers["content-length"]) == (202, b"", "0")
