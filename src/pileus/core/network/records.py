"""Networks from layer 2 to the address that the outside sees."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pileus.store import Record, table


class NetState(StrEnum):
    BUILDING = "building"
    ACTIVE = "active"
    ERROR = "error"
    DELETING = "deleting"


class NetworkKind(StrEnum):
    TENANT = "tenant"
    ISOLATED = "isolated"
    """Made by CloudStack's createNetwork with a router and source NAT of its own."""
    L2 = "l2"
    EXTERNAL = "external"


@table("network", indexes=(("project", "created_at"), ("operation",)))
class Network(Record):
    id: UUID
    project: UUID
    name: str
    description: str = ""
    kind: NetworkKind = NetworkKind.TENANT
    state: NetState = NetState.ACTIVE
    operation: UUID | None = None
    fault: str = ""
    enabled: bool = True
    shared: bool = False
    external: bool = False
    default: bool = False
    physical: str = ""
    vlan: int = 0
    mtu: int = 1442
    port_security: bool = True
    dns_domain: str = ""
    zone: UUID | None = None
    router: UUID | None = None
    """An isolated network's own router."""
    metadata_port: UUID | None = None
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@table("subnet", indexes=(("network",), ("project",)))
class Subnet(Record):
    id: UUID
    network: UUID
    project: UUID
    name: str = ""
    description: str = ""
    version: int = 4
    cidr: str
    gateway: str | None = None
    pools: tuple[tuple[str, str], ...] = ()
    """(first, last) of what may be handed out."""
    dhcp: bool = True
    dns_servers: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """(destination cidr, next hop)."""
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


class PortUse(StrEnum):
    """Neutron's device_owner, without its spelling."""

    NONE = ""
    SERVER = "server"
    ROUTER_INTERFACE = "router interface"
    ROUTER_GATEWAY = "router gateway"
    ADDRESS = "address"
    METADATA = "metadata"


@table(
    "port",
    indexes=(("network",), ("project", "created_at"), ("device",), ("up",)),
    unique=(("network", "mac"),),
)
class Port(Record):
    id: UUID
    network: UUID
    project: UUID
    name: str = ""
    description: str = ""
    mac: str
    use: PortUse = PortUse.NONE
    device: UUID | None = None
    """The server, router or address that uses it."""
    device_text: str = ""
    """Neutron's device_id when a client set one that is not ours; with owner_text."""
    owner_text: str = ""
    host: UUID | None = None
    enabled: bool = True
    up: bool = False
    groups: tuple[UUID, ...] = ()
    port_security: bool = True
    allowed_pairs: tuple[tuple[str, str], ...] = ()
    dns_name: str = ""
    made_for_device: bool = False
    """Made by the server that uses it, and removed with it."""
    position: int = 0
    """Order among the ports of a server; 0 is the default NIC."""
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@table("fixed_address", key=("subnet", "address"), indexes=(("port",),))
class FixedAddress(Record):
    """An address of a subnet in use by a port. The key makes a double hand-out impossible."""

    subnet: UUID
    address: str
    port: UUID


@table("subnet_cursor", key=("subnet",))
class SubnetCursor(Record):
    """Every address of the subnet's pools below `lowest` is taken: where the search for a free one begins."""

    subnet: UUID
    lowest: str


@table("router", indexes=(("project", "created_at"),))
class Router(Record):
    id: UUID
    project: UUID
    name: str
    description: str = ""
    state: NetState = NetState.ACTIVE
    enabled: bool = True
    external: UUID | None = None
    """The external network of its gateway; the gateway's port has use ROUTER_GATEWAY."""
    snat: bool = True
    routes: tuple[tuple[str, str], ...] = ()
    egress_default_deny: bool = False
    """CloudStack's isolated networks: what no egress rule permits does not leave."""
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@table(
    "address",
    indexes=(("project", "created_at"), ("port",), ("router",), ("network",)),
    unique=(("external", "address"),),
)
class Address(Record):
    """An external ("floating", "public") address of a project. It may stand for one port (static NAT), be a router's
    source NAT, or carry forwardings."""

    id: UUID
    project: UUID
    external: UUID
    """The external network."""
    address: str
    subnet: UUID
    holder: UUID
    """The port in the external network that keeps the address taken."""
    router: UUID | None = None
    port: UUID | None = None
    fixed: str | None = None
    """The port's address that it stands for."""
    network: UUID | None = None
    """The isolated network it was acquired for (CloudStack)."""
    source_nat: bool = False
    guarded: bool = False
    """Acquired by CloudStack: nothing enters until a firewall rule permits it."""
    description: str = ""
    dns_name: str = ""
    dns_domain: str = ""
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@table("forwarding", indexes=(("address",), ("port",)), unique=(("address", "protocol", "external_port"),))
class PortForwarding(Record):
    """One external port, or (CloudStack) a range of equal length, of an address to a port's address."""

    id: UUID
    project: UUID
    address: UUID
    protocol: str
    external_port: int
    external_port_end: int
    port: UUID
    inside: str
    inside_port: int
    inside_port_end: int
    description: str = ""
    created_at: datetime
    updated_at: datetime


@table("firewall_rule", indexes=(("address",), ("network",), ("project",)))
class FirewallRule(Record):
    """CloudStack's firewall: ingress of an address, or egress of a network."""

    id: UUID
    project: UUID
    direction: str
    address: UUID | None = None
    network: UUID | None = None
    protocol: str
    port_min: int | None = None
    port_max: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    created_at: datetime


@table("security_group", indexes=(("project",),))
class SecurityGroup(Record):
    """`default` is the one that every project has; it is made on first look and cannot be deleted."""

    id: UUID
    project: UUID
    name: str
    description: str = ""
    default: bool = False
    stateful: bool = True
    tags: tuple[str, ...] = ()
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@table("security_rule", indexes=(("group",), ("remote_group",)))
class SecurityRule(Record):
    id: UUID
    project: UUID
    group: UUID
    direction: str
    ethertype: int = 4
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_cidr: str | None = None
    remote_group: UUID | None = None
    description: str = ""
    created_at: datetime
