"""The mapping engine: from what a provider says of somebody, by rules, to the user, its groups and its projects.

A rule applies when each of its requirements is met by an attribute that is there; those requirements that only name
or filter an attribute are what `{0}`, `{1}`, ... stand for in the rule's local part.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pileus.core.errors import Invalid
from pileus.core.identity.federation.rules import (
    GroupRule,
    LocalRule,
    ProjectRule,
    RemoteRule,
    Rule,
    UserRule,
)

Attributes = Mapping[str, Sequence[str]]
"""What a provider said, by the names that mappings use."""
PLACE = re.compile(r"\{(\d{1,3})\}")
LONGEST = 4096
"""Of a value that regular expressions are tried on."""
NOTHING = (
    "Could not map any federated user properties to identity values."
    " Check the mapping against what the identity provider says."
)


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """Whom it makes. Names of groups that do not exist are passed over, ids that do not are an error."""

    user: UserRule
    group_ids: tuple[str, ...] = ()
    groups: tuple[GroupRule, ...] = ()
    projects: tuple[ProjectRule, ...] = ()


def evaluate(content: Any, version: str, attributes: Attributes) -> Mapped:
    """Raises Invalid when no rule applies, or one of those that do makes no sense of what was said."""
    applied: list[LocalRule] = []
    for rule in msgspec.convert(content, tuple[Rule, ...]):
        values = matched(rule.remote, attributes)
        if values is not None:
            applied += [filled(local, values) for local in rule.local]
    if not applied:
        raise Invalid(NOTHING)
    users = [local for local in applied if local.user is not None]
    user = users[0].user if users else UserRule()
    assert user is not None
    projects: tuple[ProjectRule, ...] = ()
    ids: list[str] = []
    groups: list[GroupRule] = []
    for local in applied:
        projects = local.projects or projects
        if local.group is not None:
            ids += [local.group.id] if local.group.id else []
            groups += [local.group] if local.group.name else []
    for local in applied:
        ids += expanded(local.group_ids) if local.group_ids else []
        groups += named_groups(local)
    if version != "1.0":
        user, projects = with_domain(applied, users, user)
    return Mapped(
        user=user,
        group_ids=tuple(dict.fromkeys(ids)),
        groups=tuple(dict.fromkeys(groups)),
        projects=projects,
    )


def with_domain(
    applied: Sequence[LocalRule], users: Sequence[LocalRule], user: UserRule
) -> tuple[UserRule, tuple[ProjectRule, ...]]:
    """From schema version 2.0 on, the domain beside a user or projects is theirs unless they name their own."""
    beside = users[0].domain if users else None
    user = msgspec.structs.replace(user, domain=user.domain or beside or applied[-1].domain)
    projects: tuple[ProjectRule, ...] = ()
    for local in applied:
        if local.projects:
            projects = tuple(
                msgspec.structs.replace(project, domain=project.domain or local.domain)
                for project in local.projects
            )
    return user, projects


def matched(remote: Sequence[RemoteRule], attributes: Attributes) -> list[list[str]] | None:
    """What the places of the local part stand for; None when the rule does not apply."""
    values: list[list[str]] = []
    for requirement in remote:
        said = [value for value in attributes.get(requirement.type, ()) if value]
        if not said:
            return None
        if requirement.any_one_of is not None:
            if not among(said, requirement.any_one_of, requirement.regex):
                return None
        elif requirement.not_any_of is not None:
            if among(said, requirement.not_any_of, requirement.regex):
                return None
        elif requirement.whitelist is not None:
            values.append(among(said, requirement.whitelist, requirement.regex))
        elif requirement.blacklist is not None:
            out = set(among(said, requirement.blacklist, requirement.regex))
            values.append([value for value in said if value not in out])
        else:
            values.append(said)
    return values


def among(said: Iterable[str], wanted: Sequence[Any], regex: bool | None) -> list[str]:
    """Those of the values that are wanted, in the order in which they were said."""
    if not regex:
        return [value for value in said if value in wanted]
    patterns = [re.compile(pattern) for pattern in wanted]
    return [value for value in said if any(pattern.search(value[:LONGEST]) for pattern in patterns)]


def filled(local: LocalRule, values: Sequence[Sequence[str]]) -> LocalRule:
    """With the places of every text replaced. `groups`, `group_ids` and `projects_json` become lists as JSON text,
    so that no value can pretend to be several."""
    raw = msgspec.to_builtins(local)
    made = {key: substituted(value, values) for key, value in raw.items()}
    for key in ("groups", "group_ids"):
        if key in raw:
            made[key] = msgspec.json.encode(several(raw[key], values)).decode()
    if "projects_json" in raw:
        made["projects"] = [*made.get("projects", []), *projects_of(made.pop("projects_json"))]
    try:
        return msgspec.convert(made, LocalRule)
    except msgspec.ValidationError as error:
        raise Invalid(f"What the identity provider says does not fit the mapping: {error}.") from None


def substituted(value: Any, values: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, dict):
        return {key: substituted(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [substituted(each, values) for each in value]
    if isinstance(value, str):
        return PLACE.sub(lambda place: joined(at(values, place[1])), value)
    return value


def at(values: Sequence[Sequence[str]], place: str) -> Sequence[str]:
    number = int(place)
    if number >= len(values):
        raise Invalid(f"The mapping refers to {{{place}}}, but the rule has {len(values)} such values.")
    return values[number]


def joined(said: Sequence[str]) -> str:
    """One value as it is, several as Keystone writes them."""
    return said[0] if len(said) == 1 else str(list(said))


def several(template: str, values: Sequence[Sequence[str]]) -> list[str]:
    """The values of a text that stands for a list: a literal list, or one text; `{n}` alone is all of its values."""
    texts = [template]
    if template.startswith("["):
        try:
            literal = ast.literal_eval(template)
            texts = [
                each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in literal
            ]
        except (ValueError, SyntaxError):
            texts = [template]
    found: list[str] = []
    for text in texts:
        alone = PLACE.fullmatch(text.strip())
        found += at(values, alone[1]) if alone else [substituted(text, values)]
    return found


def expanded(text: str) -> list[str]:
    return msgspec.json.decode(text, type=list[str])


def named_groups(local: LocalRule) -> list[GroupRule]:
    """Names in the rule's domain, or JSON objects (`JSON:{"name": ..., "domain": ...}`) that name their own."""
    if not local.groups:
        return []
    found = []
    for name in expanded(local.groups):
        text = name.removeprefix("JSON:")
        if text.startswith("{"):
            try:
                group = msgspec.json.decode(text, type=GroupRule)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise Invalid(f"The group {text[:200]} cannot be read: {error}.") from None
        else:
            group = GroupRule(name=name, domain=local.domain)
        if group.domain is None or not group.name:
            raise Invalid("Invalid rule: Both 'groups' and 'domain' keywords must be specified.")
        found.append(group)
    return found


def projects_of(text: str) -> list[Any]:
    try:
        found = msgspec.json.decode(text, type=tuple[ProjectRule, ...])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Invalid(f"The projects that the identity provider says cannot be read: {error}.") from None
    return [msgspec.to_builtins(project) for project in found]
