"""Volumes: lists, one, create, change, delete."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pileus.core.block import kinds, pictures
from pileus.core.block import volumes as core
from pileus.core.block.records import Volume, VolumeKind
from pileus.core.compute import hosts
from pileus.core.errors import Conflict, Invalid, NotFound, Unsupported
from pileus.core.image import images
from pileus.core.image.records import Image
from pileus.faces.openstack.volume import listing as lists
from pileus.faces.openstack.volume import view
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.words import STATUS, Flag, Text, flag, pairs, text, whole
from pileus.faces.openstack.wire import parse_id
from pileus.faces.wire import Request, Versioned

KIND_OF_IMAGE = "cinder_img_volume_type"
"""The property by which an image names the type of the volumes that are made from it."""
FILTERS = (
    "name",
    "name~",
    "status",
    "metadata",
    "bootable",
    "migration_status",
    "availability_zone",
    "group_id",
    "size",
    "created_at",
    "updated_at",
    "consumes_quota",
    "glance_metadata",
)
ADMIN_FILTERS = ("id", "user_id", "volume_type_id", "host")
SINCE: Mapping[str, tuple[int, int]] = {
    "glance_metadata": (3, 4),
    "group_id": (3, 10),
    "name~": lists.LIKE,
    "created_at": (3, 60),
    "updated_at": (3, 60),
    "consumes_quota": (3, 65),
}
COLUMNS = {
    "id": "id",
    "name": "name",
    "display_name": "name",
    "status": "state",
    "size": "size_gib",
    "bootable": "bootable",
    "availability_zone": "zone",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "user_id": "user",
    "project_id": "project",
    "volume_type_id": "kind",
}


async def find(request: Request, key: UUID) -> Volume:
    """A server's own root disk is no volume here."""
    found = await core.show(request.cloud, request.caller, key)
    if found.ephemeral:
        raise NotFound("Volume", key)
    return found


async def wanted(request: Request) -> lists.Wanted[Volume]:
    known = [n for n in FILTERS if request.version >= SINCE.get(n, (0, 0))]
    if request.caller.admin:
        known += ADMIN_FILTERS
    asked = lists.Wanted[Volume](equals={"ephemeral": False})
    for name, value in lists.filters(request, known).items():
        await narrow(request, asked, name, value)
    return asked


async def narrow(request: Request, asked: lists.Wanted[Volume], name: str, value: str) -> None:
    match name:
        case "name":
            asked.equals["name"] = value
        case "name~":
            asked.where.append(lists.contains("name", value))
        case "status":
            asked.equals["state"] = tuple(s for s in core.SHOWN if STATUS[s] == value.lower())
        case "size":
            asked.equals["size_gib"] = whole("size", value, 0)
        case "bootable":
            asked.equals["bootable"] = bootable(request, value)
        case "metadata":
            sought = lists.mapping(name, value)
            asked.tests.append(lambda volume: sought.items() <= volume.metadata.items())
        case "glance_metadata":
            held = lists.mapping(name, value)
            asked.tests.append(lambda volume: held.items() <= volume.image_properties.items())
        case "created_at" | "updated_at":
            asked.where.extend(lists.times(name, value))
        case "availability_zone":
            asked.equals["zone"] = tuple(z.id for z in await hosts.zones(request.cloud) if z.name == value)
        case "id":
            asked.equals["id"] = parse_id(value, "Volume")
        case "user_id":
            asked.equals["user"] = parse_id(value, "User")
        case "volume_type_id":
            asked.equals["kind"] = parse_id(value, "Volume type")
        case "host":
            pools = await pictures.pools(request.cloud)
            asked.equals["pool"] = tuple(
                p.id for p in pools if value in (view.host_of(p), view.backend_of(p))
            )
        case "consumes_quota":
            if not flag(name, value):
                asked.nothing()
        case "group_id" | "migration_status":
            # No volume here is in a group or migrates.
            asked.nothing()


def bootable(request: Request, value: str) -> bool:
    if request.version < (3, 2):
        return value not in ("false", "False")
    if value.lower() not in ("t", "true", "1", "f", "false", "0"):
        raise Invalid(f"Invalid input received: bootable={value[:40]}")
    return value.lower() in ("t", "true", "1")


async def part(request: Request) -> lists.Part[Volume]:
    async def rows(*where: Any, **asked: Any) -> list[Volume]:
        return await core.listing(request.cloud, request.caller, *where, **asked)

    async def number(*where: Any, **asked: Any) -> int:
        return (await core.totals(request.cloud, request.caller, *where, **asked))[0]

    async def marked(key: UUID) -> Volume:
        return await find(request, key)

    return await lists.listed(
        request, await wanted(request), COLUMNS, rows=rows, number=number, marked=marked
    )


@service.operation("GET", "/volumes", policy="volume:get_all")
async def index(request: Request) -> dict[str, Any]:
    found = await part(request)
    return found.envelope("volumes", [view.summary(request, volume) for volume in found.items])


@service.operation("GET", "/volumes/detail", policy="volume:get_all")
async def detailed(request: Request) -> dict[str, Any]:
    found = await part(request)
    shown = [view.detail(request, of) for of in await pictures.several(request.cloud, found.items)]
    return found.envelope("volumes", shown)


@service.operation("GET", "/volumes/summary", policy="volume:get_all", since=(3, 12))
async def summary(request: Request) -> dict[str, Any]:
    """How many there are and how large; since 3.36 also every value of their metadata."""
    asked, project = await wanted(request), lists.scope(request)
    cloud, caller = request.cloud, request.caller
    if request.version < (3, 36) and not asked.tests:
        number, size = await core.totals(cloud, caller, *asked.where, project=project, **asked.equals)
        return {"volume-summary": {"total_count": number, "total_size": size}}
    found = await core.listing(cloud, caller, *asked.where, project=project, **asked.equals)
    found = [volume for volume in found if all(test(volume) for test in asked.tests)]
    shown: dict[str, Any] = {
        "total_count": len(found),
        "total_size": sum(volume.size_gib for volume in found),
    }
    if request.version >= (3, 36):
        values: dict[str, set[str]] = {}
        for volume in found:
            for key, value in volume.metadata.items():
                values.setdefault(key, set()).add(value)
        shown["metadata"] = {key: sorted(some) for key, some in values.items()}
    return {"volume-summary": shown}


@service.operation("GET", "/volumes/{volume}", policy="volume:get")
async def show(request: Request, volume: UUID) -> dict[str, Any]:
    found = await find(request, volume)
    return {"volume": view.detail(request, await pictures.of(request.cloud, found))}


async def changed(request: Request, volume: Volume) -> dict[str, Any]:
    return {"volume": view.changed(request, await pictures.of(request.cloud, volume))}


class CreateVolume(Struct, frozen=True, kw_only=True):
    size: int | str | None = None
    name: Text = UNSET
    display_name: Text = UNSET
    description: Text = UNSET
    display_description: Text = UNSET
    volume_type: str | None = None
    metadata: dict[str, str | None] | None = None
    snapshot_id: UUID | None = None
    source_volid: UUID | None = None
    consistencygroup_id: UUID | None = None
    availability_zone: str | None = None
    multiattach: Flag | None = None
    imageRef: str | None = None
    image_id: str | None = None
    group_id: str | None = None
    backup_id: UUID | None = None


class StrictVolume(CreateVolume, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Since 3.53."""


class CreateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    volume: CreateVolume
    hints: dict[str, Any] | None = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default=None)


class StrictBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    volume: StrictVolume
    hints: dict[str, Any] | None = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default=None)


@service.operation(
    "POST",
    "/volumes",
    policy="volume:create",
    body=Versioned({(3, 0): CreateBody, (3, 53): StrictBody}),
    status=202,
)
async def create(request: Request, body: CreateBody | StrictBody) -> dict[str, Any]:
    """Empty, or from an image, a snapshot or a volume."""
    want = body.volume
    refuse_absent(request, want)
    image, snapshot = want.imageRef or want.image_id, want.snapshot_id
    if image:
        request.enforce("volume:create_from_image")
    made_from = await image_named(request, image) if image else None
    of_image = made_from.properties.get(KIND_OF_IMAGE) if made_from else None
    wanted_kind = want.volume_type or of_image
    kind = await kind_named(request, wanted_kind) if wanted_kind else None
    if made_from is not None and request.version >= (3, 46):
        made_from, snapshot = snapshot_of(made_from, snapshot)
    asked = core.Create(
        project=request.caller.home,
        name=text("name", want.name) or text("display_name", want.display_name),
        description=text("description", want.description)
        or text("display_description", want.display_description),
        size_gib=whole("size", want.size) if want.size is not None else 0,
        kind=kind.id if kind else None,
        image=made_from.id if made_from else None,
        snapshot=snapshot,
        volume=want.source_volid,
        zone=await zone_key(request, want.availability_zone, kind),
        metadata=settable(pairs("metadata", want.metadata)),
    )
    if asked.volume is not None:
        await find(request, asked.volume)
    made = await core.create(request.cloud, request.caller, asked)
    return await changed(request, made.resource)


def refuse_absent(request: Request, want: CreateVolume) -> None:
    """What a volume may be part of or come from in the original, but nothing here is."""
    if want.consistencygroup_id is not None:
        raise NotFound("Consistency group", want.consistencygroup_id)
    if want.group_id and request.version >= (3, 13):
        raise NotFound("Group", want.group_id[:64])
    if want.backup_id is not None and request.version >= (3, 47):
        raise NotFound("Backup", want.backup_id)
    if want.multiattach is not None and flag("multiattach", want.multiattach):
        raise Invalid(
            "multiattach parameter has been removed; no volume type here lets several servers hold it."
        )


async def kind_named(request: Request, named: str) -> VolumeKind:
    """A volume type by id or name."""
    cloud, caller = request.cloud, request.caller
    try:
        found = await kinds.show(cloud, caller, UUID(named))
    except ValueError:
        found = await kinds.by_name(cloud, caller, named)
    if found.extra_specs.get("multiattach", "").lower() == "<is> true":
        raise Unsupported(f"Volume type {named[:64]} wants multiattach, which no storage pool here can do.")
    return found


async def zone_key(request: Request, named: str | None, kind: VolumeKind | None) -> UUID | None:
    """The zone that is named; of a type with reserved zones one of those, the first unless named."""
    reserved = kind.extra_specs.get("RESKEY:availability_zones", "") if kind else ""
    among = [name.strip() for name in reserved.split(",") if name.strip()]
    if not named and not among:
        return None
    if named and among and named not in among:
        raise Invalid(f"Volume type {kind.name if kind else ''} is not offered in zone {named[:64]}.")
    sought = named or among[0]
    for zone in await hosts.zones(request.cloud):
        if zone.name == sought:
            return zone.id
    raise Invalid(f"Availability zone '{sought[:64]}' is invalid.")


async def image_named(request: Request, named: str) -> Image:
    """An image by id, by an address that ends with it, or by name."""
    cloud, caller = request.cloud, request.caller
    try:
        return await images.show(cloud, caller, UUID(named.rpartition("/")[2]))
    except (ValueError, NotFound):
        found = await images.listing(cloud, caller, name=named)
    if len(found) > 1:
        raise Conflict(f"Multiple matches found for '{named[:64]}', use an ID to be more specific.")
    if not found:
        raise Invalid("Invalid image identifier or unable to access requested image.")
    return found[0]


class Mapped(Struct, frozen=True):
    """One entry of an image's block_device_mapping."""

    source_type: str = ""
    snapshot_id: UUID | None = None
    boot_index: int | None = None


def snapshot_of(image: Image, snapshot: UUID | None) -> tuple[Image | None, UUID | None]:
    """An image without content that stands for a snapshot of a server's volume: that snapshot instead of it."""
    listed = image.properties.get("block_device_mapping", "")
    try:
        mapped = msgspec.json.decode(listed, type=list[Mapped]) if listed else []
    except msgspec.DecodeError:
        return image, snapshot
    for entry in mapped:
        if entry.source_type == "snapshot" and entry.boot_index == 0 and entry.snapshot_id:
            return None, entry.snapshot_id
    return image, snapshot


class UpdateVolume(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Text = UNSET
    display_name: Text = UNSET
    description: Text = UNSET
    display_description: Text = UNSET
    metadata: dict[str, str] | UnsetType = UNSET


@service.operation("PUT", "/volumes/{volume}", policy="volume:update", body=("volume", UpdateVolume))
async def update(request: Request, volume: UUID, body: UpdateVolume) -> dict[str, Any]:
    await find(request, volume)
    changes: dict[str, Any] = named(body.name, body.display_name, "name")
    changes |= named(body.description, body.display_description, "description")
    if not changes and body.metadata is UNSET and request.version >= (3, 53):
        raise Invalid("Invalid input for the request: name, description or metadata is a required property.")
    metadata = None if isinstance(body.metadata, UnsetType) else pairs("metadata", body.metadata)

    def change(held: Volume) -> dict[str, Any]:
        return changes if metadata is None else changes | {"metadata": settable(metadata) | kept(held)}

    return await changed(request, await core.revise(request.cloud, request.caller, volume, change))


def kept(volume: Volume) -> dict[str, str]:
    """What of the metadata is not a user's to change: it is set by os-update_readonly_flag."""
    return {core.READ_ONLY: volume.metadata[core.READ_ONLY]} if core.READ_ONLY in volume.metadata else {}


def settable(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != core.READ_ONLY}


def named(newer: Text, older: Text, field: str) -> dict[str, str]:
    given = older if newer is UNSET else newer
    return {} if given is UNSET else {field: text(field, given)}


@service.operation("DELETE", "/volumes/{volume}", policy="volume:delete", status=202)
async def delete(request: Request, volume: UUID) -> None:
    """`cascade`: its snapshots too; `force` (3.23) is an administrator's word, and changes nothing here."""
    query = request.query
    await find(request, volume)
    if request.version >= (3, 23) and flag("force", query.get("force", "false")):
        request.enforce("volume:force_delete")
    along = flag("cascade", query.get("cascade", "false"))
    await core.delete(request.cloud, request.caller, volume, with_snapshots=along)
