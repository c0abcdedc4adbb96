"""Interfaces of virtual machines: listed, given and taken."""

from typing import Any
from uuid import UUID

from pileus.core.compute import servers
from pileus.core.compute.records import Server
from pileus.core.network import visible
from pileus.core.network.ports import NicWant
from pileus.core.operations import Accepted
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.conflicts import conflicts
from pileus.faces.cloudstack.errors import invalid_id
from pileus.faces.cloudstack.nic_view import nics_of
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, param


class ListNics(Listing):
    server: UUID = param("virtualmachineid", "the virtual machine")
    nic: UUID | None = param("nicid", "list by id", default=None)
    network: UUID | None = param("networkid", "list those in a network", default=None)


class AddNic(Params):
    server: UUID = param("virtualmachineid", "the virtual machine")
    network: UUID = param("networkid", "the network")
    address: str = param("ipaddress", "its address; chosen when left out", default="")
    mac: str = param("macaddress", "its MAC address; chosen when left out", default="")


class RemoveNic(Params):
    server: UUID = param("virtualmachineid", "the virtual machine")
    nic: UUID = param("nicid", "the interface")


@command("listNics", params=ListNics)
async def listing(call: Call, params: ListNics) -> Listed[Any]:
    """Lists the interfaces of a virtual machine, the default one first."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        server = await call.caller.find(look.rows, Server, params.server, "server.read")
        if params.network is not None:
            await visible.network(look, call.caller, params.network)
        every = (await nics_of(look, [server.id]))[server.id]
    if params.nic is not None and params.nic not in {nic["id"] for nic in every}:
        raise invalid_id(call.name, "nicid", str(params.nic))
    found = [
        nic
        for nic in every
        if params.nic in (None, nic["id"])
        and params.network in (None, nic["networkid"])
        and params.keyword.lower() in f"{nic['networkname']} {nic.get('ipaddress', '')}".lower()
    ]
    return Listed(found[skip : skip + limit], len(found))


@command("addNicToVirtualMachine", params=AddNic)
async def add(call: Call, params: AddNic) -> Accepted:
    """Gives a virtual machine an interface in a network."""
    want = NicWant(network=params.network, address=params.address or None, mac=params.mac or None)
    with conflicts():
        return await servers.attach_nic(call.cloud, call.caller, params.server, want, command=call.name)


@command("removeNicFromVirtualMachine", params=RemoveNic)
async def remove(call: Call, params: RemoveNic) -> Accepted:
    """Takes an interface that is not the default one from a virtual machine."""
    return await servers.detach_nic(
        call.cloud, call.caller, params.server, params.nic, default_stays=True, command=call.name
    )
