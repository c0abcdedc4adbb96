"""The options that users, projects and domains may have, as clients send them: null takes one away."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid


class ProjectOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of projects and domains."""

    immutable: bool | UnsetType | None = UNSET


class UserOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ignore_change_password_upon_first_use: bool | UnsetType | None = UNSET
    ignore_password_expiry: bool | UnsetType | None = UNSET
    ignore_lockout_failure_attempts: bool | UnsetType | None = UNSET
    lock_password: bool | UnsetType | None = UNSET
    ignore_user_inactivity: bool | UnsetType | None = UNSET
    multi_factor_auth_rules: tuple[tuple[str, ...], ...] | UnsetType | None = UNSET
    multi_factor_auth_enabled: bool | UnsetType | None = UNSET


def given(options: UserOptions | ProjectOptions | UnsetType) -> dict[str, Any]:
    """Those that are named. Raises Invalid for rules that repeat themselves or ask for nothing."""
    if options is UNSET:
        return {}
    named: dict[str, Any] = msgspec.to_builtins(options)
    rules = named.get("multi_factor_auth_rules") or []
    if any(not rule or len(set(rule)) < len(rule) for rule in rules) or len(set(map(tuple, rules))) < len(
        rules
    ):
        raise Invalid(
            "Invalid input for field/attribute multi_factor_auth_rules: it must be a list of lists of methods, "
            "none of them empty, in which nothing is repeated."
        )
    return named


def changed(options: UserOptions | ProjectOptions | UnsetType) -> dict[str, Any] | UnsetType:
    """As `given`, of an update."""
    return UNSET if options is UNSET else given(options)
