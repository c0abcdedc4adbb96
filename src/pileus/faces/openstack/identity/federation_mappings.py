"""/v3/OS-FEDERATION/mappings: by which rules what a provider says becomes users, groups and roles."""

from typing import Any

import msgspec

from pileus.core.identity.federation import mappings as core
from pileus.core.identity.federation.federation_records import Mapping
from pileus.faces.openstack.identity.federation_providers import identifier
from pileus.faces.openstack.identity.refs import listed, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

PATH = "/v3/OS-FEDERATION/mappings"


class MappingBody(msgspec.Struct, frozen=True, kw_only=True):
    """Its rules are checked by the core, which knows the versions of their language."""

    rules: list[dict[str, Any]]
    schema_version: str | None = None

    @property
    def version(self) -> str:
        return self.schema_version or core.FIRST_VERSION


def view(request: Request, mapping: Mapping) -> dict[str, Any]:
    return {
        "id": mapping.id,
        "rules": mapping.rules,
        "schema_version": mapping.schema_version,
        "links": self_link(request, "OS-FEDERATION", "mappings", mapping.id),
    }


@SERVICE.operation("GET", PATH, policy="identity:list_mappings")
async def list_all(request: Request) -> dict[str, Any]:
    found = await core.list_all(request.cloud, request.caller)
    return listed(request, "mappings", [view(request, mapping) for mapping in found])


@SERVICE.operation(
    "PUT",
    f"{PATH}/{{mapping}}",
    policy="identity:create_mapping",
    body=("mapping", MappingBody),
    status=201,
)
async def create(request: Request, mapping: str, body: MappingBody) -> dict[str, Any]:
    made = await core.create(request.cloud, request.caller, identifier(mapping), body.rules, body.version)
    return {"mapping": view(request, made)}


@SERVICE.operation("GET", f"{PATH}/{{mapping}}", policy="identity:get_mapping")
async def show(request: Request, mapping: str) -> dict[str, Any]:
    return {"mapping": view(request, await core.show(request.cloud, request.caller, mapping))}


@SERVICE.operation(
    "PATCH", f"{PATH}/{{mapping}}", policy="identity:update_mapping", body=("mapping", MappingBody)
)
async def update(request: Request, mapping: str, body: MappingBody) -> dict[str, Any]:
    changed = await core.update(request.cloud, request.caller, mapping, body.rules, body.version)
    return {"mapping": view(request, changed)}


@SERVICE.operation("DELETE", f"{PATH}/{{mapping}}", policy="identity:delete_mapping", status=204)
async def delete(request: Request, mapping: str) -> None:
    await core.delete(request.cloud, request.caller, mapping)
