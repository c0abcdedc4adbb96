"""What is asked for a new server, and the one transaction that records it: quota, ports, disks and the build."""

import re
import secrets as randomness
import string
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core import quota
from pileus.core.block import volumes
from pileus.core.block.records import Volume
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute import key_pairs, labels, server_groups, sizes
from pileus.core.compute.records import Cluster, Host, Pod, Server, Size, Zone
from pileus.core.errors import Invalid
from pileus.core.facets import Facet
from pileus.core.identity.authentication import secrets
from pileus.core.image.records import Image
from pileus.core.network import ports
from pileus.core.network.ports import NicWant
from pileus.core.operations import Accepted

MAX_USER_DATA = 65535
MAX_AT_ONCE = 1000
ALPHABET = string.ascii_letters + string.digits


class Source(StrEnum):
    IMAGE = "image"
    VOLUME = "volume"
    SNAPSHOT = "snapshot"
    BLANK = "blank"


class DiskWant(msgspec.Struct, frozen=True, kw_only=True):
    """A volume beside or instead of the server's own root disk. `boot`: it is the root."""

    source: Source
    id: UUID | None = None
    size_gib: int = 0
    boot: bool = False
    delete_with_server: bool = False
    kind: UUID | None = None
    device: str | None = None


class Deploy(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. Exactly one of `image` and a disk with `boot` says what to boot from."""

    project: UUID
    name: str
    hostname: str = ""
    description: str = ""
    size: UUID
    image: UUID | None = None
    disks: tuple[DiskWant, ...] = ()
    nics: tuple[NicWant, ...] = ()
    no_network: bool = False
    groups: tuple[UUID, ...] = ()
    key_name: str = ""
    user_data: bytes = b""
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    config_drive: bool = False
    zone: UUID | None = None
    pod: UUID | None = None
    cluster: UUID | None = None
    host: UUID | None = None
    """By an administrator: this pod, cluster or host, or none."""
    apart_from: tuple[UUID, ...] = ()
    """Hosts, and servers whose hosts, must not be taken."""
    together_with: tuple[UUID, ...] = ()
    """Servers, on the host of one of which it must be."""
    server_groups: tuple[UUID, ...] = ()
    """Which it joins; what they want of their servers is asked of its host."""
    host_metadata: dict[str, str] = {}
    """What the metadata of its host's groups must hold, besides what the size asks."""
    admin_password: str = ""
    start: bool = True
    count: int = 1
    facets: dict[str, dict[str, Any]] = {}
    """What the caller's API must remember, by the API's name."""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the request that the workflow needs besides the record; it holds no secret."""

    zone: UUID | None = None
    pod: UUID | None = None
    cluster: UUID | None = None
    host: UUID | None = None
    apart_from: tuple[UUID, ...] = ()
    """Hosts, and servers."""
    together_with: tuple[UUID, ...] = ()
    server_groups: tuple[UUID, ...] = ()
    host_metadata: dict[str, str] = {}
    start: bool = True


async def deploy(cloud: Cloud, caller: Caller, want: Deploy) -> list[Accepted]:
    """Record servers (one, or `count` of them, together or not at all) and start building them."""
    caller.require("server.create", project=want.project)
    check(want)
    if want.host or want.pod or want.cluster:
        caller.require_admin("server.create on a host of choice")
    async with cloud.transaction(caller) as tx:
        size = await sizes.find(tx, caller, want.size)
        if size.disabled:
            raise Invalid(f"Size {size.name} is disabled; choose another.")
        image = await volumes.usable_image(tx, caller, want.image) if want.image else None
        check_image(size, image)
        await check_place(tx, want)
        await charge(tx, want.project, size, want.count)
        key = await key_pairs.find(tx, caller.user, want.key_name) if want.key_name else None
        made = []
        for number in range(want.count):
            made.append(await record(tx, caller, want, size, image, key.public_key if key else "", number))
    return made


async def check_place(tx: Tx, want: Deploy) -> None:
    """What is named is there. Raises NotFound, Invalid."""
    if want.zone is not None and not (await tx.get(Zone, want.zone)).enabled:
        raise Invalid("The requested availability zone is not available.")
    named: list[Pod | Cluster | Host] = []
    named += [await tx.get(Pod, want.pod)] if want.pod else []
    named += [await tx.get(Cluster, want.cluster)] if want.cluster else []
    named += [await tx.get(Host, want.host)] if want.host else []
    for place in named:
        if want.zone not in (None, place.zone):
            kind = type(place).__name__
            raise Invalid(f"{kind} {place.id} is not in the zone that was asked for; name one that is.")


async def charge(tx: Tx, project: UUID, size: Size, count: int) -> None:
    """Give back with a negative count."""
    uses = {"servers": count, "vcpus": size.vcpus * count, "memory_mib": size.memory_mib * count}
    for resource, amount in quota.by_tags(uses, size.required_traits).items():
        await tx.charge(project, resource, amount)


def check(want: Deploy) -> None:
    if not 1 <= want.count <= MAX_AT_ONCE:
        raise Invalid(
            f"Between 1 and {MAX_AT_ONCE} servers can be made at once; {want.count} were asked for."
        )
    if len(want.user_data) > MAX_USER_DATA:
        raise Invalid(
            f"User data is too large: {len(want.user_data)} bytes, at most {MAX_USER_DATA} are accepted."
        )
    labels.check(want.metadata, want.tags)
    roots = [disk for disk in want.disks if disk.boot]
    if len(roots) + (want.image is not None) != 1:
        raise Invalid("A server boots from exactly one of an image and a boot volume.")
    if want.no_network and want.nics:
        raise Invalid("No network and a list of networks contradict each other.")
    if want.count > 1:
        if any(nic.port is not None or nic.address is not None for nic in want.nics):
            raise Invalid("A port or a fixed address can be given to one server only; ask for one server.")
        if any(disk.source is Source.VOLUME for disk in want.disks):
            raise Invalid("A volume can be given to one server only; ask for one server.")
    for disk in want.disks:
        if disk.source is not Source.BLANK and disk.id is None:
            raise Invalid(f"A disk made from a {disk.source} needs that {disk.source}'s id.")
        if disk.source is Source.BLANK and disk.size_gib < 1:
            raise Invalid("A blank disk needs a size of at least 1 GiB.")


def check_image(size: Size, image: Image | None) -> None:
    if image is None:
        return
    if size.memory_mib < image.min_ram_mib:
        raise Invalid(
            f"Flavor's memory is too small for requested image: {size.memory_mib} MiB, it needs {image.min_ram_mib} MiB."
        )
    least = volumes.least_gib(image)
    if size.disk_gib and size.disk_gib < least:
        raise Invalid(
            f"Flavor's disk is too small for requested image. Flavor disk is {size.disk_gib} GiB, "
            f"the image needs {least} GiB."
        )


async def record(
    tx: Tx, caller: Caller, want: Deploy, size: Size, image: Image | None, public_key: str, number: int
) -> Accepted:
    """One server's records and its operation."""
    id, operation, now = tx.cloud.new_id(), tx.cloud.new_id(), tx.cloud.now()
    name = want.name if want.count == 1 else f"{want.name}-{number + 1}"
    disk = (size.disk_gib or volumes.least_gib(image)) if image else 0
    named = hostname(want.hostname or name, id)
    if want.hostname and want.count > 1:
        named = f"{named}-{number + 1}"
    password = want.admin_password
    server = await tx.add(
        Server(
            id=id,
            project=want.project,
            user=caller.user,
            name=name,
            hostname=named,
            description=want.description,
            size=size.id,
            vcpus=size.vcpus,
            memory_mib=size.memory_mib,
            disk_gib=disk,
            image=image.id if image else None,
            operation=operation,
            zone=want.zone,
            key_name=want.key_name,
            public_key=public_key,
            user_data=want.user_data,
            metadata=want.metadata,
            config_drive=want.config_drive,
            admin_password=secrets.of(tx.cloud).encrypt(password) if password else "",
            tags=tuple(dict.fromkeys(want.tags)),
            host_tags=size.required_traits,
            created_at=now,
            updated_at=now,
        )
    )
    await server_groups.join(tx, caller, server, want.server_groups)
    if not want.no_network:
        await ports.take(tx, caller, server, want.nics, want.groups)
    await add_disks(tx, caller, server, want, size, image)
    for face, values in want.facets.items():
        await tx.rows.put(Facet(face=face, subject=server.id, values=values | {"index": number}))
    build = Build(
        zone=want.zone,
        pod=want.pod,
        cluster=want.cluster,
        host=want.host,
        apart_from=want.apart_from,
        together_with=want.together_with,
        server_groups=want.server_groups,
        host_metadata=sizes.host_metadata(size) | want.host_metadata,
        start=want.start,
    )
    started = await tx.start("server.deploy", subject=server, want=build, id=operation)
    return Accepted(server, started)


async def add_disks(
    tx: Tx, caller: Caller, server: Server, want: Deploy, size: Size, image: Image | None
) -> None:
    """The server's own root disk, or its boot volume, and the further volumes; all work is the deploy's."""
    if image is not None:
        await volumes.add_root(tx, caller, server, image=image, size_gib=size.disk_gib)
    for disk in sorted(want.disks, key=lambda disk: not disk.boot):
        if disk.source is Source.VOLUME:
            assert disk.id is not None
            volume = await volumes.hold(
                tx,
                caller,
                disk.id,
                server,
                device=disk.device,
                root=disk.boot,
                delete_with_server=disk.delete_with_server,
            )
            await tx.put(replace(volume, operation=server.operation))
        else:
            await add_volume(tx, caller, server, disk)


async def add_volume(tx: Tx, caller: Caller, server: Server, disk: DiskWant) -> Volume:
    want = volumes.Create(
        project=server.project,
        size_gib=disk.size_gib,
        kind=disk.kind,
        zone=server.zone,
        image=disk.id if disk.source is Source.IMAGE else None,
        snapshot=disk.id if disk.source is Source.SNAPSHOT else None,
    )
    return await volumes.add_for_server(
        tx,
        caller,
        server,
        want,
        root=disk.boot,
        delete_with_server=disk.delete_with_server,
        device=disk.device,
    )


def hostname(name: str, id: UUID) -> str:
    """A DNS label made from a name."""
    text = re.sub(r"[ _]+", "-", name.strip().lower())
    text = re.sub(r"[^a-z0-9.-]", "", text)
    text = re.sub(r"-?\.[-.]*", "-", text).strip("-")[:63].strip("-")
    return text or f"server-{id}"


def password() -> str:
    """For servers whose maker names none."""
    return "".join(randomness.choice(ALPHABET) for _ in range(12))
