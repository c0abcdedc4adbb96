"""Guest operating systems: a fixed list with fixed ids. What an image runs is a text that the core keeps."""

from typing import Any
from uuid import UUID, uuid5

from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.errors import invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, param

NAMES = UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a11")
OTHER = "Other (64-bit)"
KINDS = {
    "CentOS": ("CentOS 7", "CentOS Stream 9", "AlmaLinux 9", "Rocky Linux 9"),
    "Debian": ("Debian GNU/Linux 11 (64-bit)", "Debian GNU/Linux 12 (64-bit)", "Debian GNU/Linux 13 (64-bit)"),
    "Fedora": ("Fedora Linux (64-bit)",),
    "RedHat": ("Red Hat Enterprise Linux 8", "Red Hat Enterprise Linux 9"),
    "SUSE": ("SUSE Linux Enterprise Server 15 (64-bit)", "openSUSE Leap 15"),
    "Ubuntu": ("Ubuntu 20.04 LTS", "Ubuntu 22.04 LTS", "Ubuntu 24.04 LTS"),
    "Unix": ("FreeBSD 13 (64-bit)", "FreeBSD 14 (64-bit)"),
    "Windows": ("Windows 10 (64-bit)", "Windows 11 (64-bit)", "Windows Server 2019 (64-bit)", "Windows Server 2022 (64-bit)"),
    "Other": (OTHER, "Other Linux (64-bit)"),
}  # fmt: skip
CATEGORY = {name: category for category, systems in KINDS.items() for name in systems}


class ListTypes(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    category: UUID | None = param("oscategoryid", "list those of a category", default=None)
    description: str = param("description", "list by name", default="")


class ListCategories(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    featured: bool | None = param("isfeatured", "list those that are featured, or not", default=None)
    icon: bool = param("showicon", "show the icon of each", default=False)


def type_id(name: str) -> UUID:
    return uuid5(NAMES, f"type/{name}")


def category_id(name: str) -> UUID:
    return uuid5(NAMES, f"category/{name}")


def fields(os_type: str) -> dict[str, Any]:
    """Of an image's or server's text; one that is not in the list counts as other."""
    name = os_type if os_type in CATEGORY else OTHER
    return {"ostypeid": type_id(name), "ostypename": os_type or name}


def named(call: Call, key: UUID | None) -> str:
    """The text for an id that was sent. Raises ApiError 431."""
    if key is None:
        return ""
    for name in CATEGORY:
        if type_id(name) == key:
            return name
    raise invalid_id(call.name, "ostypeid", str(key))


def cut(shown: list[dict[str, Any]], params: Listing) -> Listed[Any]:
    skip, limit = window(params)
    return Listed(shown[skip : skip + limit], len(shown))


@command("listOsTypes", params=ListTypes)
async def types(call: Call, params: ListTypes) -> Listed[Any]:
    """Lists the operating systems that a template can say to have."""
    wanted = {*params.ids, *([params.id] if params.id else [])}
    found = [
        {
            "id": type_id(name),
            "name": name,
            "description": name,
            "oscategoryid": category_id(category),
            "oscategoryname": category,
            "isuserdefined": False,
            "fordisplay": True,
        }
        for name, category in CATEGORY.items()
        if (not wanted or type_id(name) in wanted)
        and params.category in (None, category_id(category))
        and params.description in ("", name)
        and params.keyword.lower() in name.lower()
    ]
    return cut(found, params)


@command("listOsCategories", params=ListCategories)
async def categories(call: Call, params: ListCategories) -> Listed[Any]:
    """Lists the categories of operating systems."""
    found = [
        {"id": category_id(name), "name": name, "isfeatured": True}
        for name in KINDS
        if params.id in (None, category_id(name))
        and params.name in ("", name)
        and params.featured in (None, True)
        and params.keyword.lower() in name.lower()
    ]
    return cut(found, params)
