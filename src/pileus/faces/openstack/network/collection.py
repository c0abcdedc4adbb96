"""The five operations that every resource of Neutron has, and its tags, declared from one description of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.network import listing
from pileus.faces.openstack.network.attributes import STAMPS, Attribute, read_all, revision_of
from pileus.faces.openstack.network.service import SERVICE, V2
from pileus.faces.openstack.wire import hex_id, moment
from pileus.faces.wire.request import Request

Shown = dict[str, Any]
NIL = UUID(int=0)
LONGEST_TAG = 255
MOST_TAGS = 50


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A resource: its names, attributes, and what each operation asks of the core.

    `pushed`: filters that the core can do itself, by Neutron's name: its field, and how a value is read.
    """

    one: str
    many: str
    what: str
    path: str
    attributes: Sequence[Attribute]
    readonly: Sequence[str] = ()
    bulk: bool = True
    create: Callable[[Request, list[dict[str, Any]]], Awaitable[list[Shown]]]
    list: Callable[[Request, dict[str, Any]], Awaitable[list[Shown]]]
    show: Callable[[Request, UUID], Awaitable[Shown]]
    update: Callable[[Request, UUID, dict[str, Any], int | None], Awaitable[Shown]] | None = None
    delete: Callable[[Request, UUID, int | None], Awaitable[object]]
    pushed: Mapping[str, tuple[str, Callable[[str], Any]]] = field(default_factory=dict)
    tags: bool = True

    def key(self, text: str) -> UUID:
        try:
            return UUID(text)
        except ValueError:
            raise NotFound(self.what, text[:64]) from None

    def read(self, request: Request, verb: str, values: Any) -> dict[str, Any]:
        readonly = (*STAMPS, "project_id", "tenant_id", *self.readonly)
        return read_all(request, self.one, verb, self.attributes, readonly, values)


def declare(of: Collection) -> Collection:
    """Register the operations."""
    _declare_reading(of)
    _declare_writing(of)
    if of.tags:
        _declare_tags(of)
    return of


def _declare_reading(of: Collection) -> None:
    @SERVICE.operation("GET", f"{V2}/{of.path}", policy=f"get_{of.one}")
    async def list_(request: Request) -> Shown:
        return listing.answer(request, of.many, await of.list(request, conditions(of, request)))

    @SERVICE.operation("GET", f"{V2}/{of.path}/{{id}}", policy=f"get_{of.one}")
    async def show(request: Request, id: str) -> Shown:
        return {of.one: listing.fields(request, await of.show(request, of.key(id)))}


def _declare_writing(of: Collection) -> None:
    @SERVICE.operation("POST", f"{V2}/{of.path}", policy=f"create_{of.one}", body=dict[str, Any], status=201)
    async def create(request: Request, body: dict[str, Any]) -> Shown:
        if of.many in body and of.one not in body:
            return {of.many: await of.create(request, bulk(of, request, body[of.many]))}
        made = await of.create(request, [of.read(request, "create", single(of, body))])
        return {of.one: made[0]}

    update_core = of.update
    if update_core is not None:

        @SERVICE.operation("PUT", f"{V2}/{of.path}/{{id}}", policy=f"update_{of.one}", body=dict[str, Any])
        async def update(request: Request, id: str, body: dict[str, Any]) -> Shown:
            changes = of.read(request, "update", single(of, body))
            return {of.one: await update_core(request, of.key(id), changes, revision_of(request))}

    @SERVICE.operation("DELETE", f"{V2}/{of.path}/{{id}}", policy=f"delete_{of.one}", status=204)
    async def delete(request: Request, id: str) -> None:
        await of.delete(request, of.key(id), revision_of(request))


def single(of: Collection, body: Mapping[str, Any]) -> Any:
    if of.one not in body:
        raise Invalid(f"Unable to find '{of.one}' in request body")
    if len(body) > 1:
        extra = ", ".join(name for name in body if name != of.one)
        raise Invalid(f"Malformed request body: besides '{of.one}' there must be nothing, not '{extra}'.")
    return body[of.one]


def bulk(of: Collection, request: Request, items: Any) -> list[dict[str, Any]]:
    if not of.bulk:
        raise Invalid("Bulk operation not supported")
    if not isinstance(items, list) or not items:
        raise Invalid("Resources required")
    return [of.read(request, "create", item) for item in items]


def conditions(of: Collection, request: Request) -> dict[str, Any]:
    """The filters that the core does; a value that is no id finds nothing."""
    found: dict[str, Any] = {}
    for name, values in request.query.lists().items():
        pushed = of.pushed.get(name)
        if pushed is None:
            continue
        column, read = pushed
        try:
            found[column] = tuple(read(value) for value in values)
        except ValueError:
            found[column] = ()
    return found


def _declare_tags(of: Collection) -> None:
    path = f"{V2}/{of.path}/{{id}}/tags"

    async def put(request: Request, id: str, tags: Sequence[str]) -> Shown:
        assert of.update is not None
        return await of.update(request, of.key(id), {"tags": tuple(tags)}, revision_of(request))

    async def held(request: Request, id: str) -> list[str]:
        return list((await of.show(request, of.key(id)))["tags"])

    @SERVICE.operation("GET", path, policy="get_tags")
    async def list_tags(request: Request, id: str) -> Shown:
        return {"tags": await held(request, id)}

    @SERVICE.operation("PUT", path, policy="update_tags", body=dict[str, Any])
    async def replace_tags(request: Request, id: str, body: dict[str, Any]) -> Shown:
        return {"tags": (await put(request, id, checked_tags(body.get("tags"))))["tags"]}

    @SERVICE.operation("DELETE", path, policy="delete_tags", status=204)
    async def clear_tags(request: Request, id: str) -> None:
        await put(request, id, ())

    @SERVICE.operation("GET", f"{path}/{{tag}}", policy="get_tags", status=204)
    async def has_tag(request: Request, id: str, tag: str) -> None:
        if tag not in await held(request, id):
            raise NotFound("Tag", tag)

    @SERVICE.operation("PUT", f"{path}/{{tag}}", policy="update_tags", status=201)
    async def add_tag(request: Request, id: str, tag: str) -> None:
        await put(request, id, checked_tags([*await held(request, id), tag]))

    @SERVICE.operation("DELETE", f"{path}/{{tag}}", policy="delete_tags", status=204)
    async def remove_tag(request: Request, id: str, tag: str) -> None:
        tags = await held(request, id)
        if tag not in tags:
            raise NotFound("Tag", tag)
        await put(request, id, [other for other in tags if other != tag])


def checked_tags(tags: Any) -> tuple[str, ...]:
    """In order, each once. Raises Invalid."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise Invalid('Invalid tags body: send {"tags": [texts]}.')
    if any(not 0 < len(tag) <= LONGEST_TAG or "," in tag for tag in tags):
        raise Invalid(f"Tags have 1 to {LONGEST_TAG} characters and no comma.")
    found = tuple(sorted(set(tags)))
    if len(found) > MOST_TAGS:
        raise Invalid(f"The number of tags exceed the limit: {MOST_TAGS}.")
    return found


def stamps(record: Any) -> Shown:
    """What every resource shows. Ports of gateways and addresses belong to no project, which is written as nothing."""
    project = "" if record.project == NIL else hex_id(record.project)
    return {
        "id": str(record.id),
        "name": getattr(record, "name", ""),
        "description": record.description,
        "project_id": project,
        "tenant_id": project,
        "tags": list(getattr(record, "tags", ())),
        "revision_number": getattr(record, "revision", 0),
        "created_at": moment(record.created_at),
        "updated_at": moment(getattr(record, "updated_at", record.created_at)),
    }


def projects(text: str) -> UUID:
    return NIL if text == "" else UUID(text)


COMMON: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "id": ("id", UUID),
    "name": ("name", str),
    "project_id": ("project", projects),
    "tenant_id": ("project", projects),
}
"""Filters that every resource with a name can push down."""
