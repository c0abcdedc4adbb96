"""Service offerings: the core's sizes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute import servers, sizes
from pileus.core.compute.records import Size
from pileus.core.errors import Invalid
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.errors import missing
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, ProjectListing, param
from pileus.store import like, literal

STATES = {"active": False, "inactive": True}
"""Whether the size is disabled."""


class ListOfferings(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    server: UUID | None = param(
        "virtualmachineid", "list those to which this machine can change", default=None
    )
    system: bool = param(
        "issystem", "list those of the system's own machines, of which there are none", default=False
    )
    vcpus: int | None = param("cpunumber", "list those with at least so many CPUs", default=None)
    memory: int | None = param("memory", "list those with at least so many MiB", default=None)
    mhz: int | None = param("cpuspeed", "list those with at least so many MHz", default=None)
    state: str = param("state", "list by state: Active, Inactive or all", default="")


class CreateOffering(Params):
    name: str = param("name", "the name")
    description: str = param("displaytext", "what is shown of it", default="", length=4096)
    vcpus: int | None = param("cpunumber", "number of CPUs", default=None)
    mhz: int = param("cpuspeed", "speed of each in MHz, a share", default=1000)
    memory: int | None = param("memory", "memory in MiB", default=None)
    disk: int = param(
        "rootdisksize", "GiB of the root disk; left out: as large as the template needs", default=0
    )
    traits: tuple[str, ...] = param("hosttags", "tags that a host must have", default=())
    customized: bool = param(
        "customized", "whether the machine chooses its size; not possible here", default=False
    )


class DeleteOffering(Params):
    size: UUID = param("id", "the service offering")


class UpdateOffering(Params):
    size: UUID = param("id", "the service offering")
    name: str | None = param("name", "the new name", default=None)
    description: str | None = param("displaytext", "the new text", default=None, length=4096)
    state: str = param("state", "Active or Inactive: whether new machines may use it", default="")
    traits: tuple[str, ...] | None = param("hosttags", "tags that a host must have", default=None)


@view(Size, "serviceoffering", "ServiceOffering")
async def shown(call: Call, look: Look, found: Sequence[Size]) -> list[dict[str, Any]]:
    return [
        {
            "id": size.id,
            "name": size.name,
            "displaytext": size.description or size.name,
            "state": "Inactive" if size.disabled else "Active",
            "cpunumber": size.vcpus,
            "cpuspeed": size.cpu_mhz,
            "memory": size.memory_mib,
            "rootdisksize": size.disk_gib,
            "created": size.created_at,
            "storagetype": "local",
            "provisioningtype": "thin",
            "offerha": False,
            "limitcpuuse": False,
            "isvolatile": False,
            "issystem": False,
            "defaultuse": False,
            "iscustomized": False,
            "iscustomizediops": False,
            "dynamicscalingenabled": False,
            "diskofferingstrictness": False,
            "encryptroot": False,
            "purgeresources": False,
            "hosttags": ",".join(size.required_traits) or None,
            "serviceofferingdetails": details_of(size) or None,
        }
        for size in found
    ]


def details_of(size: Size) -> dict[str, str]:
    """The required traits are tags already."""
    return {name: value for name, value in sizes.specs(size).items() if not tagged(name, value)}


def tagged(name: str, value: str) -> bool:
    return name.startswith(sizes.TRAIT) and value == "required"


@command(
    "listServiceOfferings", params=ListOfferings, view=shown, ignored=("zoneid", "storagetype", "templateid")
)
async def listing(call: Call, params: ListOfferings) -> Listed[Size]:
    """Lists service offerings."""
    if params.system:
        return Listed([], 0)
    if params.server is not None:
        await servers.show(call.cloud, call.caller, params.server)
    equals: dict[str, Any] = {}
    if params.id is not None:
        equals["id"] = params.id
    if params.name:
        equals["name"] = params.name
    where = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    found = await sizes.listing(call.cloud, call.caller, *where, **equals)
    kept = [size for size in found if fits(call, params, size)]
    skip, limit = window(params)
    return Listed(kept[skip : skip + limit], len(kept))


def fits(call: Call, params: ListOfferings, size: Size) -> bool:
    least = (params.vcpus or 0, params.memory or 0, params.mhz or 0)
    large = all(
        has >= wanted for has, wanted in zip((size.vcpus, size.memory_mib, size.cpu_mhz), least, strict=True)
    )
    if params.state.lower() in STATES:
        return large and size.disabled is STATES[params.state.lower()]
    return large and (not size.disabled or call.admin)


IGNORED = (
    "storagetype",
    "provisioningtype",
    "offerha",
    "limitcpuuse",
    "isvolatile",
    "issystem",
    "dynamicscalingenabled",
)


@command("createServiceOffering", params=CreateOffering, view=shown, ignored=IGNORED)
async def create(call: Call, params: CreateOffering) -> Size:
    """Creates a service offering."""
    if params.customized:
        raise Invalid("Offerings whose size the machine chooses are not supported; say cpunumber and memory.")
    if params.vcpus is None or params.memory is None:
        raise missing(call.name, "cpunumber" if params.vcpus is None else "memory")
    want = sizes.Create(
        name=params.name,
        description=params.description,
        vcpus=params.vcpus,
        memory_mib=params.memory,
        disk_gib=params.disk,
        cpu_mhz=params.mhz,
        required_traits=params.traits,
    )
    return await sizes.create(call.cloud, call.caller, want)


@command("updateServiceOffering", params=UpdateOffering, view=shown, ignored=("sortkey",))
async def update(call: Call, params: UpdateOffering) -> Size:
    """Changes a service offering's name, text or state."""
    changes: dict[str, Any] = {"name": params.name, "description": params.description}
    if params.state:
        if params.state.lower() not in STATES:
            raise Invalid(f"State {params.state} is unknown; write Active or Inactive.")
        changes["disabled"] = STATES[params.state.lower()]
    changes["required_traits"] = params.traits
    given = {name: value for name, value in changes.items() if value is not None}
    return await sizes.update(call.cloud, call.caller, params.size, **given)


@command("deleteServiceOffering", params=DeleteOffering)
async def delete(call: Call, params: DeleteOffering) -> None:
    """Deletes a service offering; machines that were made with it stay."""
    await sizes.delete(call.cloud, call.caller, params.size)
