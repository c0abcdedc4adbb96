"""Servers: made, listed, shown, changed and deleted."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType, field

from pileus.core.compute import pictures, servers
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.compute import server_filters, server_view
from pileus.faces.openstack.compute.parsing import (
    Name,
    Struct,
    Text255,
    hostname,
    name,
    refuse_out_of_version,
    sent,
    truth,
)
from pileus.faces.openstack.compute.server_requests import (
    CreateBody,
    access_address,
    as_input,
    deployment,
)
from pileus.faces.openstack.compute.server_view import FACET
from pileus.faces.openstack.compute.service import links, service
from pileus.faces.wire import Request, Response, Span


class UpdateServer(Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    disk_config: str | UnsetType = field(name="OS-DCF:diskConfig", default=UNSET)
    access4: str | UnsetType = field(name="accessIPv4", default=UNSET)
    access6: str | UnsetType = field(name="accessIPv6", default=UNSET)
    description: Text255 | UnsetType | None = UNSET
    hostname: str | UnsetType = UNSET


UPDATE_SPANS: dict[str, Span] = {"description": (2, 19), "hostname": (2, 90)}


@service.operation("POST", "/servers", policy="os_compute_api:servers:create", body=CreateBody, status=202)
async def create(request: Request, body: CreateBody) -> Any:
    if body.server.disks1 or body.server.disks2:
        request.enforce("os_compute_api:servers:create:attach_volume")
    reservation = truth(body.server.return_reservation_id, "return_reservation_id")
    try:
        want = await deployment(request, body)
        accepted = await servers.deploy(request.cloud, request.caller, want)
    except NotFound as error:
        raise as_input(error) from None
    made = accepted[0].resource
    if reservation:
        return {"reservation_id": f"r-{made.id.hex[-8:]}"}
    own = links(request, "servers", made.id)
    shown = {
        "id": str(made.id),
        "links": own,
        "OS-DCF:diskConfig": want.facets.get(FACET, {}).get("diskConfig", "MANUAL"),
        "security_groups": [{"name": group.name} for group in body.server.security_groups]
        or [{"name": "default"}],
        "adminPass": want.admin_password,
    }
    return Response(202, {"server": shown}, {"location": own[0]["href"]})


@service.operation("GET", "/servers", policy="os_compute_api:servers:index")
async def index(request: Request) -> dict[str, Any]:
    page = await server_filters.listed(request, "index")
    return {"servers": [server_view.brief(request, server) for server in page.items], **page.links("servers")}


@service.operation("GET", "/servers/detail", policy="os_compute_api:servers:detail")
async def detail(request: Request) -> dict[str, Any]:
    page = await server_filters.listed(request, "detail")
    shown = await pictures.several(request.cloud, page.items, face=FACET)
    listed = [server_view.full(request, picture, one=False) for picture in shown]
    return {"servers": listed, **page.links("servers")}


@service.operation("GET", "/servers/{server}", policy="os_compute_api:servers:show")
async def show(request: Request, server: UUID) -> dict[str, Any]:
    picture = await pictures.show(request.cloud, request.caller, server, face=FACET)
    return {"server": server_view.full(request, picture)}


@service.operation(
    "PUT", "/servers/{server}", policy="os_compute_api:servers:update", body=("server", UpdateServer)
)
async def update(request: Request, server: UUID, body: UpdateServer) -> dict[str, Any]:
    given = sent(body)
    refuse_out_of_version(given, UPDATE_SPANS, request.version, "server")
    changes: dict[str, Any] = {}
    if isinstance(body.name, str):
        changes["name"] = name(body.name)
    if body.description is not UNSET:
        changes["description"] = body.description or ""
    if isinstance(body.hostname, str):
        changes["hostname"] = hostname(body.hostname, request.version)
    await servers.update(request.cloud, request.caller, server, facets=facets(body), **changes)
    picture = await pictures.show(request.cloud, request.caller, server, face=FACET)
    shown = server_view.full(request, picture)
    return {"server": shown if request.version >= (2, 75) else older_update(shown, request)}


def facets(body: UpdateServer) -> dict[str, dict[str, Any]]:
    kept: dict[str, Any] = {}
    if isinstance(body.disk_config, str):
        if body.disk_config not in ("AUTO", "MANUAL"):
            raise Invalid("Invalid input for field/attribute OS-DCF:diskConfig. It is AUTO or MANUAL.")
        kept["diskConfig"] = body.disk_config
    for field_name, value in (("accessIPv4", body.access4), ("accessIPv6", body.access6)):
        if isinstance(value, str):
            kept[field_name] = access_address(value, field_name) or None
    return {FACET: kept} if kept else {}


def older_update(shown: dict[str, Any], request: Request) -> dict[str, Any]:
    """Before 2.75 an update answered less than a show."""
    left_out = {"config_drive", "key_name", "security_groups", "host_status"}
    return {
        key: value
        for key, value in shown.items()
        if key not in left_out and not key.startswith(("OS-EXT-", "OS-SRV-USG", "os-extended-volumes"))
    }


@service.operation("DELETE", "/servers/{server}", policy="os_compute_api:servers:delete", status=204)
async def delete(request: Request, server: UUID) -> None:
    await servers.delete(request.cloud, request.caller, server)
