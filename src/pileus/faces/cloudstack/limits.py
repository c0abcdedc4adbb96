"""Limits of accounts, projects and domains: the core's quota under CloudStack's names and numbers; those of machines also
by the tags that their offerings demand of a host."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from pileus.core import limits as core
from pileus.core import quota, uses
from pileus.core.cloud import Look
from pileus.core.errors import Forbidden
from pileus.core.identity import domain_limits, domains
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Domain, Project
from pileus.core.quota import PROJECTS, UNLIMITED
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import Call, Listed, Shown, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid_id
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Params, Placed, ProjectListing, param

LIMITS: Mapping[str, str] = {
    "user_vm": "servers",
    "public_ip": "addresses",
    "volume": "volumes",
    "snapshot": "snapshots",
    "template": "images",
    "project": PROJECTS,
    "network": "networks",
    "vpc": "routers",
    "cpu": "vcpus",
    "memory": "memory_mib",
    "primary_storage": "volume_gib",
}
"""CloudStack's kinds of resources that the core limits (projects: of domains). The others are unlimited, and 0 of them
are counted."""
PREFIXES = {"user_vm": "vm", "public_ip": "ip"}
"""Of fields; of other kinds their name without the underscore."""
HOST_TAGGED = ("user_vm", "cpu", "memory", "gpu")
"""Kinds that are also limited by the tags of offerings; of GPUs 0 are counted."""
STORAGE_TAGGED = ("volume", "primary_storage")
"""Kinds that CloudStack limits by the tags of disk offerings, which have none here."""
Numbers = Mapping[str, tuple[int, int]]


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whose limits are meant: a project (or account), or a domain; and how an answer shows it."""

    project: UUID | None = None
    domain: UUID | None = None
    shown: dict[str, Any]


class ListLimits(ProjectListing):
    type: int | None = param("resourcetype", "number of the kind of resource", default=None)
    type_name: str = param("resourcetypename", "name of the kind of resource", default="")
    tag: str = param("tag", "list the limits by this tag only, beside those without one", default="")


class UpdateLimit(Placed):
    type: int = param("resourcetype", "number of the kind of resource")
    max: int | None = param("max", "the limit; -1, or none: unlimited", default=None)
    tag: str = param("tag", "the tag of offerings whose machines are limited; of all by default", default="")


class Recount(Params):
    domain: UUID = param("domainid", "the domain to count in, or that of the account")
    account: str = param("account", "count what this account has", default="")
    project: UUID | None = param("projectid", "count what this project has", default=None)
    type: int | None = param("resourcetype", "number of the kind of resource; all by default", default=None)
    tag: str = param("tag", "count what has this tag only", default="")


def kinds() -> dict[str, int]:
    """Numbers by name, in their order."""
    return dict(sorted(CATALOGUE.facts.resource_types.items(), key=lambda item: item[1]))


def kind_of(number: int) -> str:
    """Raises ApiError 431."""
    for name, known in kinds().items():
        if known == number:
            return name
    raise ApiError(
        PARAMETER, "Please specify valid resource type", exception="InvalidParameterValueException"
    )


def tags_of(call: Call, tag: str = "") -> tuple[str, ...]:
    """Those by which the operator has limits counted, or that one of them."""
    return tuple(
        each for each in sorted(set(call.cloud.config.resource_limit_host_tags)) if tag in ("", each)
    )


def tags_shown(call: Call) -> tuple[str, ...]:
    """Those that the answer shows: a list may be asked for one."""
    return tags_of(call, call.sent.get("tag", "") if call.command.entry.list else "")


async def fields_of(call: Call, look: Look, project: UUID) -> dict[str, Any]:
    """vmlimit, vmtotal, vmavailable and the like, of an account or a project."""
    tags = tags_shown(call)
    return limit_fields(await quota.usages(look.rows, project, tags), tags)


async def fields_of_domains(call: Call, look: Look, keys: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """The same, by domain."""
    tags = tags_shown(call)
    found = await domain_limits.usages(look, keys, tags)
    return {key: limit_fields(numbers, tags) for key, numbers in found.items()}


def limit_fields(numbers: Numbers, tags: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in kinds():
        prefix = PREFIXES.get(name, name.replace("_", ""))
        used, limit = of_kind(numbers, name)
        unlimited = limit == UNLIMITED
        made[f"{prefix}limit"] = "Unlimited" if unlimited else str(limit)
        made[f"{prefix}total"] = used
        made[f"{prefix}available"] = "Unlimited" if unlimited else str(max(0, limit - used))
    return made | ({"taggedresources": tagged_fields(numbers, tags)} if tags else {})


def tagged_fields(numbers: Numbers, tags: Sequence[str]) -> list[dict[str, Any]]:
    made = []
    for tag in tags:
        for name in HOST_TAGGED:
            used, limit = of_kind(numbers, name, tag)
            left = UNLIMITED if limit == UNLIMITED else limit - used
            shown = {"resourcetype": kinds()[name], "resourcetypename": name, "tag": tag}
            made.append({**shown, "limit": limit, "total": used, "available": left})
    return made


def resource_of(name: str, tag: str = "") -> str:
    """The core's word; empty for what it does not limit."""
    resource = LIMITS.get(name, "")
    return quota.tagged(resource, tag) if resource and tag else resource


def of_kind(numbers: Numbers, name: str, tag: str = "") -> tuple[int, int]:
    """(used, limit)."""
    return numbers.get(resource_of(name, tag), (0, UNLIMITED))


async def holder(
    call: Call, look: Look, *, account: str, domain: UUID | None, project: UUID | None
) -> Holder | None:
    """None when nobody is named. Raises ApiError 431 for who the caller may not see."""
    if project is not None:
        held = await look.maybe(Project, project)
        if held is None or not (call.caller.sees(project) or await _reads(call, look, held.domain)):
            raise invalid_id(call.name, "projectid", str(project))
        return await of_project(look, project)
    if account:
        return await of_project(look, (await owners.account_named(look, call, account, domain)).id)
    if domain is None:
        return None
    if await look.maybe(Domain, domain) is None or not await _reads(call, look, domain):
        raise invalid_id(call.name, "domainid", str(domain))
    return Holder(domain=domain, shown=(await owners.domains_shown(look, [domain]))[domain])


async def _reads(call: Call, look: Look, domain: UUID) -> bool:
    return await authority.reads(look, call.caller, domain)


async def of_project(look: Look, project: UUID) -> Holder:
    return Holder(project=project, shown=(await owners.shown(look, [project])).get(project, {}))


async def numbers_of(look: Look, who: Holder, tags: Sequence[str]) -> Numbers:
    if who.domain is not None:
        return (await domain_limits.usages(look, [who.domain], tags))[who.domain]
    assert who.project is not None
    return await quota.usages(look.rows, who.project, tags)


def view(name: str, who: Holder, limit: int, tag: str = "") -> dict[str, Any]:
    found = {"resourcetype": str(kinds()[name]), "resourcetypename": name, "max": limit, **who.shown}
    return found | ({"tag": tag} if tag else {})


def refuse_untaggable(name: str, tag: str, what: str) -> None:
    """Raises ApiError 431."""
    if tag and name not in (*HOST_TAGGED, *STORAGE_TAGGED):
        raise ApiError(
            PARAMETER, f"Resource {what} with a tag is not supported for resource type {kinds()[name]}"
        )


@command("listResourceLimits", params=ListLimits, ignored=("id",))
async def limits(call: Call, params: ListLimits) -> Listed[Any]:
    """Lists the limits of an account, a project or a domain; of the caller's account by default."""
    if params.type is not None:
        kind_of(params.type)
    async with call.cloud.view() as look:
        own = not params.account and params.project is None
        seen = not own or params.domain is None or await _reads(call, look, params.domain)
        domain = (
            params.domain if seen else None
        )  # who may not look at a domain gets the own limits, as in CloudStack
        who = await holder(call, look, account=params.account, domain=domain, project=params.project)
        who = who or await of_project(look, call.account)
        tags = tags_of(call, params.tag)
        numbers = await numbers_of(look, who, tags)
    made = []
    for name, number in kinds().items():
        if params.type in (None, number) and params.type_name.lower() in ("", name):
            shown = ("", *tags) if name in HOST_TAGGED else ("",)
            made += [view(name, who, of_kind(numbers, name, tag)[1], tag) for tag in shown]
    return cut(made, params)


@command("updateResourceLimit", params=UpdateLimit)
async def update(call: Call, params: UpdateLimit) -> Shown:
    """Sets a limit of an account, a project or a domain; of machines also by a tag of their offerings."""
    name = kind_of(params.type)
    refuse_untaggable(name, params.tag, "limit")
    limit = UNLIMITED if params.max is None else params.max
    async with call.cloud.view() as look:
        who = await holder(call, look, account=params.account, domain=params.domain, project=params.project)
    if who is None:
        raise ApiError(
            PARAMETER, "AccountId or domainId have to be specified in order to update resource limit"
        )
    if who.domain == domains.ROOT:
        raise Forbidden(
            "Cannot update resource limit for ROOT domain, permission denied; limit those below it."
        )
    resource = resource_of(name, params.tag)
    if params.tag and (name not in HOST_TAGGED or not tags_of(call, params.tag)):
        resource = ""
    charged = resource if who.domain is not None or resource != PROJECTS else ""
    if charged and who.domain is not None:
        await domain_limits.change(call.cloud, call.caller, who.domain, {charged: limit})
    elif charged and who.project is not None:
        await core.delegate(call.cloud, call.caller, who.project, {charged: limit})
    elif limit != UNLIMITED:
        raise ApiError(
            PARAMETER,
            f"There is nothing here that a limit of {name}{f' with the tag {params.tag}' if params.tag else ''} "
            "would limit; leave max out, or send -1.",
        )
    return Shown(view(name, who, limit, params.tag))


@command("updateResourceCount", params=Recount)
async def recount(call: Call, params: Recount) -> Listed[Any]:
    """Counts anew what an account, a project or a domain has, and corrects what is recorded."""
    wanted = list(kinds()) if params.type is None else [kind_of(params.type)]
    if params.type is not None:
        refuse_untaggable(wanted[0], params.tag, "count")
    tags = tags_of(call, params.tag)
    async with call.cloud.view() as look:
        who = await holder(call, look, account=params.account, domain=params.domain, project=params.project)
    assert who is not None
    if who.domain is not None:
        counted = await uses.recount_domain(call.cloud, call.caller, who.domain, tags)
    else:
        assert who.project is not None
        counted = await uses.recount_project(call.cloud, call.caller, who.project)
    shown = []
    for name in wanted:
        without = () if params.tag and name in (*HOST_TAGGED, *STORAGE_TAGGED) else ("",)
        for tag in (*without, *(tags if name in HOST_TAGGED else ())):
            count = {"resourcetypename": name, "resourcecount": counted.get(resource_of(name, tag), 0)}
            kept = {"tag": tag} if tag else {}
            shown.append({"resourcetype": str(kinds()[name]), **count, **kept, **who.shown})
    return Listed(shown, len(shown))
