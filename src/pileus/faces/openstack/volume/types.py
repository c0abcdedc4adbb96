"""Volume types and their extra specs."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field

from pileus.core.block import kinds as core
from pileus.core.block.records import VolumeKind
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.volume.listing import mapping
from pileus.faces.openstack.volume.service import MAX_LIMIT, service
from pileus.faces.openstack.volume.words import FALSE, TRUE, Flag, Text, flag, pairs, text, whole
from pileus.faces.wire import Request, page, window

VISIBLE_SPECS = ("RESKEY:availability_zones", "multiattach", "replication_enabled")
"""What users see of a type's specs."""
SORT = {"id", "name", "created_at", "updated_at"}


def specs(request: Request, kind: VolumeKind) -> dict[str, str]:
    if request.allowed("volume_extension:types_extra_specs:read_sensitive"):
        return kind.extra_specs
    return {key: value for key, value in kind.extra_specs.items() if key in VISIBLE_SPECS}


def view(request: Request, kind: VolumeKind) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": str(kind.id),
        "name": kind.name,
        "is_public": kind.public,
        "description": kind.description or None,
    }
    if request.allowed("volume_extension:access_types_extra_specs"):
        shown["extra_specs"] = specs(request, kind)
    return shown


def made_view(request: Request, kind: VolumeKind) -> dict[str, Any]:
    """The answer to its making, which shows more than that to a change."""
    shown = view(request, kind)
    if request.allowed("volume_extension:volume_type_access"):
        shown["os-volume-type-access:is_public"] = kind.public
    return shown


def full_view(request: Request, kind: VolumeKind) -> dict[str, Any]:
    """What is looked at."""
    shown = made_view(request, kind)
    if request.allowed("volume_extension:access_types_qos_specs_id"):
        shown["qos_specs_id"] = None
    return shown


@service.operation("GET", "/types", policy="volume_extension:type_get_all")
async def index(request: Request) -> dict[str, Any]:
    query = request.query
    found = [kind for kind in await core.listing(request.cloud, request.caller) if suits(request, kind)]
    for key, descends in reversed(order(request)):
        found.sort(key=lambda kind, key=key: str(getattr(kind, key)), reverse=descends)  # type: ignore[misc]
    size = window(whole("limit", query["limit"], 0) if "limit" in query else None, MAX_LIMIT)
    offset = whole("offset", query["offset"], 0) if "offset" in query else 0
    cut = page(request, found[offset:], size, MAX_LIMIT, key=lambda kind: kind.id, marker=query.get("marker"))
    return {"volume_types": [full_view(request, kind) for kind in cut.items], **cut.links("volume_type")}


def suits(request: Request, kind: VolumeKind) -> bool:
    query = request.query
    public = query.get("is_public", "true").strip().lower()
    if request.caller.admin and public not in ("none", "") and "is_public" in query:
        if public not in TRUE | FALSE:
            raise Invalid(f"Invalid is_public filter {public[:40]!r}; use true, false or none.")
        if kind.public is not (public in TRUE):
            return False
    if "extra_specs" in query and request.version >= (3, 52):
        return mapping("extra_specs", query["extra_specs"]).items() <= specs(request, kind).items()
    return True


def order(request: Request) -> Sequence[tuple[str, bool]]:
    query = request.query
    if "sort" in query:
        given = [part.strip().partition(":")[::2] for part in query["sort"].split(",")]
    else:
        given = [(query.get("sort_key", "created_at"), query.get("sort_dir", "desc"))]
    for key, way in given:
        if key not in SORT or way not in ("asc", "desc", ""):
            raise Invalid(f"Sort key {key[:40]!r} or direction {way[:20]!r} is unknown.")
    return [("created_at" if key == "updated_at" else key, way != "asc") for key, way in given]


@service.operation("GET", "/types/default", policy="volume_extension:type_get")
async def default(request: Request) -> dict[str, Any]:
    return {"volume_type": full_view(request, await core.default(request.cloud))}


@service.operation("GET", "/types/{type}", policy="volume_extension:type_get")
async def show(request: Request, type: UUID) -> dict[str, Any]:
    return {"volume_type": full_view(request, await core.show(request.cloud, request.caller, type))}


class CreateType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: Text = UNSET
    extra_specs: dict[str, str] | None = None
    public: Flag = field(name="os-volume-type-access:is_public", default=True)


@service.operation("POST", "/types", policy="volume_extension:type_create", body=("volume_type", CreateType))
async def create(request: Request, body: CreateType) -> dict[str, Any]:
    made = await core.create(
        request.cloud,
        request.caller,
        name=text("name", body.name, least=1),
        description=text("description", body.description),
        public=flag("os-volume-type-access:is_public", body.public),
        extra_specs=pairs("extra_specs", body.extra_specs),
    )
    return {"volume_type": made_view(request, made)}


class UpdateType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str | UnsetType | None = UNSET
    description: Text = UNSET
    is_public: Flag | UnsetType = UNSET


@service.operation(
    "PUT", "/types/{type}", policy="volume_extension:type_update", body=("volume_type", UpdateType)
)
async def update(request: Request, type: UUID, body: UpdateType) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if isinstance(body.name, str):
        changes["name"] = text("name", body.name, least=1)
    if isinstance(body.description, str):
        changes["description"] = text("description", body.description)
    if not isinstance(body.is_public, UnsetType):
        changes["public"] = flag("is_public", body.is_public)
    if not changes:
        raise Invalid("Specify volume type name, description, is_public or a combination thereof.")
    changed = await core.update(request.cloud, request.caller, type, **changes)
    return {"volume_type": view(request, changed)}


@service.operation("DELETE", "/types/{type}", policy="volume_extension:type_delete", status=202)
async def delete(request: Request, type: UUID) -> None:
    await core.delete(request.cloud, request.caller, type)


@service.operation("GET", "/types/{type}/extra_specs", policy="volume_extension:types_extra_specs:index")
async def specs_index(request: Request, type: UUID) -> dict[str, Any]:
    return {"extra_specs": specs(request, await core.show(request.cloud, request.caller, type))}


@service.operation("GET", "/types/{type}/extra_specs/{key}", policy="volume_extension:types_extra_specs:show")
async def specs_show(request: Request, type: UUID, key: str) -> dict[str, Any]:
    held = specs(request, await core.show(request.cloud, request.caller, type))
    if key not in held:
        raise NotFound("Extra spec", key[:255])
    return {key: held[key]}


@service.operation(
    "POST",
    "/types/{type}/extra_specs",
    policy="volume_extension:types_extra_specs:create",
    body=("extra_specs", dict[str, str]),
)
async def specs_create(request: Request, type: UUID, body: Mapping[str, str]) -> dict[str, Any]:
    given = pairs("extra_specs", body)
    await changed(request, type, given)
    return {"extra_specs": given}


@service.operation(
    "PUT",
    "/types/{type}/extra_specs/{key}",
    policy="volume_extension:types_extra_specs:update",
    body=dict[str, str],
)
async def specs_update(request: Request, type: UUID, key: str, body: Mapping[str, str]) -> dict[str, Any]:
    given = pairs("extra_specs", body)
    if list(given) != [key]:
        raise Invalid(f"Request body and URI mismatch: the body must hold {key[:60]!r} and nothing else.")
    await changed(request, type, given)
    return dict(given)


async def changed(request: Request, type: UUID, given: Mapping[str, str]) -> None:
    await core.revise(
        request.cloud,
        request.caller,
        type,
        lambda kind: {"extra_specs": {**kind.extra_specs, **given}},
        unused=True,
    )


@service.operation(
    "DELETE",
    "/types/{type}/extra_specs/{key}",
    policy="volume_extension:types_extra_specs:delete",
    status=202,
)
async def specs_delete(request: Request, type: UUID, key: str) -> None:
    def change(kind: VolumeKind) -> dict[str, Any]:
        if key not in kind.extra_specs:
            raise NotFound("Extra spec", key[:255])
        return {"extra_specs": {name: value for name, value in kind.extra_specs.items() if name != key}}

    await core.revise(request.cloud, request.caller, type, change, unused=True)
