"""Which servers a list shows, and in which order: the original's query parameters as conditions of the core."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.compute import hosts, pictures, servers, sizes
from pileus.core.compute.pictures import Picture
from pileus.core.compute.records import Server, State
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.faces.openstack.compute import words
from pileus.faces.openstack.compute.parsing import FALSE, truthy
from pileus.faces.openstack.compute.server_view import FACET, PINNED
from pileus.faces.openstack.compute.service import MAX_LIMIT
from pileus.faces.wire import Request, page, window
from pileus.faces.wire.paging import Page
from pileus.store import ge, le

NAMES = frozenset(
    [
        "user_id",
        "project_id",
        "tenant_id",
        "launch_index",
        "image_ref",
        "image",
        "kernel_id",
        "ramdisk_id",
        "hostname",
        "key_name",
        "power_state",
        "vm_state",
        "task_state",
        "host",
        "node",
        "flavor",
        "reservation_id",
        "launched_at",
        "terminated_at",
        "availability_zone",
        "name",
        "display_name",
        "description",
        "display_description",
        "locked_by",
        "uuid",
        "root_device_name",
        "config_drive",
        "access_ip_v4",
        "access_ip_v6",
        "auto_disk_config",
        "progress",
        "sort_key",
        "sort_dir",
        "all_tenants",
        "soft_deleted",
        "deleted",
        "status",
        "changes-since",
        "ip",
        "ip6",
        "created_at",
        "limit",
        "marker",
    ]
)
JOINED = frozenset(
    [
        "block_device_mapping",
        "services",
        "metadata",
        "system_metadata",
        "info_cache",
        "security_groups",
        "pci_devices",
    ]
)
TAGS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
EVERYONES = frozenset(
    [
        "reservation_id",
        "name",
        "status",
        "image",
        "flavor",
        "ip",
        "ip6",
        "changes-since",
        "changes-before",
        "all_tenants",
        "tags",
        "tags-any",
        "not-tags",
        "not-tags-any",
        "locked",
        "sort_key",
        "sort_dir",
        "limit",
        "marker",
        "host_status",
        "access_ip_v4",
        "access_ip_v6",
        "hostname",
        "description",
        "display_name",
        "display_description",
        "image_ref",
        "uuid",
        "tenant_id",
        "project_id",
    ]
)
"""What anyone may filter by; the rest is ignored for those who are no administrators."""
SINCE_2_83 = frozenset(
    [
        "availability_zone",
        "config_drive",
        "key_name",
        "created_at",
        "launched_at",
        "terminated_at",
        "power_state",
        "task_state",
        "vm_state",
        "progress",
        "user_id",
    ]
)
ORDERS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "display_name": "name",
    "display_description": "description",
    "uuid": "id",
    "hostname": "hostname",
    "host": "host",
    "node": "host",
    "vm_state": "state",
    "task_state": "state",
    "power_state": "state",
    "launched_at": "launched_at",
    "key_name": "key_name",
    "project_id": "project",
    "user_id": "user",
    "image_ref": "image",
    "instance_type_id": "size",
    "config_drive": "config_drive",
    "availability_zone": "zone",
    "locked": "locked",
}
SAME_FOR_ALL = frozenset(
    [
        "access_ip_v4",
        "access_ip_v6",
        "auto_disk_config",
        "kernel_id",
        "launch_index",
        "locked_by",
        "progress",
        "ramdisk_id",
        "root_device_name",
        "terminated_at",
    ]
)
IGNORED = frozenset(
    [
        "architecture",
        "cell_name",
        "cleaned",
        "default_ephemeral_device",
        "default_swap_device",
        "deleted",
        "deleted_at",
        "disable_terminate",
        "ephemeral_gb",
        "ephemeral_key_uuid",
        "id",
        "key_data",
        "launched_on",
        "memory_mb",
        "os_type",
        "reservation_id",
        "root_gb",
        "shutdown_terminate",
        "user_data",
        "vcpus",
        "vm_mode",
    ]
)
"""Once accepted and never obeyed; an error from 2.75 on."""
MAX_REPEATS = 3


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A list request in the core's words. `nothing`: a filter that no server here can meet."""

    project: UUID | None
    equals: dict[str, Any]
    where: list[Any]
    tests: list[Callable[[Server], bool]]
    picture_tests: list[Callable[[Picture], bool]]
    order: tuple[str, ...]
    nothing: bool = False


async def listed(request: Request, kind: str) -> Page[Server]:
    """One page of servers; `kind` is index or detail."""
    wanted = await read(request, kind)
    limit = one_number(request, "limit")
    marker = request.query.get("marker")
    if wanted.nothing:
        return Page(())
    after = await behind(request, marker, wanted) if marker else None
    size = window(limit, MAX_LIMIT)
    more = {"accept": all_of(wanted.tests)} if wanted.tests else {}
    found = await servers.listing(
        request.cloud,
        request.caller,
        *wanted.where,
        project=wanted.project,
        order=wanted.order,
        after=after,
        limit=None if wanted.picture_tests else size + 1,
        **more,
        **wanted.equals,
    )
    if wanted.picture_tests:
        shown = await pictures.several(request.cloud, found, face=FACET)
        accept = all_of(wanted.picture_tests)
        found = [picture.server for picture in shown if accept(picture)][: size + 1]
    return page(request, found, limit, MAX_LIMIT, key=lambda server: server.id)


def all_of(tests: Iterable[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    listed_tests = list(tests)
    return lambda subject: all(test(subject) for test in listed_tests)


async def behind(request: Request, marker: str, wanted: Wanted) -> tuple[object, ...]:
    try:
        last = await servers.show(request.cloud, request.caller, UUID(marker))
    except (NotFound, ValueError):
        raise Invalid(f"marker [{marker}] not found") from None
    return servers.position(last, wanted.order)


def one_number(request: Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise Invalid(
            f"Invalid input for query parameters {name}. Value: {text}. It is not a number of 0 or more."
        )
    return int(text)


async def read(request: Request, kind: str) -> Wanted:
    given = accepted(request)
    project = scope(request, given, kind)
    equals: dict[str, Any] = {}
    where: list[Any] = []
    states = by_state(request, given)
    if states is not None:
        equals["state"] = tuple(states)
    times(given, where)
    places = await by_place(request, given, equals)
    tests = by_record(request, given)
    nothing = states == [] or not places or truthy(given.get("deleted")) or not fixed_values(given)
    return Wanted(
        project=project,
        equals=equals,
        where=where,
        tests=tests,
        picture_tests=by_address(given),
        order=orders(request),
        nothing=nothing,
    )


def accepted(request: Request) -> dict[str, str]:
    """The parameters that count for this caller and version."""
    version, given = request.version, dict(request.query)
    names = NAMES | (TAGS if version >= (2, 26) else set())
    names |= {"changes-before"} if version >= (2, 66) else set()
    names |= {"locked"} if version >= (2, 73) else set()
    for name in given:
        if name in JOINED or name.startswith("_"):
            raise Invalid(f"Invalid filter field: {name}.")
        if name not in names and version >= (2, 75):
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{name}' was unexpected)"
            )
    allowed = names
    if not request.allowed("os_compute_api:servers:allow_all_filters"):
        allowed = names & (EVERYONES | (SINCE_2_83 if version >= (2, 83) else set()))
        if version < (2, 5):
            allowed -= {"ip6"}
    return {name: value for name, value in given.items() if name in allowed}


def scope(request: Request, given: dict[str, str], kind: str) -> UUID | None:
    """The project to list; None: all."""
    text = given.get("all_tenants")
    if text is None or (text.strip().lower() in FALSE and text.strip()):
        return request.caller.home
    if text.strip() and not truthy(text):
        raise Invalid(f"Invalid input for query parameters all_tenants. Value: {text}. It is not a boolean.")
    request.enforce(f"os_compute_api:servers:{kind}:get_all_tenants")
    named = given.get("project_id") or given.get("tenant_id")
    if named is None:
        return None
    try:
        return UUID(named)
    except ValueError:
        return UUID(int=0)


def by_state(request: Request, given: dict[str, str]) -> list[State] | None:
    """The states to show; None: all but the destroyed ones' own condition."""
    chosen: set[State] | None = None
    if "status" in given:
        asked = [status.upper() for status in request.query.all("status")]
        if not any(words.known_status(status) for status in asked):
            if request.version >= (2, 38):
                raise Invalid("Invalid status value")
            return []
        if asked == ["DELETED"] and not request.caller.admin:
            raise Forbidden("Only administrators may list deleted instances")
        chosen = {state for status in asked for state in words.states_of(status)}
    for name, find in (("vm_state", words.with_vm_state), ("task_state", words.with_task_state)):
        if name in given:
            found = set(find(given[name]))
            chosen = found if chosen is None else chosen & found
    if "power_state" in given:
        text = given["power_state"]
        found = set(words.with_power(int(text))) if text.isdigit() and len(text) < 4 else set()
        chosen = found if chosen is None else chosen & found
    hidden = {State.DESTROYED, State.RECOVERING}
    if chosen is None:
        chosen = set(State) - (set() if truthy(given.get("soft_deleted")) else hidden)
    return sorted(chosen)


def times(given: dict[str, str], where: list[Any]) -> None:
    since, before = moment(given, "changes-since"), moment(given, "changes-before")
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    if since:
        where.append(ge("updated_at", since))
    if before:
        where.append(le("updated_at", before))


def moment(given: dict[str, str], name: str) -> datetime | None:
    if name not in given:
        return None
    try:
        at = datetime.fromisoformat(given[name].replace(" ", "+"))
    except ValueError:
        raise Invalid(f"Invalid input for query parameters {name}. It is not a 'date-time'.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def by_place(request: Request, given: dict[str, str], equals: dict[str, Any]) -> bool:
    """Conditions on what a server refers to; False when that does not exist, so that nothing can match."""
    if "flavor" in given:
        try:
            equals["size"] = (await sizes.show(request.cloud, request.caller, given["flavor"])).id
        except NotFound:
            return False
    image = given.get("image") or given.get("image_ref")
    for name, column, text in (
        ("image", "image", image),
        ("uuid", "id", given.get("uuid")),
        ("user_id", "user", given.get("user_id")),
    ):
        if text is not None:
            try:
                equals[column] = UUID(text.rsplit("/", 1)[-1] if name == "image" else text)
            except ValueError:
                return False
    host = given.get("host") or given.get("node")
    if host is not None:
        async with request.cloud.view() as look:
            try:
                equals["host"] = (await hosts.named(look, host)).id
            except NotFound:
                return False
    return True


def fixed_values(given: dict[str, str]) -> bool:
    """Whether the filters on what is the same for every server here are met."""
    same = {"kernel_id": "", "ramdisk_id": "", "root_device_name": "/dev/vda", "locked_by": ""}
    return all(given[name] == value for name, value in same.items() if name in given)


def by_record(request: Request, given: dict[str, str]) -> list[Callable[[Server], bool]]:
    tests: list[Callable[[Server], bool]] = []
    texts: tuple[tuple[str, Callable[[Server], str]], ...] = (
        ("name", lambda server: server.name),
        ("display_name", lambda server: server.name),
        ("description", lambda server: server.description),
        ("display_description", lambda server: server.description),
        ("hostname", lambda server: server.hostname),
        ("key_name", lambda server: server.key_name),
    )
    for name, read_text in texts:
        if name in given:
            tests.append(matching(pattern(given[name], name), read_text))
    if "config_drive" in given:
        wanted = truthy(given["config_drive"])
        tests.append(lambda server: server.config_drive is wanted)
    if "locked" in given:
        locked = truthy(given["locked"])
        tests.append(lambda server: server.locked is locked)
    for name in TAGS & given.keys():
        tests.append(tagged(name, set(given[name].split(","))))
    return tests


def matching(expression: re.Pattern[str], read_text: Callable[[Server], str]) -> Callable[[Server], bool]:
    return lambda server: expression.search(read_text(server)) is not None


def tagged(name: str, tags: set[str]) -> Callable[[Server], bool]:
    return {
        "tags": lambda server: tags <= set(server.tags),
        "tags-any": lambda server: bool(tags & set(server.tags)),
        "not-tags": lambda server: not tags <= set(server.tags),
        "not-tags-any": lambda server: not tags & set(server.tags),
    }[name]


def by_address(given: dict[str, str]) -> list[Callable[[Picture], bool]]:
    """What is not in the server's own record."""
    tests: list[Callable[[Picture], bool]] = []
    for name in ("ip", "ip6"):
        if name in given:
            expression = pattern(given[name], name)
            tests.append(lambda picture, of=expression: any(of.search(text) for text in texts_of(picture)))  # type: ignore[misc]
    if "availability_zone" in given:
        zone = given["availability_zone"]
        tests.append(lambda picture: zone == (picture.facet.get(PINNED) or picture.zone_name))
    return tests


def texts_of(picture: Picture) -> list[str]:
    return [address.address for interface in picture.interfaces for address in interface.addresses]


def pattern(text: str, name: str) -> re.Pattern[str]:
    """A regular expression that cannot keep us busy: groups are not repeated, and repeats are few."""
    if (
        len(text) > 255
        or re.search(r"\)\s*[*+{?]|\\[0-9]", text)
        or len(re.findall(r"[*+{]", text)) > MAX_REPEATS
    ):
        raise Invalid(
            f"Invalid input for query parameters {name}: the expression is too complex; use a simpler one."
        )
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise Invalid(f"Invalid input for query parameters {name}: {error}.") from None


def orders(request: Request) -> tuple[str, ...]:
    keys, directions = request.query.all("sort_key"), request.query.all("sort_dir")
    terms = []
    for at, key in enumerate(keys):
        if key in IGNORED or (key == "locked" and request.version < (2, 73)):
            if request.version >= (2, 75):
                raise Invalid(
                    f"Invalid input for query parameters sort_key. Value: {key}. It is not one to sort by."
                )
            continue
        if key not in ORDERS and key not in SAME_FOR_ALL:
            raise Invalid(
                f"Invalid input for query parameters sort_key. Value: {key}. It is not one to sort by."
            )
        if key in ("host", "node") and not request.caller.admin:
            raise Forbidden("Only administrators can sort servers by compute host or node")
        if key in ORDERS:
            terms.append(
                sign(directions[min(at, len(directions) - 1)] if directions else "desc") + ORDERS[key]
            )
    if not terms:
        terms = [sign(directions[0] if directions else "desc") + "created_at"]
    return tuple(dict.fromkeys(terms))


def sign(direction: str) -> str:
    if direction not in ("asc", "desc"):
        raise Invalid(f"Unknown sort direction, must be 'desc' or 'asc', not {direction[:20]!r}")
    return "-" if direction == "desc" else ""
