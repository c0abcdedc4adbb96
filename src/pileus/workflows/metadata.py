"""What a guest is told about itself, in the three forms that guests ask for: OpenStack's, EC2's and CloudStack's.

Pure content: files by relative path. The config drive carries it, and the metadata service answers from it.
"""

import base64
import json
import os
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.block.records import Volume
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.pictures import Interface, Picture, by_id, pictures
from pileus.core.compute.records import Server
from pileus.core.identity.authentication import secrets
from pileus.core.network.records import FixedAddress, Subnet

OPENSTACK_VERSIONS = (
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "latest",
)
EC2_VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "latest",
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the three forms are made of."""

    picture: Picture
    subnets: dict[UUID, Subnet]
    admin_password: str = ""

    @property
    def server(self) -> Server:
        return self.picture.server


async def facts(cloud: Cloud, look: Look, server: Server) -> Facts:
    picture = (await pictures(look, [server], face="openstack"))[0]
    held = {address.subnet for interface in picture.interfaces for address in interface.addresses}
    hidden = server.admin_password
    return Facts(
        picture=picture,
        subnets=await by_id(look, Subnet, held),
        admin_password=secrets.of(cloud).decrypt(hidden) if hidden else "",
    )


def config_drive(of: Facts) -> dict[str, bytes]:
    """The files of a drive labelled config-2; the password is handed out only here."""
    return openstack(of, password=True) | {
        f"ec2/latest/{path}": content
        for path, content in {"meta-data.json": _json(nested(of)), **_user_data(of, "user-data")}.items()
    }


# OpenStack's form


def openstack(of: Facts, *, password: bool = False) -> dict[str, bytes]:
    """openstack/latest/..., with user data only where there is some."""
    files = {
        "meta_data.json": _json(meta_data(of, password=password)),
        "network_data.json": _json(network_data(of)),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
        **_user_data(of, "user_data"),
    }
    return {f"openstack/latest/{name}": content for name, content in files.items()}


def _user_data(of: Facts, name: str) -> dict[str, bytes]:
    return {name: of.server.user_data} if of.server.user_data else {}


def meta_data(of: Facts, *, password: bool = False) -> dict[str, Any]:
    server, zone = of.server, of.picture.zone
    told: dict[str, Any] = {
        "uuid": str(server.id),
        "name": server.name,
        "hostname": server.hostname,
        "launch_index": int(of.picture.facet.get("index", 0)),
        "availability_zone": zone.name if zone else None,
        "project_id": server.project.hex,
        "devices": [],
        "dedicated_cpus": [],
        "random_seed": base64.b64encode(os.urandom(512)).decode(),
    }
    if server.metadata:
        told["meta"] = server.metadata
    if server.public_key:
        name = server.key_name or "key"
        told["public_keys"] = {name: server.public_key}
        told["keys"] = [{"name": name, "type": "ssh", "data": server.public_key}]
    if password and of.admin_password:
        told["admin_pass"] = of.admin_password
    return told


def network_data(of: Facts) -> dict[str, Any]:
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    resolvers: list[dict[str, str]] = []
    for interface in of.picture.interfaces:
        link = f"tap{interface.port.id.hex[-12:]}"
        links.append(
            {
                "id": link,
                "vif_id": str(interface.port.id),
                "type": "ovs",
                "mtu": interface.network.mtu if interface.network else None,
                "ethernet_mac_address": interface.port.mac,
            }
        )
        for address in interface.addresses:
            subnet = of.subnets.get(address.subnet)
            if subnet is not None:
                networks.append(_network(len(networks), link, interface, address, subnet))
                resolvers += [{"type": "dns", "address": server} for server in subnet.dns_servers]
    return {"links": links, "networks": networks, "services": _distinct(resolvers)}


def _distinct(listed: list[dict[str, str]]) -> list[dict[str, str]]:
    return list({tuple(each.items()): each for each in listed}.values())


def _network(
    number: int, link: str, interface: Interface, address: FixedAddress, subnet: Subnet
) -> dict[str, Any]:
    cidr, version = ip_network(subnet.cidr), subnet.version
    shown: dict[str, Any] = {
        "id": f"network{number}",
        "link": link,
        "network_id": str(interface.port.network),
    }
    if subnet.dhcp:
        return shown | {"type": "ipv4_dhcp" if version == 4 else "ipv6_dhcp"}
    everywhere = str((IPv4Address if version == 4 else IPv6Address)(0))
    routes = (
        [{"network": everywhere, "netmask": everywhere, "gateway": subnet.gateway}] if subnet.gateway else []
    )
    for destination, hop in subnet.routes:
        to = ip_network(destination)
        routes.append({"network": str(to.network_address), "netmask": str(to.netmask), "gateway": hop})
    return shown | {
        "type": f"ipv{version}",
        "ip_address": address.address,
        "netmask": str(cidr.netmask),
        "routes": routes,
        "services": [{"type": "dns", "address": server} for server in subnet.dns_servers],
    }


# EC2's form


def nested(of: Facts) -> dict[str, Any]:
    """The tree under latest/meta-data; dictionaries are directories."""
    server, picture = of.server, of.picture
    inside = [a.address for i in picture.interfaces for a in i.addresses if "." in a.address]
    outside = [a.address for i in picture.interfaces for a in i.outer]
    tree: dict[str, Any] = {
        "ami-id": ec2_id("ami", server.image) if server.image else "",
        "ami-launch-index": str(picture.facet.get("index", 0)),
        "ami-manifest-path": "FIXME",
        "block-device-mapping": block_devices(picture.volumes),
        "hostname": server.hostname,
        "instance-action": "none",
        "instance-id": ec2_id("i", server.id),
        "instance-type": picture.size.name if picture.size else "",
        "local-hostname": server.hostname,
        "local-ipv4": inside[0] if inside else "",
        "placement": {"availability-zone": picture.zone.name if picture.zone else ""},
        "public-hostname": server.hostname,
        "public-ipv4": outside[0] if outside else "",
        "reservation-id": ec2_id("r", server.id),
        "security-groups": "\n".join(group.name for group in picture.groups),
    }
    if server.public_key:
        name = server.key_name or "key"
        tree["public-keys"] = {"0": {"_name": f"0={name}", "openssh-key": server.public_key + "\n"}}
    return tree


def block_devices(volumes: list[Volume]) -> dict[str, str]:
    mapping = {"ami": "vda", "root": "/dev/vda"}
    for number, volume in enumerate(volume for volume in volumes if not volume.root):
        mapping[f"ebs{number}"] = f"/dev/{volume.device}"
    return mapping


def ec2_id(prefix: str, key: UUID) -> str:
    """EC2's short form of an id."""
    return f"{prefix}-{key.hex[-17:]}"


def ec2(of: Facts, path: str) -> bytes | None:
    """What `GET /<version>/<path>` answers; None where nothing is."""
    if path.strip("/") == "":
        return _text(["meta-data/", *(["user-data"] if of.server.user_data else [])])
    first, _, rest = path.strip("/").partition("/")
    if first == "user-data" and not rest:
        return of.server.user_data or None
    if first != "meta-data":
        return None
    found: Any = nested(of)
    for name in filter(None, rest.split("/")):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return _text(_entries(found)) if isinstance(found, Mapping) else str(found).encode()


def _entries(directory: Mapping[str, Any]) -> list[str]:
    """Names as a listing shows them: directories end in a slash, but a key shows its name."""
    shown = []
    for name, value in directory.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Mapping):
            shown.append(value.get("_name") or f"{name}/")
        else:
            shown.append(name)
    return shown


# CloudStack's form


def cloudstack(of: Facts) -> dict[str, bytes]:
    """latest/meta-data/<name>, and user-data, as a virtual router answers them."""
    server, picture = of.server, of.picture
    inside = [a.address for i in picture.interfaces for a in i.addresses if "." in a.address]
    outside = [a.address for i in picture.interfaces for a in i.outer]
    told = {
        "availability-zone": picture.zone.name if picture.zone else "",
        "cloud-identifier": f"CloudStack-{{{picture.zone.id if picture.zone else ''}}}",
        "instance-id": str(server.id),
        "local-hostname": server.hostname,
        "local-ipv4": inside[0] if inside else "",
        "public-hostname": outside[0] if outside else "",
        "public-ipv4": outside[0] if outside else "",
        "public-keys": server.public_key,
        "service-offering": picture.size.name if picture.size else "",
        "vm-id": str(server.id),
    }
    files = {f"meta-data/{name}": value.encode() for name, value in told.items()}
    return files | _user_data(of, "user-data")


def _text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
