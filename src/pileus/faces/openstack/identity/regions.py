"""/v3/regions."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity.services import regions as core
from pileus.core.identity.services.catalogue_records import Region
from pileus.faces.openstack.identity.attributes import changes, extras, kept, text
from pileus.faces.openstack.identity.refs import listed, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

Key = Annotated[str, Meta(max_length=255)]
Parent = Annotated[str, Meta(min_length=1, max_length=255)]


class CreateRegion(msgspec.Struct, frozen=True, kw_only=True):
    id: Key | None = None
    description: str | None = None
    parent_region_id: Parent | None = None


class UpdateRegion(msgspec.Struct, frozen=True, kw_only=True):
    description: str | UnsetType | None = UNSET
    parent_region_id: Parent | UnsetType | None = UNSET


class RegionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    parent_region_id: Parent | None = None


def view(request: Request, region: Region) -> dict[str, Any]:
    return {
        **region.extra,
        "id": region.id,
        "description": region.description,
        "parent_region_id": region.parent,
        "links": self_link(request, "regions", region.id),
    }


@SERVICE.operation("GET", "/v3/regions", policy="identity:list_regions", query=RegionQuery)
async def list_all(request: Request, query: RegionQuery) -> dict[str, Any]:
    found = await core.list_all(request.cloud, parent=query.parent_region_id)
    return listed(request, "regions", [view(request, region) for region in found])


@SERVICE.operation(
    "POST", "/v3/regions", policy="identity:create_region", body=("region", CreateRegion), status=201
)
async def create(request: Request, body: CreateRegion) -> dict[str, Any]:
    return {"region": view(request, await _create(request, body.id or "", body))}


@SERVICE.operation(
    "PUT", "/v3/regions/{region}", policy="identity:create_region", body=("region", CreateRegion), status=201
)
async def put(request: Request, region: str, body: CreateRegion) -> dict[str, Any]:
    if body.id is not None and body.id != region:
        raise Invalid(f'Conflicting region IDs specified: "{region[:64]}" != "{body.id[:64]}"')
    if len(region) > 255:
        raise Invalid("The id of a region has at most 255 characters.")
    return {"region": view(request, await _create(request, region, body))}


async def _create(request: Request, key: str, body: CreateRegion) -> Region:
    want = core.CreateRegion(
        id=key,
        parent=body.parent_region_id,
        description=body.description or "",
        extra=await extras(request, "region", CreateRegion),
    )
    return await core.create(request.cloud, request.caller, want)


@SERVICE.operation("GET", "/v3/regions/{region}", policy="identity:get_region")
async def show(request: Request, region: str) -> dict[str, Any]:
    return {"region": view(request, await core.show(request.cloud, region))}


@SERVICE.operation(
    "PATCH", "/v3/regions/{region}", policy="identity:update_region", body=("region", UpdateRegion)
)
async def update(request: Request, region: str, body: UpdateRegion) -> dict[str, Any]:
    want = core.UpdateRegion(
        parent=body.parent_region_id,
        description=text(body.description),
        extra=kept(await changes(request, "region", UpdateRegion, region)),
    )
    return {"region": view(request, await core.update(request.cloud, request.caller, region, want))}


@SERVICE.operation("DELETE", "/v3/regions/{region}", policy="identity:delete_region", status=204)
async def delete(request: Request, region: str) -> None:
    await core.delete(request.cloud, request.caller, region)
