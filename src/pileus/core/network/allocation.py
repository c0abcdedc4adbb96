"""Addresses of subnets: handed out lowest first without counting what is taken, and given back."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from uuid import UUID

from pileus.core.cloud import Look, Tx
from pileus.core.errors import Invalid
from pileus.core.network.errors import AddressesExhausted, AddressOutside, AddressTaken
from pileus.core.network.records import FixedAddress, Subnet, SubnetCursor

FIRST_LOOK, LATER_LOOKS = 4, 256
"""How many candidates one query checks: few at first, for the cursor nearly always points at a free address."""


def parse(text: str) -> IPv4Address | IPv6Address:
    """Raises Invalid for what is no address."""
    try:
        return ip_address(text)
    except ValueError:
        raise Invalid(f"'{text}' is not a valid IP address.") from None


async def take(tx: Tx, subnet: Subnet, port: UUID, wanted: str | None = None) -> FixedAddress:
    """The wanted address, or the lowest free one of the pools. Raises AddressTaken, AddressOutside, AddressesExhausted."""
    if wanted is not None:
        return await _take_wanted(tx, subnet, port, wanted)
    found = await _lowest(tx, subnet)
    if found is None:
        raise AddressesExhausted(subnet.network)
    await tx.rows.put(SubnetCursor(subnet=subnet.id, lowest=str(found + 1)))
    return await tx.add(FixedAddress(subnet=subnet.id, address=str(found), port=port))


async def _take_wanted(tx: Tx, subnet: Subnet, port: UUID, wanted: str) -> FixedAddress:
    address = parse(wanted)
    if not usable(address, subnet.cidr):
        raise AddressOutside(wanted)
    if await tx.maybe(FixedAddress, subnet.id, str(address)) is not None:
        raise AddressTaken(str(address), subnet.id)
    return await tx.add(FixedAddress(subnet=subnet.id, address=str(address), port=port))


async def give_back(tx: Tx, fixed: FixedAddress) -> None:
    await tx.remove(fixed)
    cursor = await tx.maybe(SubnetCursor, fixed.subnet)
    if cursor is not None and int(ip_address(fixed.address)) < int(ip_address(cursor.lowest)):
        await tx.rows.put(SubnetCursor(subnet=fixed.subnet, lowest=fixed.address))


async def rewind(tx: Tx, subnet: UUID) -> None:
    """Begin again at the first address: the pools have changed, or the subnet goes away."""
    await tx.rows.delete(SubnetCursor, subnet)


async def _lowest(look: Look, subnet: Subnet) -> IPv4Address | IPv6Address | None:
    """Invariant: below the cursor every address of the pools is taken."""
    cursor = await look.maybe(SubnetCursor, subnet.id)
    start = int(ip_address(cursor.lowest)) if cursor else 0
    make = IPv4Address if subnet.version == 4 else IPv6Address
    for first, last in ranges(subnet):
        for candidates in _looks(max(first, start), last):
            texts = [str(make(number)) for number in candidates]
            rows = await look.list(FixedAddress, subnet=subnet.id, address=tuple(texts))
            taken = {row.address for row in rows}
            free = next((text for text in texts if text not in taken), None)
            if free is not None:
                return make(free)
    return None


def _looks(first: int, last: int) -> Iterator[range]:
    size = FIRST_LOOK
    while first <= last:
        yield range(first, min(first + size, last + 1))
        first, size = first + size, LATER_LOOKS


def ranges(subnet: Subnet) -> list[tuple[int, int]]:
    return sorted((int(ip_address(first)), int(ip_address(last))) for first, last in subnet.pools)


def usable(address: IPv4Address | IPv6Address, cidr: str) -> bool:
    """Whether a port may have the address: inside, and neither the network's own nor its broadcast address."""
    net = ip_network(cidr)
    if address.version != net.version or address not in net:
        return False
    if net.version == 4 and net.prefixlen < 31:
        return address not in (net.network_address, net.broadcast_address)
    return not (net.version == 6 and net.prefixlen < 127 and address == net.network_address)


async def has_free(look: Look, subnet: Subnet) -> bool:
    return await _lowest(look, subnet) is not None
