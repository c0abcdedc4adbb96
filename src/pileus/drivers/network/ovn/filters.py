"""The filter at a router's edge, as rows.

Inward it is a policy of the router behind the translation, where each external address is known by where it
leads and by how it was translated, and where connection tracking tells an answer. Outward it is a second
stage of the inside switch's access list, at the guest's own port, whose tracking tells answers too.
"""

from collections.abc import Iterator
from hashlib import sha256
from ipaddress import ip_interface

from pileus.drivers.network.ovn import networks
from pileus.drivers.network.ovn.matches import ICMP, NUMBERS, among, both, family, protocol
from pileus.drivers.network.ovn.ports import acl
from pileus.drivers.network.ovn.rows import Handle, Row
from pileus.drivers.network.protocol import Address, FilterRule, Forwarding, RouterPort, RouterSpec

DROP, ALLOW, INSIDE = 1001, 1002, 1003
LOCAL = {
    4: ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255"),
    6: ("fe80::/10", "ff00::/8"),
}
"""Never outward: the link itself."""


def ingress_rows(router: Handle, spec: RouterSpec) -> Iterator[Row]:
    if spec.gateway is None:
        return
    arriving = f'inport == "router-port-{spec.gateway.port}" && !ct.rpl && !ct.rel'
    seen = set()
    for address in spec.guarded:
        rules = [rule for rule in spec.filters if rule.direction == "ingress" and rule.address == address]
        for priority, action, match in _guard(spec, address, rules):
            row = _policy(router, priority, both(arriving, match), action)
            if row.handle not in seen:
                seen.add(row.handle)
                yield row


def _guard(spec: RouterSpec, address: Address, rules: list[FilterRule]) -> Iterator[tuple[int, str, str]]:
    word = family(address.version)
    for nat in spec.nat:
        if nat.kind == "static" and nat.external == address:
            target = both(f"{word}.dst == {nat.inside}", "ct_mark.natted == 0")
            yield DROP, "drop", target
            for rule in rules:
                traffic = protocol(address.version, rule.protocol, rule.port_min, rule.port_max)
                yield ALLOW, "allow", both(target, traffic, among(f"{word}.src", rule.sources))
    for forwarding in spec.forwardings:
        if forwarding.external == address:
            target = _forwarded(forwarding)
            yield DROP, "drop", target
            for rule in rules:
                if _covers(rule, forwarding):
                    yield ALLOW, "allow", both(target, among(f"{word}.src", rule.sources))


def _forwarded(forwarding: Forwarding) -> str:
    word = family(forwarding.inside.version)
    inner = protocol(
        forwarding.inside.version, forwarding.protocol, forwarding.inside_port, forwarding.inside_port
    )
    return both(f"{word}.dst == {forwarding.inside}", inner, "ct_mark.natted == 1")


def _covers(rule: FilterRule, forwarding: Forwarding) -> bool:
    """Rules name the ports outside, before the forwarding turns them."""
    name = NUMBERS.get(rule.protocol, rule.protocol)
    if name in ICMP or name not in ("any", forwarding.protocol):
        return False
    low = 0 if rule.port_min is None else rule.port_min
    high = (65535 if rule.port_min is None else rule.port_min) if rule.port_max is None else rule.port_max
    return name == "any" or low <= forwarding.external_port <= high


def _policy(router: Handle, priority: int, match: str, action: str) -> Row:
    key = sha256(f"{priority} {match} {action}".encode()).hexdigest()[:20]
    columns = {"priority": priority, "match": match, "action": action}
    handle = Handle(router.owner, "Logical_Router_Policy", key)
    return Row(handle=handle, columns=columns, within=router.into("policies"))


def egress_rows(router: Handle, spec: RouterSpec) -> Iterator[Row]:
    seen = set()
    for network in spec.egress_guarded:
        switch = networks.switch(network)
        rules = [rule for rule in spec.filters if rule.direction == "egress" and network in rule.networks]
        for version in (4, 6):
            word = family(version)
            inside = [*_prefixes(spec.ports, version), *LOCAL[version]]
            wanted = [(INSIDE, "allow-related", both(among(f"{word}.dst", inside)))]
            wanted += [(ALLOW, "allow-related", match) for match in _outward(rules, version)]
            wanted += [(DROP, "drop", word)]
            for priority, action, match in wanted:
                row = acl(switch, "from-lport", priority, match, action, of=router.owner, after=True)
                row = _in_network(row, str(network))
                if row.handle not in seen:
                    seen.add(row.handle)
                    yield row


def _in_network(row: Row, network: str) -> Row:
    """One owner, several switches: the key must tell them apart."""
    handle = Handle(row.handle.owner, row.handle.table, f"{network} {row.handle.key}")
    return Row(handle=handle, columns=row.columns, within=row.within)


def _outward(rules: list[FilterRule], version: int) -> Iterator[str]:
    word = family(version)
    for rule in rules:
        sources = [cidr for cidr in rule.sources if cidr.version == version]
        destinations = [cidr for cidr in rule.destinations if cidr.version == version]
        if (rule.sources and not sources) or (rule.destinations and not destinations):
            continue
        if (NUMBERS.get(rule.protocol, rule.protocol) == "icmp6") != (version == 6) and rule.protocol in ICMP:
            continue
        traffic = protocol(version, rule.protocol, rule.port_min, rule.port_max)
        yield both(word, traffic, among(f"{word}.src", sources), among(f"{word}.dst", destinations))


def _prefixes(ports: tuple[RouterPort, ...], version: int) -> list[str]:
    found = {ip_interface(address).network for port in ports for address in port.addresses}
    return sorted(str(prefix) for prefix in found if prefix.version == version)


__all__ = ["egress_rows", "ingress_rows"]
