"""Zones and host groups as placement sees them: kept in memory, read again when a change is announced."""

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from pileus.core.cloud import Look, Tx
from pileus.core.compute.records import HostGroup, HostGroupMember, Zone
from pileus.core.counters import Counter, following
from pileus.core.placement.bitmaps import without

VERSION = "placement groups"
RESERVED = "filter_tenant_id"
"""Metadata of a group whose hosts take only the servers of the projects named in it, as in Nova's aggregates."""
STRATEGY = "placement"
"""Metadata of a group that says how its hosts are filled: spread or pack."""
PART = "availability_zone"
"""Metadata of a group that makes its hosts a part of a zone."""
EITHER = "<or>"


async def announce(tx: Tx) -> None:
    """Called in every transaction that changes a zone, a host group, its metadata or its members: every process
    reads them again before its next decision."""
    await following(tx.rows, VERSION)


class Groups:
    """Read with the first decision; `unfix` forgets what was computed for the present slots."""

    def __init__(self) -> None:
        self.version = -1
        self.zones: dict[UUID, Zone] = {}
        self._groups: list[HostGroup] = []
        self._members: dict[UUID, list[UUID]] = {}
        self._tenants: list[tuple[UUID, set[str]]] = []
        """Of the groups that name projects."""
        self._bits: dict[UUID, int] = {}

    async def refresh(self, look: Look) -> None:
        counter = await look.maybe(Counter, VERSION)
        if self.version != (counter.value if counter else 0):
            await self.read(look)

    async def read(self, look: Look) -> None:
        counter = await look.maybe(Counter, VERSION)
        zones, groups = await look.list(Zone), await look.list(HostGroup)
        self.take(zones, groups, await look.list(HostGroupMember))
        self.version = counter.value if counter else 0

    def take(
        self, zones: Iterable[Zone], groups: Iterable[HostGroup], members: Iterable[HostGroupMember]
    ) -> None:
        """Instead of what was known."""
        self.zones = {zone.id: zone for zone in zones}
        self._groups = list(groups)
        self._members = {}
        for member in members:
            self._members.setdefault(member.group, []).append(member.host)
        self._tenants = [(group.id, named) for group in self._groups if (named := tenants(group.metadata))]
        self.unfix()

    def unfix(self) -> None:
        self._bits.clear()

    def closed(self) -> list[UUID]:
        """Zones that take nothing new."""
        return [zone.id for zone in self.zones.values() if not zone.enabled]

    def with_metadata(self, key: str, value: str, bits: Callable[[Iterable[UUID]], int]) -> int:
        """Hosts in a group that has the value (one of `<or> a <or> b`) under the key."""
        accepted = values(value)
        found = 0
        for group in self._groups:
            if accepted & {part.strip() for part in group.metadata.get(key, "").split(",") if part.strip()}:
                found |= self._of(group.id, bits)
        return found

    def reserved(self, project: UUID, bits: Callable[[Iterable[UUID]], int]) -> int:
        """Hosts that are kept for other projects: in a group that names projects, but in none that names this one."""
        closed = opened = 0
        for group, named in self._tenants:
            closed |= self._of(group, bits)
            opened |= self._of(group, bits) if project.hex in named else 0
        return without(closed, opened)

    def strategy(self, wanted: Iterable[tuple[str, str]]) -> str:
        """Of the groups that are asked for; empty where none says."""
        for key, value in wanted:
            for group in self._groups:
                if STRATEGY in group.metadata and group.metadata.get(key, "") in values(value):
                    return group.metadata[STRATEGY]
        return ""

    def _of(self, group: UUID, bits: Callable[[Iterable[UUID]], int]) -> int:
        found = self._bits.get(group)
        if found is None:
            found = self._bits[group] = bits(self._members.get(group, ()))
        return found


def values(wanted: str) -> set[str]:
    """What `a` or `<or> a <or> b` accepts."""
    if not wanted.startswith(EITHER):
        return {wanted.strip()}
    return {part.strip() for part in wanted.split(EITHER) if part.strip()}


def tenants(metadata: Mapping[str, str]) -> set[str]:
    """Project ids without dashes; Nova allows several keys that begin alike."""
    return {
        part.strip().replace("-", "")
        for key, text in metadata.items()
        if key.startswith(RESERVED)
        for part in text.split(",")
        if part.strip()
    }
