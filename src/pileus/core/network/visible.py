"""Which rows a caller may see: the own ones, what is shared, and the external networks that everybody may reach."""

from typing import Any, TypeVar
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Look
from pileus.core.errors import Forbidden, NotFound
from pileus.core.network.records import Network, Subnet
from pileus.store import Record

R = TypeVar("R", bound=Record)


def projects(caller: Caller, equals: dict[str, Any]) -> dict[str, Any]:
    """The conditions, narrowed to projects that the caller sees."""
    if caller.admin:
        return equals
    own = (caller.visible or frozenset()) | ({caller.project} if caller.project else set())
    asked = equals.get("project")
    if asked is not None:
        wanted = asked if isinstance(asked, tuple | set | frozenset) else (asked,)
        return {**equals, "project": tuple(project for project in wanted if project in own)}
    return {**equals, "project": tuple(own)}


def open_to(caller: Caller, network: Network) -> bool:
    return inside(caller, network) or network.external


def inside(caller: Caller, network: Network) -> bool:
    """Whether the caller may look at the network's subnets: of one that is only external, its addresses suffice."""
    return caller.sees(network.project) or network.shared


async def network(look: Look, caller: Caller, key: UUID) -> Network:
    """A network that the caller may look at. Raises NotFound."""
    found = await look.maybe(Network, key)
    if found is None or not open_to(caller, found):
        raise NotFound("Network", key)
    return found


async def usable_network(look: Look, caller: Caller, key: UUID) -> Network:
    """A network in which the caller may have a server or port. Raises NotFound, Forbidden."""
    found = await network(look, caller, key)
    if found.external and not found.shared and not caller.sees(found.project):
        raise Forbidden(f"It is not allowed to create an interface on external network {key}.")
    return found


async def owned_network(look: Look, caller: Caller, key: UUID, verb: str) -> Network:
    """A network that the caller may change. Raises NotFound for one it cannot see, Forbidden for somebody else's."""
    found = await network(look, caller, key)
    if not caller.sees(found.project):
        raise Forbidden(f"You are not allowed to do {verb}: network {key} belongs to another project.")
    caller.require(verb, project=found.project)
    return found


async def networks(look: Look, caller: Caller, **equals: Any) -> list[Network]:
    """What `network` would find, in order of making."""
    order = ("created_at", "id")
    if caller.admin:
        return await look.list(Network, **equals, order=order)
    found = {n.id: n for n in await look.list(Network, **projects(caller, equals))}
    for open_field in ("shared", "external"):
        if equals.get(open_field, True):
            conditions = {**equals, open_field: True}
            found |= {n.id: n for n in await look.list(Network, **conditions)}
    return sorted(found.values(), key=lambda n: (n.created_at, n.id))


async def subnet(look: Look, caller: Caller, key: UUID) -> Subnet:
    """A subnet of a network that the caller may look at. Raises NotFound."""
    found = await look.maybe(Subnet, key)
    if found is not None and caller.sees(found.project):
        return found
    of = await look.maybe(Network, found.network) if found is not None else None
    if found is None or of is None or not inside(caller, of):
        raise NotFound("Subnet", key)
    return found
