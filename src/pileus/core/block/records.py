"""Volumes, their snapshots, kinds and pools."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pileus.store import Record, table


class VolumeState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    ATTACHING = "attaching"
    IN_USE = "in use"
    DETACHING = "detaching"
    EXTENDING = "extending"
    UPLOADING = "uploading"
    """Its content is being made into an image."""
    RETAINED = "retained"
    """Deleted for its owner; kept until the last snapshot that needs it is gone. No face shows it."""
    ERROR = "error"
    DELETING = "deleting"


VOLUME_TRANSITIONAL = frozenset(
    {
        VolumeState.CREATING,
        VolumeState.ATTACHING,
        VolumeState.DETACHING,
        VolumeState.EXTENDING,
        VolumeState.UPLOADING,
        VolumeState.DELETING,
    }
)


@table("volume", indexes=(("project", "created_at"), ("server",), ("state",), ("operation",), ("image",)))
class Volume(Record):
    """A disk. At most one server holds it (`server`, `device`)."""

    id: UUID
    project: UUID
    user: UUID
    name: str = ""
    description: str = ""
    size_gib: int
    kind: UUID
    pool: UUID
    zone: UUID | None = None
    state: VolumeState = VolumeState.CREATING
    operation: UUID | None = None
    fault: str = ""
    root: bool = False
    """The disk that its server boots from."""
    ephemeral: bool = False
    """A server's own root disk: made with it, not listed as a volume by OpenStack, shown as ROOT by CloudStack."""
    delete_with_server: bool = False
    server: UUID | None = None
    device: str = ""
    """vda, vdb, ... as asked of the hypervisor."""
    attached_at: datetime | None = None
    attachment: UUID | None = None
    image: UUID | None = None
    """The image whose base its content lies on."""
    source_snapshot: UUID | None = None
    source_volume: UUID | None = None
    bootable: bool = False
    image_properties: dict[str, str] = {}
    metadata: dict[str, str] = {}
    created_at: datetime
    updated_at: datetime


class SnapshotState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    ERROR = "error"
    DELETING = "deleting"


@table("snapshot", indexes=(("project", "created_at"), ("volume",), ("operation",)))
class Snapshot(Record):
    id: UUID
    project: UUID
    user: UUID
    volume: UUID
    name: str = ""
    description: str = ""
    size_gib: int
    state: SnapshotState = SnapshotState.CREATING
    operation: UUID | None = None
    fault: str = ""
    metadata: dict[str, str] = {}
    created_at: datetime
    updated_at: datetime


@table("volume_kind", unique=(("name",),))
class VolumeKind(Record):
    """A volume type / disk offering. `size_gib` 0: the caller names the size."""

    id: UUID
    name: str
    description: str = ""
    size_gib: int = 0
    public: bool = True
    default: bool = False
    extra_specs: dict[str, str] = {}
    created_at: datetime


@table("pool", unique=(("name",),))
class StoragePool(Record):
    """Primary storage. `driver` file: a directory of this machine."""

    id: UUID
    name: str
    driver: str
    path: str
    zone: UUID
    pod: UUID | None = None
    cluster: UUID | None = None
    host: UUID | None = None
    total_bytes: int = 0
    used_bytes: int = 0
    created_at: datetime
