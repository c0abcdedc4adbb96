"""Between entries of LDAP and what the driver speaks of: names, attributes, and whether somebody is enabled."""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import ldap.dn
from ldap.filter import escape_filter_chars

from pileus.drivers.directory.ldap.schemas import CLASSES, Layout
from pileus.drivers.directory.protocol import Group, Person

Attributes = Mapping[str, list[bytes]]
"""By folded name."""
Key = tuple[tuple[tuple[str, str], ...], ...]
Modification = tuple[int, str, list[bytes] | None]
SERVERS_OWN = frozenset({"objectguid", "entryuuid", "nsuniqueid", "ipauniqueid"})
"""Ids that the server gives: they cannot name a new entry."""
GUIDS = frozenset({"objectguid", "ms-ds-consistencyguid"})
EPOCH, NEVER = 11_644_473_600, (0, (1 << 63) - 1)
"""Seconds from 1601, where Active Directory's time begins, to 1970; and what means no time."""
YES = frozenset({"true", "yes", "1", "on"})


def key_of(dn: str) -> Key:
    """The same for all spellings of a name. Raises ldap.DECODING_ERROR."""
    return tuple(
        tuple(sorted((name.lower(), " ".join(value.lower().split())) for name, value, _ in part))
        for part in ldap.dn.str2dn(dn)
    )


def is_dn(text: str) -> bool:
    return bool(text) and bool(ldap.dn.is_dn(text))


def text_of(name: str, value: bytes) -> str:
    if name.lower() in GUIDS and len(value) == 16:
        return str(UUID(bytes_le=value))
    if name.lower() == "objectsid" and len(value) >= 8:
        return sid(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def sid(value: bytes) -> str:
    """As S-1-5-21-..."""
    parts = (int.from_bytes(value[at : at + 4], "little") for at in range(8, len(value), 4))
    return "-".join(["S", str(value[0]), str(int.from_bytes(value[2:8], "big")), *map(str, parts)])


def first(attributes: Attributes, name: str) -> str:
    values = attributes.get(name.lower()) if name else None
    return text_of(name, values[0]) if values else ""


def equals(name: str, value: str) -> str:
    return f"({name}={escape_filter_chars(value)})"


def matching(object_class: str, also: str, *conditions: str) -> str:
    also = also if not also or also.startswith("(") else f"({also})"
    return f"(&(objectClass={object_class}){also}{''.join(conditions)})"


def user_attributes(layout: Layout) -> list[str]:
    names = (
        layout.user_id,
        layout.user_name,
        layout.user_mail,
        layout.user_first_name,
        layout.user_last_name,
        layout.user_description,
        layout.user_project,
        layout.user_enabled,
        layout.user_expires,
        *(there for there, _ in layout.user_extra),
    )
    return list(dict.fromkeys(name for name in names if name))


def person_of(layout: Layout, dn: str, found: Attributes, enabled: bool | None = None) -> Person | None:
    """None for an entry without an id or a name. `enabled`: where the membership in a group says it."""
    key, name = first(found, layout.user_id), first(found, layout.user_name)
    if not key or not name:
        return None
    if enabled is None:
        enabled = is_enabled(layout, first(found, layout.user_enabled))
    return Person(
        id=key,
        dn=dn,
        name=name,
        email=first(found, layout.user_mail),
        first_name=first(found, layout.user_first_name),
        last_name=first(found, layout.user_last_name),
        description=first(found, layout.user_description),
        default_project=first(found, layout.user_project),
        enabled=enabled and not has_expired(first(found, layout.user_expires)),
        extra={ours: value for there, ours in layout.user_extra if (value := first(found, there))},
    )


def is_enabled(layout: Layout, value: str) -> bool:
    value = value or layout.enabled_default
    if layout.enabled_mask:
        return not number(value) & layout.enabled_mask
    return (value.lower() in YES) is not layout.enabled_invert


def has_expired(value: str) -> bool:
    until = number(value)
    return until not in NEVER and until / 10_000_000 - EPOCH <= time.time()


def number(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        return 0


def enabled_value(layout: Layout, enabled: bool, before: str = "") -> str:
    """What the attribute must be; of a mask the other bits stay."""
    if layout.enabled_mask:
        bits = number(before or layout.enabled_default)
        return str(bits & ~layout.enabled_mask if enabled else bits | layout.enabled_mask)
    return "TRUE" if enabled is not layout.enabled_invert else "FALSE"


def group_of(layout: Layout, dn: str, found: Attributes, members: Iterable[str] = ()) -> Group | None:
    key, name = first(found, layout.group_id), first(found, layout.group_name)
    if not key or not name:
        return None
    description = first(found, layout.group_description)
    return Group(id=key, dn=dn, name=name, description=description, members=frozenset(members))


def named(attribute: str, name: str, base: str) -> tuple[str, str]:
    """The attribute by which a new entry is named, and its distinguished name."""
    attribute = "cn" if attribute.lower() in SERVERS_OWN else attribute
    return attribute, f"{attribute}={ldap.dn.escape_dn_chars(name)},{base}"


def person_values(layout: Layout, fields: Mapping[str, object]) -> dict[str, str]:
    """Attributes for what is given, but `enabled`."""
    places = {
        "name": layout.user_name,
        "email": layout.user_mail,
        "first_name": layout.user_first_name,
        "last_name": layout.user_last_name,
        "description": layout.user_description,
        "default_project": layout.user_project,
    }
    return {places[name]: str(value) for name, value in fields.items() if places.get(name)}


def new_person(layout: Layout, name: str, fields: Mapping[str, object]) -> tuple[str, dict[str, list[bytes]]]:
    """Its distinguished name and attributes; the password comes later."""
    attribute, dn = named(layout.user_id, name, layout.users)
    values = {attribute: name, **person_values(layout, {**fields, "name": name})}
    if not layout.enabled_group and layout.user_enabled:
        said = enabled_value(layout, bool(fields.get("enabled", True)))
        if layout.enabled_mask or said.lower() != layout.enabled_default.lower():
            values[layout.user_enabled] = said
    present = {each.lower() for each in values}
    for needed in ("cn", "sn"):  # a person has both
        if needed not in present or not values.get(needed, "-"):
            values[needed] = str(fields.get("last_name") or name) if needed == "sn" else name
    classes = CLASSES.get(layout.user_class.lower(), (layout.user_class,))
    return dn, {"objectClass": coded(classes), **filled(values)}


def new_group(layout: Layout, name: str, description: str, member: str) -> tuple[str, dict[str, list[bytes]]]:
    """`member`: of a class that must not be empty, somebody; else empty."""
    attribute, dn = named(layout.group_id, name, layout.groups)
    values = {attribute: name, layout.group_name: name, layout.group_description: description}
    if layout.group_class.lower() == "group":  # Active Directory would invent one
        values["sAMAccountName"] = name
    made = {"objectClass": coded((layout.group_class,)), **filled(values)}
    return dn, made | ({layout.group_member: coded((member,))} if member else {})


def filled(values: Mapping[str, str]) -> dict[str, list[bytes]]:
    return {name: coded((value,)) for name, value in values.items() if name and value}


def coded(values: Iterable[str]) -> list[bytes]:
    return [value.encode() for value in values]


def modifications(values: Mapping[str, str]) -> list[Modification]:
    """Each attribute replaced; an empty one removed."""
    return [
        (ldap.MOD_REPLACE, name, coded((value,)) if value else None) for name, value in values.items() if name
    ]


def active_directory_password(password: str) -> bytes:
    """As unicodePwd takes it."""
    return f'"{password}"'.encode("utf-16-le")


def folded(found: Mapping[str, Any]) -> Attributes:
    return {name.lower(): values for name, values in found.items()}
