"""Images made from what volumes hold."""

from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core.block.records import VolumeState
from pileus.core.block.sources import DESCRIBED, find, refuse_copied
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Conflict, Invalid
from pileus.core.image import images
from pileus.core.image.records import ImageState, Visibility
from pileus.core.operations import Accepted

FORMATS = ("raw", "qcow2")


class FromVolume(Struct, frozen=True, kw_only=True):
    volume: UUID
    name: str
    disk_format: str = "raw"
    container_format: str = "bare"
    visibility: Visibility = Visibility.PRIVATE
    protected: bool = False


class Export(Struct, frozen=True):
    volume: UUID
    format: str


async def create(cloud: Cloud, caller: Caller, want: FromVolume) -> Accepted:
    """Record an image and start filling it from a volume that nobody holds; the answer is about the image."""
    if want.disk_format not in FORMATS:
        raise Invalid(f"A volume can be exported as {' or '.join(FORMATS)}, not as {want.disk_format}.")
    images.check_formats(want.disk_format, want.container_format)
    if want.visibility is Visibility.PUBLIC:
        caller.require_admin("image.publish")
    async with cloud.transaction(caller) as tx:
        volume = await find(tx, caller, want.volume, "volume.update")
        if volume.state is not VolumeState.AVAILABLE:
            raise Conflict(f"Volume {volume.id} is {volume.state}; to become an image it must be available.")
        await refuse_copied(tx, volume)
        kept = {name: text for name, text in volume.image_properties.items() if name not in DESCRIBED}
        recorded = images.Create(
            project=volume.project,
            name=want.name,
            visibility=want.visibility,
            protected=want.protected,
            disk_format=want.disk_format,
            container_format=want.container_format,
            properties=kept,
            os_type=kept.get("os_type", ""),
        )
        image = await images.add(tx, recorded)
        export = Export(volume=volume.id, format=want.disk_format)
        operation = await tx.start("image.from_volume", subject=image, want=export, key=volume.id)
        image = await tx.put(replace(image, state=ImageState.SAVING, operation=operation.id))
        await tx.put(
            replace(volume, state=VolumeState.UPLOADING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(image, operation)
