"""Who asks when proxies stand between: what the headers of those that we trust say of the client and of how it reached
them. Nobody else's headers are looked at."""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

from pileus.core.errors import Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
SIGN = r"[\w!#$%&'*+.^`|~-]"
PAIR = re.compile(rf'[ \t]*(?:({SIGN}+)=("(?:[^"\\]|\\.)*"|(?:{SIGN}|[:\[\]])*)[ \t]*)?([;,]|\Z)', re.ASCII)
"""One part of RFC 7239's Forwarded, with what ends it. Many proxies leave out the quotes around ports and brackets."""


class Hop(msgspec.Struct, frozen=True):
    """What one proxy says of who came to it; empty: nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""


class Reached(msgspec.Struct, frozen=True):
    """Who came to the outermost of the proxies that we trust, by which scheme and to which host; these two may be empty."""

    client: str
    scheme: str = ""
    host: str = ""


class Proxies:
    """Those that are believed, by the networks that their addresses are in."""

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def reached(self, peer: str, headers: Mapping[str, str]) -> Reached | None:
        """None where the peer is no proxy of ours.

        Raises Invalid when Forwarded is malformed, or both headers name a client and not the same: a proxy writes one
        of them and lets the other one through from whoever sent it, and here nobody knows which.
        """
        if not self._trusted or not self._trusts(address(peer)):
            return None
        listed = self._outermost(peer, lists(headers))
        if not headers.get("forwarded", "").strip():
            return listed
        hops = forwarded(headers["forwarded"])
        told = self._outermost(peer, hops)
        if not hops or not hops[0].client:
            return either(listed, told)
        if headers.get("x-forwarded-for", "").strip() and told.client != listed.client:
            raise Invalid(
                "The headers Forwarded and X-Forwarded-For name different clients; send neither, and have the proxy "
                "in front of this cloud remove the one that it does not write itself."
            )
        return either(told, listed)

    def _outermost(self, peer: str, hops: Sequence[Hop]) -> Reached:
        """From us outwards, as long as a proxy of ours is the one that says it."""
        client, said = str(address(peer)), Hop()
        for hop in hops:
            said, named = hop, address(hop.client)
            if named is None:
                break
            client = str(named)
            if not self._trusts(named):
                break
        host = said.host if HOST.fullmatch(said.host) else ""
        return Reached(client, SCHEMES.get(said.scheme.lower(), ""), host)

    def _trusts(self, peer: Address | None) -> bool:
        return peer is not None and any(peer in network for network in self._trusted)


def either(first: Reached, second: Reached) -> Reached:
    return Reached(first.client, first.scheme or second.scheme, first.host or second.host)


def address(text: str) -> Address | None:
    """Of what a socket or a proxy says, perhaps with a port; None for what is none. IPv4 inside IPv6 is IPv4."""
    node = NODE.fullmatch(text)
    plain = (node[1] or node[2]) if node else text.partition("%")[0]
    try:
        found = ip_address(plain)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def lists(headers: Mapping[str, str]) -> list[Hop]:
    """X-Forwarded-For, -Proto and -Host, the last proxy's first. Where only one proxy named scheme or host, that is what
    all of them said."""
    clients, schemes, hosts = (
        [each.strip() for each in reversed(headers.get(f"x-forwarded-{name}", "").split(","))]
        for name in ("for", "proto", "host")
    )
    return [Hop(client, nth(schemes, place), nth(hosts, place)) for place, client in enumerate(clients)]


def nth(values: Sequence[str], place: int) -> str:
    return values[min(place, len(values) - 1)]


def forwarded(text: str) -> list[Hop]:
    """RFC 7239, the last proxy's first. Raises Invalid for what is not of its form: after a quote that somebody left
    open, nobody could tell what the proxies added from what they were sent."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while True:
        part = PAIR.match(text, at)
        name = part[1].lower() if part and part[1] else ""
        if part is None or (name and name in pairs):
            raise Invalid("The header Forwarded is not as RFC 7239 has it.")
        if name:
            pairs[name] = unquoted(part[2])
        if part[3] != ";":
            if pairs:
                hops.append(Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
            pairs = {}
        if not part[3]:
            return hops[::-1]
        at = part.end()


def unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
