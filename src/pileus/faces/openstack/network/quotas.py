"""/v2.0/quotas: limits of projects and what they use of them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core import limits
from pileus.core.errors import Forbidden, Invalid
from pileus.core.network.limits import RESOURCES as LIMITED
from pileus.core.network.limits import change, changed
from pileus.faces.openstack.network.attributes import Unfit, integer
from pileus.faces.openstack.network.collection import Shown
from pileus.faces.openstack.network.errors import RESOURCES
from pileus.faces.openstack.network.service import SERVICE, V2
from pileus.faces.wire.request import Request

CORE = {name: resource for resource, name in RESOURCES.items()}
LIMIT = integer(-1, 2_147_483_647)
QUOTAS = f"{V2}/quotas"
CHECK = "check_limit"
"""With it no limit is set below what is used."""


def view(held: Mapping[str, int]) -> Shown:
    return {RESOURCES[name]: held[name] for name in LIMITED}


def own(request: Request, project: UUID) -> UUID:
    """Others' quotas are an administrator's to see."""
    if project != request.caller.project and not request.caller.admin:
        raise Forbidden("Non-admin is not authorised to access quotas of another tenant")
    return project


@SERVICE.operation("GET", QUOTAS, policy="get_quotas")
async def list_quotas(request: Request) -> Shown:
    found = await changed(request.cloud, request.caller)
    return {
        "quotas": [
            {**view(held), "project_id": project.hex, "tenant_id": project.hex}
            for project, held in sorted(found.items())
        ]
    }


@SERVICE.operation("GET", f"{QUOTAS}/tenant", policy="get_quota")
async def show_tenant(request: Request) -> Shown:
    return {"tenant": {"tenant_id": request.caller.home.hex}}


@SERVICE.operation("GET", f"{QUOTAS}/project", policy="get_quota")
async def show_project(request: Request) -> Shown:
    return {"project": {"project_id": request.caller.home.hex}}


@SERVICE.operation("GET", f"{QUOTAS}/{{project}}", policy="get_quota")
async def show_quota(request: Request, project: UUID) -> Shown:
    found = await limits.show(request.cloud, request.caller, own(request, project), LIMITED)
    return {"quota": view({name: limit for name, (_, limit) in found.items()})}


@SERVICE.operation("GET", f"{QUOTAS}/{{project}}/default", policy="get_quota")
async def show_default(request: Request, project: UUID) -> Shown:
    own(request, project)
    return {"quota": view(await limits.defaults(request.cloud, LIMITED))}


async def details(request: Request, project: UUID) -> Shown:
    found = await limits.show(request.cloud, request.caller, own(request, project), LIMITED)
    return {
        "quota": {
            RESOURCES[name]: {"used": used, "limit": limit, "reserved": 0}
            for name, (used, limit) in found.items()
        }
    }


@SERVICE.operation("GET", f"{QUOTAS}/{{project}}/details", policy="get_quota")
async def show_details(request: Request, project: UUID) -> Shown:
    return await details(request, project)


@SERVICE.operation("GET", f"{QUOTAS}/{{project}}/details.json", policy="get_quota")
async def show_details_json(request: Request, project: UUID) -> Shown:
    return await details(request, project)


@SERVICE.operation("PUT", f"{QUOTAS}/{{project}}", policy="update_quota", body=dict[str, Any])
async def update_quota(request: Request, project: UUID, body: dict[str, Any]) -> Shown:
    wanted = body.get("quota")
    if not isinstance(wanted, dict):
        raise Invalid("Unable to find 'quota' in request body")
    unknown = [name for name in wanted if name not in CORE and name not in ("tenant_id", "project_id", CHECK)]
    if unknown:
        raise Invalid(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    changes = {}
    for name, resource in CORE.items():
        if name in wanted:
            try:
                changes[resource] = LIMIT(wanted[name])
            except Unfit as error:
                raise Invalid(f"Invalid input for {name}. Reason: {error}.") from None
    checked = wanted.get(CHECK, False)
    if not isinstance(checked, bool):
        raise Invalid(f"Invalid input for {CHECK}. Reason: write true or false.")
    await change(request.cloud, request.caller, project, changes, force=not checked)
    return await show_quota(request, project)


@SERVICE.operation("DELETE", f"{QUOTAS}/{{project}}", policy="delete_quota", status=204)
async def reset_quota(request: Request, project: UUID) -> None:
    await limits.reset(request.cloud, request.caller, project, LIMITED)
