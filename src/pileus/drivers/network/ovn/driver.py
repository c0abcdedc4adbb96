"""The network driver on OVN: each call is the difference of rows in one transaction."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from pileus.drivers.errors import Unreachable
from pileus.drivers.network.ovn import networks, ports, routers
from pileus.drivers.network.ovn.link import Link
from pileus.drivers.network.ovn.namespaces import Namespaces, existing, namespace
from pileus.drivers.network.ovn.rows import Difference, Handle, Owner, Replica, Row, owner
from pileus.drivers.network.protocol import GroupSpec, Kind, NetworkSpec, PortSpec, RouterSpec, Survey

SETTLE_SECONDS = 30.0


class Platform(Protocol):
    """Where OVN is: sockets of its northbound database and of this machine's Open vSwitch, the bridge that guests
    are plugged into, and OVN's name of this machine, through which routers leave."""

    @property
    def nb_socket(self) -> Path: ...
    @property
    def ovs_socket(self) -> Path: ...
    @property
    def integration_bridge(self) -> str: ...
    @property
    def chassis(self) -> str: ...


class OvnNetwork:
    """`patience` is how many seconds a call waits for a database that is away."""

    def __init__(
        self,
        platform: Platform,
        *,
        patience: float = 5.0,
        cloud: UUID | None = None,
        notes: Path | None = None,
    ) -> None:
        """`cloud`: what our rows are marked by besides, where several clouds share one OVN. `notes`: a directory that
        remembers which namespaces were begun on this machine."""
        self._link = Link(platform.nb_socket, patience=patience, cloud=str(cloud or ""))
        self._namespaces = Namespaces(platform.ovs_socket, platform.integration_bridge, notes)
        self._chassis = platform.chassis

    async def apply_network(self, spec: NetworkSpec) -> bool:
        changed = await self._apply(owner(Kind.NETWORK, spec.id), networks.rows(spec))
        await self._namespaces.apply(spec)
        return changed

    async def remove_network(self, network: UUID) -> None:
        await self._namespaces.remove(network)
        await self._apply(owner(Kind.NETWORK, network), ())

    async def apply_port(self, spec: PortSpec) -> bool:
        wanted = ports.port_rows(spec)
        site = ports.site_rows() if spec.secured else []

        def work(replica: Replica, txn: Any) -> bool:
            difference = Difference(replica, txn)
            if site:
                difference.apply(ports.SITE, site)
            difference.apply(owner(Kind.PORT, spec.id), wanted)
            return difference.changed

        return await self._link.change(work)

    async def remove_port(self, port: UUID) -> None:
        await self._apply(owner(Kind.PORT, port), ())

    async def apply_group(self, spec: GroupSpec) -> bool:
        return await self._apply(owner(Kind.GROUP, spec.id), ports.group_rows(spec))

    async def remove_group(self, group: UUID) -> None:
        await self._apply(owner(Kind.GROUP, group), ())

    async def apply_router(self, spec: RouterSpec) -> bool:
        return await self._apply(owner(Kind.ROUTER, spec.id), routers.rows(spec, self._chassis))

    async def remove_router(self, router: UUID) -> None:
        await self._apply(owner(Kind.ROUTER, router), ())

    async def known(self) -> Mapping[Kind, frozenset[UUID]]:
        owners = await self._link.look(lambda replica: replica.owners())
        return {kind: frozenset(UUID(whose.id) for whose in owners if whose.kind == kind) for kind in Kind}

    async def survey(self) -> Survey:
        owners, unmarked, foreign = await self._link.look(_everything)
        known = {kind: frozenset(UUID(whose.id) for whose in owners if whose.kind == kind) for kind in Kind}
        return Survey(
            known=known,
            unmarked=frozenset(UUID(whose.id) for whose in unmarked if whose.kind in set(Kind)),
            foreign=foreign,
            left=await self._namespaces.begun(),
        )

    async def port_up(self, port: UUID) -> bool:
        handle = Handle(owner(Kind.PORT, port), "Logical_Switch_Port")

        def look(replica: Replica) -> bool:
            row = replica.find(handle)
            return row is not None and row.up == [True]

        return await self._link.look(look)

    async def settle(self) -> None:
        """Raises Unreachable when a host does not follow."""
        wanted = await self._link.change(_mark)
        deadline = time.monotonic() + SETTLE_SECONDS
        pause = 0.005
        while await self._link.look(lambda replica: _globals(replica).hv_cfg) < wanted:
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"the hosts' data paths did not follow within {SETTLE_SECONDS:g} s; "
                    "see whether ovn-northd and ovn-controller run"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    async def close(self) -> None:
        await self._link.close()

    async def metadata_namespaces(self) -> Mapping[UUID, str]:
        """Network namespaces (`ip netns`) of this machine by the network whose metadata service listens there."""
        owners = await self._link.look(_with_metadata)
        names = {UUID(whose.id): namespace(UUID(whose.id)) for whose in owners}
        there = await asyncio.to_thread(existing)
        return {network: name for network, name in names.items() if name in there}

    @staticmethod
    def metadata_namespace(network: UUID) -> str:
        """Name of the network namespace (`ip netns`) where the metadata service of a network is to listen."""
        return namespace(network)

    async def _apply(self, whose: Owner, wanted: Sequence[Row]) -> bool:
        """Whether anything had to be changed."""

        def work(replica: Replica, txn: Any) -> bool:
            difference = Difference(replica, txn)
            difference.apply(whose, wanted)
            return difference.changed

        return await self._link.change(work)


def _everything(replica: Replica) -> tuple[set[Owner], set[Owner], dict[str, int]]:
    return replica.owners(), replica.unmarked() if replica.cloud else set(), replica.foreign()


def _globals(replica: Replica) -> Any:
    return next(iter(replica.idl.tables["NB_Global"].rows.values()))


def _with_metadata(replica: Replica) -> list[Owner]:
    found = [whose for whose in replica.owners() if whose.kind == Kind.NETWORK]
    return [whose for whose in found if replica.find(networks.metadata_handle(whose)) is not None]


def _mark(replica: Replica, txn: Any) -> int:
    """Number the present state of the database; the hosts tell which number they have reached."""
    row = _globals(replica)
    wanted: int = row.nb_cfg + 1
    row.nb_cfg = wanted
    return wanted


__all__ = ["OvnNetwork"]
