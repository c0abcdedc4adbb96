"""A network with a way out, in one operation: subnet, router, gateway and its source NAT address."""

from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.network import interfaces, networks, removal, routers, subnets
from pileus.core.network.changes import amend
from pileus.core.network.errors import BadRouter
from pileus.core.network.networks import NetworkWant
from pileus.core.network.records import Address, NetState, Network, NetworkKind, PortUse, Router
from pileus.core.network.routers import Gateway, RouterWant
from pileus.core.network.subnets import SubnetWant
from pileus.core.network.sync import Touched
from pileus.core.operations import Accepted

BUILD = "network.build"
delete = removal.delete
"""The same for every network: an isolated one takes its router and addresses along."""


class IsolatedWant(msgspec.Struct, frozen=True, kw_only=True):
    """`cidr` empty: the configured one. `external` None: the only external network there is, or its default."""

    name: str
    description: str = ""
    project: UUID | None = None
    zone: UUID | None = None
    cidr: str = ""
    gateway: str | None = None
    external: UUID | None = None
    dns_domain: str = ""
    dns_servers: tuple[str, ...] = ()
    egress_default_deny: bool = True


async def create(cloud: Cloud, caller: Caller, want: IsolatedWant, *, command: str = "") -> Accepted:
    """The network is BUILDING until the operation ends; its parts are all there at once."""
    async with cloud.transaction(caller) as tx:
        project = want.project or caller.home
        network = await networks.create_in(
            tx,
            caller,
            NetworkWant(
                name=want.name,
                description=want.description,
                project=project,
                kind=NetworkKind.ISOLATED,
                dns_domain=want.dns_domain,
                zone=want.zone,
            ),
        )
        subnet = await subnets.create_in(tx, caller, _subnet(cloud, network, want))
        router = await routers.create_in(tx, caller, await _router(tx, network, want))
        await interfaces.plug(tx, caller, router, subnet=subnet.id)
        await _source_nat(tx, network, router)
        operation = await tx.start(
            BUILD,
            subject=network,
            want=Touched(networks=(network.id,), routers=(router.id,)),
            command=command,
        )
        network = await tx.get(Network, network.id)
        building = {"state": NetState.BUILDING, "operation": operation.id, "router": router.id}
        return Accepted(await amend(tx, network, **building), operation)


def _subnet(cloud: Cloud, network: Network, want: IsolatedWant) -> SubnetWant:
    return SubnetWant(
        network=network.id,
        name=want.name,
        cidr=want.cidr or cloud.config.isolated_cidr,
        gateway=want.gateway or msgspec.UNSET,
        dns_servers=want.dns_servers,
    )


async def _router(tx: Tx, network: Network, want: IsolatedWant) -> RouterWant:
    return RouterWant(
        name=want.name,
        project=network.project,
        gateway=Gateway(network=want.external or await _external(tx)),
        egress_default_deny=want.egress_default_deny,
    )


async def _external(tx: Tx) -> UUID:
    found = await tx.list(Network, external=True, order=("created_at", "id"))
    chosen = [network for network in found if network.default] or found
    if len(chosen) == 1 or (chosen and chosen[0].default):
        return chosen[0].id
    if not chosen:
        raise BadRouter(
            "There is no external network, so an isolated network has no way out; make one first."
        )
    raise BadRouter("There are several external networks; name the one to use.")


async def _source_nat(tx: Tx, network: Network, router: Router) -> None:
    """The router's own address outside, as an address of the project: held by the gateway's port."""
    port = await routers.gateway_port(tx, router.id)
    held = (await routers.shown(tx, router)).outside
    first = next((one for one in held if ":" not in one.address), None)
    if port is None or port.use is not PortUse.ROUTER_GATEWAY or first is None or router.external is None:
        raise BadRouter("The external network has no IPv4 subnet for source NAT.")
    now = tx.cloud.now()
    await tx.charge(network.project, "addresses", 1)
    await tx.add(
        Address(
            id=tx.cloud.new_id(),
            project=network.project,
            external=router.external,
            address=first.address,
            subnet=first.subnet,
            holder=port.id,
            router=router.id,
            network=network.id,
            source_nat=True,
            guarded=True,
            created_at=now,
            updated_at=now,
        )
    )
