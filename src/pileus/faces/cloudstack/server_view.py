"""How servers are shown: virtual machines with the names of all that they refer to, read once for a page."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.block.records import Volume
from pileus.core.cloud import Look
from pileus.core.compute import server_groups
from pileus.core.compute.records import Host, Server, ServerGroup, Size, State, Zone
from pileus.core.facets import Facet
from pileus.core.identity.names import names
from pileus.core.identity.records import User
from pileus.core.image.records import Image
from pileus.core.network.records import Port, PortUse, SecurityGroup
from pileus.faces.cloudstack import guest_os, owners
from pileus.faces.cloudstack.affinity_groups import group_shown
from pileus.faces.cloudstack.commands import FACE, Call, view
from pileus.faces.cloudstack.infrastructure import DRIVERS, hypervisors_of
from pileus.faces.cloudstack.nic_view import nics_of

STATE: Mapping[State, str] = {
    State.BUILDING: "Starting",
    State.ACTIVE: "Running",
    State.STOPPED: "Stopped",
    State.PAUSED: "Running",
    State.SUSPENDED: "Stopped",
    State.ERROR: "Error",
    State.STARTING: "Starting",
    State.STOPPING: "Stopping",
    State.REBOOTING: "Running",
    State.REBOOTING_HARD: "Running",
    State.PAUSING: "Running",
    State.UNPAUSING: "Running",
    State.SUSPENDING: "Stopping",
    State.RESUMING: "Starting",
    State.DESTROYING: "Stopping",
    State.DESTROYED: "Destroyed",
    State.RECOVERING: "Stopped",
    State.DELETING: "Expunging",
}
MINIMAL = "min"


class Around(msgspec.Struct, frozen=True):
    """What a page of servers refers to, by id."""

    owners: dict[UUID, dict[str, Any]]
    users: dict[UUID, str]
    sizes: dict[UUID, Size]
    images: dict[UUID, Image]
    roots: dict[UUID, Volume]
    zones: dict[UUID, Zone]
    hosts: dict[UUID, Host]
    hypervisors: dict[UUID, str]
    facets: dict[UUID, dict[str, Any]]
    nics: dict[UUID, list[dict[str, Any]]]
    groups: dict[UUID, list[dict[str, Any]]]
    server_groups: dict[UUID, list[ServerGroup]]


async def by_id(look: Look, cls: Any, keys: Iterable[UUID | None]) -> dict[UUID, Any]:
    wanted = tuple({key for key in keys if key is not None})
    return {held.id: held for held in await look.list(cls, id=wanted)} if wanted else {}


async def around(look: Look, servers: Sequence[Server], *, minimal: bool) -> Around:
    keys = tuple(server.id for server in servers)
    roots = {held.server: held for held in await look.list(Volume, server=keys, root=True) if held.server}
    hosts = await by_id(look, Host, (server.host for server in servers))
    placed = [
        server.zone or (hosts[server.host].zone if server.host in hosts else None) for server in servers
    ]
    zones = {zone.id: zone for zone in await look.list(Zone, order=("created_at",))}
    return Around(
        owners=await owners.shown(look, (server.project for server in servers)),
        users=await names(look, User, (server.user for server in servers)),
        sizes=await by_id(look, Size, (server.size for server in servers)),
        images=await by_id(
            look, Image, [server.image for server in servers] + [root.image for root in roots.values()]
        ),
        roots=roots,
        zones=zones
        if any(zone is None for zone in placed)
        else {key: zones[key] for key in placed if key in zones},
        hosts=hosts,
        hypervisors=await hypervisors_of(look),
        facets={held.subject: held.values for held in await look.list(Facet, face=FACE, subject=keys)},
        nics={} if minimal else await nics_of(look, keys),
        groups={} if minimal else await groups_of(look, keys),
        server_groups={} if minimal else await server_groups.of_servers(look, keys),
    )


async def groups_of(look: Look, servers: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The security groups of a server's interfaces."""
    ports = await look.list(Port, device=tuple(servers), use=PortUse.SERVER)
    known = await by_id(look, SecurityGroup, (group for port in ports for group in port.groups))
    found: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    for port in ports:
        for group in (known[key] for key in port.groups if key in known):
            one = {"id": group.id, "name": group.name, "description": group.description}
            if port.device is not None:
                found.setdefault(port.device, {})[group.id] = one
    return {server: list(groups.values()) for server, groups in found.items()}


@view(Server, "virtualmachine", "VirtualMachine")
async def shown(call: Call, look: Look, servers: Sequence[Server]) -> list[dict[str, Any]]:
    asked = call.sent.get("details", "all")
    seen = await around(look, servers, minimal=asked == MINIMAL)
    return [one(call, seen, server) for server in servers]


def one(call: Call, seen: Around, server: Server) -> dict[str, Any]:
    host = seen.hosts.get(server.host) if server.host else None
    zone = zone_of(seen, server, host)
    made = {
        "id": server.id,
        "name": server.hostname,
        "displayname": server.name,
        "state": STATE[server.state],
        "created": server.created_at,
        "lastupdated": server.updated_at,
        "userid": server.user,
        "username": seen.users.get(server.user),
        "zoneid": zone.id if zone else None,
        "zonename": zone.name if zone else None,
        "hypervisor": hypervisor_of(seen, zone, host),
        "haenable": False,
        "displayvm": True,
        "deleteprotection": server.locked,
        "isdynamicallyscalable": False,
        "vmtype": "User",
        "keypairs": server.key_name or None,
        "rootdeviceid": 0,
        "rootdevicetype": "ROOT",
        "affinitygroup": [group_shown(group) for group in seen.server_groups.get(server.id, [])],
        "details": seen.facets.get(server.id, {}).get("details") or None,
        "tags": tags_of(server, seen.owners.get(server.project, {})),
        **seen.owners.get(server.project, {}),
        **size_fields(server, seen.sizes.get(server.size)),
        **image_fields(server, seen),
        **nic_fields(seen.nics.get(server.id, [])),
        "securitygroup": seen.groups.get(server.id, []),
    }
    if call.admin:
        made |= {
            "hostid": host.id if host else None,
            "hostname": host.hostname if host else None,
            "instancename": str(server.id),
        }
    if call.sent.get("userdata") == "true":
        made["userdata"] = base64.b64encode(server.user_data).decode()
    return made


def zone_of(seen: Around, server: Server, host: Host | None) -> Zone | None:
    """A server that is nowhere yet is shown in the first zone."""
    key = server.zone or (host.zone if host else None)
    return seen.zones.get(key) if key else next(iter(seen.zones.values()), None)


def hypervisor_of(seen: Around, zone: Zone | None, host: Host | None) -> str | None:
    if host is not None:
        return DRIVERS.get(host.hypervisor, host.hypervisor_type)
    return seen.hypervisors.get(zone.id) if zone else None


def tags_of(server: Server, owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    about = {name: value for name, value in owner.items() if name != "accountid"}
    return [
        {"key": key, "value": value, "resourcetype": "UserVm", "resourceid": server.id, **about}
        for key, value in server.metadata.items()
    ]


def size_fields(server: Server, size: Size | None) -> dict[str, Any]:
    return {
        "serviceofferingid": server.size,
        "serviceofferingname": size.name if size else None,
        "cpunumber": server.vcpus,
        "cpuspeed": size.cpu_mhz if size else None,
        "memory": server.memory_mib,
    }


def image_fields(server: Server, seen: Around) -> dict[str, Any]:
    root = seen.roots.get(server.id)
    key = server.image or (root.image if root else None)
    image = seen.images.get(key) if key else None
    system = guest_os.fields(image.os_type if image else "")
    return {
        "templateid": key,
        "templatename": image.name if image else None,
        "templatedisplaytext": (image.description or image.name) if image else None,
        "templateformat": image.disk_format.upper() if image else None,
        "templatetype": "USER" if image else None,
        "passwordenabled": bool(image and image.properties.get("passwordenabled") == "true"),
        "guestosid": system["ostypeid"],
        "ostypeid": system["ostypeid"],
        "osdisplayname": system["ostypename"],
    }


def nic_fields(nics: list[dict[str, Any]]) -> dict[str, Any]:
    first = nics[0] if nics else {}
    outside = next((nic for nic in nics if "publicip" in nic), {})
    return {
        "nic": nics,
        "ipaddress": first.get("ipaddress"),
        "publicip": outside.get("publicip"),
        "publicipid": outside.get("publicipid"),
    }
