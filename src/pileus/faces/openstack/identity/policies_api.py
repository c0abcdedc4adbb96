"""/v3/policies, and OS-ENDPOINT-POLICY: documents that Keystone keeps for other services."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.identity.services import policy_documents as core
from pileus.core.identity.services.catalogue_records import PolicyDocument
from pileus.core.identity.services.policy_documents import Use
from pileus.faces.openstack.identity import endpoints
from pileus.faces.openstack.identity.attributes import changes, extras, kept
from pileus.faces.openstack.identity.filters import Paged, cut, names
from pileus.faces.openstack.identity.refs import listed, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

Type = Annotated[str, Meta(max_length=255)]
USES = "/v3/policies/{policy}/OS-ENDPOINT-POLICY"
ENDPOINT = USES + "/endpoints/{endpoint}"
OF_SERVICE = USES + "/services/{service}"
IN_REGION = OF_SERVICE + "/regions/{region}"


class CreatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    type: Type
    blob: str


class UpdatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    type: Type | UnsetType = UNSET
    blob: str | UnsetType = UNSET


class PolicyQuery(Paged, frozen=True, kw_only=True):
    type: str | None = None


def view(request: Request, policy: PolicyDocument) -> dict[str, Any]:
    key = policy.id.hex
    return {
        **policy.extra,
        "id": key,
        "type": policy.type,
        "blob": policy.blob,
        "links": self_link(request, "policies", key),
    }


@SERVICE.operation("GET", "/v3/policies", policy="identity:list_policies", query=PolicyQuery)
async def list_all(request: Request, query: PolicyQuery) -> dict[str, Any]:
    where = [match.condition("type") for match in names(request, "type")]
    found = await core.list_all(request.cloud, request.caller, *where, type=query.type)
    return cut(request, "policies", [view(request, policy) for policy in found], query)


@SERVICE.operation(
    "POST", "/v3/policies", policy="identity:create_policy", body=("policy", CreatePolicy), status=201
)
async def create(request: Request, body: CreatePolicy) -> dict[str, Any]:
    extra = await extras(request, "policy", CreatePolicy)
    want = core.CreatePolicy(type=body.type, blob=body.blob, extra=extra)
    return {"policy": view(request, await core.create(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/policies/{policy}", policy="identity:get_policy")
async def show(request: Request, policy: UUID) -> dict[str, Any]:
    return {"policy": view(request, await core.show(request.cloud, request.caller, policy))}


@SERVICE.operation(
    "PATCH", "/v3/policies/{policy}", policy="identity:update_policy", body=("policy", UpdatePolicy)
)
async def update(request: Request, policy: UUID, body: UpdatePolicy) -> dict[str, Any]:
    extra = kept(await changes(request, "policy", UpdatePolicy, policy.hex))
    want = core.UpdatePolicy(type=body.type, blob=body.blob, extra=extra)
    return {"policy": view(request, await core.update(request.cloud, request.caller, policy, want))}


@SERVICE.operation("DELETE", "/v3/policies/{policy}", policy="identity:delete_policy", status=204)
async def delete(request: Request, policy: UUID) -> None:
    await core.delete(request.cloud, request.caller, policy)


@SERVICE.operation("GET", USES + "/endpoints", policy="identity:list_endpoints_for_policy")
async def list_endpoints(request: Request, policy: UUID) -> dict[str, Any]:
    found = await core.endpoints_of(request.cloud, request.caller, policy)
    return listed(request, "endpoints", [endpoints.view(request, endpoint) for endpoint in found])


@SERVICE.operation(
    "GET", "/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy", policy="identity:get_policy_for_endpoint"
)
async def show_of_endpoint(request: Request, endpoint: UUID) -> dict[str, Any]:
    return {"policy": view(request, await core.of_endpoint(request.cloud, request.caller, endpoint))}


@SERVICE.operation("PUT", ENDPOINT, policy="identity:create_policy_association_for_endpoint", status=204)
async def use_for_endpoint(request: Request, policy: UUID, endpoint: UUID) -> None:
    await core.use(request.cloud, request.caller, policy, Use(endpoint=endpoint))


@SERVICE.operation("GET", ENDPOINT, policy="identity:check_policy_association_for_endpoint", status=204)
async def check_endpoint(request: Request, policy: UUID, endpoint: UUID) -> None:
    await core.check(request.cloud, request.caller, policy, Use(endpoint=endpoint))


@SERVICE.operation("DELETE", ENDPOINT, policy="identity:delete_policy_association_for_endpoint", status=204)
async def disuse_for_endpoint(request: Request, policy: UUID, endpoint: UUID) -> None:
    await core.disuse(request.cloud, request.caller, policy, Use(endpoint=endpoint))


@SERVICE.operation("PUT", OF_SERVICE, policy="identity:create_policy_association_for_service", status=204)
async def use_for_service(request: Request, policy: UUID, service: UUID) -> None:
    await core.use(request.cloud, request.caller, policy, Use(service=service))


@SERVICE.operation("GET", OF_SERVICE, policy="identity:check_policy_association_for_service", status=204)
async def check_service(request: Request, policy: UUID, service: UUID) -> None:
    await core.check(request.cloud, request.caller, policy, Use(service=service))


@SERVICE.operation("DELETE", OF_SERVICE, policy="identity:delete_policy_association_for_service", status=204)
async def disuse_for_service(request: Request, policy: UUID, service: UUID) -> None:
    await core.disuse(request.cloud, request.caller, policy, Use(service=service))


@SERVICE.operation(
    "PUT", IN_REGION, policy="identity:create_policy_association_for_region_and_service", status=204
)
async def use_in_region(request: Request, policy: UUID, service: UUID, region: str) -> None:
    await core.use(request.cloud, request.caller, policy, Use(service=service, region=region))


@SERVICE.operation(
    "GET", IN_REGION, policy="identity:check_policy_association_for_region_and_service", status=204
)
async def check_region(request: Request, policy: UUID, service: UUID, region: str) -> None:
    await core.check(request.cloud, request.caller, policy, Use(service=service, region=region))


@SERVICE.operation(
    "DELETE", IN_REGION, policy="identity:delete_policy_association_for_region_and_service", status=204
)
async def disuse_in_region(request: Request, policy: UUID, service: UUID, region: str) -> None:
    await core.disuse(request.cloud, request.caller, policy, Use(service=service, region=region))
