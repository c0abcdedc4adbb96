"""Ports: what a server, or a client of its own, plugs into a network."""

from collections.abc import Sequence
from ipaddress import ip_network
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import Host, Server
from pileus.core.errors import Invalid, NotFound
from pileus.core.network import groups, plugs, visible
from pileus.core.network.changes import amend, given, touch, unchanged_since
from pileus.core.network.errors import (
    Ambiguous,
    GroupsWithoutSecurity,
    NoGroupWithoutSecurity,
    NoPairsWithoutSecurity,
    PortInUse,
    PortOwned,
)
from pileus.core.network.plugs import Fixed
from pileus.core.network.records import FixedAddress, Network, Port, PortUse, Router, SecurityGroup
from pileus.core.network.sync import Touched, sync

Addressed = tuple[Port, list[FixedAddress]]


class NicWant(msgspec.Struct, frozen=True, kw_only=True):
    """A server's interface: in a network, or by a port that is there."""

    network: UUID | None = None
    port: UUID | None = None
    address: str | None = None
    mac: str | None = None


class Plug(msgspec.Struct, frozen=True, kw_only=True):
    """The port that comes to the server that is the operation's subject, or goes."""

    port: UUID


class PortWant(msgspec.Struct, frozen=True, kw_only=True):
    """`fixed` None: addresses are chosen; `groups` None: the project's default group."""

    network: UUID
    project: UUID | None = None
    name: str = ""
    description: str = ""
    mac: str | None = None
    fixed: tuple[Fixed, ...] | None = None
    groups: tuple[UUID, ...] | None = None
    enabled: bool = True
    port_security: bool | None = None
    allowed_pairs: tuple[tuple[str, str], ...] = ()
    """("", cidr): the port's own MAC."""
    device_text: str = ""
    owner_text: str = ""
    host: UUID | None = None
    """Where its client says that it is; a server that takes the port knows better."""
    dns_name: str = ""
    tags: tuple[str, ...] = ()


class PortChange(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mac: str | UnsetType = UNSET
    fixed: tuple[Fixed, ...] | UnsetType = UNSET
    groups: tuple[UUID, ...] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    port_security: bool | UnsetType = UNSET
    allowed_pairs: tuple[tuple[str, str], ...] | UnsetType = UNSET
    device_text: str | UnsetType = UNSET
    owner_text: str | UnsetType = UNSET
    host: UUID | UnsetType | None = UNSET
    dns_name: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


# -- for servers --


async def take(
    tx: Tx, caller: Caller, server: Server, nics: tuple[NicWant, ...], groups: tuple[UUID, ...]
) -> list[Port]:
    """The ports of a new server, in its transaction; without wishes, one in the only network there is for it."""
    wishes = nics or await _only_network(tx, caller, server.project)
    members = await _members(tx, server.project, groups) if wishes else ()
    return [await _plug(tx, caller, server, nic, members, position) for position, nic in enumerate(wishes)]


async def add(tx: Tx, caller: Caller, server: Server, nic: NicWant) -> Port:
    """One more port for a server that is there."""
    held = await tx.list(Port, device=server.id, use=PortUse.SERVER)
    position = max((port.position for port in held), default=-1) + 1
    wishes = (nic,) if nic.network or nic.port else await _only_network(tx, caller, server.project)
    if not wishes:
        raise Invalid("No network to attach; name a network or a port.")
    chosen = msgspec.structs.replace(nic, network=wishes[0].network, port=wishes[0].port)
    return await _plug(tx, caller, server, chosen, await _members(tx, server.project, ()), position)


async def release(tx: Tx, server_id: UUID, port: UUID | None = None) -> list[UUID]:
    """Free the ports that the server took and remove those made for it; the ids of both, to be synced."""
    touched = []
    networks: set[UUID] = set()
    for held in await tx.list(Port, device=server_id, use=PortUse.SERVER):
        if port is not None and held.id != port:
            continue
        if held.made_for_device:
            await plugs.drop(tx, held)
        else:
            await amend(tx, held, use=PortUse.NONE, device=None, host=None, up=False, position=0)
        touched.append(held.id)
        networks.add(held.network)
    await _sync_names(tx, networks)
    return touched


async def of_server(look: Look, server_id: UUID) -> list[Addressed]:
    """The server's ports with their addresses; the default NIC first."""
    held = await look.list(Port, device=server_id, use=PortUse.SERVER, order=("position", "created_at", "id"))
    return await addressed(look, held)


async def _only_network(tx: Tx, caller: Caller, project: UUID) -> tuple[NicWant, ...]:
    own = await tx.list(Network, project=project, external=False, enabled=True)
    shared = await tx.list(Network, shared=True, enabled=True)
    usable = {network.id for network in own + shared}
    if len(usable) > 1:
        raise Ambiguous("Multiple possible networks found, use a Network ID to be more specific.")
    return tuple(NicWant(network=network) for network in usable)


async def _plug(
    tx: Tx, caller: Caller, server: Server, nic: NicWant, members: tuple[UUID, ...], position: int
) -> Port:
    if nic.port is not None:
        port = await _seize(tx, caller, server, nic.port, position)
    elif nic.network is not None:
        network = await visible.usable_network(tx, caller, nic.network)
        port, _ = await plugs.make(
            tx,
            network,
            project=server.project,
            fixed=(Fixed(address=nic.address),) if nic.address else None,
            mac=nic.mac,
            use=PortUse.SERVER,
            device=server.id,
            host=server.host,
            groups=members if network.port_security else (),
            port_security=network.port_security,
            made_for_device=True,
            position=position,
            dns_name=server.hostname,
        )
    else:
        raise Invalid("An interface needs a network or a port.")
    await _sync_names(tx, {port.network})
    return port


async def _seize(tx: Tx, caller: Caller, server: Server, key: UUID, position: int) -> Port:
    port = await caller.find(tx.rows, Port, key, "port.update")
    if port.use is not PortUse.NONE or port.device or port.device_text:
        raise PortInUse(port.id, port.device or port.device_text)
    return await amend(
        tx,
        port,
        use=PortUse.SERVER,
        device=server.id,
        host=server.host,
        made_for_device=False,
        position=position,
        dns_name=port.dns_name or server.hostname,
    )


async def _members(tx: Tx, project: UUID, wanted: tuple[UUID, ...] | None) -> tuple[UUID, ...]:
    """The wanted groups, which must be the project's; without any, its default group."""
    if not wanted:
        return ((await groups.default(tx, project)).id,)
    for key in wanted:
        group = await tx.maybe(SecurityGroup, key)
        if group is None or group.project != project:
            raise NotFound("SecurityGroup", key)
    return tuple(dict.fromkeys(wanted))


# -- for clients --


async def create(cloud: Cloud, caller: Caller, want: PortWant) -> Addressed:
    return (await create_all(cloud, caller, (want,)))[0]


async def create_all(cloud: Cloud, caller: Caller, wants: Sequence[PortWant]) -> list[Addressed]:
    """All or none."""
    async with cloud.transaction(caller) as tx:
        return [await _create(tx, caller, want) for want in wants]


async def _create(tx: Tx, caller: Caller, want: PortWant) -> Addressed:
    project = want.project or caller.home
    caller.require("port.create", project=project)
    network = await visible.usable_network(tx, caller, want.network)
    secured = network.port_security if want.port_security is None else want.port_security
    if secured:
        members = await _members(tx, project, want.groups) if want.groups is None or want.groups else ()
    else:
        if want.groups:
            raise NoGroupWithoutSecurity
        members = ()
    if want.allowed_pairs and not secured:
        raise NoPairsWithoutSecurity
    port, held = await plugs.make(
        tx,
        network,
        project=project,
        fixed=want.fixed,
        mac=want.mac,
        name=want.name,
        description=want.description,
        groups=members,
        enabled=want.enabled,
        port_security=secured,
        allowed_pairs=checked_pairs(want.allowed_pairs),
        device_text=want.device_text,
        owner_text=want.owner_text,
        host=want.host,
        dns_name=want.dns_name,
        tags=want.tags,
    )
    await sync(tx, port, _names_of(port))
    return port, held


def _names_of(port: Port) -> Touched:
    return Touched(networks=(port.network,)) if port.dns_name else Touched()


def checked_pairs(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Raises Invalid for a pair that is malformed or there twice."""
    if len(set(pairs)) != len(pairs):
        raise Invalid("Request contains duplicate address pair.")
    for mac, cidr in pairs:
        try:
            ip_network(cidr, strict=False)
        except ValueError:
            raise Invalid(f"'{cidr}' is not a valid IP address or subnet.") from None
        if mac and not plugs.MAC.fullmatch(mac.lower()):
            raise Invalid(f"'{mac}' is not a valid MAC address.")
    return pairs


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Addressed:
    async with cloud.view() as look:
        port = await caller.find(look.rows, Port, key, "port.read")
        return port, await plugs.addresses_of(look, port.id)


async def host_names(cloud: Cloud) -> dict[UUID, str]:
    """By id, for those who may know where a port is bound."""
    async with cloud.view() as look:
        return {host.id: host.hostname for host in await look.list(Host)}


async def list_(cloud: Cloud, caller: Caller, **equals: object) -> list[Addressed]:
    """The caller's ports with their addresses, in order of making."""
    async with cloud.view() as look:
        found = await look.list(Port, **visible.projects(caller, equals), order=("created_at", "id"))
        return await addressed(look, found)


async def addressed(look: Look, ports: list[Port]) -> list[Addressed]:
    by_port: dict[UUID, list[FixedAddress]] = {port.id: [] for port in ports}
    keys = tuple(by_port)
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        for held in await look.list(FixedAddress, port=chunk, order=("subnet", "address")):
            by_port[held.port].append(held)
    return [(port, by_port[port.id]) for port in ports]


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: PortChange, *, revision: int | None = None
) -> Addressed:
    async with cloud.transaction(caller) as tx:
        port = await caller.find(tx.rows, Port, key, "port.update")
        unchanged_since(port, revision)
        changes = given(change)
        fixed = changes.pop("fixed", None)
        if port.use is not PortUse.NONE:
            changes.pop("host", None)
        await _check(tx, port, changes)
        changed = await amend(tx, port, **changes)
        held = await plugs.addresses_of(tx, port.id)
        if fixed is not None:
            before = held
            held = await plugs.readdress(tx, changed, fixed)
            if held != before and changed == port:
                changed = await touch(tx, changed)
        await sync(tx, changed, _names_of(changed) if changed.dns_name else _names_of(port))
        if port.use in (PortUse.ROUTER_INTERFACE, PortUse.ROUTER_GATEWAY):
            await _sync_router(tx, port)
        return changed, held


async def _check(tx: Tx, port: Port, changes: dict[str, object]) -> None:
    """Normalise the changes in place; raises what contradicts the port or its network."""
    mac = changes.get("mac")
    if isinstance(mac, str):
        changes["mac"] = (
            port.mac if mac.lower() == port.mac else await plugs.choose_mac(tx, port.network, mac)
        )
    wanted = changes.get("groups", port.groups)
    secured = changes.get("port_security", port.port_security)
    if changes.get("groups"):
        assert isinstance(wanted, tuple)
        if not secured:
            raise NoGroupWithoutSecurity
        changes["groups"] = await _members(tx, port.project, wanted)
    elif wanted and not secured:
        raise GroupsWithoutSecurity
    pairs = changes.get("allowed_pairs", port.allowed_pairs)
    assert isinstance(pairs, tuple)
    if pairs and not secured:
        raise NoPairsWithoutSecurity
    checked_pairs(pairs)


async def _sync_router(tx: Tx, port: Port) -> None:
    router = await tx.maybe(Router, port.device) if port.device else None
    if router is not None:
        await sync(tx, router)


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None) -> None:
    """Remove a port; the server that uses it is unplugged afterwards, and a guest that does not let go has it until
    its next start. Raises PortOwned for what belongs to a router or an address."""
    async with cloud.transaction(caller) as tx:
        port = await caller.find(tx.rows, Port, key, "port.delete")
        unchanged_since(port, revision)
        if port.use not in plugs.CHARGED:
            raise PortOwned(port.id, f"it is a {port.use.value} port")
        await plugs.drop(tx, port)
        await sync(tx, port, _names_of(port))
        server = await tx.maybe(Server, port.device) if port.use is PortUse.SERVER else None
        if server is not None:
            await tx.start("server.detach_nic", subject=server, want=Plug(port=port.id))


async def _sync_names(tx: Tx, networks: set[UUID]) -> None:
    """The networks' resolvers learn the names of the ports that came or went."""
    for key in sorted(networks):
        await sync(tx, await tx.get(Network, key))
