"""Versions, schemas and what may be imported: what clients read before they use the rest."""

from typing import Any

from pileus.core import limits
from pileus.core.image.images import CONTAINER_FORMATS, DISK_FORMATS
from pileus.faces.openstack.image.wire import SERVICE
from pileus.faces.openstack.wire import public_url, rel
from pileus.faces.wire import Request, Response

MINORS = ("v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")
"""Without import (2.6) and what came after it."""

TEXT: dict[str, Any] = {"type": ["null", "string"], "maxLength": 255}
FIELDS: dict[str, dict[str, Any]] = {
    "id": {
        "type": "string",
        "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$",
    },
    "name": TEXT,
    "status": {
        "type": "string",
        "readOnly": True,
        "enum": [
            "queued",
            "saving",
            "active",
            "killed",
            "deleted",
            "uploading",
            "importing",
            "pending_delete",
            "deactivated",
        ],
    },
    "visibility": {"type": "string", "enum": ["community", "public", "private", "shared"]},
    "protected": {"type": "boolean"},
    "os_hidden": {"type": "boolean"},
    "checksum": {"type": ["null", "string"], "readOnly": True, "maxLength": 32},
    "os_hash_algo": {"type": ["null", "string"], "readOnly": True, "maxLength": 64},
    "os_hash_value": {"type": ["null", "string"], "readOnly": True, "maxLength": 128},
    "owner": TEXT,
    "size": {"type": ["null", "integer"], "readOnly": True},
    "virtual_size": {"type": ["null", "integer"], "readOnly": True},
    "container_format": {"type": ["null", "string"], "enum": [None, *CONTAINER_FORMATS]},
    "disk_format": {"type": ["null", "string"], "enum": [None, *DISK_FORMATS]},
    "created_at": {"type": "string", "readOnly": True},
    "updated_at": {"type": "string", "readOnly": True},
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
    "direct_url": {"type": "string", "readOnly": True},
    "min_ram": {"type": "integer"},
    "min_disk": {"type": "integer"},
    "self": {"type": "string", "readOnly": True},
    "file": {"type": "string", "readOnly": True},
    "schema": {"type": "string", "readOnly": True},
}
IMAGE = {
    "name": "image",
    "properties": FIELDS,
    "additionalProperties": {"type": "string"},
    "links": [
        {"rel": "self", "href": "{self}"},
        {"rel": "enclosure", "href": "{file}"},
        {"rel": "describedby", "href": "{schema}"},
    ],
}
IMAGES = {
    "name": "images",
    "properties": {
        "images": {"type": "array", "items": IMAGE},
        "first": {"type": "string"},
        "next": {"type": "string"},
        "schema": {"type": "string"},
    },
    "links": [
        {"rel": "first", "href": "{first}"},
        {"rel": "next", "href": "{next}"},
        {"rel": "describedby", "href": "{schema}"},
    ],
}


def documents(request: Request) -> list[dict[str, Any]]:
    url = f"{public_url(request)}/image/v2/"
    return [
        {"id": minor, "status": "SUPPORTED" if number else "CURRENT", "links": [rel("self", url)]}
        for number, minor in enumerate(MINORS)
    ]


@SERVICE.operation("GET", "/", public=True, status=300)
async def choices(request: Request) -> dict[str, Any]:
    return {"versions": documents(request)}


@SERVICE.operation("GET", "/versions", public=True)
async def versions(request: Request) -> dict[str, Any]:
    return {"versions": documents(request)}


@SERVICE.operation("GET", "/v2/schemas/image", policy="get_images")
async def image_schema(request: Request) -> dict[str, Any]:
    return IMAGE


@SERVICE.operation("GET", "/v2/schemas/images", policy="get_images")
async def images_schema(request: Request) -> dict[str, Any]:
    return IMAGES


@SERVICE.operation("GET", "/v2/info/import")
async def import_methods(request: Request) -> Response:
    """No import methods: content is sent with PUT .../file."""
    described = {"description": "Import methods available.", "type": "array", "value": []}
    return Response(200, {"import-methods": described})


@SERVICE.operation("GET", "/v2/info/usage", policy="get_images")
async def usage(request: Request) -> dict[str, Any]:
    """What the project has of what is limited here: the number of its images."""
    held = await limits.show(request.cloud, request.caller, request.caller.home, ("images",))
    used, limit = held["images"]
    return {"usage": {"image_count_total": {"limit": limit, "usage": used}}}
