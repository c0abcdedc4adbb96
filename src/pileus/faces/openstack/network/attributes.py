"""The attributes of a resource as Neutron reads them: names, values, defaults and who may set which."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid
from pileus.core.network.plugs import MAC, Fixed
from pileus.faces.openstack.network.policies import POLICIES
from pileus.faces.wire.request import Request

Read = Callable[[Any], Any]
MISSING = object()
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class Unfit(ValueError):
    """The text says why a value does not fit."""


@dataclass(frozen=True)
class Attribute:
    """`core`: the field of the core's struct; `default`: a value that is always permitted when it is given."""

    name: str
    read: Read
    core: str
    create: bool = True
    update: bool = True
    required: bool = False
    default: Any = MISSING


def text(longest: int = 255, shortest: int = 0) -> Read:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit(f"'{value}' is not a valid string")
        if len(value) > longest:
            raise Unfit(f"'{value[:40]}' exceeds maximum length of {longest}")
        if len(value) < shortest:
            raise Unfit(f"'{value}' has less than {shortest} characters")
        return value

    return read


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if found is None:
        raise Unfit(f"'{value}' cannot be converted to boolean")
    return found


def integer(least: int, most: int) -> Read:
    def read(value: Any) -> int:
        try:
            number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None:
            raise Unfit(f"'{value}' is not an integer")
        if not least <= number <= most:
            raise Unfit(f"'{value}' is not in range {least} through {most}")
        return number

    return read


def one_of(words: Mapping[Any, Any]) -> Read:
    """By the word in lower case, or the value itself."""

    def read(value: Any) -> Any:
        key = value.lower() if isinstance(value, str) else value
        if not isinstance(key, str | int) or key not in words:
            raise Unfit(f"'{value}' is not in {list(words)}")
        return words[key]

    return read


def uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Unfit(f"'{value}' is not a valid UUID") from None


def ip(value: Any) -> str:
    try:
        return str(ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise Unfit(f"'{value}' is not a valid IP address") from None


def cidr(value: Any) -> str:
    """Also a single address, as a cidr of one."""
    try:
        return str(ip_network(value if isinstance(value, str) else "", strict=False))
    except ValueError:
        raise Unfit(f"'{value}' is not a valid IP subnet") from None


def mac(value: Any) -> str:
    if not isinstance(value, str) or not MAC.fullmatch(value.lower()):
        raise Unfit(f"'{value}' is not a valid MAC address")
    return value.lower()


def dns_label(value: Any) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not LABEL.fullmatch(value):
        raise Unfit(f"'{value}' is not a valid DNS name: letters, digits and hyphens, at most 63")
    return value


def dns_domain(value: Any) -> str:
    if value == "":
        return ""
    parts = value.rstrip(".").split(".") if isinstance(value, str) else [""]
    if len(str(value)) > 255 or not all(LABEL.fullmatch(part) for part in parts):
        raise Unfit(f"'{value}' is not a valid DNS domain")
    return str(value)


def nullable(read: Read) -> Read:
    return lambda value: None if value is None else read(value)


def many(read: Read, *, distinct: bool = False) -> Read:
    """A list, as a tuple; null counts as none."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise Unfit(f"'{value}' is not a list")
        found = tuple(read(each) for each in value)
        if distinct and len(set(found)) != len(found):
            raise Unfit(f"Duplicate items in the list: '{', '.join(map(str, value))}'")
        return found

    return read_all


def pair(first: str, second: str, read_first: Read, read_second: Read) -> Read:
    """A dictionary of two keys, as a tuple."""

    def read(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, dict) or set(value) != {first, second}:
            raise Unfit(f"'{value}' must have the keys '{first}' and '{second}', and no others")
        return read_first(value[first]), read_second(value[second])

    return read


def fixed(value: Any) -> Fixed:
    if not isinstance(value, dict) or not value or set(value) - {"subnet_id", "ip_address"}:
        raise Unfit(f"'{value}' must have 'subnet_id' or 'ip_address', and nothing else")
    subnet, address = value.get("subnet_id"), value.get("ip_address")
    return Fixed(
        subnet=None if subnet is None else uuid(subnet), address=None if address is None else ip(address)
    )


def address_pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict) or set(value) - {"mac_address", "ip_address"}:
        raise Unfit(f"'{value}' is not a valid address pair")
    if "ip_address" not in value:
        raise Unfit("an address pair needs 'ip_address'")
    given = value.get("mac_address")
    text_ = value["ip_address"]
    cidr(text_)
    return (mac(given) if given else ""), str(text_)


routes = many(pair("destination", "nexthop", cidr, ip))
pools = many(pair("start", "end", ip, ip))

NAME = Attribute("name", text(), "name")
DESCRIPTION = Attribute("description", text(), "description")
PROJECT = Attribute("project_id", text(), "project", update=False)
STAMPS = ("id", "created_at", "updated_at", "revision_number", "tags", "status")
"""Shown of every resource, set by nobody."""


def read_all(
    request: Request,
    one: str,
    verb: str,
    attributes: Iterable[Attribute],
    readonly: Iterable[str],
    values: Any,
) -> dict[str, Any]:
    """What a body says, as fields of the core's struct. `verb`: create or update."""
    if not isinstance(values, dict):
        raise Invalid(f"Malformed request body: '{one}' must be an object.")
    values = dict(values)
    project = project_of(request, values) if verb == "create" else None
    known = {attribute.name: attribute for attribute in attributes}
    refuse_unknown(verb, values, known, readonly)
    found: dict[str, Any] = {} if project is None else {"project": project}
    for name, attribute in known.items():
        if name in values:
            found[attribute.core] = value_of(attribute, values[name])
            permit(request, f"{verb}_{one}:{name}", attribute, found[attribute.core])
        elif attribute.required and verb == "create":
            raise Invalid(f"Failed to parse request. Required attribute '{name}' not specified")
    return found


def refuse_unknown(
    verb: str, values: Mapping[str, Any], known: Mapping[str, Attribute], readonly: Iterable[str]
) -> None:
    unknown = [name for name in values if name not in known and name not in readonly]
    if unknown:
        raise Invalid(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    for name in values:
        attribute = known.get(name)
        if verb == "create" and (attribute is None or not attribute.create):
            raise Invalid(f"Attribute '{name}' not allowed in POST")
        if verb == "update" and (attribute is None or not attribute.update):
            raise Invalid(f"Cannot update read-only attribute {name}")


def value_of(attribute: Attribute, value: Any) -> Any:
    try:
        return attribute.read(value)
    except Unfit as error:
        raise Invalid(f"Invalid input for {attribute.name}. Reason: {error}.") from None


def permit(request: Request, rule: str, attribute: Attribute, value: Any) -> None:
    """The rule of a single attribute, where there is one. Rules that need more than the caller are the resource's."""
    if attribute.default is not MISSING and value == attribute.default:
        return
    enforcer = request.enforcer
    if enforcer is not None and rule in POLICIES and not any(":" in key for key in enforcer.keys(rule)):
        request.enforce(rule)


def project_of(request: Request, values: dict[str, Any]) -> UUID | None:
    """Take `project_id` and its older name `tenant_id` out of a body."""
    named = {str(values.pop(name)) for name in ("project_id", "tenant_id") if values.get(name) is not None}
    values.pop("project_id", None)
    values.pop("tenant_id", None)
    if not named:
        return None
    if len(named) > 1:
        raise Invalid("'project_id' and 'tenant_id' do not match")
    text_ = named.pop()
    try:
        project = UUID(text_)
    except ValueError:
        raise Invalid(f"Invalid input for project_id. Reason: '{text_}' is not a project.") from None
    if project != request.caller.project and not request.caller.admin:
        raise Invalid(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request "
            "requires admin privileges"
        )
    return project


def build(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    """A struct of the core from what a body said."""
    try:
        return cls(**fields)
    except TypeError as error:
        raise Invalid(f"Malformed request body: {error}.") from None


def revision_of(request: Request) -> int | None:
    """What `If-Match: revision_number=N` demands."""
    header = request.headers.get("if-match")
    if header is None:
        return None
    match = re.fullmatch(r"\s*\"?revision_number=([0-9]{1,18})\"?\s*", header)
    if match is None:
        raise Invalid("Invalid If-Match header; it must be revision_number=N.")
    return int(match[1])
