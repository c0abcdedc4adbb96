"""What is asked of anything that carries the guests' packets.

The driver is declarative: each `apply_*` takes the whole wanted form of one object and makes the platform equal to
it, whatever was there before (so repair is the same call as creation); each `remove_*` of something missing succeeds.
A call returns when the platform's database holds the change; `settle` waits until the data path has it.
Any call may raise Refused or Unreachable (drivers/errors.py).
"""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol
from uuid import UUID

import msgspec

Address = IPv4Address | IPv6Address
Cidr = IPv4Network | IPv6Network


class Kind(StrEnum):
    NETWORK = "network"
    PORT = "port"
    ROUTER = "router"
    GROUP = "group"


class SubnetSpec(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    cidr: Cidr
    gateway: Address | None = None
    dhcp: bool = True
    dns_servers: tuple[Address, ...] = ()
    """Empty: the network's own resolver answers, at the metadata address; without one OVN's, at the gateway's."""
    routes: tuple[tuple[Cidr, Address], ...] = ()


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`physical`: name of the physical network when this is a provider (external) network; vlan 0 is untagged."""

    id: UUID
    name: str
    mtu: int = 1442
    subnets: tuple[SubnetSpec, ...] = ()
    physical: str = ""
    vlan: int = 0
    metadata_address: Address | None = None
    """Where the metadata service answers in this network (a port of its own); None: no metadata here."""
    metadata_mac: str = ""
    dns_names: Mapping[str, tuple[str, ...]] = {}
    """Names that the network's resolver answers (full and short), with their addresses."""


class FixedAddress(msgspec.Struct, frozen=True, kw_only=True):
    subnet: UUID
    address: Address


class PortSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's port. `groups` filter its traffic; with `secured` false nothing is filtered and any address may be sent."""

    id: UUID
    network: UUID
    mac: str
    addresses: tuple[FixedAddress, ...] = ()
    groups: tuple[UUID, ...] = ()
    secured: bool = True
    allowed_pairs: tuple[tuple[str, str], ...] = ()
    """(mac, cidr) pairs that may also be sent from here."""
    enabled: bool = True
    hostname: str = ""


class RuleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One permission; everything else is dropped, and answers to permitted traffic pass (stateful).

    `protocol`: any, tcp, udp, icmp, icmp6 or an IP protocol number as text. For icmp the ports are type and code.
    """

    direction: str
    ethertype: int = 4
    protocol: str = "any"
    port_min: int | None = None
    port_max: int | None = None
    remote_cidr: Cidr | None = None
    remote_group: UUID | None = None


class GroupSpec(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    rules: tuple[RuleSpec, ...] = ()


class RouterPort(msgspec.Struct, frozen=True, kw_only=True):
    """An interface of a router in a network. `port` is the id of the port's record."""

    port: UUID
    network: UUID
    mac: str
    addresses: tuple[str, ...]
    """With prefix length: 10.0.0.1/24."""


class NatRule(msgspec.Struct, frozen=True, kw_only=True):
    """`static`: one external address to one inside address, both ways. `source`: a whole inside network leaves by it."""

    kind: str
    external: Address
    inside: str
    id: UUID


class Forwarding(msgspec.Struct, frozen=True, kw_only=True):
    """external:external_port to inside:inside_port, tcp or udp."""

    id: UUID
    protocol: str
    external: Address
    external_port: int
    inside: Address
    inside_port: int


class FilterRule(msgspec.Struct, frozen=True, kw_only=True):
    """A permission at a router's edge (CloudStack's firewall).

    ingress: from `sources` to the external `address` (its static NAT or forwardings); egress: from inside `sources` outward.
    Once an address appears in `RouterSpec.guarded`, what no ingress rule permits is dropped there; when `egress_default_deny`,
    what no egress rule permits does not leave. Answers to permitted traffic always pass.
    """

    id: UUID
    direction: str
    address: Address | None = None
    protocol: str = "any"
    port_min: int | None = None
    port_max: int | None = None
    sources: tuple[Cidr, ...] = ()
    destinations: tuple[Cidr, ...] = ()
    networks: tuple[UUID, ...] = ()
    """egress: the networks (tiers) it applies to."""


class RouterSpec(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    ports: tuple[RouterPort, ...] = ()
    gateway: RouterPort | None = None
    next_hop: Address | None = None
    """The way out, on the gateway's network."""
    routes: tuple[tuple[Cidr, Address], ...] = ()
    nat: tuple[NatRule, ...] = ()
    forwardings: tuple[Forwarding, ...] = ()
    guarded: tuple[Address, ...] = ()
    egress_guarded: tuple[UUID, ...] = ()
    """Networks whose traffic outward needs an egress rule."""
    filters: tuple[FilterRule, ...] = ()
    enabled: bool = True


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform holds. `known`: what is ours, by our ids, or carries our marks and no cloud's."""

    known: Mapping[Kind, frozenset[UUID]]
    unmarked: frozenset[UUID] = frozenset()
    """Of the known: on these no cloud's mark is. Applying marks them."""
    foreign: Mapping[str, int] = {}
    """How many objects are somebody else's, by the platform's own word for them."""
    left: frozenset[UUID] = frozenset()
    """Networks of which something is left on this machine, made by a process that ended in the midst of it;
    removing the network removes it."""


class NetworkDriver(Protocol):
    """`apply_*` tell whether anything had to be changed."""

    async def apply_network(self, spec: NetworkSpec) -> bool: ...
    async def remove_network(self, network: UUID) -> None: ...
    async def apply_port(self, spec: PortSpec) -> bool: ...
    async def remove_port(self, port: UUID) -> None: ...
    async def apply_group(self, spec: GroupSpec) -> bool: ...
    async def remove_group(self, group: UUID) -> None: ...
    async def apply_router(self, spec: RouterSpec) -> bool: ...
    async def remove_router(self, router: UUID) -> None: ...

    async def known(self) -> Mapping[Kind, frozenset[UUID]]:
        """What the platform holds that carries our mark, so that leftovers can be removed."""

    async def survey(self) -> Survey:
        """One look at everything, to compare it with what is recorded."""

    async def port_up(self, port: UUID) -> bool:
        """Whether the port is bound to a running guest. False for a missing one."""

    async def settle(self) -> None:
        """Return when every host's data path has what was applied before."""

    async def close(self) -> None: ...


__all__ = [
    "Address",
    "Cidr",
    "FilterRule",
    "FixedAddress",
    "Forwarding",
    "GroupSpec",
    "Kind",
    "NatRule",
    "NetworkDriver",
    "NetworkSpec",
    "PortSpec",
    "RouterPort",
    "RouterSpec",
    "RuleSpec",
    "SubnetSpec",
    "Survey",
]
