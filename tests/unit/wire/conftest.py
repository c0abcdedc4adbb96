"""A small API that uses every part of the kernel, and callers for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from pileus.core.errors import Conflict, CoreError, Unauthenticated
from pileus.faces.wire import (
    Kernel,
    Request,
    Response,
    Service,
    Stream,
    Versioned,
    Versions,
    WireError,
    form,
    status,
)
from tests.asgi import Client

PROJECT = "11111111111111111111111111111111"
OTHER = "22222222222222222222222222222222"
KEY = UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
POLICIES = {
    "admin": "role:admin",
    "owner": "project_id:%(project_id)s",
    "t:create": "rule:owner and role:member",
    "t:show": "rule:owner",
    "t:open": "@",
    "t:start": "rule:admin",
    "t:object": "user_id:%(target.user.id)s",
}


@dataclass(frozen=True)
class Someone:
    credentials: Mapping[str, Any]


TOKENS = {
    "member": Someone({"user_id": "u1", "project_id": PROJECT, "roles": ["member", "reader"]}),
    "admin": Someone({"user_id": "u0", "project_id": PROJECT, "roles": ["admin", "member"]}),
    "system": Someone({"user_id": "u2", "project_id": None, "roles": ["reader"], "system_scope": "all"}),
}


async def authenticate(request: Request) -> Any:
    try:
        return TOKENS[request.headers["x-auth-token"]]
    except KeyError:
        raise Unauthenticated("The request you have made requires authentication.") from None


class Form:
    """Errors as this API words them."""

    def render(self, error: CoreError | WireError, request: Request) -> Response:
        code = status(error)
        details = dict(error.details) if isinstance(error, WireError) else {}
        return Response(code, {"fault": {"code": code, "message": error.public, **details}})


class Nic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uuid: UUID


class CreateThing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: str = msgspec.field(name="flavorRef")
    count: Annotated[int, Meta(ge=1)] = 1
    nics: tuple[Nic, ...] = msgspec.field(name="networks", default=())
    metadata: dict[str, Annotated[str, Meta(max_length=8)]] = {}
    description: str | None = None
    extra: Any = None


class OldForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    before: int


class NewForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: int


class ListThings(msgspec.Struct, frozen=True, kw_only=True):
    limit: int | None = None
    deleted: bool = False
    owner: UUID | None = None
    tags: tuple[str, ...] = msgspec.field(name="tag", default=())
    ports: Annotated[tuple[int, ...], Meta(max_length=3)] = ()


class StrictList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""


class Resize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flavor: str = msgspec.field(name="flavorRef")


@dataclass
class Seen:
    """What handlers leave behind for the tests."""

    closed: asyncio.Event = field(default_factory=asyncio.Event)
    uploaded: int = 0


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def service(seen: Seen) -> Service:
    things = Service(
        "things",
        "/things/v2.1",
        errors=Form(),
        versions=Versions("things", (2, 1), (2, 104), "X-Things-Version", aliases=("thing",)),
        policies=POLICIES,
        authenticate=authenticate,
        project_in_path=True,
        strict_query=(2, 100),
        request_id_header="x-things-request-id",
        max_body_bytes=65536,
        max_upload_bytes=1 << 20,
    )
    declare_records(things)
    declare_actions(things)
    declare_versions(things)
    declare_streams(things, seen)
    return things


def declare_records(things: Service) -> None:
    @things.operation(
        "POST",
        "/servers",
        policy="t:create",
        body=("server", CreateThing),
        status=202,
        fields={"description": (2, 19), "old": ((2, 1), (2, 20))},
    )
    async def create(request: Request, body: CreateThing) -> dict[str, Any]:
        """Make a thing."""
        shown = {"name": body.name, "size": body.size, "count": body.count, "metadata": body.metadata}
        return {"server": {**shown, "description": body.description, "nics": len(body.nics), "old": 1}}

    @things.operation("GET", "/servers", policy="t:show", query=ListThings)
    async def index(request: Request, query: ListThings) -> dict[str, Any]:
        return {"query": query, "raw": request.query.all("tag")}

    @things.operation("GET", "/servers/detail", policy="t:show", query=StrictList)
    async def detail(request: Request, query: StrictList) -> dict[str, Any]:
        return {"detail": query.name}

    @things.operation("GET", "/servers/{server}", policy="t:show")
    async def show(request: Request, server: UUID) -> dict[str, Any]:
        return {"server": {"id": server, "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}}

    @things.operation("DELETE", "/servers/{server}", policy="t:show", status=204)
    async def delete(request: Request, server: UUID) -> None:
        return None

    @things.operation("GET", "/servers/{server_id}/ports/{number}", policy="t:show")
    async def port(request: Request, number: int, server_id: UUID) -> dict[str, Any]:
        return {"server": server_id.hex, "number": number}

    @things.operation("GET", "/names/{name}", policy="t:open")
    async def named(request: Request, name: str) -> dict[str, Any]:
        return {"name": name}

    @things.operation("GET", "/files/{bucket}/{key:path}", policy="t:open")
    async def file(request: Request, bucket: str, key: str) -> dict[str, Any]:
        return {"bucket": bucket, "key": key}

    @things.operation("PUT", "/optional", policy="t:open", body=OldForm | None)
    async def optional(request: Request, body: OldForm | None) -> dict[str, Any]:
        return {"before": body.before if body else None}

    @things.operation("GET", "/", public=True, versioned=False)
    async def discovery(request: Request) -> dict[str, Any]:
        return {
            "self": f"{request.base_url}{request.prefix}",
            "anonymous": request.anonymous,
            "client": request.client,
        }


def declare_actions(things: Service) -> None:
    path = "/servers/{server}/action"

    @things.action(path, "os-start", policy="t:start")
    async def start(request: Request, server: UUID) -> None:
        return None

    @things.action(path, "resize", policy="t:create", body=Resize)
    async def resize(request: Request, server: UUID, body: Resize) -> dict[str, Any]:
        return {"server": server.hex, "flavor": body.flavor}

    @things.action(path, "addFloatingIp", policy="t:open", until=(2, 43))
    async def gone(request: Request, server: UUID) -> None:
        return None

    @things.action(path, "shelve", policy="t:open", body=Versioned({(2, 1): None, (2, 91): Resize | None}))
    async def shelve(request: Request, server: UUID, body: Resize | None) -> dict[str, Any]:
        return {"flavor": body.flavor if body else None}


def declare_versions(things: Service) -> None:
    @things.operation("GET", "/ranged", policy="t:open", since=(2, 35), until=(2, 43))
    async def ranged(request: Request) -> dict[str, Any]:
        return {"version": request.version}

    @things.operation("GET", "/ranged", policy="t:open", since=(2, 50))
    async def later(request: Request) -> dict[str, Any]:
        return {"later": request.version}

    @things.operation("PUT", "/form", policy="t:open", body=Versioned({(2, 1): OldForm, (2, 19): NewForm}))
    async def versioned(request: Request, body: OldForm | NewForm) -> dict[str, Any]:
        return {"form": type(body).__name__}

    @things.operation(
        "PUT", "/wrapped", policy="t:open", body=("w", Versioned({(2, 1): OldForm, (2, 19): NewForm}))
    )
    async def wrapped(request: Request, body: OldForm | NewForm) -> dict[str, Any]:
        return {"form": type(body).__name__}


def declare_streams(things: Service, seen: Seen) -> None:
    @things.operation("PUT", "/upload", policy="t:open")
    async def upload(request: Request) -> dict[str, Any]:
        async for chunk in request.stream():
            seen.uploaded += len(chunk)
        return {"size": seen.uploaded}

    @things.operation("POST", "/echo", policy="t:open")
    async def echo(request: Request) -> Stream:
        return Stream(200, {"x-kind": "echo"}, request.stream(), request.length)

    @things.operation("GET", "/stream", policy="t:open")
    async def stream(request: Request) -> Stream:
        async def content() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"abc"

        return Stream(200, {}, content(), 9, "text/plain")

    @things.operation("GET", "/endless", policy="t:open")
    async def endless(request: Request) -> Stream:
        async def content() -> AsyncIterator[bytes]:
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                seen.closed.set()

        return Stream(200, {}, content())

    @things.operation("GET", "/broken-stream", policy="t:open")
    async def broken(request: Request) -> Stream:
        async def content() -> AsyncIterator[bytes]:
            yield b"first"
            raise OSError("the disk is gone")

        return Stream(200, {}, content(), 100)

    @things.operation("GET", "/boom", policy="t:open")
    async def boom(request: Request) -> None:
        raise ZeroDivisionError("a secret that must not be shown")

    @things.operation("GET", "/unwritable", policy="t:open")
    async def unwritable(request: Request) -> dict[str, Any]:
        return {"secret": object()}

    @things.operation("GET", "/conflict", policy="t:open")
    async def conflict(request: Request) -> None:
        raise Conflict("It is busy.", private="what only the log may hold")

    @things.operation("GET", "/split", policy="t:open")
    async def split(request: Request) -> Response:
        return Response(200, "x", {"location": "/a\r\nset-cookie: stolen=1"})

    @things.operation("GET", "/objects/{key}", policy="t:object")
    async def judged(request: Request, key: str) -> dict[str, Any]:
        request.enforce("t:object", {"target": {"user": {"id": key}}})
        return {"key": key}

    @things.operation("GET", "/targeted/{key}", policy="t:show", targeted=True)
    async def targeted(request: Request, key: str) -> dict[str, Any]:
        if key != "forgotten":
            request.enforce("t:show", {"project_id": key})
        return {"key": key}

    @things.operation("GET", "/forgotten/{key}", policy="t:object")
    async def forgotten(request: Request, key: str) -> dict[str, Any]:
        return {"key": key}


@pytest.fixture
def kernel(service: Service) -> Kernel:
    built = Kernel([service, Service("root", "/things", public=True)], cloud="cloud", site="site")

    async def command(request: Request) -> Any:
        fields = await form(request)
        if request.query.get("command") == "conflict":
            raise Conflict("It is busy.")
        return {"tail": request.tail, "query": dict(request.query), "form": dict(fields)}

    built.mount("/client/api", command, errors=Form(), max_body_bytes=1000)
    return built


@pytest.fixture
def client(kernel: Kernel) -> Client:
    return Client(kernel, {"x-auth-token": "member"})


@pytest.fixture
def admin(kernel: Kernel) -> Client:
    return Client(kernel, {"x-auth-token": "admin"})
