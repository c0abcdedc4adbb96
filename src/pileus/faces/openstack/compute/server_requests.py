"""The body of a server's creation: what it may hold in which version, and what it means in the core's words."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from pileus.core.block.records import VolumeKind
from pileus.core.compute import host_groups, hosts, server_groups, servers, sizes
from pileus.core.compute.host_groups import Wanted
from pileus.core.compute.servers import Deploy, DiskWant, Source
from pileus.core.errors import CoreError, Invalid, NotFound
from pileus.core.network import groups
from pileus.core.network.ports import NicWant
from pileus.core.network.records import SecurityGroup
from pileus.faces.openstack.compute.parsing import (
    Metadata,
    Name,
    Struct,
    Tag,
    Text255,
    decoded,
    hostname,
    key,
    name,
    number,
    refuse_out_of_version,
    sent,
    truth,
)
from pileus.faces.openstack.compute.server_view import FACET, PINNED
from pileus.faces.wire import Request, Span

Loose = bool | str | int


class Network(Struct, frozen=True, kw_only=True):
    uuid: str | UnsetType | None = UNSET
    port: str | None = None
    fixed_ip: str | None = None
    tag: Tag | UnsetType = UNSET


class Mapping1(Struct, frozen=True, kw_only=True):
    """block_device_mapping, the older form."""

    virtual_name: Text255 | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    volume_size: int | str | None = None
    device_name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9._/-]*$")] | None = (
        None
    )
    delete_on_termination: Loose = False
    no_device: Any = None
    connection_info: str | None = None


class Mapping2(Mapping1, frozen=True, kw_only=True):
    """block_device_mapping_v2."""

    source_type: str | None = None
    destination_type: str | None = None
    uuid: str | None = None
    image_id: str | None = None
    guest_format: Text255 | None = None
    device_type: Text255 | None = None
    disk_bus: Text255 | None = None
    boot_index: int | str | None = None
    tag: Tag | UnsetType = UNSET
    volume_type: str | UnsetType | None = UNSET


class Group(Struct, frozen=True, kw_only=True):
    name: Name


class CreateServer(Struct, frozen=True, kw_only=True):
    name: Name
    flavor: str | int = field(name="flavorRef")
    image: str = field(name="imageRef", default="")
    admin_password: str | UnsetType = field(name="adminPass", default=UNSET)
    metadata: Metadata = {}
    networks: str | list[Network] | UnsetType = UNSET
    disk_config: str | UnsetType = field(name="OS-DCF:diskConfig", default=UNSET)
    access4: str | UnsetType = field(name="accessIPv4", default=UNSET)
    access6: str | UnsetType = field(name="accessIPv6", default=UNSET)
    personality: list[dict[str, Any]] | UnsetType = UNSET
    availability_zone: Name | UnsetType = UNSET
    disks1: list[Mapping1] = field(name="block_device_mapping", default=[])
    disks2: list[Mapping2] = field(name="block_device_mapping_v2", default=[])
    config_drive: Loose = False
    key_name: Name | None = None
    min_count: int | str = 1
    max_count: int | str | UnsetType = UNSET
    return_reservation_id: Loose = False
    security_groups: list[Group] = []
    user_data: str | None = None
    description: Text255 | UnsetType | None = UNSET
    tags: list[Tag] | UnsetType = UNSET
    trusted: list[str] | UnsetType | None = field(name="trusted_image_certificates", default=UNSET)
    host: str | UnsetType = UNSET
    hypervisor_hostname: str | UnsetType = UNSET
    hostname: str | UnsetType = UNSET


class CreateBody(Struct, frozen=True, kw_only=True):
    server: CreateServer
    hints: dict[str, Any] = field(name="os:scheduler_hints", default={})
    hints_old: dict[str, Any] = field(name="OS-SCH-HNT:scheduler_hints", default={})


SPANS: dict[str, Span] = {
    "personality": ((2, 1), (2, 56)),
    "description": (2, 19),
    "tags": (2, 52),
    "trusted_image_certificates": (2, 63),
    "host": (2, 74),
    "hypervisor_hostname": (2, 74),
    "hostname": (2, 90),
}


async def deployment(request: Request, body: CreateBody) -> Deploy:
    """The request in the core's words. What it names and does not exist is bad input here, not a missing page."""
    want, version = body.server, request.version
    refuse_out_of_version(sent(want), SPANS, version, "server")
    _, most = counts(want)
    try:
        size = await sizes.show(request.cloud, request.caller, str(want.flavor))
    except NotFound:
        raise Invalid(f"Flavor {want.flavor} could not be found.") from None
    image, disks = await boot(request, want)
    zone, host = await place(request, want)
    kept = remembered(want) | ({PINNED: zone.metadata[host_groups.ZONE]} if zone.metadata else {})
    hints = read_hints(body.hints or body.hints_old)
    nics, none = networks(request, want)
    description = want.description if version >= (2, 19) else want.name
    return Deploy(
        project=request.caller.home,
        name=name(want.name),
        hostname=hostname(want.hostname, version) if isinstance(want.hostname, str) else "",
        description=description if isinstance(description, str) else "",
        size=size.id,
        image=image,
        disks=disks,
        nics=nics,
        no_network=none,
        groups=await security_groups(request, want),
        key_name=want.key_name or "",
        user_data=decoded(want.user_data, "user_data") if want.user_data else b"",
        metadata=dict(want.metadata),
        tags=tuple(want.tags) if isinstance(want.tags, list) else (),
        config_drive=truth(want.config_drive, "config_drive"),
        zone=zone.zone,
        host=host,
        apart_from=await others(request, hints, "different_host"),
        together_with=await others(request, hints, "same_host"),
        server_groups=await groups_named(request, hints),
        host_metadata=zone.metadata,
        admin_password=want.admin_password if isinstance(want.admin_password, str) else servers.password(),
        count=most,
        facets={FACET: kept} if kept or most > 1 else {},
    )


def counts(want: CreateServer) -> tuple[int, int]:
    least = number(want.min_count, "min_count", least=1)
    most = least if want.max_count is UNSET else number(want.max_count, "max_count", least=1)
    if least > most:
        raise Invalid("min_count must be <= max_count")
    return least, most


def remembered(want: CreateServer) -> dict[str, Any]:
    """What only this API shows again."""
    if want.personality:
        raise Invalid("Files cannot be injected (personality); use user_data instead.")
    if want.trusted:
        raise Invalid("Image certificates cannot be validated here; leave trusted_image_certificates out.")
    kept: dict[str, Any] = {}
    if isinstance(want.disk_config, str):
        if want.disk_config not in ("AUTO", "MANUAL"):
            raise Invalid("Invalid input for field/attribute OS-DCF:diskConfig. It is AUTO or MANUAL.")
        kept["diskConfig"] = want.disk_config
    for field_name, value in (("accessIPv4", want.access4), ("accessIPv6", want.access6)):
        if isinstance(value, str) and value:
            kept[field_name] = access_address(value, field_name)
    return kept


def access_address(value: str, field_name: str) -> str:
    try:
        return str((IPv4Address if field_name == "accessIPv4" else IPv6Address)(value)) if value else ""
    except ValueError:
        version = field_name[-2:]
        raise Invalid(
            f"Invalid input for field/attribute {field_name}. Value: {value}. It is not an IP{version} address."
        ) from None


async def place(request: Request, want: CreateServer) -> tuple[Wanted, UUID | None]:
    """The zone (or part of one) and host by name; `zone:host` forces a host."""
    zone_name, forced = "", ""
    if isinstance(want.availability_zone, str):
        zone_name, _, rest = want.availability_zone.partition(":")
        forced, _, node = rest.partition(":")
        forced = forced or node
        if forced:
            request.enforce("os_compute_api:servers:create:forced_host")
    asked = want.host if isinstance(want.host, str) else want.hypervisor_hostname
    if isinstance(asked, str):
        request.enforce("compute:servers:create:requested_destination")
        if forced:
            raise Invalid(
                "One mechanism with host and/or hypervisor_hostname and another mechanism with zone:host:node "
                "are mutually exclusive."
            )
        forced = asked
    async with request.cloud.view() as look:
        zone = await host_groups.zone_wanted(look, zone_name) if zone_name else Wanted()
        if zone is None:
            raise Invalid("The requested availability zone is not available")
        try:
            host = await hosts.named(look, forced) if forced else None
        except NotFound:
            raise Invalid(f"Compute host {forced} could not be found.") from None
    return zone, host.id if host else None


def networks(request: Request, want: CreateServer) -> tuple[tuple[NicWant, ...], bool]:
    """Interfaces, and whether there shall be none."""
    version, given = request.version, want.networks
    if given is UNSET:
        if version >= (2, 37):
            raise Invalid("Invalid input for field/attribute server. 'networks' is a required property")
        return (), False
    if isinstance(given, str):
        if version < (2, 37) or given not in ("auto", "none"):
            raise Invalid(f"Invalid input for field/attribute networks. Value: {given}.")
        return (), given == "none"
    if not isinstance(given, list):
        return (), False
    nics = [nic(request, network) for network in given]
    named = [wanted.port for wanted in nics if wanted.port]
    for port in named:
        if named.count(port) > 1:
            raise Invalid(f"Port ID '{port}' was specified twice: you cannot attach a port multiple times.")
    return tuple(nics), False


def nic(request: Request, network: Network) -> NicWant:
    if network.tag is not UNSET and not ((2, 32) <= request.version <= (2, 36) or request.version >= (2, 42)):
        raise Invalid("Additional properties are not allowed ('tag' was unexpected)")
    if network.port:
        if network.fixed_ip:
            raise Invalid(
                f"Specified Fixed IP '{network.fixed_ip}' cannot be used with port '{network.port}': "
                "the two cannot be specified together."
            )
        return NicWant(port=key(network.port, "port"))
    if not isinstance(network.uuid, str):
        raise Invalid("Bad network format: missing 'uuid'")
    try:
        return NicWant(network=UUID(network.uuid), address=network.fixed_ip)
    except ValueError:
        raise Invalid(f"Bad networks format: network uuid is not in proper format ({network.uuid})") from None


async def security_groups(request: Request, want: CreateServer) -> tuple[UUID, ...]:
    """By name or id, as the original takes both."""
    wanted = dict.fromkeys(group.name for group in want.security_groups)
    return tuple([(await group_named(request, each)).id for each in wanted]) if wanted else ()


async def group_named(request: Request, text: str) -> SecurityGroup:
    await groups.ensure_default(request.cloud, request.caller)
    own = [
        group for group, _ in await groups.list_(request.cloud, request.caller, project=request.caller.home)
    ]
    found = [group for group in own if text in (str(group.id), group.name)]
    if len(found) > 1:
        raise Invalid(f"Multiple security groups found matching '{text}'. Use an ID to be more specific.")
    if not found:
        raise Invalid(f"Security group {text} not found for project {request.caller.home.hex}.")
    return found[0]


REFUSED_HINTS = {
    "query": "say what the host must have by the flavor's extra specs",
    "build_near_host_ip": "use same_host or a server group",
    "cidr": "use same_host or a server group",
    "target_cell": "there is one cell",
}
"""Hints of the original that are not obeyed here, and what to do instead; unknown ones change nothing anywhere."""


def read_hints(hints: dict[str, Any]) -> dict[str, list[str]]:
    """Those that are obeyed, as lists of ids. Raises Invalid for those that cannot be."""
    found: dict[str, list[str]] = {}
    for hint, advice in REFUSED_HINTS.items():
        if hint in hints:
            raise Invalid(f"Scheduler hint {hint} is not supported here: {advice}.")
    for hint in ("group", "different_host", "same_host"):
        given = hints.get(hint, [])
        found[hint] = [str(each) for each in (given if isinstance(given, list) else [given])]
    return found


async def others(request: Request, hints: dict[str, list[str]], hint: str) -> tuple[UUID, ...]:
    """The servers of whose hosts the new one's shall be one, or none. Raises NotFound for one that is not seen."""
    keys = [key(each, hint) for each in dict.fromkeys(hints[hint])]
    return tuple([(await servers.show(request.cloud, request.caller, each)).id for each in keys])


async def groups_named(request: Request, hints: dict[str, list[str]]) -> tuple[UUID, ...]:
    wanted = [key(each, "group") for each in dict.fromkeys(hints["group"])]
    if len(wanted) > 1:
        raise Invalid("Scheduler hint group names several server groups; a server is made in one.")
    for each in wanted:
        try:
            await server_groups.show(request.cloud, request.caller, each)
        except NotFound:
            raise Invalid(f"Instance group {each} could not be found.") from None
    return tuple(wanted)


# Disks


async def boot(request: Request, want: CreateServer) -> tuple[UUID | None, tuple[DiskWant, ...]]:
    """The image to boot from, and the volumes."""
    if want.disks1 and want.disks2:
        raise Invalid("Using different block_device_mapping syntaxes is not allowed in the same request.")
    image = key(want.image, "imageRef") if want.image else None
    if want.disks1:
        older = [legacy(mapping) for mapping in want.disks1]
        if image is None and not any(disk.boot for disk in older):
            older[0] = msgspec.structs.replace(older[0], boot=True)
        return image, tuple(older)
    disks: list[DiskWant] = []
    roots = 0
    for mapping in want.disks2:
        if mapping.tag is not UNSET and request.version != (2, 32) and request.version < (2, 42):
            raise Invalid("Additional properties are not allowed ('tag' was unexpected)")
        read = await newer(request, mapping)
        roots += read[1]
        if isinstance(read[0], UUID):
            image = read[0]
        else:
            disks.append(read[0])
    if roots > 1:
        raise Invalid("Block Device Mapping is Invalid: more than one disk is to boot from.")
    if any(disk.boot for disk in disks):
        # The image then only names what the boot volume is made from.
        image = None
    elif image is None:
        raise Invalid("Block Device Mapping is Invalid: no image and no boot volume is given.")
    return image, tuple(disks)


def legacy(mapping: Mapping1) -> DiskWant:
    if mapping.volume_id is None and mapping.snapshot_id is None:
        raise Invalid("Block Device Mapping is Invalid: it names neither a volume nor a snapshot.")
    source = Source.VOLUME if mapping.volume_id else Source.SNAPSHOT
    return DiskWant(
        source=source,
        id=key(mapping.volume_id or mapping.snapshot_id, "volume_id"),
        size_gib=gib(mapping.volume_size),
        boot=mapping.device_name in ("vda", "/dev/vda"),
        delete_with_server=truth(mapping.delete_on_termination, "delete_on_termination"),
        device=device(mapping.device_name),
    )


def device(given: str | None) -> str | None:
    return None if given in ("vda", "/dev/vda") else given


def gib(given: int | str | None) -> int:
    return 0 if given in (None, "") else number(given, "volume_size", least=1, most=1 << 16)


async def newer(request: Request, mapping: Mapping2) -> tuple[DiskWant | UUID, bool]:
    """A disk, or the image when it is an ordinary root disk; and whether the server boots from it."""
    index = -1 if mapping.boot_index in (None, "") else number(mapping.boot_index, "boot_index", least=-1)
    kind, source = mapping.volume_type, mapping.source_type or "blank"
    if kind is not UNSET and request.version < (2, 67):
        raise Invalid("Additional properties are not allowed ('volume_type' was unexpected)")
    if source not in {each.value for each in Source}:
        raise Invalid(f"Invalid input for field/attribute source_type. Value: {source}.")
    named = mapping.uuid or mapping.volume_id or mapping.snapshot_id or mapping.image_id
    target = mapping.destination_type or ("volume" if source in ("volume", "snapshot") else "local")
    if target not in ("local", "volume"):
        raise Invalid(f"Invalid input for field/attribute destination_type. Value: {target}.")
    if target == "local" and source == "image" and index == 0:
        return key(named, "uuid"), True
    if target == "local":
        raise Invalid(
            "Block Device Mapping is Invalid: local disks besides the root disk are not supported here; "
            "use destination_type volume."
        )
    disk = DiskWant(
        source=Source(source),
        id=key(named, "uuid") if source != "blank" else None,
        size_gib=gib(mapping.volume_size),
        boot=index == 0,
        delete_with_server=truth(mapping.delete_on_termination, "delete_on_termination"),
        kind=await kind_named(request, kind) if isinstance(kind, str) else None,
        device=device(mapping.device_name),
    )
    if source == "blank" and not disk.size_gib:
        raise Invalid("Block Device Mapping is Invalid: a blank volume needs a volume_size.")
    return disk, index == 0


async def kind_named(request: Request, text: str) -> UUID:
    async with request.cloud.view() as look:
        found = await look.one(VolumeKind, name=text)
        if found is None:
            try:
                found = await look.maybe(VolumeKind, UUID(text))
            except ValueError:
                found = None
    if found is None:
        raise Invalid(f"Volume type {text} could not be found.")
    return found.id


def as_input(error: CoreError) -> Invalid:
    """What the body named and is not there."""
    if isinstance(error, NotFound) and error.what == "Image":
        return Invalid("Can not find requested image")
    if isinstance(error, NotFound) and error.what == "Key pair":
        return Invalid("Invalid key_name provided.")
    return Invalid(error.public)
