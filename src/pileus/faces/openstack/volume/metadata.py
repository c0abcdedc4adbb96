"""Metadata of volumes and snapshots: all of it, one item, and the change that nobody overwrites unseen (ETag)."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.block import snapshots
from pileus.core.block import volumes as core
from pileus.core.block.records import Volume
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.volumes import find, kept, settable
from pileus.faces.openstack.volume.words import pairs
from pileus.faces.wire import Request, Response

ETAGS = (3, 15)
Texts = dict[str, str]
Change = Callable[[Texts], Texts]


class Stale(Exception):
    """The metadata is not what the client believes it to be."""


def tag(metadata: Mapping[str, str]) -> str:
    return hashlib.md5(msgspec.json.encode({"metadata": metadata}), usedforsecurity=False).hexdigest()


def one(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    if key not in metadata:
        raise NotFound("Metadata item", key[:255])
    return {"meta": {key: metadata[key]}}


def item(body: Mapping[str, str], key: str) -> Texts:
    """The single item of a body, which must be the one of the path."""
    meta = pairs("meta", body)
    if list(meta) != [key]:
        raise Invalid(f"Request body and URI mismatch: the body must hold {key[:60]!r} and nothing else.")
    return meta


def without(key: str) -> Change:
    def change(held: Texts) -> Texts:
        one(held, key)
        return {name: value for name, value in held.items() if name != key}

    return change


async def changed(request: Request, volume: UUID, change: Change, *, guarded: bool = False) -> Texts:
    """`guarded`: refused where If-Match names another state. Raises Stale."""
    await find(request, volume)
    believed = request.headers.get("if-match") if guarded and request.version >= ETAGS else None
    tags = {part.strip().strip('"') for part in believed.split(",")} if believed else set()

    def apply(held: Volume) -> dict[str, Any]:
        if tags and "*" not in tags and tag(held.metadata) not in tags:
            raise Stale
        return {"metadata": settable(change(held.metadata)) | kept(held)}

    return (await core.revise(request.cloud, request.caller, volume, apply)).metadata


def tagged(request: Request, metadata: Texts) -> Response:
    headers = {"etag": tag(metadata)} if request.version >= ETAGS else {}
    return Response(200, {"metadata": metadata}, headers)


@service.operation("GET", "/volumes/{volume}/metadata", policy="volume:get_volume_metadata")
async def index(request: Request, volume: UUID) -> Response:
    return tagged(request, (await find(request, volume)).metadata)


@service.operation("GET", "/volumes/{volume}/metadata/{key}", policy="volume:get_volume_metadata")
async def show(request: Request, volume: UUID, key: str) -> dict[str, Any]:
    return one((await find(request, volume)).metadata, key)


@service.operation(
    "POST", "/volumes/{volume}/metadata", policy="volume:create_volume_metadata", body=("metadata", Texts)
)
async def create(request: Request, volume: UUID, body: Texts) -> dict[str, Any]:
    """Add to what is there."""
    given = pairs("metadata", body)
    return {"metadata": await changed(request, volume, lambda held: held | given)}


@service.operation(
    "PUT", "/volumes/{volume}/metadata", policy="volume:update_volume_metadata", body=("metadata", Texts)
)
async def replace(request: Request, volume: UUID, body: Texts) -> Response:
    """Instead of what is there."""
    given = pairs("metadata", body)
    try:
        return Response(200, {"metadata": await changed(request, volume, lambda _: given, guarded=True)})
    except Stale:
        return Response(412)


@service.operation(
    "PUT", "/volumes/{volume}/metadata/{key}", policy="volume:update_volume_metadata", body=("meta", Texts)
)
async def update(request: Request, volume: UUID, key: str, body: Texts) -> Response:
    given = item(body, key)
    try:
        await changed(request, volume, lambda held: held | given, guarded=True)
    except Stale:
        return Response(412)
    return Response(200, {"meta": given})


@service.operation("DELETE", "/volumes/{volume}/metadata/{key}", policy="volume:delete_volume_metadata")
async def delete(request: Request, volume: UUID, key: str) -> None:
    await changed(request, volume, without(key))


# The same for snapshots


async def snapshot_metadata(request: Request, snapshot: UUID) -> Texts:
    return (await snapshots.show(request.cloud, request.caller, snapshot)).metadata


async def snapshot_changed(request: Request, snapshot: UUID, change: Change) -> Texts:
    revised = await snapshots.revise(
        request.cloud, request.caller, snapshot, lambda held: {"metadata": change(held.metadata)}
    )
    return revised.metadata


@service.operation("GET", "/snapshots/{snapshot}/metadata", policy="volume:get_snapshot_metadata")
async def snapshot_index(request: Request, snapshot: UUID) -> dict[str, Any]:
    return {"metadata": await snapshot_metadata(request, snapshot)}


@service.operation("GET", "/snapshots/{snapshot}/metadata/{key}", policy="volume:get_snapshot_metadata")
async def snapshot_show(request: Request, snapshot: UUID, key: str) -> dict[str, Any]:
    return one(await snapshot_metadata(request, snapshot), key)


@service.operation(
    "POST",
    "/snapshots/{snapshot}/metadata",
    policy="volume:update_snapshot_metadata",
    body=("metadata", Texts),
)
async def snapshot_create(request: Request, snapshot: UUID, body: Texts) -> dict[str, Any]:
    given = pairs("metadata", body)
    return {"metadata": await snapshot_changed(request, snapshot, lambda held: held | given)}


@service.operation(
    "PUT",
    "/snapshots/{snapshot}/metadata",
    policy="volume:update_snapshot_metadata",
    body=("metadata", Texts),
)
async def snapshot_replace(request: Request, snapshot: UUID, body: Texts) -> dict[str, Any]:
    given = pairs("metadata", body)
    return {"metadata": await snapshot_changed(request, snapshot, lambda _: given)}


@service.operation(
    "PUT",
    "/snapshots/{snapshot}/metadata/{key}",
    policy="volume:update_snapshot_metadata",
    body=("meta", Texts),
)
async def snapshot_update(request: Request, snapshot: UUID, key: str, body: Texts) -> dict[str, Any]:
    given = item(body, key)
    await snapshot_changed(request, snapshot, lambda held: held | given)
    return {"meta": given}


@service.operation("DELETE", "/snapshots/{snapshot}/metadata/{key}", policy="volume:delete_snapshot_metadata")
async def snapshot_delete(request: Request, snapshot: UUID, key: str) -> None:
    await snapshot_changed(request, snapshot, without(key))
