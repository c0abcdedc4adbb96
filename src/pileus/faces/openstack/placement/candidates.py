"""Allocation candidates: the hosts that could take what is asked.

Hosts have no children and share nothing, so every group of a granular request is met by the same host.
"""

import re
from typing import Any

import msgspec

from pileus.core.compute.records import Host
from pileus.core.placement import reading
from pileus.faces.openstack.placement.service import (
    BadQuery,
    Seen,
    aggregates_match,
    answer,
    beside,
    capacity,
    fits,
    service,
    traits,
    traits_match,
    usage,
    uuid,
    wanted_resources,
)
from pileus.faces.wire import Request, Response

PARTS = ("resources", "required", "member_of", "in_tree")
SINCE = {"resources": (1, 10), "required": (1, 17), "member_of": (1, 21), "in_tree": (1, 31)}
SINGLE = {"limit": (1, 16), "group_policy": (1, 25), "root_required": (1, 35), "same_subtree": (1, 36)}


class Group(msgspec.Struct, kw_only=True):
    resources: dict[str, int] = {}
    required: list[str] = []
    member_of: list[str] = []
    in_tree: str = ""


def groups(request: Request) -> dict[str, Group]:
    """By suffix; the plain group has none."""
    version = request.version
    suffix = r"([a-zA-Z0-9_-]{1,64})?" if version >= (1, 33) else r"([1-9][0-9]*)?"
    found: dict[str, Group] = {}
    for name, value in request.query.pairs:
        if name in SINGLE and version >= SINGLE[name]:
            continue
        match = re.fullmatch(f"({'|'.join(PARTS)}){suffix if version >= (1, 25) else '()'}", name)
        if match is None or version < SINCE[match[1]]:
            raise BadQuery(
                f"Invalid query string parameters: Additional properties are not allowed ('{name}' was unexpected)"
            )
        group = found.setdefault(match[2] or "", Group())
        if match[1] == "resources":
            group.resources = wanted_resources(value, name)
        elif match[1] == "in_tree":
            group.in_tree = value
        else:
            getattr(group, match[1]).append(value)
    if not any(group.resources for group in found.values()):
        raise BadQuery(
            "At least one group of 'resources' must be provided: 'resources' is a required property"
        )
    return found


def meets(host: Host, wanted: dict[str, Group], request: Request, seen: Seen) -> bool:
    version = request.version
    inside = seen.aggregates.get(host.id, set())
    for group in wanted.values():
        if group.in_tree and uuid(group.in_tree, "in_tree") != host.id:
            return False
        if not traits_match(host, group.required, version, seen.traits):
            return False
        if not aggregates_match(inside, group.member_of, version):
            return False
    root = request.query.all("root_required")
    return traits_match(host, root, version, seen.traits) and fits(host, summed(wanted))


def summed(wanted: dict[str, Group]) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for group in wanted.values():
        for name, amount in group.resources.items():
            amounts[name] = amounts.get(name, 0) + amount
    return amounts


@service.operation(
    "GET", "/allocation_candidates", policy="placement:allocation_candidates:list", since=(1, 10)
)
async def candidates(request: Request) -> Response:
    wanted = groups(request)
    granular = [suffix for suffix in wanted if suffix]
    policy = request.query.get("group_policy")
    if policy not in (None, "none", "isolate"):
        raise BadQuery("Invalid query string parameters: group_policy is none or isolate")
    if len(granular) > 1 and policy is None:
        raise BadQuery(
            'The "group_policy" parameter is required when specifying more than one granular group.'
        )
    limit = request.query.get("limit", "")
    if limit and (not limit.isdigit() or int(limit) < 1):
        raise BadQuery(f"Invalid query string parameters: limit {limit[:20]} is not a positive number")
    held, seen = await reading.hosts(request.cloud, request.caller), await beside(request)
    found = [host for host in held if meets(host, wanted, request, seen)]
    if policy == "isolate" and len(granular) > 1:
        # Each group would need a provider of its own in one tree, and no host has more than one.
        found = []
    found = found[: int(limit)] if limit else found
    return answer(
        request,
        {
            "allocation_requests": [allocation(request, host, wanted) for host in found],
            "provider_summaries": {str(host.id): summary(request, host, wanted) for host in found},
        },
    )


def allocation(request: Request, host: Host, wanted: dict[str, Group]) -> dict[str, Any]:
    amounts = summed(wanted)
    if request.version < (1, 12):
        return {"allocations": [{"resource_provider": {"uuid": str(host.id)}, "resources": amounts}]}
    shown: dict[str, Any] = {"allocations": {str(host.id): {"resources": amounts}}}
    if request.version >= (1, 34):
        shown["mappings"] = {suffix: [str(host.id)] for suffix, group in wanted.items() if group.resources}
    return shown


def summary(request: Request, host: Host, wanted: dict[str, Group]) -> dict[str, Any]:
    version, used, most = request.version, usage(host), capacity(host)
    names = most if version >= (1, 27) else [name for name in most if name in summed(wanted)]
    shown: dict[str, Any] = {
        "resources": {name: {"capacity": most[name], "used": used[name]} for name in names}
    }
    if version >= (1, 17):
        shown["traits"] = traits(host)
    if version >= (1, 29):
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": str(host.id)}
    return shown
