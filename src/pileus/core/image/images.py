"""Images: records, who sees them, and the way from an empty record to checked content."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.operations import Accepted
from pileus.store import any_of, eq

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
FORMATS = ("container_format", "disk_format")
UPLOAD_SECONDS = 3600


class Create(Struct, frozen=True, kw_only=True):
    """`url`: fetch the content from there at once (CloudStack's registerTemplate)."""

    project: UUID
    name: str = ""
    description: str = ""
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    hidden: bool = False
    featured: bool = False
    disk_format: str = ""
    container_format: str = ""
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    os_type: str = ""
    zone: UUID | None = None
    url: str = ""


class Fetch(Struct, frozen=True):
    """`inside`: the address may be one of this machine or link-local, where only administrators may look."""

    url: str
    inside: bool = False


async def create(cloud: Cloud, caller: Caller, want: Create, *, id: UUID | None = None) -> Accepted | Image:
    """Record an image. With a url its fetch is started, and the answer is Accepted; else it waits for content."""
    caller.require("image.create", project=want.project)
    check_formats(want.disk_format, want.container_format)
    if want.url and not want.url.startswith(("http://", "https://")):
        raise Invalid(f"{want.url} cannot be fetched: only http and https addresses can.")
    if want.visibility is Visibility.PUBLIC or want.featured:
        caller.require_admin("image.publish")
    async with cloud.transaction(caller) as tx:
        image = await add(tx, want, id=id)
        if not want.url:
            return image
        fetch = Fetch(want.url, inside=caller.admin)
        operation = await tx.start("image.fetch", subject=image, want=fetch)
        image = await tx.put(replace(image, state=ImageState.SAVING, operation=operation.id))
    return Accepted(image, operation)


async def add(tx: Tx, want: Create, *, id: UUID | None = None) -> Image:
    """The record and its quota, in the caller's transaction."""
    if id is not None and await tx.maybe(Image, id):
        raise Exists(f"Image {id} exists already.")
    await tx.charge(want.project, "images", 1)
    fields = {name: getattr(want, name) for name in Create.__struct_fields__}
    now = tx.cloud.now()
    return await tx.add(Image(id=id or tx.cloud.new_id(), created_at=now, updated_at=now, **fields))


def check_formats(disk: str, container: str) -> None:
    """Both may be empty until content comes. Raises Invalid."""
    if disk and disk not in DISK_FORMATS:
        raise Invalid(f"Disk format {disk} is unknown; use one of {', '.join(DISK_FORMATS)}.")
    if container and container not in CONTAINER_FORMATS:
        raise Invalid(f"Container format {container} is unknown; use one of {', '.join(CONTAINER_FORMATS)}.")


def visible(caller: Caller, image: Image) -> bool:
    return caller.sees(image.project) or image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY)


async def find(look: Look, caller: Caller, key: UUID, verb: str = "image.read") -> Image:
    """Raises NotFound for what the caller may not see, Forbidden for what it may only see."""
    image = await look.maybe(Image, key)
    if image is None or not visible(caller, image):
        raise NotFound("Image", key)
    if verb != "image.read":
        caller.require(verb, project=image.project)
    return image


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Image:
    async with cloud.view() as look:
        return await find(look, caller, key)


async def listing(cloud: Cloud, caller: Caller, *where: Any, **filters: Any) -> list[Image]:
    """What the caller sees: its own, public and community ones; administrators see all."""
    if not caller.admin:
        own: Sequence[UUID] = [p for p in (caller.project, *(caller.visible or ())) if p is not None]
        shared = eq("visibility", (Visibility.PUBLIC, Visibility.COMMUNITY))
        where = (*where, any_of(eq("project", tuple(own)), shared))
    async with cloud.view() as look:
        return await look.list(Image, *where, **filters)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> Image:
    """Replace fields of the record; formats only while there is no content."""
    return await revise(cloud, caller, key, lambda _: changes)


async def revise(
    cloud: Cloud, caller: Caller, key: UUID, change: Callable[[Image], Mapping[str, Any]]
) -> Image:
    """Change fields depending on what they are now; `change` gives the new values, or refuses."""
    async with cloud.transaction(caller) as tx:
        image = await find(tx, caller, key, "image.update")
        changes = change(image)
        if changes.get("visibility") is Visibility.PUBLIC and image.visibility is not Visibility.PUBLIC:
            caller.require_admin("image.publish")
        check_formats(changes.get("disk_format", ""), changes.get("container_format", ""))
        if changes.get("project", image.project) != image.project:
            caller.require_admin("image.give")
            await tx.charge(image.project, "images", -1)
            await tx.charge(changes["project"], "images", 1)
        formats = [name for name in FORMATS if name in changes and changes[name] != getattr(image, name)]
        if formats and image.state is not ImageState.QUEUED:
            raise Forbidden(f"Attribute {', '.join(formats)} can only be changed while the image is queued.")
        return await tx.put(replace(image, **changes, updated_at=cloud.now()))


async def set_active(cloud: Cloud, caller: Caller, key: UUID, *, active: bool) -> Image:
    """Deactivate (nobody may use the content) or reactivate."""
    wanted = ImageState.ACTIVE if active else ImageState.DEACTIVATED
    async with cloud.transaction(caller) as tx:
        image = await find(tx, caller, key, "image.update")
        if image.state not in (ImageState.ACTIVE, ImageState.DEACTIVATED):
            raise Conflict(f"Image {key} is {image.state}; it can be neither deactivated nor reactivated.")
        return await tx.put(replace(image, state=wanted, updated_at=cloud.now()))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> Accepted:
    """Start deleting the content and the record, in every state; what fills it is called off. Servers and volumes made
    from it keep what they need."""
    async with cloud.transaction(caller) as tx:
        image = await find(tx, caller, key, "image.delete")
        if image.protected:
            raise Forbidden(f"Image {key} is protected and cannot be deleted.")
        if (first := await deletion.again(tx, image)) is not None:
            return first
        filling = await deletion.under_way(tx, image)
        if filling is not None:
            await deletion.call_off(tx, filling)
        # In the queue of what fills it, so that the deletion comes after the end of what it calls off.
        operation = await tx.start("image.delete", subject=image, key=filling.key if filling else key)
        image = await tx.put(
            replace(image, state=ImageState.DELETING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(image, operation)


# The way of content into a record: opened, then settled or abandoned by workflows/image_upload.py


async def open_upload(cloud: Cloud, caller: Caller, key: UUID) -> Image:
    """QUEUED -> SAVING: one upload at a time."""
    async with cloud.transaction(caller) as tx:
        image = await find(tx, caller, key, "image.update")
        if image.state is not ImageState.QUEUED:
            raise Conflict(f"Image status transition from {image.state} to saving is not allowed")
        if not image.disk_format or not image.container_format:
            raise Invalid("Properties disk_format and container_format must be set prior to saving data.")
        return await tx.put(replace(image, state=ImageState.SAVING, updated_at=cloud.now()))


async def settle(
    tx: Tx, image: Image, *, size: int, virtual: int, checksum: str, sha512: str, disk_format: str
) -> Image:
    """SAVING -> ACTIVE with what the content turned out to be."""
    return await tx.put(
        replace(
            image,
            state=ImageState.ACTIVE,
            operation=None,
            size=size,
            virtual_size=virtual,
            checksum=checksum,
            sha512=sha512,
            disk_format=disk_format,
            container_format=image.container_format or "bare",
            upload_token="",
            upload_until=None,
            fault="",
            updated_at=tx.cloud.now(),
        )
    )


async def fail(tx: Tx, key: UUID, operation: UUID, fault: str) -> None:
    """In error, if it is still there and this operation still holds it."""
    image = await tx.maybe(Image, key)
    if image is not None and image.operation == operation:
        await tx.put(
            replace(image, state=ImageState.ERROR, operation=None, fault=fault, updated_at=tx.cloud.now())
        )


async def issue_upload_token(cloud: Cloud, caller: Caller, key: UUID) -> tuple[Image, str]:
    """A one-time token with which a browser may send the content without credentials."""
    token = secrets.token_urlsafe(32)
    async with cloud.transaction(caller) as tx:
        image = await find(tx, caller, key, "image.update")
        until = cloud.now() + timedelta(seconds=UPLOAD_SECONDS)
        image = await tx.put(replace(image, upload_token=digest(token), upload_until=until))
    return image, token


async def by_upload_token(cloud: Cloud, key: UUID, token: str) -> Image:
    """Raises NotFound for a wrong, used or late token."""
    async with cloud.view() as look:
        image = await look.maybe(Image, key)
    right = (
        image is not None and image.upload_token and secrets.compare_digest(image.upload_token, digest(token))
    )
    if image is None or not right or image.upload_until is None or image.upload_until < cloud.now():
        raise NotFound("Upload", key)
    return image


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
