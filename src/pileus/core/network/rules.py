"""Rules of security groups: each permits something, and none is there twice."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Invalid, NotFound
from pileus.core.network import visible
from pileus.core.network.changes import touch
from pileus.core.network.errors import RuleExists
from pileus.core.network.records import SecurityGroup, SecurityRule
from pileus.core.network.sync import sync

PORTED = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136"})
ICMP = frozenset({"icmp", "1", "icmpv6", "ipv6-icmp", "icmp6", "58"})
ONLY_IPV6 = frozenset(
    {"icmpv6", "ipv6-icmp", "icmp6", "58", "ipv6-encap", "ipv6-frag", "ipv6-nonxt", "ipv6-opts", "ipv6-route"}
)
NUMBERS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "icmp6": 58,
    "igmp": 2, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
    "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
"""IP protocol numbers by the names that may be used for them."""


class RuleInvalid(Invalid):
    """The parts of a rule contradict each other; `reason` tells which."""

    def __init__(self, reason: str, public: str) -> None:
        super().__init__(public)
        self.reason = reason


class RuleWant(msgspec.Struct, frozen=True, kw_only=True):
    """For icmp the ports are type and code. `protocol` None or "any": every one."""

    group: UUID
    direction: str
    ethertype: int = 4
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_cidr: str | None = None
    remote_group: UUID | None = None
    description: str = ""


async def create(cloud: Cloud, caller: Caller, want: RuleWant) -> SecurityRule:
    return (await create_all(cloud, caller, (want,)))[0]


async def create_all(cloud: Cloud, caller: Caller, wants: Sequence[RuleWant]) -> list[SecurityRule]:
    """All or none. Raises RuleExists, RuleInvalid."""
    async with cloud.transaction(caller) as tx:
        made: list[SecurityRule] = []
        touched: dict[UUID, SecurityGroup] = {}
        for want in wants:
            group = await caller.find(tx.rows, SecurityGroup, want.group, "security_rule.create")
            rule = await _rule(tx, caller, group, want)
            await tx.charge(group.project, "security_rules", 1)
            made.append(await tx.add(rule))
            touched[group.id] = group
        for group in touched.values():
            await sync(tx, await touch(tx, group))
        return made


async def _rule(tx: Tx, caller: Caller, group: SecurityGroup, want: RuleWant) -> SecurityRule:
    rule = SecurityRule(
        id=tx.cloud.new_id(),
        project=group.project,
        group=group.id,
        direction=want.direction,
        ethertype=want.ethertype,
        protocol=checked_protocol(want.protocol, want.ethertype),
        port_min=want.port_min,
        port_max=want.port_max,
        remote_cidr=checked_remote(want),
        remote_group=want.remote_group,
        description=want.description,
        created_at=tx.cloud.now(),
    )
    check_ports(rule)
    if want.remote_group is not None:
        remote = await tx.maybe(SecurityGroup, want.remote_group)
        if remote is None or not caller.sees(remote.project):
            raise NotFound("SecurityGroup", want.remote_group)
    for other in await tx.list(SecurityRule, group=group.id):
        if meaning(other) == meaning(rule):
            raise RuleExists(other.id)
    return rule


def checked_protocol(protocol: str | None, ethertype: int) -> str | None:
    """Lower case, None for any. Raises RuleInvalid."""
    if protocol is None:
        return None
    name = protocol.strip().lower()
    if name in ("any", "", "0", "-1"):
        return None
    if name not in NUMBERS and not (name.isascii() and name.isdigit() and int(name) <= 255):
        known = ", ".join(sorted(NUMBERS))
        raise RuleInvalid(
            "protocol",
            f"Security group rule protocol {protocol} not supported; use a number from 0 to 255 or one of {known}.",
        )
    if ethertype == 4 and name in ONLY_IPV6:
        raise RuleInvalid("ethertype protocol", f"Invalid ethertype IPv4 for protocol {name}.")
    return name


def checked_remote(want: RuleWant) -> str | None:
    if want.remote_cidr is None:
        return None
    if want.remote_group is not None:
        raise RuleInvalid("two remotes", "Only remote_ip_prefix or remote_group_id may be provided.")
    try:
        cidr = ip_network(want.remote_cidr, strict=False)
    except ValueError:
        raise Invalid(f"'{want.remote_cidr}' is not a valid IP subnet.") from None
    if cidr.version != want.ethertype:
        raise RuleInvalid(
            "ethertype cidr", f"Conflicting value ethertype IPv{want.ethertype} for CIDR {want.remote_cidr}."
        )
    return str(cidr)


def check_ports(rule: SecurityRule) -> None:
    low, high = rule.port_min, rule.port_max
    if low is None and high is None:
        return
    if rule.protocol is None:
        raise RuleInvalid("ports without protocol", "Must also specify protocol if port range is given.")
    if rule.protocol in ICMP:
        for field, value in (("type (port_range_min)", low), ("code (port_range_max)", high)):
            if value is not None and not 0 <= value <= 255:
                raise RuleInvalid(
                    "icmp value", f"Invalid value for ICMP {field} {value}. It must be 0 to 255."
                )
        if low is None:
            raise RuleInvalid(
                "icmp code alone",
                f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing.",
            )
        return
    if rule.protocol not in PORTED:
        raise RuleInvalid(
            "protocol without ports",
            f"Invalid protocol {rule.protocol} for port range, only for TCP, UDP, SCTP...",
        )
    for port in (low, high):
        if port is not None and not 1 <= port <= 65535:
            raise RuleInvalid("port value", f"Invalid value for port {port}.")
    if low is None or high is None or low > high:
        raise RuleInvalid("port range", "For TCP/UDP protocols, port_range_min must be <= port_range_max.")


def meaning(rule: SecurityRule) -> tuple[Any, ...]:
    """What makes two rules the same, however they are spelt."""
    number = str(NUMBERS.get(rule.protocol, rule.protocol)) if rule.protocol else None
    everything = rule.remote_cidr in (None, "0.0.0.0/0", "::/0")
    cidr = None if everything else rule.remote_cidr
    return rule.direction, rule.ethertype, number, rule.port_min, rule.port_max, cidr, rule.remote_group


async def show(cloud: Cloud, caller: Caller, key: UUID) -> SecurityRule:
    async with cloud.view() as look:
        return await caller.find(look.rows, SecurityRule, key, "security_rule.read")


async def list_(cloud: Cloud, caller: Caller, **equals: Any) -> list[SecurityRule]:
    async with cloud.view() as look:
        return await look.list(SecurityRule, **visible.projects(caller, equals), order=("created_at", "id"))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    async with cloud.transaction(caller) as tx:
        rule = await caller.find(tx.rows, SecurityRule, key, "security_rule.delete")
        await tx.charge(rule.project, "security_rules", -1)
        await tx.remove(rule)
        group = await tx.get(SecurityGroup, rule.group)
        await sync(tx, await touch(tx, group))
