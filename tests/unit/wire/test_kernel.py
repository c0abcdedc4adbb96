import asyncio
import re
from typing import Any

import pytest
import structlog

from pileus import store
from pileus.core.errors import CoreError, Kind
from pileus.faces.wire import STATUS, Kernel, PlainErrors, Request, Response, Service, Versions, WireError
from pileus.faces.wire.errors import WireKind
from tests.asgi import Client

from .conftest import KEY, OTHER, PROJECT, Form, Seen, authenticate

V = "/things/v2.1"
ID = "req-01234567-89ab-4cde-8f01-23456789abcd"


def test_every_kind_has_a_status():
    assert set(STATUS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
async def test_every_refusal_of_the_core_has_an_answer(kind):
    service = Service("s", "/s", public=True)

    class Refusal(CoreError):
        pass

    Refusal.kind = kind

    @service.operation("GET", "/x")
    async def refuse(request: Request) -> None:
        raise Refusal("told", private="kept")

    reply = await Client(Kernel([service])).get("/s/x")
    assert reply.status == STATUS[kind]
    assert reply.json() == {"error": {"code": STATUS[kind], "message": "told"}}


@pytest.mark.parametrize(
    ("error", "told"),
    [(store.Conflicted("deadlock"), "send it again"), (store.Disconnected("gone"), "database")],
)
async def test_what_the_database_answers_for_a_moment_is_no_internal_error(error, told):
    service = Service("s", "/s", public=True)

    @service.operation("GET", "/x")
    async def collide(request: Request) -> None:
        raise error

    reply = await Client(Kernel([service])).get("/s/x")
    assert reply.status == 503
    assert told in reply.json()["error"]["message"]


@pytest.mark.parametrize("kind", WireKind)
def test_every_refusal_of_the_wire_has_a_status(kind):
    assert 400 <= kind.status <= 599


async def test_nobody_comes_in_without_a_token(kernel: Kernel):
    for path in ("/servers", f"/servers/{KEY}", "/boom", "/names/x"):
        reply = await Client(kernel).get(V + path)
        assert (reply.status, reply.json()["fault"]["code"]) == (401, 401)


async def test_a_body_is_not_read_before_the_caller_is_known(kernel: Kernel):
    async def endless() -> Any:
        raise AssertionError("the body was read")
        yield b""

    reply = await Client(kernel).post(f"{V}/servers", data=endless())
    assert reply.status == 401


async def test_public_operations_need_no_token(kernel: Kernel):
    reply = await Client(kernel).get(V)
    assert reply.json() == {"self": "http://cloud.test/things/v2.1", "anonymous": True, "client": "192.0.2.7"}


@pytest.mark.parametrize(("token", "status"), [("member", 403), ("admin", 202), ("system", 403)])
async def test_the_policy_is_asked_before_the_handler(kernel: Kernel, token, status):
    client = Client(kernel, {"x-auth-token": token})
    reply = await client.post(f"{V}/servers/{KEY}/action", json={"os-start": None})
    assert reply.status == status


async def test_a_caller_without_a_project_owns_nothing(kernel: Kernel):
    reply = await Client(kernel, {"x-auth-token": "system"}).get(f"{V}/servers/{KEY}")
    assert reply.status == 403


@pytest.mark.parametrize(("key", "status"), [("u1", 200), ("u2", 403)])
async def test_a_rule_about_an_object_is_decided_by_the_handler(client: Client, key, status):
    reply = await client.get(f"{V}/objects/{key}")
    assert reply.status == status


@pytest.mark.parametrize(("key", "status"), [(PROJECT, 200), (OTHER, 403), ("forgotten", 500)])
async def test_a_rule_may_be_declared_to_be_about_an_object(client: Client, key, status):
    assert (await client.get(f"{V}/targeted/{key}")).status == status


async def test_a_rule_that_nobody_decided_is_an_error(client: Client):
    assert (await client.get(f"{V}/forgotten/u1")).status == 500


async def test_an_unexpected_error_shows_only_the_request_id(client: Client):
    with structlog.testing.capture_logs() as logs:
        reply = await client.get(f"{V}/boom")
    identity = reply.headers["x-openstack-request-id"]
    assert reply.status == 500
    assert "secret" not in reply.text
    assert identity in reply.json()["fault"]["message"]
    (entry,) = [entry for entry in logs if entry["event"] == "request failed"]
    assert (entry["id"], entry["exc_info"], entry["log_level"]) == (identity, True, "error")


async def test_private_text_goes_to_the_log_only(client: Client):
    with structlog.testing.capture_logs() as logs:
        reply = await client.get(f"{V}/conflict")
    assert (reply.status, reply.json()["fault"]["message"]) == (409, "It is busy.")
    assert [entry["private"] for entry in logs if entry["event"] == "refused"] == [
        "what only the log may hold"
    ]


async def test_an_error_form_that_fails_is_an_internal_error():
    class Broken:
        def render(self, error: Any, request: Request) -> Response:
            raise RuntimeError("secret")

    service = Service("s", "/s", public=True, errors=Broken())
    reply = await Client(Kernel([service])).get("/s/none")
    assert (reply.status, "secret" in reply.text) == (500, False)


async def test_every_request_is_logged_with_its_time(client: Client):
    with structlog.testing.capture_logs() as logs:
        await client.get(f"{V}/names/x?signature=secret")
    (entry,) = logs
    assert (entry["event"], entry["method"], entry["path"], entry["status"]) == (
        "request",
        "GET",
        f"{V}/names/x",
        200,
    )
    assert entry["operation"] == "GET /names/{name}"
    assert entry["ms"] > 0
    assert "secret" not in str(entry)


async def test_a_well_formed_request_id_is_carried(client: Client):
    reply = await client.get(f"{V}/names/x", headers={"X-OpenStack-Request-ID": ID})
    assert reply.headers["x-openstack-request-id"] == reply.headers["x-things-request-id"] == ID


@pytest.mark.parametrize("sent", [None, "req-1", ID[4:], ID + "\r\nset-cookie: a", "x" * 1000])
@pytest.mark.parametrize("path", [V, f"{V}/none", "/nowhere", f"{V}/boom"])
async def test_any_other_request_id_is_replaced(client: Client, path, sent):
    reply = await client.get(path, headers={} if sent is None else {"x-openstack-request-id": sent})
    made = reply.headers["x-openstack-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made)
    assert made != ID


async def test_an_answer_that_cannot_be_written_is_an_error(client: Client):
    reply = await client.get(f"{V}/unwritable")
    assert (reply.status, reply.json()["fault"]["code"], "secret" in reply.text) == (500, 500, False)


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "cloud.example:8774"}, "http://cloud.example:8774"),
        ({"host": "[2001:db8::1]:80"}, "http://[2001:db8::1]:80"),
        ({"host": "a.b", "x-forwarded-proto": "https", "x-forwarded-host": "c.d"}, "http://a.b"),
        ({"host": 'a"<b>'}, "http://127.0.0.1:8774"),
        ({"host": "a.b/evil"}, "http://127.0.0.1:8774"),
        ({"host": ""}, "http://127.0.0.1:8774"),
    ],
)
async def test_links_are_made_as_the_client_reached_us(client: Client, headers, url):
    assert (await client.get(V, headers=headers)).json()["self"] == url + V


async def test_a_header_that_would_split_the_answer_is_an_error(client: Client):
    with structlog.testing.capture_logs():
        reply = await client.get(f"{V}/split")
    assert (reply.status, "stolen" in str(reply.headers)) == (500, False)


async def test_a_mount_gets_every_path_and_method(client: Client):
    for method in ("GET", "POST", "PUT"):
        reply = await client.request(method, "/client/api/more?command=x&a=1&a=2")
        assert reply.json() == {"tail": ["more"], "query": {"command": "x", "a": "2"}, "form": {}}


async def test_a_mount_has_its_own_error_form(client: Client):
    reply = await client.get("/client/api?command=conflict")
    assert (reply.status, reply.json()["fault"]["code"]) == (409, 409)


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("data", "fields"),
    [(b"a=1&b=%C3%A9&c=", {"a": "1", "b": "é", "c": ""}), (b"", {}), (b"a=x+y%2B", {"a": "x y+"})],
)
async def test_a_form_is_read(client: Client, data, fields):
    reply = await client.post("/client/api", data=data, headers=FORM)
    assert reply.json()["form"] == fields


@pytest.mark.parametrize(
    ("data", "status"), [(b"a=%ff", 400), (b"a=%00", 400), (b"\xff", 400), (b"a" * 1001, 413)]
)
async def test_a_bad_form_is_refused(client: Client, data, status):
    assert (await client.post("/client/api", data=data, headers=FORM)).status == status


async def test_a_stream_comes_whole(client: Client):
    reply = await client.get(f"{V}/stream")
    assert (reply.body, reply.headers["content-length"], reply.headers["content-type"]) == (
        b"abc" * 3,
        "9",
        "text/plain",
    )


async def test_the_head_of_a_stream_reads_none_of_it(client: Client, seen: Seen):
    reply = await client.head(f"{V}/endless")
    assert (reply.status, reply.body, reply.complete) == (200, b"", True)


async def test_a_stream_ends_with_its_client(client: Client, seen: Seen):
    reply = await client.get(f"{V}/endless", gone_after=1)
    assert (reply.chunks[0], reply.complete) == (b"first", False)
    assert seen.closed.is_set()


async def test_a_stream_that_breaks_is_visibly_unfinished(client: Client):
    with structlog.testing.capture_logs() as logs:
        reply = await client.get(f"{V}/broken-stream")
    assert (reply.status, reply.complete) == (200, False)
    assert [entry["event"] for entry in logs] == ["answer broke off", "request"]


async def test_a_body_may_flow_through(client: Client):
    reply = await client.post(f"{V}/echo", data=[b"one", b"two"])
    assert (reply.body, reply.headers["x-kind"]) == (b"onetwo", "echo")


async def test_an_upload_has_its_own_limit(client: Client, seen: Seen):
    piece = b"x" * 65536
    reply = await client.put(f"{V}/upload", data=[piece] * 16)
    assert reply.json() == {"size": 1 << 20}
    reply = await client.put(f"{V}/upload", data=[piece] * 17)
    assert reply.status == 413


async def test_an_upload_that_breaks_off_is_not_answered(kernel: Kernel):
    client = Client(kernel, {"x-auth-token": "member"})
    messages = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    from tests.asgi import scope

    with structlog.testing.capture_logs() as logs:
        await kernel(scope("PUT", f"{V}/upload", client.headers), receive, send)
    assert (sent, logs[-1]["status"]) == ([], 499)


async def test_requests_do_not_share_anything(client: Client):
    replies = await asyncio.gather(*(client.get(f"{V}/names/{number}") for number in range(50)))
    assert [reply.json()["name"] for reply in replies] == [str(number) for number in range(50)]
    assert len({reply.headers["x-openstack-request-id"] for reply in replies}) == 50


async def test_the_process_may_start_and_stop(kernel: Kernel):
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: list[str] = []

    async def receive() -> Any:
        return asked.pop(0)

    async def send(message: Any) -> None:
        told.append(message["type"])

    await kernel({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_service_without_authentication_does_not_start():
    service = Service("s", "/s", policies={"r": ""})
    service.operation("GET", "/a", policy="r")(one)
    with pytest.raises(ValueError, match=r"s: set Service.authenticate"):
        Kernel([service])


def test_a_policy_that_nobody_defines_does_not_start():
    service = Service("s", "/s", policies={"r": ""}, authenticate=authenticate)
    service.operation("GET", "/a", policy="other")(one)
    with pytest.raises(ValueError, match="s: no policy defines other"):
        Kernel([service])


def test_two_services_cannot_have_one_prefix():
    with pytest.raises(ValueError, match="/s is served twice"):
        Kernel([Service("a", "/s"), Service("b", "/s/")])


def test_a_path_takes_actions_or_a_body():
    service = Service("s", "/s", public=True)
    service.operation("POST", "/a")(one)
    service.action("/a", "go")(one)
    with pytest.raises(ValueError, match="actions or a body"):
        Kernel([service])


async def one(request: Request) -> None: ...


async def test_an_operators_file_changes_a_rule(tmp_path, service: Service):
    (tmp_path / "things.yaml").write_text('"t:start": "role:member"\n')
    client = Client(Kernel([service], policy_directory=tmp_path), {"x-auth-token": "member"})
    reply = await client.post(f"{V}/servers/{KEY}/action", json={"os-start": None})
    assert reply.status == 202


async def test_a_public_operation_may_authenticate_who_shows_a_token(service: Service):
    @service.operation("GET", "/maybe", public=True)
    async def maybe(request: Request) -> dict[str, Any]:
        if "x-auth-token" in request.headers:
            await request.authenticate()
        return {"anonymous": request.anonymous}

    @service.operation("GET", "/assumed", public=True)
    async def assumed(request: Request) -> dict[str, Any]:
        return {"caller": request.caller.credentials}

    client = Client(Kernel([service]))
    assert (await client.get(f"{V}/maybe")).json() == {"anonymous": True}
    assert (await client.get(f"{V}/maybe", headers={"x-auth-token": "admin"})).json() == {"anonymous": False}
    assert (await client.get(f"{V}/assumed")).status == 401


def test_the_plain_form_words_every_error():
    reply = PlainErrors().render(WireError(WireKind.INTERNAL, "x"), None)  # type: ignore[arg-type]
    assert (reply.status, reply.body) == (500, {"error": {"code": 500, "message": "x"}})


async def test_a_service_without_versions_names_none():
    service = Service("s", "/s", public=True, errors=Form())
    service.operation("GET", "/a", status=204)(one)
    reply = await Client(Kernel([service])).get("/s/a", headers={"openstack-api-version": "s 99.99"})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.keys() == {"x-openstack-request-id"}


def test_versions_of_several_names_are_one_range():
    versions = Versions("block-storage", (3, 0), (3, 71), aliases=("volume", "volumev3"))
    assert versions.wanted({"openstack-api-version": "volumev3 3.60"}) == (3, 60)


@pytest.mark.parametrize("name", ["a b", "a:b", "a\r\nb", "", "é"])
async def test_a_header_without_a_proper_name_is_an_error(name):
    service = Service("s", "/s", public=True)

    @service.operation("GET", "/a")
    async def answer(request: Request) -> Response:
        return Response(200, None, {name: "x"})

    assert (await Client(Kernel([service])).get("/s/a")).status == 500


async def test_a_public_variant_does_not_open_its_neighbour():
    service = Service("s", "/s", versions=Versions("s", (2, 1), (2, 9)), authenticate=authenticate)
    service.operation("GET", "/a", until=(2, 4), public=True)(one)
    service.operation("GET", "/a", since=(2, 5))(one)
    client = Client(Kernel([service]))
    assert (await client.get("/s/a")).status == 200
    assert (await client.get("/s/a", headers={"openstack-api-version": "s 2.5"})).status == 401
