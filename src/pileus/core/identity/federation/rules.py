"""What the rules of a mapping may look like: Keystone's language, in its schema versions."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pileus.core.errors import Invalid

VERSIONS = ("1.0", "2.0", "3.0")
"""From 2.0 on a rule's domain is that of its user and projects; 3.0 also reads projects from JSON, and takes roles
away that the provider no longer says."""
MOST_RULES = 1000
EXCLUSIVE = ("any_one_of", "not_any_of", "blacklist", "whitelist")


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Knows no other fields."""


class DomainRule(Exact, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""


class RoleRule(Exact, frozen=True, kw_only=True):
    name: str


class ProjectRule(Exact, frozen=True, kw_only=True):
    name: str
    roles: tuple[RoleRule, ...]
    domain: DomainRule | None = None


class UserRule(Exact, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    email: str = ""
    domain: DomainRule | None = None
    type: Literal["ephemeral", "local"] = "ephemeral"


class GroupRule(Exact, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    domain: DomainRule | None = None


class LocalRule(Exact, frozen=True, kw_only=True):
    user: UserRule | None = None
    projects: tuple[ProjectRule, ...] = ()
    projects_json: str = ""
    group: GroupRule | None = None
    groups: str = ""
    group_ids: str = ""
    domain: DomainRule | None = None


class RemoteRule(Exact, frozen=True, kw_only=True):
    type: str
    any_one_of: tuple[Any, ...] | None = None
    not_any_of: tuple[Any, ...] | None = None
    blacklist: tuple[Any, ...] | None = None
    whitelist: tuple[Any, ...] | None = None
    regex: bool | None = None


class Rule(Exact, frozen=True, kw_only=True):
    local: tuple[LocalRule, ...]
    remote: Annotated[tuple[RemoteRule, ...], Meta(min_length=1)]


Rules = Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=MOST_RULES)]


def check(content: Any, version: str) -> None:
    """Raises Invalid that names the place and what is wrong there."""
    if version not in VERSIONS:
        raise Invalid(f"There is no schema version {version[:20]!r} of mappings; use {', '.join(VERSIONS)}.")
    try:
        found = msgspec.convert(content, Rules)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"The rules of the mapping are not as schema version {version} has them: {error}."
        ) from None
    for number, rule in enumerate(found):
        for remote in rule.remote:
            _check_remote(remote, f"$[{number}].remote")
        for local in rule.local:
            _check_local(local, f"$[{number}].local", version)


def _check_remote(remote: RemoteRule, where: str) -> None:
    said = [name for name in EXCLUSIVE if getattr(remote, name) is not None]
    if len(said) > 1:
        raise Invalid(f"{where} has {' and '.join(said)}; a requirement has one of them at most.")
    if not said and remote.regex is not None:
        raise Invalid(f"{where} has regex, but no values to compare with; add {' or '.join(EXCLUSIVE)}.")
    for value in getattr(remote, said[0]) if said and remote.regex else ():
        try:
            re.compile(value)
        except (re.error, TypeError) as error:
            raise Invalid(
                f"{where} has {str(value)[:100]!r}, which is no regular expression: {error}."
            ) from None


def _check_local(local: LocalRule, where: str, version: str) -> None:
    group = local.group
    if group is not None:
        by_id = group.id and not group.name and group.domain is None
        by_name = group.name and not group.id and group.domain is not None
        if not (by_id or by_name):
            raise Invalid(f"{where} has a group that is named neither by id alone nor by name and domain.")
    if local.projects_json and version != "3.0":
        raise Invalid(f"{where} has projects_json, which needs schema version 3.0.")
    if version == "1.0" and any(project.domain for project in local.projects):
        raise Invalid(f"{where} has a project with a domain, which needs schema version 2.0.")
