"""What is asked of a placement: the server's own need, and everything that narrows the choice of its host."""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

import msgspec

from pileus.core.cloud import Look
from pileus.core.compute.deploy import Build
from pileus.core.compute.records import Affinity, Server, ServerGroup, ServerGroupMember, Size
from pileus.core.image.records import Image
from pileus.core.placement.groups import PART
from pileus.core.placement.inventory import Need, architecture_of, hypervisor_of
from pileus.core.placement.records import Claim

TRAIT = "trait:"
"""Properties of an image that say "required" of a trait."""
STRATEGY = "placement"
"""The extra spec of a size that says how its servers fill hosts: spread or pack."""
ARCHITECTURE = ("architecture", "hw_architecture")
HYPERVISOR = ("img_hv_type", "hypervisor_type")
SOFT = frozenset({Affinity.SOFT_TOGETHER, Affinity.SOFT_APART})


class Companions(msgspec.Struct, frozen=True, kw_only=True):
    """The other servers of a group of which the server is one, by host: how many of them each has."""

    name: str
    affinity: Affinity
    most_per_host: int = 1
    hosts: tuple[tuple[UUID, int], ...] = ()


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What narrows the choice. `apart_from`, `together_with` and `taken` are hosts."""

    zone: UUID | None = None
    pod: UUID | None = None
    cluster: UUID | None = None
    host: UUID | None = None
    apart_from: tuple[UUID, ...] = ()
    together_with: tuple[UUID, ...] | None = None
    """The hosts of servers that it must be beside; None: it need not."""
    metadata: tuple[tuple[str, str], ...] = ()
    """What host groups must say of the host, every one of them."""
    project: UUID | None = None
    companions: tuple[Companions, ...] = ()
    taken: tuple[UUID, ...] = ()
    """Hosts that refused the claim in this same placement."""
    strategy: str = ""
    """What the size asks for; empty: as its host groups or the configuration say."""

    @property
    def part(self) -> str:
        """The name of the part of a zone that was asked for; empty: none was."""
        return dict(self.metadata).get(PART, "")

    @property
    def conditions(self) -> list[tuple[str, str]]:
        """The metadata without the part of a zone."""
        return [item for item in self.metadata if item[0] != PART]


async def need_of(look: Look, server: Server) -> Need:
    """Of a server that is recorded: its amounts, its size's traits, its image's wants."""
    size = await look.maybe(Size, server.size)
    image = await look.maybe(Image, server.image) if server.image else None
    return need(server.vcpus, server.memory_mib, server.disk_gib, size, image)


def need(vcpus: int, memory_mib: int, disk_gib: int, size: Size | None, image: Image | None) -> Need:
    properties: Mapping[str, str] = image.properties if image else {}
    required = {
        name.removeprefix(TRAIT)
        for name, value in properties.items()
        if value == "required" and name.startswith(TRAIT)
    }
    return Need(
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        required_traits=tuple(sorted(required | set(size.required_traits if size else ()))),
        forbidden_traits=tuple(sorted(size.forbidden_traits if size else ())),
        architecture=architecture_of(first(properties, ARCHITECTURE)),
        hypervisor=hypervisor_of(first(properties, HYPERVISOR)),
    )


def first(properties: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((properties[name] for name in names if properties.get(name)), "")


async def where_of(look: Look, server: Server, build: Build) -> Where:
    """Of a server that is recorded, with what its request named besides."""
    size = await look.maybe(Size, server.size)
    others = {
        claim.id: claim.host for claim in await _claims(look, {*build.apart_from, *build.together_with})
    }
    beside = tuple(others[key] for key in build.together_with if key in others)
    return Where(
        zone=build.zone,
        pod=build.pod,
        cluster=build.cluster,
        host=build.host,
        apart_from=tuple(others.get(key, key) for key in build.apart_from),
        together_with=beside if build.together_with else None,
        metadata=tuple(sorted(build.host_metadata.items())),
        project=server.project,
        companions=await companions_of(look, server.id),
        strategy=size.extra_specs.get(STRATEGY, "") if size else "",
    )


async def _claims(look: Look, servers: set[UUID]) -> list[Claim]:
    return await look.list(Claim, id=tuple(servers)) if servers else []


async def companions_of(look: Look, server: UUID) -> tuple[Companions, ...]:
    """In a transaction the groups' rows stay locked, so that servers of one group are placed one after another."""
    found = []
    for member in sorted(await look.list(ServerGroupMember, server=server), key=lambda one: one.group):
        group = await look.maybe(ServerGroup, member.group)
        if group is not None:
            found.append(await _companions(look, group, server))
    return tuple(found)


async def _companions(look: Look, group: ServerGroup, server: UUID) -> Companions:
    others = [one.server for one in await look.list(ServerGroupMember, group=group.id)]
    held = await _claims(look, {other for other in others if other != server})
    return Companions(
        name=group.name,
        affinity=group.affinity,
        most_per_host=group.most_per_host,
        hosts=tuple(sorted(Counter(claim.host for claim in held).items())),
    )


def broken(companions: tuple[Companions, ...], host: UUID) -> str:
    """The group whose condition the host would break; empty where none."""
    for each in companions:
        counts = dict(each.hosts)
        if each.affinity is Affinity.APART and counts.get(host, 0) >= each.most_per_host:
            return each.name
        if each.affinity is Affinity.TOGETHER and counts and host not in counts:
            return each.name
    return ""
