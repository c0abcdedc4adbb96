"""Servers, sizes, key pairs, and the places where servers run."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pileus.store import Record, table


class State(StrEnum):
    """What a server is. The transitional ones (see TRANSITIONAL) name their live operation in `Server.operation`."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    ERROR = "error"
    STARTING = "starting"
    STOPPING = "stopping"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting hard"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    """Stopped, and recoverable until it is expunged."""
    RECOVERING = "recovering"
    DELETING = "deleting"


TRANSITIONAL = frozenset(
    {
        State.BUILDING,
        State.STARTING,
        State.STOPPING,
        State.REBOOTING,
        State.REBOOTING_HARD,
        State.PAUSING,
        State.UNPAUSING,
        State.SUSPENDING,
        State.RESUMING,
        State.DESTROYING,
        State.RECOVERING,
        State.DELETING,
    }
)


@table("server", indexes=(("project", "created_at"), ("host",), ("state",), ("operation",)))
class Server(Record):
    id: UUID
    project: UUID
    user: UUID
    name: str
    hostname: str
    """A DNS label made from the name; what the guest is told."""
    description: str = ""
    size: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int
    """Copied from the size when the server was made, for sizes may be deleted."""
    image: UUID | None = None
    """None: booted from a volume that was there."""
    state: State = State.BUILDING
    operation: UUID | None = None
    """The live operation of a transitional state; None in the others."""
    zone: UUID | None = None
    host: UUID | None = None
    fault: str = ""
    fault_at: datetime | None = None
    key_name: str = ""
    public_key: str = ""
    user_data: bytes = b""
    metadata: dict[str, str] = {}
    config_drive: bool = False
    admin_password: str = ""
    """Encrypted; only for what the config drive and the metadata service hand to the guest."""
    locked: bool = False
    tags: tuple[str, ...] = ()
    host_tags: tuple[str, ...] = ()
    """What its size demanded of a host when the server was made: limits are also counted by these."""
    created_at: datetime
    updated_at: datetime
    launched_at: datetime | None = None
    destroyed_at: datetime | None = None


@table("size", unique=(("ref",),))
class Size(Record):
    """A flavor / service offering. `ref` is the free text by which OpenStack's clients know it."""

    id: UUID
    ref: str
    name: str
    description: str = ""
    vcpus: int
    memory_mib: int
    disk_gib: int
    """0: as large as the image needs."""
    ephemeral_gib: int = 0
    swap_mib: int = 0
    public: bool = True
    disabled: bool = False
    projects: tuple[UUID, ...] = ()
    """Who may use it when it is not public."""
    extra_specs: dict[str, str] = {}
    retired: bool = False
    """Deleted while servers still show it; `ref` is then its id, and it goes with the last of them."""
    required_traits: tuple[str, ...] = ()
    """A host must have all of them."""
    forbidden_traits: tuple[str, ...] = ()
    """A host must have none of them."""
    cpu_mhz: int = 1000
    """What CloudStack calls cpuspeed; shown, and used as a share."""
    created_at: datetime


@table("key_pair", unique=(("user", "name"),), indexes=(("project",),))
class KeyPair(Record):
    """A public key, of a user (OpenStack) seen in the user's project (CloudStack: account)."""

    id: UUID
    user: UUID
    project: UUID
    name: str
    kind: str = "ssh"
    public_key: str
    fingerprint: str
    """MD5 of the key's blob as aa:bb:..., as both products show it."""
    created_at: datetime


@table("zone", unique=(("name",),))
class Zone(Record):
    id: UUID
    name: str
    region: str
    enabled: bool = True
    created_at: datetime


@table("pod", indexes=(("zone",),))
class Pod(Record):
    id: UUID
    zone: UUID
    name: str
    created_at: datetime


@table("cluster", indexes=(("pod",),))
class Cluster(Record):
    id: UUID
    zone: UUID
    pod: UUID
    name: str
    hypervisor: str
    created_at: datetime


@table("host", unique=(("hostname",),), indexes=(("zone",),))
class Host(Record):
    """A machine that runs guests. Totals are what it has; used is the sum of its claims, kept with them in one transaction."""

    id: UUID
    number: int
    """The integer id of compute API versions before 2.53."""
    zone: UUID
    pod: UUID
    cluster: UUID
    hostname: str
    address: str = "127.0.0.1"
    hypervisor: str
    """Driver: libvirt or simulator."""
    hypervisor_type: str
    """As shown: QEMU, KVM, Simulator."""
    hypervisor_version: int
    cpu_model: str = ""
    architecture: str = "x86_64"
    acceleration: str = ""
    acceleration_reason: str = ""
    vcpus: int
    memory_mib: int
    disk_gib: int
    vcpus_used: int = 0
    memory_mib_used: int = 0
    disk_gib_used: int = 0
    servers: int = 0
    vcpu_ratio: float = 16.0
    memory_ratio: float = 1.5
    disk_ratio: float = 1.0
    memory_mib_reserved: int = 512
    generation: int = 0
    enabled: bool = True
    disabled_reason: str = ""
    up: bool = True
    maintenance: bool = False
    """An administrator empties it: nothing new comes, whatever `enabled` says."""
    forced_down: bool = False
    """An administrator says that it is down, so that `up` stays false whatever it answers."""
    traits: tuple[str, ...] = ()
    """What it can do, in the words of OpenStack's traits (HW_CPU_X86_AVX2, CUSTOM_GPU) and CloudStack's host tags."""
    seen_at: datetime
    created_at: datetime


@table("host_group", unique=(("name",),))
class HostGroup(Record):
    """Hosts that have something in common, for placement: an aggregate of OpenStack, a dedication or tag of CloudStack."""

    id: UUID
    number: int
    """The integer id by which the compute API names it."""
    name: str
    zone: UUID | None = None
    """Its hosts are of this zone; None: of any."""
    metadata: dict[str, str] = {}
    created_at: datetime
    updated_at: datetime


@table("host_group_member", key=("group", "host"), indexes=(("host",),))
class HostGroupMember(Record):
    group: UUID
    host: UUID


@table("trait", key=("name",))
class Trait(Record):
    """A word that administrators made, so that it is known before a host has it."""

    name: str
    created_at: datetime


class Affinity(StrEnum):
    """What the servers of a group want of each other; the soft ones are a wish, the others a condition."""

    TOGETHER = "together"
    APART = "apart"
    SOFT_TOGETHER = "soft together"
    SOFT_APART = "soft apart"


@table("server_group", indexes=(("project", "name"),))
class ServerGroup(Record):
    """Servers that want to be together on one host, or apart: a server group of OpenStack, an affinity group of CloudStack."""

    id: UUID
    project: UUID
    user: UUID
    name: str
    description: str = ""
    affinity: Affinity
    most_per_host: int = 1
    """Of an APART group: how many of its servers one host may have."""
    created_at: datetime


@table("server_group_member", key=("group", "server"), indexes=(("server",),))
class ServerGroupMember(Record):
    group: UUID
    server: UUID


@table("console_token", indexes=(("expires_at",),))
class ConsoleToken(Record):
    """One look at one server's screen. `id` is a hash of the token that the client holds; used once."""

    id: str
    server: UUID
    kind: str
    expires_at: datetime
