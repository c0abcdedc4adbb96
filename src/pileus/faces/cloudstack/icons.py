"""Icons of objects: uploaded, taken away, listed, and shown in lists that are asked for them."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core import icon_owners, icons
from pileus.core.cloud import Look
from pileus.core.errors import NotFound
from pileus.core.icons import Icon
from pileus.faces.cloudstack import guest_os
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.params import Params, param

TYPES: Mapping[str, str] = {
    "UserVm": "server",
    "Template": "image",
    "Network": "network",
    "Project": "project",
    "Account": "account",
    "Zone": "zone",
    "User": "user",
    "GuestOsCategory": "os_category",
    "Domain": "domain",
}
"""CloudStack's types of what can have an icon, and the core's."""
WORDS = {kind: name for name, kind in TYPES.items()}
ABSENT = ("ISO", "VnfTemplate", "Vpc", "ObjectStore")
"""Types of which there is nothing here."""
BARE = {
    "Volume", "Snapshot", "Backup", "DomainRouter", "Nic", "LoadBalancer", "PortForwardingRule",
    "FirewallRule", "SecurityGroup", "SecurityGroupRule", "PublicIpAddress", "NetworkACL", "StaticRoute",
    "VMSnapshot", "RemoteAccessVpn", "ServiceOffering", "Storage", "PrivateGateway", "NetworkACLList",
    "VpnGateway", "CustomerGateway", "VpnConnection", "DiskOffering", "AutoScaleVmProfile",
    "AutoScaleVmGroup", "LBStickinessPolicy", "LBHealthCheckPolicy", "SnapshotPolicy", "GuestOs",
    "NetworkOffering", "VpcOffering",
}  # fmt: skip
"""Types that have no icons."""
MAX_TEXT = 2_097_152


class OnObjects(Params):
    keys: tuple[UUID, ...] = param("resourceids", "the objects")
    type: str = param("resourcetype", f"what they are: {', '.join(TYPES)}")


class Upload(OnObjects):
    image: str = param("base64image", "a PNG or JPEG picture in base64", length=MAX_TEXT)


def kind_of(params: OnObjects) -> str:
    """The core's word. Raises ApiError 431."""
    known = {name.lower(): name for name in (*TYPES, *ABSENT, *BARE)}
    name = known.get(params.type.lower())
    if name is None:
        raise ApiError(PARAMETER, f"Invalid resource type {params.type[:100]}")
    if name in BARE:
        raise ApiError(PARAMETER, f"The resource type {name} doesn't support resource icons")
    if name in ABSENT:
        first = params.keys[0] if params.keys else "none"
        raise ApiError(PARAMETER, f"Unable to find resource by uuid {first} and type {name}")
    categories = {guest_os.category_id(each) for each in guest_os.KINDS}
    unknown = [key for key in params.keys if key not in categories] if TYPES[name] == "os_category" else []
    if unknown:
        raise NotFound("Guest OS category", unknown[0])
    return TYPES[name]


def decoded(text: str) -> bytes:
    """Raises ApiError 431."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(PARAMETER, "Invalid image uploaded: it is not in base64.") from None


@command("uploadResourceIcon", params=Upload)
async def upload(call: Call, params: Upload) -> None:
    """Gives objects an icon, in place of the one before."""
    kind = kind_of(params)
    await icon_owners.keep(call.cloud, call.caller, kind, params.keys, decoded(params.image))


@command("deleteResourceIcon", params=OnObjects)
async def delete(call: Call, params: OnObjects) -> None:
    """Takes the icons of objects away."""
    await icon_owners.drop(call.cloud, call.caller, kind_of(params), params.keys)


@command("listResourceIcon", params=OnObjects, key="icon")
async def listing(call: Call, params: OnObjects) -> Listed[Any]:
    """Lists the icons of objects."""
    found = await icon_owners.shown(call.cloud, call.caller, kind_of(params), params.keys)
    return Listed([view(icon) for icon in found], len(found))


def view(icon: Icon) -> dict[str, Any]:
    return {
        "resourcetype": WORDS[icon.kind],
        "resourceid": icon.id,
        "base64image": base64.b64encode(icon.blob).decode(),
    }


def wanted(call: Call) -> bool:
    """Whether a list is asked to show them."""
    declared = any(spec.wire == "showicon" for spec in call.command.params.specs.values())
    return declared and call.sent.get("showicon", "").lower() == "true"


async def add(call: Call, look: Look, seen: Sequence[dict[str, Any]]) -> None:
    """To each shown object its icon, or else that of the nearest thing that stands for it."""
    response = call.command.entry.response
    candidates = [list(standing_for(response, each)) for each in seen]
    held = await icons.of(look, (key for keys in candidates for key in keys))
    for each, keys in zip(seen, candidates, strict=True):
        found = next((held[key] for key in keys if key in held), None)
        if found is not None:
            each["icon"] = view(found)


CATEGORIES = {guest_os.type_id(name): guest_os.category_id(of) for name, of in guest_os.CATEGORY.items()}


def standing_for(response: str, shown: Mapping[str, Any]) -> Iterator[UUID]:
    """The object itself; for a user its account; for a machine its template; for both of these their system."""
    yield from of_fields(shown, "id")
    if response == "UserResponse":
        yield from of_fields(shown, "accountid")
    if response == "UserVmResponse":
        yield from of_fields(shown, "templateid")
    if response in ("UserVmResponse", "TemplateResponse") and shown.get("ostypeid") in CATEGORIES:
        yield CATEGORIES[shown["ostypeid"]]


def of_fields(shown: Mapping[str, Any], *names: str) -> Iterator[UUID]:
    for name in names:
        if isinstance(shown.get(name), UUID):
            yield shown[name]
