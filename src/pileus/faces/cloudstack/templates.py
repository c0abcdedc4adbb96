"""Templates: the core's images that can be booted."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute.records import Zone
from pileus.core.image import images
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.listing import page
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import guest_os, owners, uploads
from pileus.faces.cloudstack.commands import Call, Listed, Shown, command, view
from pileus.faces.cloudstack.errors import ApiError, invalid, invalid_id
from pileus.faces.cloudstack.infrastructure import hypervisors_of
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, Placed, TaggedListing, param
from pileus.faces.cloudstack.rendering import moment
from pileus.store import Condition, any_of, eq, like, literal, not_in

NOT_TEMPLATES = ("iso", "aki", "ari", "ami")
STATUS = {
    ImageState.QUEUED: "Not Uploaded",
    ImageState.SAVING: "Download in progress",
    ImageState.ACTIVE: "Download Complete",
    ImageState.ERROR: "Error",
    ImageState.DEACTIVATED: "Deactivated",
    ImageState.DELETING: "Deleting",
}
FILTERS = ("featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all")
PASSWORD, SSH_KEY, TAG = "passwordenabled", "sshkeyenabled", "templatetag"


class ListTemplates(TaggedListing):
    filter: str = param("templatefilter", f"which templates: {', '.join(FILTERS)}")
    id: UUID | None = param("id", "list by id", default=None)
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    name: str = param("name", "list by name", default="")
    zone: UUID | None = param("zoneid", "list by zone", default=None)
    ready: bool | None = param("isready", "list those that are ready, or not", default=None)
    hypervisor: str = param("hypervisor", "list by hypervisor", default="")
    category: UUID | None = param("oscategoryid", "list by category of operating system", default=None)
    icon: bool = param("showicon", "show the icon of each", default=False)


class Described(Placed):
    name: str = param("name", "the name")
    format: str = param("format", "format of the content: QCOW2, RAW, VMDK, VHD, VHDX or VDI")
    hypervisor: str = param("hypervisor", "the hypervisor that it is for")
    description: str = param("displaytext", "what is shown of it", default="", length=4096)
    os_type: UUID | None = param("ostypeid", "the operating system inside", default=None)
    public: bool = param("ispublic", "whether everybody may use it", default=False)
    featured: bool = param("isfeatured", "whether it is shown before others", default=False)
    password: bool = param("passwordenabled", "whether its guests take passwords", default=False)
    ssh_key: bool = param("sshkeyenabled", "whether its guests take SSH keys", default=False)
    tag: str = param("templatetag", "tag of hosts that it needs", default="")
    details: dict[str, str] = param("details", "key and value pairs that are kept with it", default={})


class Register(Described):
    zone: UUID | None = param("zoneid", "the zone in which it can be used; left out: all", default=None)
    url: str = param("url", "http or https address to fetch it from", length=2048)
    zones: tuple[str, ...] = param("zoneids", "zones in which it can be used; -1: all", default=())


class Upload(Described):
    zone: UUID = param("zoneid", "the zone in which it can be used")


class Delete(Params):
    image: UUID = param("id", "the template")


class Update(Params):
    image: UUID = param("id", "the template")
    name: str | None = param("name", "the new name", default=None)
    description: str | None = param("displaytext", "the new text", default=None, length=4096)
    os_type: UUID | None = param("ostypeid", "the operating system inside", default=None)
    password: bool | None = param("passwordenabled", "whether its guests take passwords", default=None)
    ssh_key: bool | None = param("sshkeyenabled", "whether its guests take SSH keys", default=None)
    details: dict[str, str] | None = param(
        "details", "key and value pairs that are kept with it", default=None
    )


@view(Image, "template", "Template")
async def shown(call: Call, look: Look, found: Sequence[Image]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (image.project for image in found))
    zones = {zone.id: zone.name for zone in await look.list(Zone, order=("created_at",))}
    runs = await hypervisors_of(look)
    first = next(iter(zones), None)
    return [one(image, holders, zones, runs, image.zone or first) for image in found]


def one(
    image: Image,
    holders: dict[UUID, dict[str, Any]],
    zones: dict[UUID, str],
    runs: dict[UUID, str],
    zone: UUID | None,
) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "displaytext": image.description or image.name,
        "format": image.disk_format.upper(),
        "hypervisor": runs.get(zone) if zone else None,
        "zoneid": zone,
        "zonename": zones.get(zone) if zone else None,
        "crossZones": image.zone is None,
        "ispublic": image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY),
        "isfeatured": image.featured,
        "isready": image.state is ImageState.ACTIVE,
        "status": f"{STATUS[image.state]}: {image.fault}" if image.fault else STATUS[image.state],
        "size": image.virtual_size or image.size,
        "physicalsize": image.size,
        "checksum": image.checksum,
        "created": image.created_at,
        "templatetype": "USER",
        "templatetag": image.properties.get(TAG),
        "passwordenabled": image.properties.get(PASSWORD) == "true",
        "sshkeyenabled": image.properties.get(SSH_KEY) == "true",
        "isextractable": False,
        "isdynamicallyscalable": False,
        "directdownload": False,
        "deployasis": False,
        "requireshvm": True,
        "bits": 64,
        "arch": "x86_64",
        "details": {k: v for k, v in image.properties.items() if k not in (PASSWORD, SSH_KEY, TAG)} or None,
        "tags": [],
        "url": image.url or None,
        **guest_os.fields(image.os_type),
        **holders.get(image.project, {}),
    }


@command(
    "listTemplates",
    params=ListTemplates,
    view=shown,
    ignored=("details", "showunique", "isvnf", "templatetype", "arch", "showremoved"),
)
async def listing(call: Call, params: ListTemplates) -> Listed[Image]:
    """Lists templates."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        where = await filtered(call, look, params)
        if where is None:
            return Listed([], 0)
        found = await page(look, Image, *where, order=("-created_at",), skip=skip, limit=limit)
    return Listed(found.items, found.total)


async def filtered(call: Call, look: Look, params: ListTemplates) -> list[Condition] | None:
    """None when nothing can match."""
    where: list[Condition] = [not_in("disk_format", NOT_TEMPLATES), *await visible(call, look, params)]
    if params.id or params.ids:
        where.append(eq("id", (params.id,) if params.id else params.ids))
    if params.name:
        where.append(eq("name", params.name))
    if params.keyword:
        where.append(like("name", f"%{literal(params.keyword)}%"))
    if params.zone is not None:
        where.append(eq("zone", (None, params.zone)))
    if params.ready is not None:
        ready = ImageState.ACTIVE
        where.append(eq("state", ready) if params.ready else not_in("state", (ready,)))
    if params.category is not None:
        inside = [n for n, c in guest_os.CATEGORY.items() if guest_os.category_id(c) == params.category]
        where.append(eq("os_type", tuple(inside)))
    if params.hypervisor:
        runs = {name.lower() for name in (await hypervisors_of(look)).values()}
        if params.hypervisor.lower() not in runs:
            return None
    return None if params.tags else where


async def visible(call: Call, look: Look, params: ListTemplates) -> list[Condition]:
    """By the filter; whatever it is, only what the caller may see."""
    wanted = params.filter.lower()
    public = eq("visibility", Visibility.PUBLIC)
    if wanted == "all":
        if not call.admin:
            raise ApiError(431, "Filter all can be specified by root admin only; use another templatefilter.")
        return []
    if wanted == "featured":
        return [public, eq("featured", True)]
    if wanted == "community":
        return [eq("visibility", (Visibility.PUBLIC, Visibility.COMMUNITY)), eq("featured", False)]
    scope = await owners.scope(call, look, params)
    own = [] if scope.projects is None else [eq("project", scope.projects)]
    ready = eq("state", ImageState.ACTIVE)
    if wanted == "self":
        return [*own, *scope.where]
    if wanted == "selfexecutable":
        return [*own, *scope.where, ready]
    if wanted == "executable":
        return [any_of(*own, public), ready] if own else [ready]
    if wanted == "sharedexecutable":
        shared = eq("visibility", Visibility.COMMUNITY)
        return [shared, ready]
    raise invalid(call.name, "templatefilter", params.filter, f"write one of {', '.join(FILTERS)}.")


async def described(
    call: Call, look: Look, params: Described, project: UUID, zone: UUID | None, **more: Any
) -> images.Create:
    runs = {name.lower() for name in (await hypervisors_of(look)).values()} | {"any"}
    if params.hypervisor.lower() not in runs:
        raise invalid(
            call.name, "hypervisor", params.hypervisor, f"hosts here run {', '.join(sorted(runs))}."
        )
    if params.format.lower() not in images.DISK_FORMATS or params.format.lower() in NOT_TEMPLATES:
        raise invalid(call.name, "format", params.format, "write QCOW2, RAW, VMDK, VHD, VHDX or VDI.")
    if zone is not None:
        await look.get(Zone, zone)
    flags = {PASSWORD: params.password, SSH_KEY: params.ssh_key}
    properties = {name: "true" for name, value in flags.items() if value}
    if params.tag:
        properties[TAG] = params.tag
    return images.Create(
        project=project,
        name=params.name,
        description=params.description,
        visibility=Visibility.PUBLIC if params.public else Visibility.PRIVATE,
        featured=params.featured,
        disk_format=params.format.lower(),
        container_format="bare",
        properties=params.details | properties,
        os_type=guest_os.named(call, params.os_type),
        zone=zone,
        **more,
    )


IGNORED = (
    "bits",
    "requireshvm",
    "isextractable",
    "isdynamicallyscalable",
    "isrouting",
    "templatetype",
    "arch",
    "directdownload",
)


@command("registerTemplate", params=Register, view=shown, ignored=IGNORED)
async def register(call: Call, params: Register) -> Listed[Image]:
    """Registers a template, whose content is fetched from an address."""
    caller = await owners.acting(call, params)
    zone = params.zone or one_zone(call, params)
    async with call.cloud.view() as look:
        want = await described(call, look, params, caller.home, zone, url=params.url)
    made = await images.create(call.cloud, caller, want)
    return Listed([made.resource if isinstance(made, Accepted) else made], 1)


def one_zone(call: Call, params: Register) -> UUID | None:
    """From `zoneids`: an image is in one zone or in all."""
    wanted = [zone for zone in params.zones if zone != "-1"]
    if not wanted:
        return None
    if len(wanted) > 1:
        raise invalid(call.name, "zoneids", ",".join(wanted), "name one zone, or -1 for all.")
    try:
        return UUID(wanted[0])
    except ValueError:
        raise invalid_id(call.name, "zoneids", wanted[0]) from None


@command("getUploadParamsForTemplate", params=Upload, ignored=IGNORED)
async def upload(call: Call, params: Upload) -> Shown:
    """Registers a template, whose content is then sent to the address that is answered."""
    caller = await owners.acting(call, params)
    async with call.cloud.view() as look:
        want = await described(call, look, params, caller.home, params.zone)
    made = await images.create(call.cloud, caller, want)
    assert isinstance(made, Image)
    image, token = await images.issue_upload_token(call.cloud, caller, made.id)
    assert image.upload_until is not None
    return Shown(
        {
            "id": image.id,
            "postURL": f"{call.base_url}{uploads.PREFIX}/{image.id}",
            "metadata": str(image.id),
            "expires": moment(image.upload_until),
            "signature": token,
        }
    )


@command("deleteTemplate", params=Delete, ignored=("zoneid", "forced", "issystem"))
async def delete(call: Call, params: Delete) -> Accepted:
    """Deletes a template; machines that were made from it stay."""
    return await images.delete(call.cloud, call.caller, params.image)


@command(
    "updateTemplate", params=Update, view=shown, ignored=("sortkey", "isrouting", "requireshvm", "bootable")
)
async def update(call: Call, params: Update) -> Image:
    """Changes what is said of a template."""
    held = await images.show(call.cloud, call.caller, params.image)
    changes: dict[str, Any] = {}
    if params.name is not None:
        changes["name"] = params.name
    if params.description is not None:
        changes["description"] = params.description
    if params.os_type is not None:
        changes["os_type"] = guest_os.named(call, params.os_type)
    properties = held.properties | (params.details or {})
    for name, value in ((PASSWORD, params.password), (SSH_KEY, params.ssh_key)):
        if value is not None:
            properties = properties | {name: "true" if value else "false"}
    return await images.update(call.cloud, call.caller, params.image, properties=properties, **changes)
