"""The placement API's frame: versions, policy, refusals, and hosts in its words."""

from collections.abc import Collection, Container
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.compute import host_groups
from pileus.core.compute import traits as written
from pileus.core.compute.records import Host
from pileus.core.errors import Conflict, CoreError, Invalid
from pileus.core.placement.records import Claim
from pileus.faces.openstack import wire
from pileus.faces.openstack.traits import STANDARD, legal
from pileus.faces.wire import Request, Response, Service, Versions, WireError, WireKind

VERSIONS = Versions("placement", (1, 0), (1, 39))
ADMIN = "role:admin or role:service"
READERS = f"{ADMIN} or (role:reader and project_id:%(project_id)s)"
RULES = (
    "resource_providers:list resource_providers:show resource_providers:inventories:list "
    "resource_providers:inventories:show resource_providers:usages resource_providers:aggregates:list "
    "resource_providers:traits:list resource_providers:allocations:list allocations:list "
    "allocation_candidates:list resource_classes:list resource_classes:show traits:list traits:show"
)
WRITES = "resource_providers:traits:update resource_providers:traits:delete traits:update traits:delete"
POLICIES = {f"placement:{name}": ADMIN for name in RULES.split()} | {"placement:usages": READERS}
POLICIES |= {f"placement:{name}": "role:admin" for name in WRITES.split()}
FRESH = {"cache-control": "no-cache"}


class Errors(wire.Errors):
    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        said: dict[str, Any] = {
            "status": code,
            "title": wire.title(code),
            "detail": f"{error.public}\n\n   ",
            "request_id": request.id,
        }
        if request.version >= (1, 23):
            said["code"] = getattr(error, "code", "placement.undefined_code")
        if isinstance(error, WireError) and error.kind is WireKind.VERSION_RANGE:
            said |= {"max_version": "1.39", "min_version": "1.0"}
        return Response(code, {"errors": [said]})


class BadQuery(Invalid):
    code = "placement.query.bad_value"


class Concurrent(Conflict):
    code = "placement.concurrent_update"


service = Service(
    "placement",
    "/placement",
    errors=Errors(),
    versions=VERSIONS,
    policies=POLICIES,
    authenticate=wire.authenticate,
)
SERVICES = (service,)


@service.operation("GET", "/", public=True, versioned=False)
async def versions(request: Request) -> dict[str, Any]:
    """The versions of the API, without a token."""
    return {
        "versions": [
            {
                "id": "v1.0",
                "min_version": "1.0",
                "max_version": "1.39",
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }


def answer(request: Request, body: dict[str, Any], at: Any = None) -> Response:
    """With the times that answers carry from 1.15 on."""
    if request.version < (1, 15):
        return Response(200, body)
    moment = at or request.cloud.now()
    return Response(200, body, FRESH | {"last-modified": moment.strftime("%a, %d %b %Y %H:%M:%S GMT")})


CLASSES = [
    "VCPU",
    "MEMORY_MB",
    "DISK_GB",
    "PCI_DEVICE",
    "SRIOV_NET_VF",
    "NUMA_SOCKET",
    "NUMA_CORE",
    "NUMA_THREAD",
    "NUMA_MEMORY_MB",
    "IPV4_ADDRESS",
    "VGPU",
    "VGPU_DISPLAY_HEAD",
    "NET_BW_EGR_KILOBIT_PER_SEC",
    "NET_BW_IGR_KILOBIT_PER_SEC",
    "PCPU",
    "MEM_ENCRYPTION_CONTEXT",
    "FPGA",
    "PGPU",
    "NET_PACKET_RATE_KILOPACKET_PER_SEC",
    "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
    "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
]
DISABLED = "COMPUTE_STATUS_DISABLED"


def traits(host: Host) -> list[str]:
    """Those with legal names; it takes nothing new while it is disabled."""
    found = {trait for trait in written.of(host) if legal(trait)}
    open_to_new = host.enabled and host.up and not host.maintenance
    return sorted(found | (set() if open_to_new else {DISABLED}))


class Seen(msgspec.Struct, frozen=True):
    """What is known beside the hosts: the traits that there are, and the aggregates of each host."""

    traits: frozenset[str]
    aggregates: dict[UUID, set[UUID]]


async def beside(request: Request) -> Seen:
    async with request.cloud.view() as look:
        return Seen(await known_traits(request), await host_groups.groups_by_host(look))


async def known_traits(request: Request) -> frozenset[str]:
    """The standard ones, and those that were made here."""
    return STANDARD | {trait for trait in await written.made(request.cloud) if legal(trait)}


def inventory(host: Host) -> dict[str, dict[str, Any]]:
    def one(total: int, ratio: float, reserved: int = 0) -> dict[str, Any]:
        return {
            "total": total,
            "reserved": reserved,
            "min_unit": 1,
            "max_unit": total,
            "step_size": 1,
            "allocation_ratio": ratio,
        }

    return {
        "VCPU": one(host.vcpus, host.vcpu_ratio),
        "MEMORY_MB": one(host.memory_mib, host.memory_ratio, host.memory_mib_reserved),
        "DISK_GB": one(host.disk_gib, host.disk_ratio),
    }


def usage(host: Host) -> dict[str, int]:
    return {"VCPU": host.vcpus_used, "MEMORY_MB": host.memory_mib_used, "DISK_GB": host.disk_gib_used}


def resources(claim: Claim) -> dict[str, int]:
    """Without what is not taken."""
    taken = {"VCPU": claim.vcpus, "MEMORY_MB": claim.memory_mib, "DISK_GB": claim.disk_gib}
    return {name: amount for name, amount in taken.items() if amount}


def capacity(host: Host) -> dict[str, int]:
    return {
        name: int((held["total"] - held["reserved"]) * held["allocation_ratio"])
        for name, held in inventory(host).items()
    }


def fits(host: Host, wanted: dict[str, int]) -> bool:
    held, most = usage(host), capacity(host)
    return all(
        name in most and amount <= inventory(host)[name]["max_unit"] and held[name] + amount <= most[name]
        for name, amount in wanted.items()
    )


def wanted_resources(text: str, name: str = "resources") -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        of, _, amount = part.partition(":")
        if not amount.isdigit() or len(amount) > 9 or int(amount) < 1:
            raise BadQuery(f"Badly formed {name} parameter. Expected {name}=CLASS:AMOUNT. Got: {part}")
        if of not in CLASSES and not of.startswith("CUSTOM_"):
            raise BadQuery(f"Invalid resource class in {name} parameter: {of}")
        found[of] = int(amount)
    return found


def known(request: Request, names: set[str]) -> None:
    for name in request.query:
        if name not in names:
            raise BadQuery(
                f"Invalid query string parameters: Additional properties are not allowed ('{name}' was unexpected)"
            )


def uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadQuery(f"Invalid {name} value: {text[:64]} is not a UUID.") from None


def traits_match(host: Host, texts: list[str], version: tuple[int, int], names: Container[str]) -> bool:
    """`required` lists: wanted, `!forbidden` (1.22), and from 1.39 `in:` any of. Those not in `names` are refused."""
    has = set(traits(host))
    for text in texts:
        if text.startswith("in:") and version >= (1, 39):
            if not has & set(checked(text[3:].split(","), names)):
                return False
            continue
        for trait in text.split(","):
            forbidden = trait.startswith("!") and version >= (1, 22)
            name = checked([trait[1:] if forbidden else trait], names)[0]
            if (name in has) is forbidden:
                return False
    return True


def checked(wanted: list[str], names: Container[str]) -> list[str]:
    for name in wanted:
        if name not in names:
            raise BadQuery(f"No such trait(s): {name}.")
    return wanted


def aggregates_match(inside: Collection[UUID], texts: list[str], version: tuple[int, int]) -> bool:
    """`member_of` lists: one, `in:` any of, and from 1.32 `!` none of. `inside`: the aggregates that a host is in."""
    if len(texts) > 1 and version < (1, 24):
        raise BadQuery("Multiple member_of parameters are not supported")
    for text in texts:
        forbidden = text.startswith("!")
        if forbidden and version < (1, 32):
            raise BadQuery("Forbidden member_of parameters are not supported in the specified microversion")
        listed = text.removeprefix("!")
        if "," in listed and not listed.startswith("in:"):
            raise BadQuery("Multiple values for 'member_of' must be prefixed with the 'in:' keyword.")
        wanted = {uuid(each, "member_of") for each in listed.removeprefix("in:").split(",")}
        if bool(wanted & set(inside)) is forbidden:
            return False
    return True
