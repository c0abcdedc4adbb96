"""Images: immutable content with properties."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pileus.store import Record, table


class ImageState(StrEnum):
    QUEUED = "queued"
    """Recorded, without content."""
    SAVING = "saving"
    """Content is arriving, or (CloudStack) being fetched."""
    ACTIVE = "active"
    ERROR = "error"
    DEACTIVATED = "deactivated"
    DELETING = "deleting"


class Visibility(StrEnum):
    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


@table("image", indexes=(("project", "created_at"), ("visibility",), ("operation",)))
class Image(Record):
    id: UUID
    project: UUID
    name: str = ""
    description: str = ""
    state: ImageState = ImageState.QUEUED
    operation: UUID | None = None
    fault: str = ""
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    hidden: bool = False
    featured: bool = False
    disk_format: str = ""
    """As declared (qcow2, raw, vmdk, vhdx, vdi, vhd, iso, ami, aki, ari); checked against the content."""
    container_format: str = ""
    size: int | None = None
    """Bytes of the content."""
    virtual_size: int | None = None
    """Bytes of the disk inside."""
    checksum: str | None = None
    """MD5, hex."""
    sha512: str | None = None
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    os_type: str = ""
    zone: UUID | None = None
    url: str = ""
    """Where it was fetched from (CloudStack's registerTemplate)."""
    upload_token: str = ""
    """Hash of the one-time token of a browser's upload; empty: none is open."""
    upload_until: datetime | None = None
    created_at: datetime
    updated_at: datetime


@table("image_store", unique=(("name",),))
class ImageStoreRecord(Record):
    """Secondary storage."""

    id: UUID
    name: str
    driver: str
    path: str
    zone: UUID
    created_at: datetime
