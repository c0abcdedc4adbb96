"""Sentences of OVN's expression language about traffic."""

from collections.abc import Iterable, Sequence

from pileus.drivers.errors import Refused

NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmp6", "132": "sctp"}
WITH_PORTS = frozenset({"tcp", "udp", "sctp"})
ICMP = frozenset({"icmp", "icmp6"})


def family(version: int) -> str:
    return "ip4" if version == 4 else "ip6"


def protocol(version: int, name: str, low: int | None, high: int | None) -> list[str]:
    """What must hold of a packet of this protocol; `low` and `high` are ports, or ICMP type and code."""
    name = NUMBERS.get(name, name)
    if name == "any":
        return []
    if name in WITH_PORTS:
        return [name, *_ports(name, low, high)]
    if name in ICMP:
        return _icmp("icmp4" if version == 4 else "icmp6", low, high)
    if name.isdigit() and int(name) < 256:
        return [f"ip.proto == {name}"]
    raise Refused(
        f"protocol {name!r} of a rule is not one of any, tcp, udp, sctp, icmp, icmp6 or a number below 256; "
        "give the number of the IP protocol"
    )


def _ports(name: str, low: int | None, high: int | None) -> Sequence[str]:
    low, high = (high if low is None else low), (low if high is None else high)
    if low is None or high is None:
        return ()
    if not 0 <= low <= high <= 65535:
        raise Refused(f"ports {low} to {high} of a {name} rule are not a range within 0 to 65535")
    if low == high:
        return (f"{name}.dst == {low}",)
    return (f"{name}.dst >= {low}", f"{name}.dst <= {high}")


def _icmp(name: str, type: int | None, code: int | None) -> list[str]:
    parts = [name]
    if type is not None and type >= 0:
        parts.append(f"{name}.type == {type}")
        if code is not None and code >= 0:
            parts.append(f"{name}.code == {code}")
    return parts


def among(field: str, values: Iterable[object]) -> list[str]:
    """The field holds one of the values; none named is no condition."""
    items = [str(value) for value in values]
    if not items:
        return []
    return [f"{field} == {items[0]}" if len(items) == 1 else f"{field} == {{{', '.join(items)}}}"]


def both(*parts: str | Iterable[str]) -> str:
    """All of the parts hold."""
    flat: list[str] = []
    for part in parts:
        flat.extend([part] if isinstance(part, str) else part)
    return " && ".join(flat)


__all__ = ["ICMP", "NUMBERS", "WITH_PORTS", "among", "both", "family", "protocol"]
