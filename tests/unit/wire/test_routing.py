import pytest

from pileus.core.errors import Invalid
from pileus.faces.wire.routing import Node, Prefixes, parameters, segments
from tests.asgi import Client

from .conftest import KEY, PROJECT

V = "/things/v2.1"
ROUTES = {
    "/servers/detail": ("/servers/detail", ()),
    "/servers/abc": ("/servers/{server}", ("abc",)),
    "/servers/abc/": ("/servers/{server}", ("abc",)),
    "/servers/detail/tags": ("/servers/{server}/tags", ("detail",)),
    "/servers/a/b": None,
    "/servers": None,
    "/servers/": None,
    "/o/c": ("/o/{bucket}", ("c",)),
    "/o/c/": ("/o/{bucket}", ("c",)),
    "/o/c/x/y/": ("/o/{bucket}/{name:path}", ("c", "x/y/")),
    "/o/c//x": ("/o/{bucket}/{name:path}", ("c", "/x")),
    "/": ("/", ()),
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_path_finds_its_template(path):
    root = Node()
    for template in ("/", "/servers/detail", "/servers/{server}", "/servers/{server}/tags"):
        root.grow(template).leaf = template
    root.grow("/o/{bucket}").leaf = "/o/{bucket}"
    root.grow("/o/{bucket}/{name:path}").leaf = "/o/{bucket}/{name:path}"
    assert root.find(tuple(segments(path.encode()))) == ROUTES[path]


def test_nothing_may_follow_a_path_parameter():
    with pytest.raises(ValueError, match="nothing may follow"):
        Node().grow("/{a:path}/b")


def test_the_names_of_parameters_are_in_order():
    assert parameters("/a/{one}/b/{two:path}") == ["one", "two"]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"/a/b%2Fc", ["a", "b/c"]),
        (b"/%C3%A9", ["é"]),
        ("/é".encode(), ["é"]),
        (b"/a%20b+c", ["a b+c"]),
        (b"/%", ["%"]),
        (b"/%zz", ["%zz"]),
        (b"/a/", ["a", ""]),
        (b"", [""]),
    ],
)
def test_segments_are_decoded_one_by_one(raw, parts):
    assert segments(raw) == parts


@pytest.mark.parametrize("raw", [b"/%ff", b"/\xff", b"/%00", b"/a%00b", b"/%c3"])
def test_a_path_that_is_no_text_is_invalid(raw):
    with pytest.raises(Invalid):
        segments(raw)


def test_the_longest_prefix_wins_by_whole_segments():
    prefixes = Prefixes()
    for prefix in ("/", "/identity", "/identity/v3"):
        prefixes.add(prefix, prefix)
    found = {
        path: prefixes.longest(segments(path.encode())) for path in ("/identity/v3x", "/identity/v3/a", "/x")
    }
    assert found == {
        "/identity/v3x": ("/identity", 1),
        "/identity/v3/a": ("/identity/v3", 2),
        "/x": ("/", 0),
    }


def test_a_prefix_is_served_once():
    prefixes = Prefixes()
    prefixes.add("/a", 1)
    with pytest.raises(ValueError, match="/a is served twice"):
        prefixes.add("/a/", 2)


def test_thousands_of_routes_are_found():
    root = Node()
    for number in range(2500):
        root.grow(f"/kind{number}/{{id}}/part").leaf = number
    assert [root.find((f"kind{n}", "x", "part")) for n in (0, 2499)] == [(0, ("x",)), (2499, ("x",))]


@pytest.mark.parametrize("written", [str(KEY), KEY.hex, KEY.hex.upper()])
async def test_an_id_is_read_with_and_without_dashes(client: Client, written):
    reply = await client.get(f"{V}/servers/{written}")
    assert reply.json() == {"server": {"id": str(KEY), "at": "2026-01-02T03:04:05Z"}}


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/servers/nonsense", "server nonsense could not be found."),
        ("/servers/{" + str(KEY) + "}", "server {" + str(KEY) + "} could not be found."),
        ("/servers/nonsense/ports/1", "server nonsense could not be found."),
        (f"/servers/{KEY}/ports/x", "number x could not be found."),
        (f"/servers/{KEY}/ports/{'9' * 40}", f"number {'9' * 40} could not be found."),
    ],
)
async def test_a_malformed_parameter_names_nothing(client: Client, path, missing):
    reply = await client.get(V + path)
    assert (reply.status, reply.json()["fault"]["message"]) == (404, missing)


async def test_arguments_are_given_by_name(client: Client):
    reply = await client.get(f"{V}/servers/{KEY}/ports/7")
    assert reply.json() == {"server": KEY.hex, "number": 7}


@pytest.mark.parametrize(
    ("path", "name"), [("/names/a%2Fb", "a/b"), ("/names/a%20%C3%A9", "a é"), ("/names/a+b", "a+b")]
)
async def test_percent_signs_are_decoded_after_the_path_is_cut(client: Client, path, name):
    assert (await client.get(V + path)).json() == {"name": name}


async def test_a_rest_of_the_path_keeps_its_slashes(client: Client):
    reply = await client.get(f"{V}/files/b/x//y/z/")
    assert reply.json() == {"bucket": "b", "key": "x//y/z/"}


@pytest.mark.parametrize(
    "path", ["/nowhere", "/things/v2.1/none", "/things/v2.1/servers/a/b/c", "/thingsx", "/"]
)
async def test_an_unknown_path_is_not_found(client: Client, path):
    assert (await client.get(path)).status == 404


async def test_a_known_path_names_its_methods(client: Client):
    reply = await client.put(f"{V}/servers/{KEY}")
    assert (reply.status, reply.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    assert reply.json()["fault"]["code"] == 405


async def test_options_tells_the_methods(client: Client):
    reply = await client.request("OPTIONS", f"{V}/servers")
    assert (reply.status, reply.headers["allow"], reply.body) == (200, "GET, HEAD, OPTIONS, POST", b"")


async def test_head_is_a_get_without_its_body(client: Client):
    whole = await client.get(f"{V}/names/x")
    reply = await client.head(f"{V}/names/x")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", str(len(whole.body)))


@pytest.mark.parametrize("path", [V, f"{V}/"])
async def test_a_trailing_slash_means_nothing(client: Client, path):
    assert (await client.get(path)).json()["self"] == "http://cloud.test/things/v2.1"


async def test_the_own_project_may_stand_in_the_path(client: Client):
    reply = await client.get(f"{V}/{PROJECT}/servers/{KEY}")
    assert reply.status == 200


async def test_another_project_in_the_path_is_a_mistake(client: Client):
    reply = await client.get(f"{V}/{KEY.hex}/servers/{KEY}")
    assert (reply.status, "Malformed request url" in reply.text) == (400, True)
