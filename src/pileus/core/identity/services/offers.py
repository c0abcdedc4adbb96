"""The catalogue as tokens carry it: what is enabled, and who sees only some of it."""

import hashlib
from collections.abc import Mapping
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Look
from pileus.core.identity.changes import change_count
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.services import catalogue_store
from pileus.core.identity.services.catalogue_records import (
    Endpoint,
    EndpointGroup,
    ProjectEndpoint,
    ProjectEndpointGroup,
    Service,
)
from pileus.core.mark import ONLY, CloudMark

FILTERS = {"service_id": "service", "region_id": "region", "interface": "interface"}
"""What a group of endpoints chooses them by, and the field in which the endpoint has it."""


class Offered(msgspec.Struct, frozen=True):
    """A service as a project sees it."""

    service: Service
    endpoints: tuple[Endpoint, ...]


class Catalogue(msgspec.Struct, frozen=True):
    """What is enabled, and the endpoints of those projects that see only some."""

    change: int
    everything: tuple[Offered, ...]
    chosen: Mapping[UUID, frozenset[UUID]]

    def of(self, project: UUID | None) -> tuple[Offered, ...]:
        """For a token of the project; a project with endpoints of its own does not see services without any."""
        chosen = self.chosen.get(project) if project is not None else None
        if not chosen:
            return self.everything
        seen = (
            Offered(offered.service, tuple(each for each in offered.endpoints if each.id in chosen))
            for offered in self.everything
        )
        return tuple(offered for offered in seen if offered.endpoints)


class Memory:
    """The catalogue as it was read last."""

    last: Catalogue | None = None


memory = per_cloud(lambda cloud: Memory())
pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Catalogue).decode
FORM = hashlib.sha256(
    repr(
        [
            (field.name, field.type)
            for cls in (Catalogue, Offered, Service, Endpoint)
            for field in msgspec.structs.fields(cls)
        ]
    ).encode()
).hexdigest()[:8]
"""Of what is packed: another release may have other fields."""


async def catalogue(cloud: Cloud) -> Catalogue:
    """What there is now; read again only when identity or the catalogue changed since, and then from the store of the
    catalogue, where one is configured and has it."""
    known = memory(cloud)
    async with cloud.view() as look:
        change = await change_count(look)
        if known.last is not None and known.last.change == change:
            return known.last
        if cloud.catalogue_store is None:
            known.last = await _read(look, change)
            return known.last
        mark = await look.maybe(CloudMark, ONLY)
    known.last = await _shared(cloud, mark.id if mark else None, change)
    return known.last


async def _shared(cloud: Cloud, mark: UUID | None, change: int) -> Catalogue:
    """No view is open while the store is asked."""
    held = await catalogue_store.find(cloud, mark, FORM, change)
    if held is not None:
        return unpack(held)
    async with cloud.view() as look:
        found = await _read(look, await change_count(look))
    await catalogue_store.keep(cloud, mark, FORM, found.change, pack(found))
    return found


async def _read(look: Look, change: int) -> Catalogue:
    endpoints = await look.list(Endpoint, order=("created_at",))
    inside: dict[UUID, list[Endpoint]] = {}
    for endpoint in endpoints:
        if endpoint.enabled:
            inside.setdefault(endpoint.service, []).append(endpoint)
    everything = tuple(
        Offered(service, tuple(inside.get(service.id, ())))
        for service in await look.list(Service, enabled=True, order=("created_at",))
    )
    chosen: dict[UUID, set[UUID]] = {}
    for each in await look.list(ProjectEndpoint):
        chosen.setdefault(each.project, set()).add(each.endpoint)
    groups = {group.id: group for group in await look.list(EndpointGroup)}
    for held in await look.list(ProjectEndpointGroup):
        found = [endpoint.id for endpoint in endpoints if matches(groups[held.group], endpoint)]
        chosen.setdefault(held.project, set()).update(found)
    return Catalogue(change, everything, {key: frozenset(value) for key, value in chosen.items()})


def matches(group: EndpointGroup, endpoint: Endpoint) -> bool:
    for name, value in group.filters.items():
        has = getattr(endpoint, FILTERS[name])
        if (has.hex if isinstance(has, UUID) else has) != value:
            return False
    return True
