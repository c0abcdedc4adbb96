"""/v3/OS-FEDERATION/identity_providers and their protocols."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity.federation import protocols, providers
from pileus.core.identity.federation.federation_records import IdentityProvider, Protocol
from pileus.faces.openstack.identity.attributes import text
from pileus.faces.openstack.identity.filters import Paged, cut, flag
from pileus.faces.openstack.identity.refs import domain_id, domain_key, listed, self_link, url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

PATH = "/v3/OS-FEDERATION/identity_providers"
RemoteId = Annotated[str, Meta(max_length=64)]
Minutes = Annotated[int, Meta(ge=0, le=1 << 30)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = False
    description: str | None = None
    authorization_ttl: Minutes | None = None
    remote_ids: tuple[RemoteId, ...] | None = None
    domain_id: str | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    authorization_ttl: Minutes | UnsetType | None = UNSET
    remote_ids: tuple[RemoteId, ...] | UnsetType | None = UNSET


class ProviderQuery(Paged, frozen=True, kw_only=True):
    id: str | None = None
    enabled: str | None = None


class ProtocolBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mapping_id: Key
    remote_id_attribute: RemoteId | UnsetType | None = UNSET


def identifier(key: str) -> str:
    """An id that a client chose for something new. Raises Invalid."""
    if not 0 < len(key) <= 64:
        raise Invalid(f"The id {key[:80]!r} has {len(key)} characters; choose one of 1 to 64.")
    return key


def view(request: Request, provider: IdentityProvider) -> dict[str, Any]:
    here = self_link(request, "OS-FEDERATION", "identity_providers", provider.id)
    return {
        "id": provider.id,
        "domain_id": domain_id(provider.domain),
        "enabled": provider.enabled,
        "description": provider.description or None,
        "remote_ids": provider.remote_ids,
        "authorization_ttl": provider.authorization_minutes,
        "links": here | {"protocols": f"{here['self']}/protocols"},
    }


def protocol_view(request: Request, protocol: Protocol) -> dict[str, Any]:
    provider = url(request, "OS-FEDERATION", "identity_providers", protocol.provider)
    return {
        "id": protocol.id,
        "mapping_id": protocol.mapping,
        "links": {"self": f"{provider}/protocols/{protocol.id}", "identity_provider": provider},
    }


def require_change(body: msgspec.Struct) -> None:
    """Raises Invalid for an update of nothing."""
    if all(value is UNSET for value in msgspec.structs.asdict(body).values()):
        raise Invalid("The update is empty; name what shall change.")


def distinct(remote_ids: tuple[str, ...] | None) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(remote_ids or ()))
    if len(found) != len(remote_ids or ()):
        raise Invalid("A remote id is named twice in remote_ids; name each once.")
    return found


@SERVICE.operation("GET", PATH, policy="identity:list_identity_providers", query=ProviderQuery)
async def list_all(request: Request, query: ProviderQuery) -> dict[str, Any]:
    equals: dict[str, Any] = {} if query.id is None else {"id": query.id}
    if query.enabled is not None:
        equals["enabled"] = flag(query.enabled, "enabled")
    found = await providers.list_all(request.cloud, request.caller, **equals)
    return cut(request, "identity_providers", [view(request, provider) for provider in found], query)


@SERVICE.operation(
    "PUT",
    f"{PATH}/{{identity_provider}}",
    policy="identity:create_identity_provider",
    body=("identity_provider", Wanted),
    status=201,
)
async def create(request: Request, identity_provider: str, body: Wanted) -> dict[str, Any]:
    want = providers.CreateProvider(
        id=identifier(identity_provider),
        domain=domain_key(body.domain_id) if body.domain_id is not None else None,
        enabled=body.enabled,
        description=body.description or "",
        remote_ids=distinct(body.remote_ids),
        authorization_minutes=body.authorization_ttl,
    )
    made = await providers.create(request.cloud, request.caller, want)
    return {"identity_provider": view(request, made)}


@SERVICE.operation("GET", f"{PATH}/{{identity_provider}}", policy="identity:get_identity_provider")
async def show(request: Request, identity_provider: str) -> dict[str, Any]:
    found = await providers.show(request.cloud, request.caller, identity_provider)
    return {"identity_provider": view(request, found)}


@SERVICE.operation(
    "PATCH",
    f"{PATH}/{{identity_provider}}",
    policy="identity:update_identity_provider",
    body=("identity_provider", Changed),
)
async def update(request: Request, identity_provider: str, body: Changed) -> dict[str, Any]:
    require_change(body)
    want = providers.UpdateProvider(
        enabled=body.enabled,
        description=text(body.description),
        authorization_minutes=body.authorization_ttl,
        remote_ids=body.remote_ids if body.remote_ids is UNSET else distinct(body.remote_ids),
    )
    changed = await providers.update(request.cloud, request.caller, identity_provider, want)
    return {"identity_provider": view(request, changed)}


@SERVICE.operation(
    "DELETE", f"{PATH}/{{identity_provider}}", policy="identity:delete_identity_provider", status=204
)
async def delete(request: Request, identity_provider: str) -> None:
    await providers.delete(request.cloud, request.caller, identity_provider)


@SERVICE.operation("GET", f"{PATH}/{{identity_provider}}/protocols", policy="identity:list_protocols")
async def list_protocols(request: Request, identity_provider: str) -> dict[str, Any]:
    found = await protocols.list_all(request.cloud, request.caller, identity_provider)
    shown = [
        protocol_view(request, protocol)
        | {"idp_id": protocol.provider, "remote_id_attribute": protocol.remote_id_attribute or None}
        for protocol in found
    ]
    return listed(request, "protocols", shown)


@SERVICE.operation(
    "PUT",
    f"{PATH}/{{identity_provider}}/protocols/{{protocol}}",
    policy="identity:create_protocol",
    body=("protocol", ProtocolBody),
    status=201,
)
async def create_protocol(
    request: Request, identity_provider: str, protocol: str, body: ProtocolBody
) -> dict[str, Any]:
    made = await protocols.create(
        request.cloud, request.caller, identity_provider, identifier(protocol), uses(body)
    )
    return {"protocol": protocol_view(request, made)}


def uses(body: ProtocolBody) -> protocols.Uses:
    return protocols.Uses(mapping=body.mapping_id, remote_id_attribute=text(body.remote_id_attribute))


@SERVICE.operation(
    "GET", f"{PATH}/{{identity_provider}}/protocols/{{protocol}}", policy="identity:get_protocol"
)
async def show_protocol(request: Request, identity_provider: str, protocol: str) -> dict[str, Any]:
    found = await protocols.show(request.cloud, request.caller, identity_provider, protocol)
    return {"protocol": protocol_view(request, found)}


@SERVICE.operation(
    "PATCH",
    f"{PATH}/{{identity_provider}}/protocols/{{protocol}}",
    policy="identity:update_protocol",
    body=("protocol", ProtocolBody),
)
async def update_protocol(
    request: Request, identity_provider: str, protocol: str, body: ProtocolBody
) -> dict[str, Any]:
    changed = await protocols.update(request.cloud, request.caller, identity_provider, protocol, uses(body))
    return {"protocol": protocol_view(request, changed)}


@SERVICE.operation(
    "DELETE",
    f"{PATH}/{{identity_provider}}/protocols/{{protocol}}",
    policy="identity:delete_protocol",
    status=204,
)
async def delete_protocol(request: Request, identity_provider: str, protocol: str) -> None:
    await protocols.delete(request.cloud, request.caller, identity_provider, protocol)
