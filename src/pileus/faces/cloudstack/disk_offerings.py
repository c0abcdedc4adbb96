"""Disk offerings: the core's kinds of volumes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.block import kinds, volumes
from pileus.core.block.records import VolumeKind
from pileus.core.cloud import Look
from pileus.core.compute import servers
from pileus.core.errors import Invalid, Unsupported
from pileus.core.listing import page
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.errors import invalid, missing
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import OwnedListing, Params, param
from pileus.faces.cloudstack.places import check_zone
from pileus.store import Condition, like, literal

THIN = "thin"


class ListDiskOfferings(OwnedListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    zone: UUID | None = param("zoneid", "list those of a zone; every zone has all of them", default=None)
    volume: UUID | None = param("volumeid", "list those that this volume can have", default=None)
    server: UUID | None = param("virtualmachineid", "list those for disks of this machine", default=None)
    project: UUID | None = param("projectid", "list those that this project can use", default=None)
    encrypt: bool = param("encrypt", "list those that encrypt; none does", default=False)
    state: str = param("state", "list by state; all are Active", default="")


class CreateDiskOffering(Params):
    name: str = param("name", "the name")
    description: str = param("displaytext", "what is shown of it", default="", length=4096)
    size_gib: int | None = param("disksize", "size of its disks in GiB", default=None)
    customized: bool = param("customized", "whether whoever makes a disk says its size", default=False)
    provisioning: str = param("provisioningtype", "how disks are made; only thin", default=THIN)
    encrypt: bool = param("encrypt", "whether its disks are encrypted, which is not done here", default=False)


class UpdateDiskOffering(Params):
    kind: UUID = param("id", "the disk offering")
    name: str | None = param("name", "the new name", default=None)
    description: str | None = param("displaytext", "the new text", default=None, length=4096)
    state: str = param("state", "Active is the only state", default="")


class DeleteDiskOffering(Params):
    kind: UUID = param("id", "the disk offering")


@view(VolumeKind, "diskoffering", "DiskOffering")
async def shown(call: Call, look: Look, found: Sequence[VolumeKind]) -> list[dict[str, Any]]:
    return [
        {
            "id": kind.id,
            "name": kind.name,
            "displaytext": kind.description or kind.name,
            "disksize": kind.size_gib,
            "iscustomized": kind.size_gib == 0,
            "iscustomizediops": False,
            "created": kind.created_at,
            "state": "Active",
            "storagetype": "shared",
            "provisioningtype": THIN,
            "displayoffering": kind.public,
            "disksizestrictness": False,
            "encrypt": False,
            "cacheMode": "none",
        }
        for kind in found
    ]


@command("listDiskOfferings", params=ListDiskOfferings, ignored=("storagetype",))
async def listing(call: Call, params: ListDiskOfferings) -> Listed[VolumeKind]:
    """Lists disk offerings."""
    skip, limit = window(params)
    if params.volume is not None:
        await volumes.show(call.cloud, call.caller, params.volume)
    if params.server is not None:
        await servers.show(call.cloud, call.caller, params.server)
    where: list[Condition] = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {} if call.admin else {"public": True}
    equals |= {"name": params.name} if params.name else {}
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        if params.id is not None:
            equals["id"] = (await look.get(VolumeKind, params.id)).id
        if params.encrypt or params.state.lower() not in ("", "active", "all"):
            return Listed([], 0)
        found = await page(
            look, VolumeKind, *where, order=("created_at", "name"), skip=skip, limit=limit, **equals
        )
    return Listed(found.items, found.total)


@command("createDiskOffering", params=CreateDiskOffering, ignored=("storagetype", "displayoffering"))
async def create(call: Call, params: CreateDiskOffering) -> VolumeKind:
    """Creates a disk offering."""
    if params.provisioning.lower() != THIN:
        raise invalid(call.name, "provisioningtype", params.provisioning, "disks here are always thin.")
    if params.encrypt:
        raise Unsupported("Disks are not encrypted here; leave encrypt out.")
    if params.customized and params.size_gib:
        raise Invalid("A customized offering has no disksize: whoever makes a disk says its size.")
    if not params.customized and params.size_gib is None:
        raise missing(call.name, "disksize")
    size = params.size_gib or 0
    if not params.customized and not 0 < size <= volumes.MAX_GIB:
        raise invalid(call.name, "disksize", str(size), f"it is 1 to {volumes.MAX_GIB} GiB.")
    return await kinds.create(
        call.cloud, call.caller, name=params.name, description=params.description, size_gib=size
    )


@command("updateDiskOffering", params=UpdateDiskOffering, ignored=("sortkey", "displayoffering"))
async def update(call: Call, params: UpdateDiskOffering) -> VolumeKind:
    """Changes a disk offering's name or text."""
    if params.state.lower() not in ("", "active"):
        raise invalid(call.name, "state", params.state, "disk offerings here are always Active.")
    changes = {"name": params.name, "description": params.description}
    given = {name: value for name, value in changes.items() if value is not None}
    return await kinds.update(call.cloud, call.caller, params.kind, **given)


@command("deleteDiskOffering", params=DeleteDiskOffering)
async def delete(call: Call, params: DeleteDiskOffering) -> None:
    """Deletes a disk offering that no volume has."""
    await kinds.delete(call.cloud, call.caller, params.kind)
