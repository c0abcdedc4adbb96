"""Zones and the physical network of each, for commands that name them or show them."""

from collections.abc import Mapping
from uuid import UUID, uuid5

from pileus.core.cloud import Look
from pileus.core.compute.records import Host, Zone
from pileus.store import Condition, any_of, eq

NOWHERE = UUID(int=0)
"""The id of nothing: a condition that no row meets."""


async def check_zone(look: Look, key: UUID | None) -> None:
    """Raises NotFound for a zone that there is not."""
    if key is not None:
        await look.get(Zone, key)


class Zones:
    """All zones; what has none of its own is shown in the first."""

    def __init__(self, zones: list[Zone]) -> None:
        self.by_id: Mapping[UUID, Zone] = {zone.id: zone for zone in zones}
        self.first = zones[0] if zones else None

    def shown(self, key: UUID | None) -> dict[str, object]:
        zone = self.by_id.get(key) if key else None
        zone = zone or self.first
        return {"zoneid": zone.id, "zonename": zone.name} if zone else {}

    def physical(self, key: UUID | None) -> UUID | None:
        """The id of the zone's physical network."""
        zone = (self.by_id.get(key) if key else None) or self.first
        return physical_id(zone.id) if zone else None

    def within(self, wanted: UUID) -> Condition:
        """What is shown in that zone."""
        first = self.first is not None and self.first.id == wanted
        return any_of(eq("zone", wanted), eq("zone", None)) if first else eq("zone", wanted)


def physical_id(zone: UUID) -> UUID:
    return uuid5(zone, "physical network")


async def zones(look: Look) -> Zones:
    return Zones(await look.list(Zone, order=("created_at", "id")))


async def hosts_in(
    look: Look, *, host: UUID | None = None, pod: UUID | None = None, cluster: UUID | None = None
) -> tuple[UUID, ...]:
    """The hosts that are meant; NOWHERE when there is none."""
    place = {"id": host, "pod": pod, "cluster": cluster}
    wanted = {name: value for name, value in place.items() if value is not None}
    return tuple(held.id for held in await look.list(Host, **wanted)) or (NOWHERE,)
