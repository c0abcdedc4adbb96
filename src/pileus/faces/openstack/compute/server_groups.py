"""Server groups: servers that shall be on one host, or on different ones."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pileus.core.compute import server_groups
from pileus.core.compute.records import Affinity
from pileus.core.compute.server_groups import Filled
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.compute.parsing import Name, Struct, name, number
from pileus.faces.openstack.compute.server_filters import one_number
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.wire import Request, Versioned

ONE = "/os-server-groups/{group}"
POLICY: Mapping[Affinity, str] = {
    Affinity.TOGETHER: "affinity",
    Affinity.APART: "anti-affinity",
    Affinity.SOFT_TOGETHER: "soft-affinity",
    Affinity.SOFT_APART: "soft-anti-affinity",
}
AFFINITY = {word: affinity for affinity, word in POLICY.items()}


def view(request: Request, found: Filled) -> dict[str, Any]:
    group, version = found.group, request.version
    shown: dict[str, Any] = {"id": str(group.id), "name": group.name}
    if version >= (2, 64):
        several = {"max_server_per_host": group.most_per_host} if group.most_per_host > 1 else {}
        shown |= {"policy": POLICY[group.affinity], "rules": several}
    else:
        shown |= {"policies": [POLICY[group.affinity]], "metadata": {}}
    shown["members"] = [str(member) for member in found.members]
    if version >= (2, 13):
        shown |= {"project_id": group.project.hex, "user_id": group.user.hex}
    return shown


@service.operation("GET", "/os-server-groups", policy="os_compute_api:os-server-groups:index")
async def index(request: Request) -> dict[str, Any]:
    query, caller = request.query, request.caller
    for parameter in query.keys() - {"all_projects", "limit", "offset"}:
        if request.version >= (2, 75):
            raise Invalid(
                "Invalid input for query parameters. "
                f"Additional properties are not allowed ('{parameter}' was unexpected)"
            )
    every = "all_projects" in query and caller.admin
    if every:
        request.enforce("os_compute_api:os-server-groups:index:all_projects")
    limit = one_number(request, "limit")
    cut = await server_groups.listing(
        request.cloud,
        caller,
        projects=None if every else (caller.home,),
        skip=one_number(request, "offset") or 0,
        limit=MAX_LIMIT if limit is None else min(limit, MAX_LIMIT),
    )
    found = await server_groups.with_members(request.cloud, cut.items)
    return {"server_groups": [view(request, each) for each in found]}


class Hard(Struct, frozen=True, kw_only=True):
    name: Name
    policies: Annotated[list[Literal["anti-affinity", "affinity"]], Meta(min_length=1, max_length=1)]


class Soft(Struct, frozen=True, kw_only=True):
    name: Name
    policies: Annotated[
        list[Literal["anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity"]],
        Meta(min_length=1, max_length=1),
    ]


class Rules(Struct, frozen=True, kw_only=True):
    max_server_per_host: int | str | UnsetType = UNSET


class Ruled(Struct, frozen=True, kw_only=True):
    name: Name
    policy: Literal["anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity"]
    rules: Rules = Rules()


@service.operation(
    "POST",
    "/os-server-groups",
    policy="os_compute_api:os-server-groups:create",
    body=("server_group", Versioned({(2, 1): Hard, (2, 15): Soft, (2, 64): Ruled})),
)
async def create(request: Request, body: Hard | Soft | Ruled) -> dict[str, Any]:
    most = 1
    if isinstance(body, Ruled):
        policy: str = body.policy
        given = body.rules.max_server_per_host
        if not isinstance(given, UnsetType):
            if policy != "anti-affinity":
                raise Invalid("Only anti-affinity policy supports rules.")
            most = number(given, "max_server_per_host", least=1)
    else:
        policy = body.policies[0]
    want = server_groups.Create(
        project=request.caller.home,
        name=name(body.name),
        affinity=AFFINITY[policy],
        most_per_host=most,
    )
    return {"server_group": view(request, await server_groups.create(request.cloud, request.caller, want))}


@service.operation("GET", ONE, policy="os_compute_api:os-server-groups:show")
async def show(request: Request, group: str) -> dict[str, Any]:
    return {
        "server_group": view(request, await server_groups.show(request.cloud, request.caller, key(group)))
    }


@service.operation("DELETE", ONE, policy="os_compute_api:os-server-groups:delete", status=204)
async def delete(request: Request, group: str) -> None:
    await server_groups.remove(request.cloud, request.caller, key(group))


def key(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("Instance group", text[:64]) from None
