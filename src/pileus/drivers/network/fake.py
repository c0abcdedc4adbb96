"""Networks in memory, for the simulator and for tests: equal to the real driver in what is accepted and known,
quick with thousands of objects, and broken on request."""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from pileus.drivers.errors import Missing
from pileus.drivers.faults import Faulty, calls_of, verb
from pileus.drivers.network.ovn import ports, routers
from pileus.drivers.network.protocol import (
    GroupSpec,
    Kind,
    NetworkDriver,
    NetworkSpec,
    PortSpec,
    RouterSpec,
    Survey,
)

T = TypeVar("T")


class FakeNetwork(Faulty):
    """`bound`: ports count as plugged into a running guest from the start; `plug` says it of one port."""

    CALLS = calls_of(NetworkDriver)
    PLATFORM = "the simulated network"

    def __init__(self, *, bound: bool = True) -> None:
        super().__init__()
        self.networks: dict[UUID, NetworkSpec] = {}
        self.ports: dict[UUID, PortSpec] = {}
        self.groups: dict[UUID, GroupSpec] = {}
        self.routers: dict[UUID, RouterSpec] = {}
        self._bound = bound
        self._plugged: dict[UUID, bool] = {}
        self._within: dict[UUID, set[UUID]] = {}
        """Ports by network."""
        self.unmarked: set[UUID] = set()
        self.foreign: dict[str, int] = {}
        self.left: set[UUID] = set()

    # --- for tests

    def plug(self, port: UUID, up: bool = True) -> None:
        """Let a guest appear behind a port, or go."""
        self._plugged[port] = up

    # --- the protocol

    @verb
    async def apply_network(self, spec: NetworkSpec) -> bool:
        return self._put(self.networks, spec.id, spec)

    @verb
    async def remove_network(self, network: UUID) -> None:
        self.left.discard(network)
        if self.networks.pop(network, None) is not None:
            for port in self._within.pop(network, set()):
                del self.ports[port]

    @verb
    async def apply_port(self, spec: PortSpec) -> bool:
        self._need("port", spec.id, spec.network)
        changed = self.ports.get(spec.id) != spec
        self._forget(spec.id)
        self._put(self.ports, spec.id, spec)
        self._within.setdefault(spec.network, set()).add(spec.id)
        return changed

    @verb
    async def remove_port(self, port: UUID) -> None:
        self._forget(port)
        self._plugged.pop(port, None)

    @verb
    async def apply_group(self, spec: GroupSpec) -> bool:
        ports.group_rows(spec)  # refuses what has no meaning
        return self._put(self.groups, spec.id, spec)

    @verb
    async def remove_group(self, group: UUID) -> None:
        self.groups.pop(group, None)

    @verb
    async def apply_router(self, spec: RouterSpec) -> bool:
        routers.rows(spec, "simulated")  # refuses what has no meaning
        gateways = () if spec.gateway is None else (spec.gateway,)
        needed = (*(port.network for port in (*spec.ports, *gateways)), *spec.egress_guarded)
        for network in needed:
            self._need("router", spec.id, network)
        return self._put(self.routers, spec.id, spec)

    @verb
    async def remove_router(self, router: UUID) -> None:
        self.routers.pop(router, None)

    @verb
    async def known(self) -> Mapping[Kind, frozenset[UUID]]:
        return {
            Kind.NETWORK: frozenset(self.networks),
            Kind.PORT: frozenset(self.ports),
            Kind.ROUTER: frozenset(self.routers),
            Kind.GROUP: frozenset(self.groups),
        }

    @verb
    async def survey(self) -> Survey:
        known = {
            Kind.NETWORK: frozenset(self.networks),
            Kind.PORT: frozenset(self.ports),
            Kind.ROUTER: frozenset(self.routers),
            Kind.GROUP: frozenset(self.groups),
        }
        return Survey(
            known=known,
            unmarked=frozenset(self.unmarked),
            foreign=dict(self.foreign),
            left=frozenset(self.left),
        )

    @verb
    async def port_up(self, port: UUID) -> bool:
        spec = self.ports.get(port)
        return spec is not None and spec.enabled and self._plugged.get(port, self._bound)

    @verb
    async def settle(self) -> None:
        """The simulated data path follows at once."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _put(self, where: dict[UUID, T], key: UUID, spec: T) -> bool:
        changed = where.get(key) != spec
        where[key] = spec
        self.unmarked.discard(key)
        return changed

    def _need(self, kind: str, id: UUID, network: UUID) -> None:
        if network not in self.networks:
            raise Missing(f"{kind} {id} needs network {network}, which is not there; apply that first")

    def _forget(self, port: UUID) -> None:
        spec = self.ports.pop(port, None)
        if spec is not None:
            self._within[spec.network].discard(port)
