"""What is done to a volume by POST .../action."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from pileus.core.block import pictures
from pileus.core.block import volumes as core
from pileus.core.block.records import Volume, VolumeState
from pileus.core.errors import Invalid, NotFound
from pileus.core.image import exports
from pileus.core.image.records import Image, Visibility
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.volumes import find
from pileus.faces.openstack.volume.words import STATUS, Flag, flag, pairs, stamp, text, whole
from pileus.faces.wire import Request, Versioned

PATH = "/volumes/{volume}/action"
MYSQL_TEXT = (1 << 16) - 1
RESETTABLE = {"available": VolumeState.AVAILABLE, "error": VolumeState.ERROR, "in-use": VolumeState.IN_USE}


class Extend(Struct, frozen=True, forbid_unknown_fields=True):
    new_size: int | str


@service.action(PATH, "os-extend", policy="volume:extend", body=Extend)
async def extend(request: Request, volume: UUID, body: Extend) -> None:
    """Since 3.42 also while a server holds the volume."""
    held = await find(request, volume)
    size = whole("new_size", body.new_size)
    if held.server is not None:
        if request.version < (3, 42):
            raise Invalid(f"Volume {volume} is in-use; from version 3.42 on it can be extended all the same.")
        request.enforce("volume:extend_attached_volume")
    await core.extend(request.cloud, request.caller, volume, size)


class Bootable(Struct, frozen=True, forbid_unknown_fields=True):
    bootable: Flag


@service.action(PATH, "os-set_bootable", policy="volume:update", body=Bootable, status=200)
async def set_bootable(request: Request, volume: UUID, body: Bootable) -> None:
    await find(request, volume)
    value = flag("bootable", body.bootable)
    await core.update(request.cloud, request.caller, volume, bootable=value)


class ReadOnly(Struct, frozen=True, forbid_unknown_fields=True):
    readonly: Flag


@service.action(PATH, "os-update_readonly_flag", policy="volume:update_readonly_flag", body=ReadOnly)
async def update_read_only(request: Request, volume: UUID, body: ReadOnly) -> None:
    await find(request, volume)
    await core.set_read_only(request.cloud, request.caller, volume, flag("readonly", body.readonly))


class Status(Struct, frozen=True, forbid_unknown_fields=True):
    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


@service.action(
    PATH, "os-reset_status", policy="volume_extension:volume_admin_actions:reset_status", body=Status
)
async def reset_status(request: Request, volume: UUID, body: Status) -> None:
    """Between the states that last; what is under way ends by itself."""
    await find(request, volume)
    if body.attach_status is not None or body.migration_status not in (None, "none"):
        raise Invalid(
            "Only the status can be reset: attachments and migrations have no other truth than their own."
        )
    if body.status is None:
        raise Invalid("Invalid input for field/attribute os-reset_status: 'status' is a required property.")
    state = RESETTABLE.get(body.status.lower())
    if state is None:
        raise Invalid(f"Cannot reset-state to {body.status[:40]}; use {', '.join(RESETTABLE)}.")
    await core.reset_state(request.cloud, request.caller, volume, state)


@service.action(
    PATH, "os-force_delete", policy="volume_extension:volume_admin_actions:force_delete", body=Any
)
async def force_delete(request: Request, volume: UUID, body: Any) -> None:
    """Every state that a volume can be in allows its deletion already."""
    await find(request, volume)
    await core.delete(request.cloud, request.caller, volume)


class UploadImage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    image_name: str
    force: Flag = False
    disk_format: str = "raw"
    container_format: str | None = None


class UploadShared(UploadImage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Since 3.1."""

    visibility: Visibility | UnsetType = UNSET
    protected: Flag = False


@service.action(
    PATH,
    "os-volume_upload_image",
    policy="volume_extension:volume_actions:upload_image",
    body=Versioned({(3, 0): UploadImage, (3, 1): UploadShared}),
)
async def upload_image(request: Request, volume: UUID, body: UploadImage) -> dict[str, Any]:
    """Make an image from a volume that no server holds."""
    await find(request, volume)
    flag("force", body.force)
    visibility, protected = Visibility.PRIVATE, False
    if isinstance(body, UploadShared):
        protected = flag("protected", body.protected)
        if not isinstance(body.visibility, UnsetType):
            visibility = body.visibility
    if visibility is Visibility.PUBLIC:
        request.enforce("volume_extension:volume_actions:upload_public")
    want = exports.FromVolume(
        volume=volume,
        name=text("image_name", body.image_name, least=1),
        disk_format=body.disk_format,
        container_format=body.container_format or "bare",
        visibility=visibility,
        protected=protected,
    )
    image: Image = (await exports.create(request.cloud, request.caller, want)).resource
    return {"os-volume_upload_image": await uploaded(request, await find(request, volume), image)}


async def uploaded(request: Request, volume: Volume, image: Image) -> dict[str, Any]:
    kind = (await pictures.of(request.cloud, volume)).kind
    shown: dict[str, Any] = {
        "id": str(volume.id),
        "updated_at": stamp(volume.updated_at),
        "status": STATUS[volume.state],
        "display_description": volume.description or None,
        "size": volume.size_gib,
        "volume_type": {"id": str(kind.id), "name": kind.name} if kind else None,
        "image_id": str(image.id),
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "image_name": image.name,
    }
    if request.version >= (3, 1):
        shown |= {"visibility": image.visibility.value, "protected": image.protected}
    return shown


@service.action(
    PATH,
    "os-show_image_metadata",
    policy="volume_extension:volume_image_metadata:show",
    body=Any,
    status=200,
)
async def show_image_metadata(request: Request, volume: UUID, body: Any) -> dict[str, Any]:
    return {"metadata": (await find(request, volume)).image_properties}


class ImageMetadata(Struct, frozen=True, forbid_unknown_fields=True):
    metadata: dict[str, str]


@service.action(
    PATH,
    "os-set_image_metadata",
    policy="volume_extension:volume_image_metadata:set",
    body=ImageMetadata,
    status=200,
)
async def set_image_metadata(request: Request, volume: UUID, body: ImageMetadata) -> dict[str, Any]:
    await find(request, volume)
    given = pairs("metadata", body.metadata, longest=MYSQL_TEXT)
    revised = await core.revise(
        request.cloud,
        request.caller,
        volume,
        lambda held: {"image_properties": held.image_properties | given},
    )
    return {"metadata": revised.image_properties}


class ImageKey(Struct, frozen=True, forbid_unknown_fields=True):
    key: str


@service.action(
    PATH,
    "os-unset_image_metadata",
    policy="volume_extension:volume_image_metadata:remove",
    body=ImageKey,
    status=200,
)
async def unset_image_metadata(request: Request, volume: UUID, body: ImageKey) -> None:
    await find(request, volume)

    def change(held: Volume) -> dict[str, Any]:
        if body.key not in held.image_properties:
            raise NotFound("Image metadata item", body.key[:255])
        left = {key: value for key, value in held.image_properties.items() if key != body.key}
        return {"image_properties": left}

    await core.revise(request.cloud, request.caller, volume, change)
