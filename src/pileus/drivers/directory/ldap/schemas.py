"""Where things are in a directory: what the settings leave open follows from the kind of directory."""

from collections.abc import Mapping
from typing import Any

import ldap
import msgspec

from pileus.drivers.directory.protocol import Schema, Settings

PRESETS: Mapping[Schema, Mapping[str, Any]] = {
    "openldap": {
        "query_scope": "one",
        "user_objectclass": "inetOrgPerson",
        "user_id_attribute": "cn",
        "user_name_attribute": "sn",
        "user_mail_attribute": "mail",
        "user_pass_attribute": "userPassword",
        "user_enabled_attribute": "enabled",
        "user_enabled_mask": 0,
        "user_enabled_default": "True",
        "group_objectclass": "groupOfNames",
        "group_id_attribute": "cn",
        "group_name_attribute": "ou",
        "group_member_attribute": "member",
        "group_ad_nesting": False,
    },
    "activedirectory": {
        "query_scope": "sub",
        "user_objectclass": "user",
        "user_id_attribute": "objectGUID",
        "user_name_attribute": "sAMAccountName",
        "user_mail_attribute": "mail",
        "user_pass_attribute": "unicodePwd",
        "user_enabled_attribute": "userAccountControl",
        "user_enabled_mask": 2,
        "user_enabled_default": "512",
        "group_objectclass": "group",
        "group_id_attribute": "objectGUID",
        "group_name_attribute": "cn",
        "group_member_attribute": "member",
        "group_ad_nesting": True,
    },
}
TREES: Mapping[Schema, tuple[str, str]] = {
    "openldap": ("ou=Users,", "ou=UserGroups,"),
    "activedirectory": ("", ""),
}
"""Where users and groups are under the suffix."""
COMPUTERS = "(!(objectClass=computer))"
"""In Active Directory a computer is a user too."""
CLASSES: Mapping[str, tuple[str, ...]] = {"user": ("top", "person", "organizationalPerson", "user")}
"""That must be named besides, to make an entry of a class."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The settings with nothing left open."""

    users: str
    groups: str
    everything: str
    """Under which all groups are that may hold anybody."""
    scope: int
    user_filter: str
    user_class: str
    user_id: str
    user_name: str
    user_principal: str
    """By which people log in too, as name@domain; empty: they do not."""
    user_expires: str
    """Until when somebody is enabled, in 100 ns since 1601; empty: without an end."""
    user_mail: str
    user_first_name: str
    user_last_name: str
    """Empty where another meaning has taken its attribute."""
    user_description: str
    user_project: str
    user_pass: str
    user_enabled: str
    enabled_mask: int
    enabled_invert: bool
    enabled_default: str
    enabled_group: str
    """The group whose members are the enabled users; empty: an attribute of theirs says it."""
    enabled_member: str
    user_extra: tuple[tuple[str, str], ...]
    group_filter: str
    group_class: str
    group_id: str
    group_name: str
    group_description: str
    group_member: str
    members_are_ids: bool
    nesting: bool

    @property
    def active_directory_password(self) -> bool:
        return self.user_pass.lower() == "unicodepwd"


def layout_of(settings: Settings) -> Layout:
    """Attributes that the settings say to ignore have no place."""
    preset = PRESETS[settings.schema]

    def value(name: str) -> Any:
        given = getattr(settings, name)
        return preset[name] if given is None else given

    def attribute(meaning: str, name: str, ignore: tuple[str, ...] = settings.user_attribute_ignore) -> str:
        return "" if meaning in ignore else str(value(name))

    users, groups = (tree + settings.suffix for tree in TREES[settings.schema])
    users, groups = settings.user_tree_dn or users, settings.group_tree_dn or groups
    active = settings.schema == "activedirectory"
    enabled_group = settings.user_enabled_emulation_dn or f"cn=enabled_users,{users}"
    own = settings.user_enabled_emulation_use_group_config
    last_name = settings.user_last_name_attribute
    if last_name.lower() in (value("user_name_attribute").lower(), value("user_id_attribute").lower()):
        last_name = ""
    return Layout(
        users=users,
        groups=groups,
        everything=settings.suffix or groups,
        scope=ldap.SCOPE_SUBTREE if value("query_scope") == "sub" else ldap.SCOPE_ONELEVEL,
        user_filter=settings.user_filter or (COMPUTERS if active else ""),
        user_class=value("user_objectclass"),
        user_id=value("user_id_attribute"),
        user_name=value("user_name_attribute"),
        user_principal="userPrincipalName" if active else "",
        user_expires="accountExpires" if active else "",
        user_mail=attribute("email", "user_mail_attribute"),
        user_first_name=settings.user_first_name_attribute,
        user_last_name=last_name,
        user_description=attribute("description", "user_description_attribute"),
        user_project=attribute("default_project_id", "user_default_project_id_attribute"),
        user_pass=value("user_pass_attribute"),
        user_enabled=attribute("enabled", "user_enabled_attribute"),
        enabled_mask=value("user_enabled_mask"),
        enabled_invert=settings.user_enabled_invert,
        enabled_default=value("user_enabled_default"),
        enabled_group=enabled_group if settings.user_enabled_emulation else "",
        enabled_member=value("group_member_attribute") if own else "member",
        user_extra=pairs(settings.user_additional_attribute_mapping),
        group_filter=settings.group_filter,
        group_class=value("group_objectclass"),
        group_id=value("group_id_attribute"),
        group_name=value("group_name_attribute"),
        group_description=attribute("description", "group_desc_attribute", settings.group_attribute_ignore),
        group_member=value("group_member_attribute"),
        members_are_ids=settings.group_members_are_ids,
        nesting=value("group_ad_nesting"),
    )


def pairs(mapping: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`["departmentNumber:department"]`: (attribute there, our name)."""
    found = (entry.partition(":") for entry in mapping)
    return tuple((there.strip(), ours.strip()) for there, colon, ours in found if colon and ours)
