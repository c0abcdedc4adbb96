"""Guests' ports and the groups that filter them, as rows."""

from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from pileus.drivers.errors import Refused
from pileus.drivers.network.ovn import networks
from pileus.drivers.network.ovn.matches import among, both, family, protocol
from pileus.drivers.network.ovn.networks import METADATA
from pileus.drivers.network.ovn.rows import Handle, Owner, Place, Ref, Row, owner
from pileus.drivers.network.protocol import GroupSpec, Kind, PortSpec, RuleSpec

DROP, ALLOW = 1001, 1002
SITE = Owner("site", "site")
SECURED = "pg_pileus_secured"
"""All ports that let pass only what a rule permits."""


def set_name(group: UUID) -> str:
    return f"pg_{group.hex}"


def group_handle(group: UUID) -> Handle:
    return Handle(owner(Kind.GROUP, group), "Port_Group")


def port_rows(spec: PortSpec) -> list[Row]:
    addresses = [str(fixed.address) for fixed in spec.addresses]
    own = " ".join([spec.mac, *addresses])
    columns = {
        "name": str(spec.id),
        "type": "",
        "addresses": [own, "unknown"] if _elsewhere(spec) else [own],
        "port_security": [own, *_pairs(spec)] if spec.secured else [],
        "enabled": [spec.enabled],
        "options": {"hostname": f'"{spec.hostname}"'} if spec.hostname else {},
        "dhcpv4_options": _dhcp(spec, IPv4Address),
        "dhcpv6_options": _dhcp(spec, IPv6Address),
    }
    handle = Handle(owner(Kind.PORT, spec.id), "Logical_Switch_Port")
    within = networks.switch(spec.network).into("ports")
    return [Row(handle=handle, columns=columns, within=within, member=_groups(spec))]


def _elsewhere(spec: PortSpec) -> bool:
    """Whether frames to addresses that are not its own may have to reach it."""
    return not spec.secured or any(mac.lower() != spec.mac.lower() for mac, _ in spec.allowed_pairs)


def _pairs(spec: PortSpec) -> list[str]:
    return [f"{mac} {cidr}" for mac, cidr in sorted(spec.allowed_pairs)]


def _dhcp(spec: PortSpec, version: type[IPv4Address] | type[IPv6Address]) -> Ref | list[str]:
    first = next((fixed for fixed in spec.addresses if isinstance(fixed.address, version)), None)
    return [] if first is None else Ref(networks.dhcp(spec.network, first.subnet))


def _groups(spec: PortSpec) -> tuple[Place, ...]:
    if not spec.secured:
        return ()
    return (_secured().into("ports"), *(group_handle(group).into("ports") for group in sorted(spec.groups)))


def _secured() -> Handle:
    return Handle(SITE, "Port_Group")


def site_rows() -> list[Row]:
    """What all secured ports share: nothing passes but DHCP and the way to the metadata."""
    holder = _secured()
    permitted = (
        both(f"inport == @{SECURED}", "ip4", "udp.src == 68", "udp.dst == 67"),
        both(f"inport == @{SECURED}", "ip6", "udp.src == 546", "udp.dst == 547"),
        both(f"inport == @{SECURED}", f"ip4.dst == {METADATA}", "tcp.dst == 80"),
    )
    return [
        Row(handle=holder, columns={"name": SECURED}),
        acl(holder, "from-lport", DROP, f"inport == @{SECURED} && ip", "drop"),
        acl(holder, "to-lport", DROP, f"outport == @{SECURED} && ip", "drop"),
        *(acl(holder, "from-lport", ALLOW, match) for match in permitted),
    ]


def acl(
    holder: Handle,
    direction: str,
    priority: int,
    match: str,
    action: str = "allow-related",
    *,
    of: Owner | None = None,
    after: bool = False,
) -> Row:
    """Named by its content, so that a change of one rule touches one row.

    `after` puts it in the second stage of a guest's outward way, where it judges what the first let pass.
    """
    key = sha256(f"{direction} {priority} {match} {action} {after}".encode()).hexdigest()[:20]
    columns = {
        "direction": direction,
        "priority": priority,
        "match": match,
        "action": action,
        "options": {"apply-after-lb": "true"} if after else {},
    }
    return Row(handle=Handle(of or holder.owner, "ACL", key), columns=columns, within=holder.into("acls"))


def group_rows(spec: GroupSpec) -> list[Row]:
    holder = group_handle(spec.id)
    wanted = {holder: Row(handle=holder, columns={"name": set_name(spec.id)})}
    for rule in spec.rules:
        row = _rule(spec, rule, holder)
        wanted[row.handle] = row
    return list(wanted.values())


def _rule(spec: GroupSpec, rule: RuleSpec, holder: Handle) -> Row:
    if rule.direction not in ("ingress", "egress"):
        raise Refused(f"a rule of group {spec.id} has direction {rule.direction!r}; give ingress or egress")
    inward = rule.direction == "ingress"
    word = family(rule.ethertype)
    port = f"{'outport' if inward else 'inport'} == @{set_name(spec.id)}"
    remote = f"{word}.{'src' if inward else 'dst'}"
    sources: list[object] = [] if rule.remote_cidr is None else [rule.remote_cidr]
    if rule.remote_group is not None:
        sources.append(f"${set_name(rule.remote_group)}_{word}")
    traffic = protocol(rule.ethertype, rule.protocol, rule.port_min, rule.port_max)
    match = both(port, word, traffic, among(remote, sources))
    return acl(holder, "to-lport" if inward else "from-lport", ALLOW, match)


__all__ = ["ALLOW", "DROP", "SECURED", "SITE", "acl", "group_handle", "group_rows", "port_rows", "site_rows"]
