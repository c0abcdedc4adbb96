"""Flavors, their extra specs and who may use those that are not public."""

import re
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from pileus.core.compute import sizes
from pileus.core.compute.records import Size
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack import traits
from pileus.faces.openstack.compute.parsing import (
    Name,
    Struct,
    name,
    number,
    refuse_out_of_version,
    sent,
    truth,
)
from pileus.faces.openstack.compute.server_filters import one_number, sign
from pileus.faces.openstack.compute.service import MAX_LIMIT, links, service
from pileus.faces.wire import Request, page
from pileus.faces.wire.paging import Page

ONE = "/flavors/{flavor}"
SPECS = ONE + "/os-extra_specs"
REF = re.compile(r"[A-Za-z0-9._-]( ?[A-Za-z0-9._ -]*[A-Za-z0-9._-])?")
ORDERS = {
    "created_at": "created_at",
    "name": "name",
    "flavorid": "ref",
    "id": "id",
    "memory_mb": "memory_mib",
    "root_gb": "disk_gib",
    "ephemeral_gb": "ephemeral_gib",
    "swap": "swap_mib",
    "vcpus": "vcpus",
    "disabled": "disabled",
    "is_public": "public",
    "rxtx_factor": "created_at",
    "vcpu_weight": "created_at",
    "updated_at": "created_at",
}


def view(request: Request, size: Size, *, extra: bool = True) -> dict[str, Any]:
    version = request.version
    shown: dict[str, Any] = {
        "id": size.ref,
        "name": size.name,
        "ram": size.memory_mib,
        "disk": size.disk_gib,
        "vcpus": size.vcpus,
        "swap": size.swap_mib or (0 if version >= (2, 75) else ""),
        "OS-FLV-EXT-DATA:ephemeral": size.ephemeral_gib,
        "OS-FLV-DISABLED:disabled": size.disabled,
        "os-flavor-access:is_public": size.public,
        "rxtx_factor": 1.0,
        "links": links(request, "flavors", size.ref),
    }
    if version >= (2, 55):
        shown["description"] = size.description or None
    if version >= (2, 61) and extra and request.allowed("os_compute_api:os-flavor-extra-specs:index"):
        shown["extra_specs"] = sizes.specs(size)
    return shown


async def listed(request: Request) -> Page[Size]:
    query = request.query
    known = {"limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"}
    if request.version >= (2, 75):
        for parameter in query.keys() - known:
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )
    equals: dict[str, Any] = {}
    if request.caller.admin:
        public = query.get("is_public", "true")
        if public.strip().lower() != "none":
            equals["public"] = truth(public, "is_public")
    order = sign(query.get("sort_dir", "asc")) + sort_column(query.get("sort_key", "flavorid"))
    found = await sizes.listing(request.cloud, request.caller, order=(order,), **equals)
    least_ram, least_disk = one_number(request, "minRam") or 0, one_number(request, "minDisk") or 0
    found = [
        size
        for size in found
        if size.memory_mib >= least_ram and size.disk_gib >= least_disk and not size.disabled
    ]
    return page(
        request,
        found,
        one_number(request, "limit"),
        MAX_LIMIT,
        key=lambda size: size.ref,
        marker=query.get("marker"),
    )


def sort_column(key: str) -> str:
    if key not in ORDERS:
        raise Invalid(f"Invalid input for query parameters sort_key. Value: {key}. It is not one to sort by.")
    return ORDERS[key]


@service.operation("GET", "/flavors")
async def index(request: Request) -> dict[str, Any]:
    cut = await listed(request)
    shown = []
    for size in cut.items:
        own: dict[str, Any] = {
            "id": size.ref,
            "name": size.name,
            "links": links(request, "flavors", size.ref),
        }
        shown.append(own | ({"description": size.description or None} if request.version >= (2, 55) else {}))
    return {"flavors": shown, **cut.links("flavors")}


@service.operation("GET", "/flavors/detail")
async def detail(request: Request) -> dict[str, Any]:
    cut = await listed(request)
    return {"flavors": [view(request, size) for size in cut.items], **cut.links("flavors")}


@service.operation("GET", ONE)
async def show(request: Request, flavor: str) -> dict[str, Any]:
    return {"flavor": view(request, await sizes.show(request.cloud, request.caller, flavor))}


class Create(Struct, frozen=True, kw_only=True):
    name: Name
    ram: int | str
    vcpus: int | str
    disk: int | str
    id: str | int | None = None
    swap: int | str = 0
    rxtx_factor: float | str = 1.0
    ephemeral: int | str = field(name="OS-FLV-EXT-DATA:ephemeral", default=0)
    public: bool | str = field(name="os-flavor-access:is_public", default=True)
    description: Annotated[str, Meta(max_length=65535)] | UnsetType | None = UNSET


@service.operation(
    "POST", "/flavors", policy="os_compute_api:os-flavor-manage:create", body=("flavor", Create)
)
async def create(request: Request, body: Create) -> dict[str, Any]:
    refuse_out_of_version(sent(body), {"description": (2, 55)}, request.version, "flavor")
    check_factor(body.rxtx_factor)
    want = sizes.Create(
        name=name(body.name),
        ref=reference(body.id),
        description=body.description if isinstance(body.description, str) else "",
        vcpus=number(body.vcpus, "vcpus", least=1),
        memory_mib=number(body.ram, "ram", least=1),
        disk_gib=number(body.disk, "disk"),
        ephemeral_gib=number(body.ephemeral, "OS-FLV-EXT-DATA:ephemeral"),
        swap_mib=number(body.swap or 0, "swap"),
        public=truth(body.public, "os-flavor-access:is_public"),
    )
    return {"flavor": view(request, await sizes.create(request.cloud, request.caller, want))}


def check_factor(factor: float | str) -> None:
    try:
        good = 0 < float(factor) <= 3.40282e38
    except ValueError:
        good = False
    if not good:
        raise Invalid(
            f"Invalid input for field/attribute rxtx_factor. Value: {factor}. It is not a positive number."
        )


def reference(given: str | int | None) -> str:
    if given is None or given == "auto":
        return ""
    text = str(given)
    if len(text) > 255 or not REF.fullmatch(text):
        raise Invalid(
            "Invalid input for field/attribute id. It has 1 to 255 letters, digits, '.', '_', '-' and inner spaces."
        )
    return text


class Update(Struct, frozen=True, kw_only=True):
    description: Annotated[str, Meta(max_length=65535)] | None


@service.operation(
    "PUT", ONE, policy="os_compute_api:os-flavor-manage:update", body=("flavor", Update), since=(2, 55)
)
async def update(request: Request, flavor: str, body: Update) -> dict[str, Any]:
    changed = await sizes.update(request.cloud, request.caller, flavor, description=body.description or "")
    return {"flavor": view(request, changed)}


@service.operation("DELETE", ONE, policy="os_compute_api:os-flavor-manage:delete", status=202)
async def delete(request: Request, flavor: str) -> None:
    await sizes.delete(request.cloud, request.caller, flavor)


# Extra specs

SpecName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}$")]
SpecValue = Annotated[str, Meta(max_length=255)] | int | float


@service.operation("GET", SPECS, policy="os_compute_api:os-flavor-extra-specs:index")
async def specs(request: Request, flavor: str) -> dict[str, Any]:
    return {"extra_specs": sizes.specs(await sizes.show(request.cloud, request.caller, flavor))}


@service.operation(
    "POST",
    SPECS,
    policy="os_compute_api:os-flavor-extra-specs:create",
    body=("extra_specs", dict[SpecName, SpecValue]),
)
async def add_specs(request: Request, flavor: str, body: dict[str, Any]) -> dict[str, Any]:
    given = {known: str(value) for known, value in body.items()}
    check_traits(given)
    await sizes.set_specs(request.cloud, request.caller, flavor, given)
    return {"extra_specs": given}


def check_traits(given: dict[str, str]) -> None:
    for known, value in given.items():
        word = known.removeprefix(sizes.TRAIT)
        if word != known and (not traits.legal(word) or value not in ("required", "forbidden")):
            raise Invalid(
                f"Invalid extra spec {known}={value}: write trait:NAME=required or forbidden, with a standard "
                "trait's name or one that begins with CUSTOM_."
            )


@service.operation("GET", SPECS + "/{spec}", policy="os_compute_api:os-flavor-extra-specs:show")
async def show_spec(request: Request, flavor: str, spec: str) -> dict[str, Any]:
    held = sizes.specs(await sizes.show(request.cloud, request.caller, flavor))
    if spec not in held:
        raise NotFound("Flavor extra spec", f"{spec} of flavor {flavor}")
    return {spec: held[spec]}


@service.operation(
    "PUT",
    SPECS + "/{spec}",
    policy="os_compute_api:os-flavor-extra-specs:update",
    body=dict[SpecName, SpecValue],
)
async def put_spec(request: Request, flavor: str, spec: str, body: dict[str, Any]) -> dict[str, Any]:
    if list(body) != [spec]:
        raise Invalid("Request body and URI mismatch")
    given = {spec: str(body[spec])}
    check_traits(given)
    await sizes.set_specs(request.cloud, request.caller, flavor, given)
    return given


@service.operation("DELETE", SPECS + "/{spec}", policy="os_compute_api:os-flavor-extra-specs:delete")
async def drop_spec(request: Request, flavor: str, spec: str) -> None:
    await sizes.unset_spec(request.cloud, request.caller, flavor, spec)


# Access


def access_view(size: Size) -> dict[str, Any]:
    return {"flavor_access": [{"flavor_id": size.ref, "tenant_id": project.hex} for project in size.projects]}


@service.operation("GET", ONE + "/os-flavor-access", policy="os_compute_api:os-flavor-access:list")
async def access(request: Request, flavor: str) -> dict[str, Any]:
    size = await sizes.show(request.cloud, request.caller, flavor)
    if size.public:
        raise NotFound("Access list not available for public flavors: flavor", flavor)
    return access_view(size)


class Tenant(Struct, frozen=True, kw_only=True):
    tenant: str


def project(body: Tenant) -> UUID:
    try:
        return UUID(body.tenant)
    except ValueError:
        raise Invalid(f"Project ID {body.tenant[:64]} is not a valid project.") from None


@service.action(
    ONE + "/action",
    "addTenantAccess",
    policy="os_compute_api:os-flavor-access:add_tenant_access",
    body=Tenant,
    status=200,
)
async def add_access(request: Request, flavor: str, body: Tenant) -> dict[str, Any]:
    return access_view(await sizes.grant(request.cloud, request.caller, flavor, project(body)))


@service.action(
    ONE + "/action",
    "removeTenantAccess",
    policy="os_compute_api:os-flavor-access:remove_tenant_access",
    body=Tenant,
    status=200,
)
async def remove_access(request: Request, flavor: str, body: Tenant) -> dict[str, Any]:
    return access_view(await sizes.revoke(request.cloud, request.caller, flavor, project(body)))
