"""What belongs to a server and has paths of its own: metadata, tags, addresses, security groups."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from pileus.core.compute import pictures, servers
from pileus.core.errors import Invalid, NotFound
from pileus.core.network import groups
from pileus.faces.openstack.compute import server_view
from pileus.faces.openstack.compute.parsing import Metadata, Struct, Tag
from pileus.faces.openstack.compute.service import service
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request, Response

METADATA = "/servers/{server}/metadata"
TAGS = "/servers/{server}/tags"


class Whole(Struct, frozen=True, kw_only=True):
    metadata: Metadata


class Item(Struct, frozen=True, kw_only=True):
    meta: Metadata


@service.operation("GET", METADATA, policy="os_compute_api:server-metadata:index")
async def metadata(request: Request, server: UUID) -> dict[str, Any]:
    return {"metadata": (await servers.show(request.cloud, request.caller, server)).metadata}


@service.operation("POST", METADATA, policy="os_compute_api:server-metadata:create", body=Whole)
async def add_metadata(request: Request, server: UUID, body: Whole) -> dict[str, Any]:
    changed = await servers.change_metadata(request.cloud, request.caller, server, put=body.metadata)
    return {"metadata": changed.metadata}


@service.operation("PUT", METADATA, policy="os_compute_api:server-metadata:update_all", body=Whole)
async def replace_metadata(request: Request, server: UUID, body: Whole) -> dict[str, Any]:
    changed = await servers.change_metadata(
        request.cloud, request.caller, server, put=body.metadata, whole=True
    )
    return {"metadata": changed.metadata}


@service.operation("GET", METADATA + "/{item}", policy="os_compute_api:server-metadata:show")
async def metadata_item(request: Request, server: UUID, item: str) -> dict[str, Any]:
    held = (await servers.show(request.cloud, request.caller, server)).metadata
    if item not in held:
        raise NotFound("Metadata item", item)
    return {"meta": {item: held[item]}}


@service.operation("PUT", METADATA + "/{item}", policy="os_compute_api:server-metadata:update", body=Item)
async def put_metadata_item(request: Request, server: UUID, item: str, body: Item) -> dict[str, Any]:
    if list(body.meta) != [item]:
        raise Invalid("Request body and URI mismatch")
    await servers.change_metadata(request.cloud, request.caller, server, put=body.meta)
    return {"meta": dict(body.meta)}


@service.operation("DELETE", METADATA + "/{item}", policy="os_compute_api:server-metadata:delete", status=204)
async def drop_metadata_item(request: Request, server: UUID, item: str) -> None:
    await servers.change_metadata(request.cloud, request.caller, server, drop=(item,))


class Tags(Struct, frozen=True, kw_only=True):
    tags: list[Tag]


@service.operation("GET", TAGS, policy="os_compute_api:os-server-tags:index", since=(2, 26))
async def tags(request: Request, server: UUID) -> dict[str, Any]:
    return {"tags": list((await servers.show(request.cloud, request.caller, server)).tags)}


@service.operation("PUT", TAGS, policy="os_compute_api:os-server-tags:update_all", since=(2, 26), body=Tags)
async def replace_tags(request: Request, server: UUID, body: Tags) -> dict[str, Any]:
    changed = await servers.change_tags(request.cloud, request.caller, server, lambda held: body.tags)
    return {"tags": list(changed.tags)}


@service.operation(
    "DELETE", TAGS, policy="os_compute_api:os-server-tags:delete_all", since=(2, 26), status=204
)
async def drop_tags(request: Request, server: UUID) -> None:
    await servers.change_tags(request.cloud, request.caller, server, lambda held: ())


@service.operation(
    "GET", TAGS + "/{tag}", policy="os_compute_api:os-server-tags:show", since=(2, 26), status=204
)
async def has_tag(request: Request, server: UUID, tag: str) -> None:
    if tag not in (await servers.show(request.cloud, request.caller, server)).tags:
        raise NotFound("Tag", f"{tag} of server {server}")


@service.operation("PUT", TAGS + "/{tag}", policy="os_compute_api:os-server-tags:update", since=(2, 26))
async def put_tag(request: Request, server: UUID, tag: str) -> Response:
    try:
        msgspec.convert(tag, Tag)
    except msgspec.ValidationError:
        raise Invalid(
            f"Invalid input for field/attribute tag. Value: {tag[:60]}. It has 1 to 60 characters, no '/' and no ','."
        ) from None
    before = await servers.show(request.cloud, request.caller, server)
    if tag in before.tags:
        return Response(204)
    await servers.change_tags(request.cloud, request.caller, server, lambda held: (*held, tag))
    location = f"{public_url(request)}{request.prefix}/servers/{server}/tags/{quote(tag, safe='')}"
    return Response(201, None, {"location": location})


@service.operation(
    "DELETE", TAGS + "/{tag}", policy="os_compute_api:os-server-tags:delete", since=(2, 26), status=204
)
async def drop_tag(request: Request, server: UUID, tag: str) -> None:
    def without(held: tuple[str, ...]) -> tuple[str, ...]:
        if tag not in held:
            raise NotFound("Tag", f"{tag} of server {server}")
        return tuple(each for each in held if each != tag)

    await servers.change_tags(request.cloud, request.caller, server, without)


@service.operation("GET", "/servers/{server}/ips", policy="os_compute_api:ips:index")
async def ips(request: Request, server: UUID) -> dict[str, Any]:
    return {"addresses": await addresses(request, server)}


@service.operation("GET", "/servers/{server}/ips/{network}", policy="os_compute_api:ips:show")
async def ips_of(request: Request, server: UUID, network: str) -> dict[str, Any]:
    found = await addresses(request, server)
    if network not in found:
        raise NotFound("Network label", network)
    return {network: found[network]}


async def addresses(request: Request, server: UUID) -> dict[str, list[dict[str, Any]]]:
    picture = await pictures.show(request.cloud, request.caller, server)
    return {
        name: [{"version": one["version"], "addr": one["addr"]} for one in listed]
        for name, listed in server_view.addresses(picture.interfaces).items()
    }


@service.operation(
    "GET", "/servers/{server}/os-security-groups", policy="os_compute_api:os-security-groups:list"
)
async def security_groups(request: Request, server: UUID) -> dict[str, Any]:
    picture = await pictures.show(request.cloud, request.caller, server)
    shown = []
    for group in picture.groups:
        _, rules = await groups.show(request.cloud, request.caller, group.id)
        shown.append(
            {
                "id": str(group.id),
                "name": group.name,
                "description": group.description,
                "tenant_id": group.project.hex,
                "rules": [
                    {
                        "id": str(rule.id),
                        "parent_group_id": str(group.id),
                        "ip_protocol": rule.protocol,
                        "from_port": rule.port_min if rule.port_min is not None else -1,
                        "to_port": rule.port_max if rule.port_max is not None else -1,
                        "ip_range": {"cidr": rule.remote_cidr} if rule.remote_cidr else {},
                        "group": {},
                    }
                    for rule in rules
                    if rule.direction == "ingress"
                ],
            }
        )
    return {"security_groups": shown}
