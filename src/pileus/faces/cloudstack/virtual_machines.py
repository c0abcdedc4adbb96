"""Virtual machines: the core's servers."""

import base64
import binascii
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from pileus.core.block.records import VolumeKind
from pileus.core.cloud import Look
from pileus.core.compute import consoles, servers
from pileus.core.compute.records import Host, Server, ServerGroup, ServerGroupMember, State
from pileus.core.errors import Conflict, Invalid
from pileus.core.listing import Page, owned
from pileus.core.network.ports import NicWant
from pileus.core.network.records import Port, PortUse
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.affinity_groups import chosen
from pileus.faces.cloudstack.commands import FACE, Call, Listed, Shown, command
from pileus.faces.cloudstack.errors import invalid, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import UUID_TEXT, Params, Placed, Rows, TaggedListing, param
from pileus.faces.cloudstack.server_view import STATE, shown
from pileus.faces.cloudstack.waiting import settled
from pileus.store import Condition, any_of, eq, like, literal

USER_DATA = 1 << 20
GONE = frozenset({"Destroyed", "Expunging"})


class Deploy(Placed):
    size: UUID = param("serviceofferingid", "the offering that sizes the machine")
    zone: UUID = param("zoneid", "the zone to be in")
    image: UUID = param("templateid", "the template to boot from")
    name: str = param("name", "the host name", default="", length=63)
    display_name: str = param("displayname", "the name that is shown", default="")
    networks: tuple[UUID, ...] = param("networkids", "networks to be in, the default one first", default=())
    addresses: Rows = param(
        "iptonetworklist", "networks with addresses: [0].networkid, [0].ip, [0].mac", default=()
    )
    address: str = param("ipaddress", "the address in the default network", default="")
    mac: str = param("macaddress", "the hardware address in the default network", default="")
    key_pair: str = param("keypair", "name of the SSH key pair to trust", default="")
    key_pairs: tuple[str, ...] = param("keypairs", "the same; one pair is supported", default=())
    user_data: str = param("userdata", "data for the guest, in base64", default="", length=USER_DATA)
    root_gib: int | None = param(
        "rootdisksize", "GiB of the root disk, instead of the offering's", default=None
    )
    disk_kind: UUID | None = param(
        "diskofferingid", "offering of a data disk that is made with it", default=None
    )
    disk_gib: int | None = param(
        "size", "GiB of that data disk, where its offering leaves it open", default=None
    )
    groups: tuple[UUID, ...] = param("securitygroupids", "security groups of its interfaces", default=())
    start: bool = param("startvm", "false: leave it stopped", default=True)
    pod: UUID | None = param("podid", "the pod to be in, for administrators", default=None)
    cluster: UUID | None = param("clusterid", "the cluster to be in, for administrators", default=None)
    host: UUID | None = param("hostid", "the host to be on, for administrators", default=None)
    server_groups: tuple[UUID, ...] = param("affinitygroupids", "affinity groups to be in", default=())
    group_names: tuple[str, ...] = param("affinitygroupnames", "the same, by name", default=())
    details: dict[str, str] = param("details", "key and value pairs that are kept with it", default={})
    password: str = param("password", "password of its administrator, for guests that take one", default="")


class ListServers(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    name: str = param("name", "list by name", default="")
    state: str = param("state", "list by state; Present: all that are not destroyed", default="")
    zone: UUID | None = param("zoneid", "list by zone", default=None)
    host: UUID | None = param("hostid", "list by host", default=None)
    pod: UUID | None = param("podid", "list by pod", default=None)
    cluster: UUID | None = param("clusterid", "list by cluster", default=None)
    network: UUID | None = param("networkid", "list by network", default=None)
    image: UUID | None = param("templateid", "list by template", default=None)
    size: UUID | None = param("serviceofferingid", "list by service offering", default=None)
    key_pair: str = param("keypair", "list by SSH key pair", default="")
    group: UUID | None = param("affinitygroupid", "list by affinity group", default=None)
    user: UUID | None = param("userid", "list by the user that made it", default=None)
    details: tuple[str, ...] = param("details", "what to show; min: without networks and groups", default=())
    user_data: bool = param("userdata", "whether to show the user data", default=False)
    icon: bool = param("showicon", "show the icon of each", default=False)


class OnServer(Params):
    server: UUID = param("id", "the virtual machine")


class Stop(OnServer):
    force: bool = param("forced", "pull the plug instead of asking the guest", default=False)


class Reboot(OnServer):
    force: bool = param("forced", "power it off and on instead of asking the guest", default=False)


class Destroy(OnServer):
    expunge: bool = param("expunge", "delete it for good at once", default=False)


class Update(OnServer):
    name: str | None = param("name", "the new host name", default=None, length=63)
    display_name: str | None = param("displayname", "the new name that is shown", default=None)
    user_data: str | None = param(
        "userdata", "new data for the guest, in base64", default=None, length=USER_DATA
    )
    details: dict[str, str] | None = param(
        "details", "key and value pairs that replace those kept", default=None
    )
    clean: bool = param("cleanupdetails", "remove the details", default=False)
    protected: bool | None = param("deleteprotection", "refuse changes and deletion", default=None)


class Console(Params):
    server: UUID = param("virtualmachineid", "the virtual machine")


@command("deployVirtualMachine", params=Deploy, ignored=("hypervisor",))
async def deploy(call: Call, params: Deploy) -> Accepted:
    """Creates a virtual machine and starts it."""
    caller = await owners.acting(call, params)
    name = params.display_name or params.name or f"VM-{call.cloud.new_id()}"
    pairs = [*params.key_pairs, *([params.key_pair] if params.key_pair else [])]
    if len(pairs) > 1:
        raise invalid(call.name, "keypairs", ",".join(pairs), "a machine takes one key pair.")
    want = servers.Deploy(
        project=caller.home,
        name=name,
        hostname=params.name,
        size=params.size,
        image=None if params.root_gib else params.image,
        disks=await disks(call, params),
        nics=nics(call, params),
        groups=params.groups,
        key_name=pairs[0] if pairs else "",
        user_data=decoded(call, params.user_data),
        zone=params.zone,
        pod=params.pod,
        cluster=params.cluster,
        host=params.host,
        server_groups=await chosen(call, caller, caller.home, params.server_groups, params.group_names),
        admin_password=params.password,
        start=params.start,
        facets={FACE: {"details": params.details}} if params.details else {},
    )
    return (await servers.deploy(call.cloud, caller, want))[0]


def nics(call: Call, params: Deploy) -> tuple[NicWant, ...]:
    if params.addresses:
        if params.networks or params.address:
            raise Invalid(
                "iptonetworklist cannot be combined with networkids or ipaddress; send one of them."
            )
        return tuple(nic_of(call, row) for row in params.addresses)
    wanted = [NicWant(network=network) for network in params.networks]
    if params.address or params.mac:
        first = params.networks[0] if params.networks else None
        if first is None:
            raise Invalid("ipaddress and macaddress need networkids, which say in which network.")
        wanted[0] = NicWant(network=first, address=params.address or None, mac=params.mac or None)
    return tuple(wanted)


def nic_of(call: Call, row: dict[str, str]) -> NicWant:
    folded = {name.lower(): value for name, value in row.items()}
    network = folded.get("networkid", "")
    if not UUID_TEXT.fullmatch(network):
        raise invalid_id(call.name, "iptonetworklist.networkid", network)
    return NicWant(network=UUID(network), address=folded.get("ip") or None, mac=folded.get("mac") or None)


async def disks(call: Call, params: Deploy) -> tuple[servers.DiskWant, ...]:
    """A root disk of another size than the offering's, and a data disk."""
    wanted = []
    if params.root_gib is not None:
        if params.root_gib < 1:
            raise invalid(call.name, "rootdisksize", str(params.root_gib), "at least 1 GiB is needed.")
        wanted.append(
            servers.DiskWant(
                source=servers.Source.IMAGE,
                id=params.image,
                size_gib=params.root_gib,
                boot=True,
                delete_with_server=True,
            )
        )
    if params.disk_kind is not None:
        async with call.cloud.view() as look:
            kind = await look.get(VolumeKind, params.disk_kind)
        size = kind.size_gib or params.disk_gib or 0
        wanted.append(servers.DiskWant(source=servers.Source.BLANK, size_gib=size, kind=kind.id))
    return tuple(wanted)


def decoded(call: Call, text: str) -> bytes:
    """Base64, also as some clients write it for addresses; a `+` may have become a space on the way."""
    plain = text.strip().replace(" ", "+").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(call.name, "userdata", text[:20], "user data is sent in base64.") from None


@command(
    "listVirtualMachines",
    params=ListServers,
    view=shown,
    ignored=("hypervisor", "isvnf", "accumulate", "retrieveonlyresourcecount"),
)
async def listing(call: Call, params: ListServers) -> Listed[Server]:
    """Lists virtual machines."""
    where = conditions(params)
    skip, limit = window(params)
    async with call.cloud.view() as look:
        equals = await filters(call, look, params)
        if equals is None:
            return Listed([], 0)
        scope = await owners.scope(call, look, params)
        where += [*scope.where, *await in_zone(look, params.zone)]
        equals["projects"] = scope.projects
        if not params.tags:
            found = await owned(look, call.caller, Server, *where, skip=skip, limit=limit, **equals)
        else:
            every = await owned(look, call.caller, Server, *where, **equals)
            kept = [server for server in every.items if tagged(server, params.tags)]
            found = Page(kept[skip : skip + limit], len(kept))
    return Listed(found.items, found.total)


def tagged(server: Server, tags: Rows) -> bool:
    return all(server.metadata.get(tag.get("key", "")) == tag.get("value", "") for tag in tags)


def conditions(params: ListServers) -> list[Condition]:
    where: list[Condition] = []
    if params.state:
        wanted = params.state.lower()
        states = [
            state
            for state, name in STATE.items()
            if wanted == name.lower() or (wanted == "present" and name not in GONE)
        ]
        where.append(eq("state", tuple(states)))
    if params.name:
        where.append(any_of(eq("hostname", params.name), eq("name", params.name)))
    if params.keyword:
        pattern = f"%{literal(params.keyword)}%"
        where.append(any_of(like("hostname", pattern), like("name", pattern)))
    return where


async def in_zone(look: Look, zone: UUID | None) -> list[Condition]:
    """Where it is, or where it was asked to be."""
    if zone is None:
        return []
    hosts = tuple(host.id for host in await look.list(Host, zone=zone))
    return [any_of(eq("zone", zone), eq("host", hosts))]


async def filters(call: Call, look: Look, params: ListServers) -> dict[str, Any] | None:
    """Columns and what they must equal; None when nothing can match."""
    sent = {
        "size": params.size,
        "user": params.user,
        "key_name": params.key_pair or None,
        "image": params.image,
    }
    equals: dict[str, Any] = {name: value for name, value in sent.items() if value is not None}
    keys = {params.id} if params.id else set(params.ids)
    if params.network is not None:
        ports = await look.list(Port, network=params.network, use=PortUse.SERVER)
        inside = {port.device for port in ports if port.device}
        keys = keys & inside if keys else inside
        if not keys:
            return None
    if params.group is not None:
        await call.caller.find(look.rows, ServerGroup, params.group, "server_group.read")
        members = {member.server for member in await look.list(ServerGroupMember, group=params.group)}
        keys = keys & members if keys else members
        if not keys:
            return None
    if keys:
        equals["id"] = tuple(keys)
    if params.host or params.pod or params.cluster:
        call.caller.require_admin("host.read")
        place = {"id": params.host, "pod": params.pod, "cluster": params.cluster}
        wanted = {name: value for name, value in place.items() if value is not None}
        equals["host"] = tuple(host.id for host in await look.list(Host, **wanted)) or (UUID(int=0),)
    return equals


@command("startVirtualMachine", params=OnServer)
async def start(call: Call, params: OnServer) -> Accepted:
    """Starts a virtual machine."""
    return await servers.start(call.cloud, call.caller, params.server, command=call.name)


@command("stopVirtualMachine", params=Stop)
async def stop(call: Call, params: Stop) -> Accepted:
    """Stops a virtual machine."""
    return await servers.stop(call.cloud, call.caller, params.server, force=params.force, command=call.name)


@command("rebootVirtualMachine", params=Reboot)
async def reboot(call: Call, params: Reboot) -> Accepted:
    """Reboots a virtual machine."""
    return await servers.reboot(call.cloud, call.caller, params.server, hard=params.force, command=call.name)


@command("destroyVirtualMachine", params=Destroy)
async def destroy(call: Call, params: Destroy) -> Accepted:
    """Destroys a virtual machine. It can be recovered until it is expunged."""
    verb = servers.expunge if params.expunge else servers.destroy
    return await verb(call.cloud, call.caller, params.server, command=call.name)


@command("recoverVirtualMachine", params=OnServer)
async def recover(call: Call, params: OnServer) -> Server:
    """Recovers a virtual machine that was destroyed."""
    accepted = await servers.recover(call.cloud, call.caller, params.server, command=call.name)
    recovered: Server = await settled(call, accepted)
    return recovered


@command("expungeVirtualMachine", params=OnServer)
async def expunge(call: Call, params: OnServer) -> Accepted:
    """Deletes a destroyed virtual machine for good."""
    held = await servers.show(call.cloud, call.caller, params.server)
    if held.state not in (State.DESTROYED, State.ERROR, State.DELETING):
        raise Conflict(f"Virtual machine {held.id} is {STATE[held.state]}; destroy it before it is expunged.")
    return await servers.expunge(call.cloud, call.caller, params.server, command=call.name)


@command("updateVirtualMachine", params=Update, view=shown)
async def update(call: Call, params: Update) -> Server:
    """Changes what a virtual machine is called and what is kept with it."""
    changes: dict[str, Any] = {}
    if params.name is not None:
        changes["hostname"] = host_name(call, params.name)
    if params.display_name is not None:
        changes["name"] = params.display_name
    if params.user_data is not None:
        changes["user_data"] = decoded(call, params.user_data)
    facets = {}
    if params.details is not None or params.clean:
        facets[FACE] = {"details": None if params.clean else params.details}
    if params.protected is not None:
        await servers.set_lock(call.cloud, call.caller, params.server, params.protected)
    return await servers.update(call.cloud, call.caller, params.server, facets=facets, **changes)


def host_name(call: Call, name: str) -> str:
    if servers.hostname(name, UUID(int=0)) != name.lower() or "." in name:
        raise invalid(call.name, "name", name, "a host name has letters, digits and dashes.")
    return name


@command("createConsoleEndpoint", params=Console, ignored=("token",))
async def console(call: Call, params: Console) -> Shown:
    """Makes an address at which the machine's screen can be seen, once."""
    token = await consoles.issue(call.cloud, call.caller, params.server)
    place = urlsplit(call.base_url)
    return Shown(
        {
            "success": True,
            "url": f"{call.base_url}/console/vnc?token={token}",
            "websocket": {
                "token": token,
                "host": place.hostname,
                "port": str(place.port or (443 if place.scheme == "https" else 80)),
                "path": "console/ws",
            },
        }
    )
