"""Images: records, properties, tags, and their life."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec

from pileus.core.errors import Conflict, Forbidden, Invalid, NotFound, Unsupported
from pileus.core.image import images as core
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.faces.openstack.image.wire import SERVICE
from pileus.faces.openstack.wire import moment, parse_id
from pileus.faces.wire import Request, Response, page, window

STATUS: Mapping[ImageState, str] = {
    ImageState.QUEUED: "queued",
    ImageState.SAVING: "saving",
    ImageState.ACTIVE: "active",
    ImageState.ERROR: "killed",
    ImageState.DEACTIVATED: "deactivated",
    ImageState.DELETING: "deleted",
}
DEFAULT_LIMIT, MAX_LIMIT = 25, 1000
OLD_PATCH = "application/openstack-images-v2.0-json-patch"
PATCH_TYPES = ("application/openstack-images-v2.1-json-patch", OLD_PATCH)
READ_ONLY = frozenset(
    {
        "checksum",
        "created_at",
        "file",
        "os_hash_algo",
        "os_hash_value",
        "schema",
        "self",
        "size",
        "status",
        "updated_at",
        "virtual_size",
        "direct_url",
    }
)
RESERVED = frozenset({"owner", "deleted", "deleted_at", "is_public"})
FIELDS: Mapping[str, tuple[str, Any]] = {
    "name": ("name", str | None),
    "visibility": ("visibility", Visibility),
    "protected": ("protected", bool),
    "os_hidden": ("hidden", bool),
    "min_disk": ("min_disk_gib", int),
    "min_ram": ("min_ram_mib", int),
    "disk_format": ("disk_format", str | None),
    "container_format": ("container_format", str | None),
    "tags": ("tags", tuple[str, ...]),
}
"""Wire name: the record's field and its type."""
SORT = {"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"}
LONGEST = 255


def view(image: Image) -> dict[str, Any]:
    path = f"/v2/images/{image.id}"
    shown: dict[str, Any] = dict(image.properties)
    if image.os_type:
        shown.setdefault("os_type", image.os_type)
    return shown | {
        "id": str(image.id),
        "name": image.name or None,
        "status": STATUS[image.state],
        "visibility": image.visibility.value,
        "protected": image.protected,
        "os_hidden": image.hidden,
        "owner": image.project.hex,
        "disk_format": image.disk_format or None,
        "container_format": image.container_format or None,
        "size": image.size,
        "virtual_size": image.virtual_size or None,
        "checksum": image.checksum,
        "os_hash_algo": "sha512" if image.sha512 else None,
        "os_hash_value": image.sha512,
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "tags": list(image.tags),
        "created_at": moment(image.created_at),
        "updated_at": moment(image.updated_at),
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }


async def find(request: Request, key: UUID) -> Image:
    """An image on its way out is gone already, as Glance's delete has it."""
    found = await core.show(request.cloud, request.caller, key)
    if found.state is ImageState.DELETING:
        raise NotFound("Image", key)
    return found


def field(name: str, value: Any) -> tuple[str, Any]:
    """A wire field as the record's, checked. Raises Invalid."""
    attribute, type_ = FIELDS[name]
    try:
        converted = msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise Invalid(f"Provided object does not match schema 'image': {name}: {error}") from error
    if name in ("min_disk", "min_ram") and not 0 <= converted < 1 << 31:
        raise Invalid(
            f"Provided object does not match schema 'image': {name} must lie between 0 and 2147483647"
        )
    texts = converted if name == "tags" else (converted,)
    if any(isinstance(text, str) and len(text) > LONGEST for text in texts):
        raise Invalid(
            f"Provided object does not match schema 'image': {name} is longer than {LONGEST} characters"
        )
    if name == "tags":
        converted = tuple(dict.fromkeys(converted))
    return attribute, "" if converted is None else converted


def refuse_unchangeable(name: str) -> None:
    if name in READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if name in RESERVED or name.startswith("os_glance_"):
        raise Forbidden(f"Attribute '{name}' is reserved.")
    if name == "locations":
        raise Unsupported("Locations are not served: send the content with PUT .../file.")


def property_value(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(name) > LONGEST or not name:
        raise Invalid(
            f"Provided object does not match schema 'image': {name!r} must be a text with a name of 1 to 255."
        )
    return value


@SERVICE.operation("POST", "/v2/images", policy="add_image", body=dict[str, Any], status=201)
async def create(request: Request, body: dict[str, Any]) -> Response:
    known: dict[str, Any] = {}
    properties: dict[str, str] = {}
    key: UUID | None = None
    for name, value in body.items():
        if name == "id":
            key = parse_id(str(value), "Image")
        elif name == "owner" and (request.caller.admin or value == request.caller.home.hex):
            known["project"] = parse_id(str(value), "Owner")
        elif name in FIELDS:
            attribute, known[attribute] = field(name, value)
        else:
            refuse_unchangeable(name)
            properties[name] = property_value(name, value)
    known.setdefault("project", request.caller.home)
    enforce_visibility(request, known.get("visibility"))
    want = core.Create(properties=properties, os_type=properties.get("os_type", ""), **known)
    made = await core.create(request.cloud, request.caller, want, id=key)
    assert isinstance(made, Image)
    location = f"{request.base_url}/image/v2/images/{made.id}"
    return Response(201, view(made), {"location": location})


@SERVICE.operation("GET", "/v2/images/{image}", policy="get_image")
async def show(request: Request, image: UUID) -> dict[str, Any]:
    return view(await find(request, image))


@SERVICE.operation("GET", "/v2/images", policy="get_images")
async def listing(request: Request) -> dict[str, Any]:
    """Filters on any property, sorted, in pages of 25 unless `limit` says otherwise."""
    query = request.query
    limit = _integer("limit", query.get("limit"))
    size = window(DEFAULT_LIMIT if limit is None else limit, MAX_LIMIT)
    found = [
        i for i in await core.listing(request.cloud, request.caller) if i.state is not ImageState.DELETING
    ]
    shown = [image for image in found if _matches(request, image)]
    for key, reverse in reversed(_order(request)):
        shown.sort(key=lambda image, key=key: _sortable(_sorted_by(image, key)), reverse=reverse)  # type: ignore[misc]
    cut = page(request, shown, size, MAX_LIMIT, key=lambda image: image.id, marker=query.get("marker"))
    kept = urlencode([pair for pair in query.pairs if pair[0] != "marker"])
    answer: dict[str, Any] = {
        "images": [view(image) for image in cut.items],
        "schema": "/v2/schemas/images",
        "first": f"/v2/images?{kept}" if kept else "/v2/images",
    }
    if cut.next is not None:
        more = [pair for pair in query.pairs if pair[0] != "marker"] + [("marker", str(cut.items[-1].id))]
        answer["next"] = f"/v2/images?{urlencode(more)}"
    return answer


def _integer(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Invalid(f"{name} param must be a whole number, {text[:40]!r} is not")
    return int(text)


def _sorted_by(image: Image, key: str) -> Any:
    return getattr(image, key) if key in TIMES else view(image)[key]


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, value if value is not None else ""


def _order(request: Request) -> list[tuple[str, bool]]:
    """(key, descending) in order; the newest first by default."""
    query = request.query
    if "sort" in query:
        pairs = [part.partition(":")[::2] for part in query["sort"].split(",")]
    else:
        keys, ways = query.all("sort_key"), query.all("sort_dir")
        pairs = [(key, ways[min(i, len(ways) - 1)] if ways else "desc") for i, key in enumerate(keys)]
        if not pairs:
            pairs = [("created_at", ways[0] if ways else "desc")]
    for key, way in pairs:
        if key not in SORT or way not in ("asc", "desc", ""):
            raise Invalid(f"Invalid sort key or direction: {key}:{way}; keys are {', '.join(sorted(SORT))}.")
    names = [key for key, _ in pairs]
    return [(key, way != "asc") for key, way in pairs] + ([] if "id" in names else [("id", True)])


PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir", "member_status"})
TIMES = frozenset({"created_at", "updated_at"})
OPERATORS = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
}


def _matches(request: Request, image: Image) -> bool:
    shown = view(image)
    query = request.query
    if "os_hidden" not in query and image.hidden:
        return False
    if (
        "visibility" not in query
        and image.visibility is Visibility.COMMUNITY
        and image.project != request.caller.project
    ):
        return False
    return all(_holds(name, value, shown) for name, value in query.pairs if name not in PAGING)


def _holds(name: str, value: str, shown: Mapping[str, Any]) -> bool:
    if name == "tag":
        return value in shown["tags"]
    if name in ("size_min", "size_max"):
        bound, size = _integer(name, value) or 0, shown["size"]
        return size is not None and (size >= bound if name == "size_min" else size <= bound)
    if name == "visibility" and value == "all":
        return True
    if name in TIMES:
        return _in_time(name, value, shown[name])
    if name in ("protected", "os_hidden"):
        if value.lower() not in ("true", "false"):
            raise Invalid(f"Invalid value {value[:40]!r} for {name}; it is true or false.")
        return bool(shown[name] is (value.lower() == "true"))
    allowed = [part.strip('"') for part in value[3:].split(",")] if value.startswith("in:") else [value]
    return str(shown.get(name)) in allowed


def _in_time(name: str, value: str, at: str) -> bool:
    operator, _, text = value.partition(":") if value.split(":", 1)[0] in OPERATORS else ("eq", "", value)
    try:
        bound = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"Invalid time {text[:40]!r} in filter {name}; use a form such as gt:2026-01-31T12:00:00Z."
        ) from None
    moment_ = datetime.fromisoformat(at)
    if bound.tzinfo is None:
        bound = bound.replace(tzinfo=moment_.tzinfo)
    return bool(OPERATORS[operator](moment_, bound))


class Change(msgspec.Struct, frozen=True):
    op: str
    path: str
    value: Any = msgspec.UNSET


def changes(request: Request, body: list[dict[str, Any]]) -> list[Change]:
    """Either form of a patch: `{"op": "add", "path": "/a"}`, and that of 2.0, `{"add": "/a"}`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        return msgspec.convert([of_old(each) for each in body] if kind == OLD_PATCH else body, list[Change])
    except msgspec.ValidationError as error:
        raise Invalid(f"Malformed patch: {error}.") from error


def of_old(change: dict[str, Any]) -> dict[str, Any]:
    verbs = [verb for verb in ("add", "replace", "remove") if verb in change]
    if len(verbs) != 1:
        raise Invalid("Each change must hold one of add, replace and remove, with the path as its value.")
    return {**change, "op": verbs[0], "path": change[verbs[0]]}


@SERVICE.operation(
    "PATCH",
    "/v2/images/{image}",
    policy="modify_image",
    body=list[dict[str, Any]],
    media=PATCH_TYPES,
)
async def update(request: Request, image: UUID, body: list[dict[str, Any]]) -> dict[str, Any]:
    """A JSON patch on top-level members: add, replace, remove."""
    await find(request, image)
    wanted = changes(request, body)

    def change(held: Image) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        properties = dict(held.properties)
        for each in wanted:
            if each.path == "/owner" and each.op != "remove" and request.caller.admin:
                fields["project"] = parse_id(str(each.value), "Owner")
            else:
                _apply(each, fields, properties)
        if properties != held.properties:
            fields["properties"] = properties
            fields["os_type"] = properties.get("os_type", "")
        enforce_visibility(request, fields.get("visibility"))
        return fields

    return view(await core.revise(request.cloud, request.caller, image, change))


def enforce_visibility(request: Request, wanted: Visibility | None) -> None:
    rule = {Visibility.PUBLIC: "publicize_image", Visibility.COMMUNITY: "communitize_image"}.get(
        wanted or Visibility.PRIVATE
    )
    if rule is not None:
        request.enforce(rule)


def _apply(change: Change, fields: dict[str, Any], properties: dict[str, str]) -> None:
    name = change.path.removeprefix("/").replace("~1", "/").replace("~0", "~")
    if not change.path.startswith("/") or "/" in change.path[1:]:
        raise Invalid(f"Invalid path {change.path!r} of a change: one level, such as /name.")
    refuse_unchangeable(name)
    if name == "id":
        raise Forbidden("Attribute 'id' is read-only.")
    if change.op == "remove":
        if name in FIELDS:
            raise Forbidden(f"Property {name} may not be removed.")
        if name not in properties:
            raise Conflict(f"Property {name} does not exist.")
        del properties[name]
    elif change.op in ("add", "replace"):
        if change.value is msgspec.UNSET:
            raise Invalid(f"The change of {change.path} has no value.")
        if name in FIELDS:
            attribute, fields[attribute] = field(name, change.value)
        elif change.op == "replace" and name not in properties:
            raise Conflict(f"Property {name} does not exist.")
        else:
            properties[name] = property_value(name, change.value)
    else:
        raise Invalid(f"Operation {change.op!r} is unknown; use add, replace or remove.")


@SERVICE.operation("DELETE", "/v2/images/{image}", policy="delete_image", status=204)
async def delete(request: Request, image: UUID) -> None:
    await find(request, image)
    await core.delete(request.cloud, request.caller, image)


@SERVICE.operation("POST", "/v2/images/{image}/actions/deactivate", policy="deactivate", status=204)
async def deactivate(request: Request, image: UUID) -> None:
    await core.set_active(request.cloud, request.caller, image, active=False)


@SERVICE.operation("POST", "/v2/images/{image}/actions/reactivate", policy="reactivate", status=204)
async def reactivate(request: Request, image: UUID) -> None:
    await core.set_active(request.cloud, request.caller, image, active=True)


@SERVICE.operation("PUT", "/v2/images/{image}/tags/{tag}", policy="modify_image", status=204)
async def add_tag(request: Request, image: UUID, tag: str) -> None:
    await find(request, image)

    def change(held: Image) -> dict[str, Any]:
        return dict([field("tags", [*held.tags, tag])])

    await core.revise(request.cloud, request.caller, image, change)


@SERVICE.operation("DELETE", "/v2/images/{image}/tags/{tag}", policy="modify_image", status=204)
async def remove_tag(request: Request, image: UUID, tag: str) -> None:
    await find(request, image)

    def change(held: Image) -> dict[str, Any]:
        if tag not in held.tags:
            raise NotFound("Tag", quote(tag[:255]))
        return {"tags": tuple(other for other in held.tags if other != tag)}

    await core.revise(request.cloud, request.caller, image, change)
