"""Networks in memory, for the simulator and for tests: equal to the real driver in what is accepted and known,
quick with thousands of objects, and broken on request."""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar
from uuid import UUID

import msgspec

from pileus.drivers.errors import Missing, Unreachable
from pileus.drivers.network.ovn import ports, routers
from pileus.drivers.network.protocol import (
    GroupSpec,
    Kind,
    NetworkDriver,
    NetworkSpec,
    PortSpec,
    RouterSpec,
)

When = Literal["before", "after"]
P = ParamSpec("P")
T = TypeVar("T")
CALLS = frozenset(
    name for name in vars(NetworkDriver) if callable(getattr(NetworkDriver, name)) and name[0] != "_"
)


class Fault(msgspec.Struct):
    error: Exception
    when: When
    times: int


def _verb(
    method: Callable[Concatenate["FakeNetwork", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["FakeNetwork", P], Coroutine[Any, Any, T]]:
    """Count the call, and let a waiting fault break it before or after its effect."""
    name = method.__name__

    @wraps(method)
    async def called(self: "FakeNetwork", /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls[name] += 1
        if not self.reachable:
            raise Unreachable(f"{name}: the simulated network does not answer")
        self._break(name, "before")
        result = await method(self, *args, **kwargs)
        self._break(name, "after")
        return result

    return called


class FakeNetwork:
    """`bound`: ports count as plugged into a running guest from the start; `plug` says it of one port."""

    def __init__(self, *, bound: bool = True) -> None:
        self.networks: dict[UUID, NetworkSpec] = {}
        self.ports: dict[UUID, PortSpec] = {}
        self.groups: dict[UUID, GroupSpec] = {}
        self.routers: dict[UUID, RouterSpec] = {}
        self.calls: Counter[str] = Counter()
        self.reachable = True
        self._bound = bound
        self._plugged: dict[UUID, bool] = {}
        self._within: dict[UUID, set[UUID]] = {}
        """Ports by network."""
        self._faults: dict[str, list[Fault]] = {}

    # --- for tests

    def fail_next(self, call: str, error: Exception, *, when: When = "before", times: int = 1) -> None:
        """Let the next calls of that name raise, before or after their effect."""
        if call not in CALLS:
            raise ValueError(f"{call} is no call of a network driver; there are {', '.join(sorted(CALLS))}")
        self._faults.setdefault(call, []).append(Fault(error, when, times))

    def heal(self) -> None:
        """Forget the faults that are left."""
        self._faults.clear()

    def plug(self, port: UUID, up: bool = True) -> None:
        """Let a guest appear behind a port, or go."""
        self._plugged[port] = up

    # --- the protocol

    @_verb
    async def apply_network(self, spec: NetworkSpec) -> None:
        self.networks[spec.id] = spec

    @_verb
    async def remove_network(self, network: UUID) -> None:
        if self.networks.pop(network, None) is not None:
            for port in self._within.pop(network, set()):
                del self.ports[port]

    @_verb
    async def apply_port(self, spec: PortSpec) -> None:
        self._need("port", spec.id, spec.network)
        self._forget(spec.id)
        self.ports[spec.id] = spec
        self._within.setdefault(spec.network, set()).add(spec.id)

    @_verb
    async def remove_port(self, port: UUID) -> None:
        self._forget(port)
        self._plugged.pop(port, None)

    @_verb
    async def apply_group(self, spec: GroupSpec) -> None:
        ports.group_rows(spec)  # refuses what has no meaning
        self.groups[spec.id] = spec

    @_verb
    async def remove_group(self, group: UUID) -> None:
        self.groups.pop(group, None)

    @_verb
    async def apply_router(self, spec: RouterSpec) -> None:
        routers.rows(spec, "simulated")  # refuses what has no meaning
        gateways = () if spec.gateway is None else (spec.gateway,)
        needed = (*(port.network for port in (*spec.ports, *gateways)), *spec.egress_guarded)
        for network in needed:
            self._need("router", spec.id, network)
        self.routers[spec.id] = spec

    @_verb
    async def remove_router(self, router: UUID) -> None:
        self.routers.pop(router, None)

    @_verb
    async def known(self) -> Mapping[Kind, frozenset[UUID]]:
        return {
            Kind.NETWORK: frozenset(self.networks),
            Kind.PORT: frozenset(self.ports),
            Kind.ROUTER: frozenset(self.routers),
            Kind.GROUP: frozenset(self.groups),
        }

    @_verb
    async def port_up(self, port: UUID) -> bool:
        spec = self.ports.get(port)
        return spec is not None and spec.enabled and self._plugged.get(port, self._bound)

    @_verb
    async def settle(self) -> None:
        """The simulated data path follows at once."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _need(self, kind: str, id: UUID, network: UUID) -> None:
        if network not in self.networks:
            raise Missing(f"{kind} {id} needs network {network}, which is not there; apply that first")

    def _forget(self, port: UUID) -> None:
        spec = self.ports.pop(port, None)
        if spec is not None:
            self._within[spec.network].discard(port)

    def _break(self, call: str, when: When) -> None:
        for fault in self._faults.get(call, ()):
            if fault.when == when and fault.times:
                fault.times -= 1
                raise fault.error


__all__ = ["CALLS", "FakeNetwork"]
