"""A network as rows: a switch, its wire to the physical network, DHCP, names and the metadata port."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv4Address
from uuid import UUID

from pileus.drivers.network.ovn.rows import Handle, Owner, Row, owner
from pileus.drivers.network.protocol import Address, Cidr, Kind, NetworkSpec, SubnetSpec

METADATA = IPv4Address("169.254.169.254")
LEASE_SECONDS = 43200
ON_LINK = IPv4Address(0)
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def switch(network: UUID) -> Handle:
    return Handle(owner(Kind.NETWORK, network), "Logical_Switch")


def dhcp(network: UUID, subnet: UUID) -> Handle:
    return Handle(owner(Kind.NETWORK, network), "DHCP_Options", str(subnet))


def metadata_handle(network: Owner) -> Handle:
    return Handle(network, "Logical_Switch_Port", "metadata")


def metadata_port(network: UUID) -> str:
    """Name of the port that the metadata service is plugged in by."""
    return f"metadata-{network}"


def rows(spec: NetworkSpec) -> list[Row]:
    holder = switch(spec.id)
    wanted = [Row(handle=holder, columns={"name": f"network-{spec.id}"}, note=spec.name)]
    if spec.physical:
        wanted.append(_wire(spec, holder))
    if spec.metadata_address is not None:
        wanted.append(_metadata(spec, spec.metadata_address, holder))
    wanted.extend(_dhcp(spec, subnet) for subnet in spec.subnets)
    if spec.dns_names:
        records = {name.lower(): " ".join(addresses) for name, addresses in spec.dns_names.items()}
        handle = Handle(holder.owner, "DNS")
        wanted.append(Row(handle=handle, columns={"records": records}, member=(holder.into("dns_records"),)))
    return wanted


def _wire(spec: NetworkSpec, holder: Handle) -> Row:
    columns = {
        "name": f"wire-{spec.id}",
        "type": "localnet",
        "addresses": ["unknown"],
        "options": {"network_name": spec.physical},
        "tag": [spec.vlan] if spec.vlan else [],
    }
    handle = Handle(holder.owner, "Logical_Switch_Port", "wire")
    return Row(handle=handle, columns=columns, within=holder.into("ports"))


def _metadata(spec: NetworkSpec, address: Address, holder: Handle) -> Row:
    """A localport, so that each host answers for itself. It has the well-known address too: OVN then answers
    its ARP in subnets that are not the metadata address's own."""
    columns = {
        "name": metadata_port(spec.id),
        "type": "localport",
        "addresses": [f"{metadata_mac(spec)} {address} {METADATA}"],
    }
    return Row(handle=metadata_handle(holder.owner), columns=columns, within=holder.into("ports"))


def metadata_mac(spec: NetworkSpec) -> str:
    return spec.metadata_mac or mac_of(f"metadata {spec.id}")


def mac_of(text: str) -> str:
    """A locally administered address that is always the same for the same text."""
    return "0e:" + sha256(text.encode()).digest()[:5].hex(":")


def _dhcp(spec: NetworkSpec, subnet: SubnetSpec) -> Row:
    """There even when the subnet has no DHCP, empty, so that ports can always point to it."""
    options: Mapping[str, str] = {}
    if subnet.dhcp:
        options = _options4(spec, subnet) if subnet.cidr.version == 4 else _options6(spec, subnet)
    columns = {"cidr": str(subnet.cidr), "options": options}
    return Row(handle=dhcp(spec.id, subnet.id), columns=columns)


def _options4(spec: NetworkSpec, subnet: SubnetSpec) -> dict[str, str]:
    server = subnet.gateway or _metadata_within(spec, subnet) or subnet.cidr[1]
    resolvers = subnet.dns_servers or (_metadata_within(spec, subnet) or _resolver(spec) or server,)
    options = {
        "lease_time": str(LEASE_SECONDS),
        "server_id": str(server),
        "server_mac": mac_of(f"dhcp {subnet.id}"),
        "mtu": str(spec.mtu),
        "dns_server": "{" + ", ".join(str(address) for address in resolvers) + "}",
    }
    if subnet.gateway is not None:
        options["router"] = str(subnet.gateway)
    routes = list(_routes4(spec, subnet))
    if routes:
        options["classless_static_route"] = "{" + ", ".join(f"{to},{via}" for to, via in routes) + "}"
    domain = _domain(spec)
    if domain:
        options["domain_name"] = f'"{domain}"'
    return options


def _routes4(spec: NetworkSpec, subnet: SubnetSpec) -> Iterator[tuple[str | Cidr, str | Address]]:
    """A client that is given these ignores the router option, so the default route stands among them."""
    if spec.metadata_address is not None:
        yield f"{METADATA}/32", _metadata_within(spec, subnet) or ON_LINK
    yield from subnet.routes
    if subnet.gateway is not None and (spec.metadata_address is not None or subnet.routes):
        yield ANYWHERE[4], subnet.gateway


def _resolver(spec: NetworkSpec) -> IPv4Address | None:
    """The network's own resolver stands beside the metadata service."""
    return IPv4Address(METADATA) if spec.metadata_address is not None else None


def _metadata_within(spec: NetworkSpec, subnet: SubnetSpec) -> Address | None:
    address = spec.metadata_address
    return address if address is not None and address in subnet.cidr else None


def _options6(spec: NetworkSpec, subnet: SubnetSpec) -> dict[str, str]:
    options = {"server_id": mac_of(f"dhcp {subnet.id}")}
    if subnet.dns_servers:
        options["dns_server"] = "{" + ", ".join(str(address) for address in subnet.dns_servers) + "}"
    return options


def _domain(spec: NetworkSpec) -> str:
    """What all full names of the network end with."""
    domains = {name.split(".", 1)[1] for name in spec.dns_names if "." in name}
    return domains.pop() if len(domains) == 1 else ""


__all__ = ["METADATA", "dhcp", "mac_of", "metadata_handle", "metadata_mac", "metadata_port", "rows", "switch"]
