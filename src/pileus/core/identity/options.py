"""Options of users, projects, domains and roles, by their names, and what being immutable means."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core.errors import Forbidden

IMMUTABLE = "immutable"
IGNORE_CHANGE_PASSWORD_UPON_FIRST_USE = "ignore_change_password_upon_first_use"  # noqa: S105 - a name
IGNORE_PASSWORD_EXPIRY = "ignore_password_expiry"  # noqa: S105 - a name
IGNORE_LOCKOUT_FAILURE_ATTEMPTS = "ignore_lockout_failure_attempts"
LOCK_PASSWORD = "lock_password"  # noqa: S105 - a name
IGNORE_USER_INACTIVITY = "ignore_user_inactivity"
MULTI_FACTOR_AUTH_RULES = "multi_factor_auth_rules"
MULTI_FACTOR_AUTH_ENABLED = "multi_factor_auth_enabled"


def merged(held: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options after an update: those given replace or add; None takes away."""
    return {name: value for name, value in {**held, **given}.items() if value is not None}


def refuse_immutable_update(
    kind: str, key: UUID, held: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    """Of an immutable thing nothing changes but its options, the one that it is immutable among them."""
    if held.get(IMMUTABLE) and (set(changes) - {"options"} or IMMUTABLE not in changes.get("options", {})):
        raise _immutable("update", kind, key)


def refuse_immutable_delete(kind: str, key: UUID, held: Mapping[str, Any]) -> None:
    if held.get(IMMUTABLE):
        raise _immutable("delete", kind, key)


def _immutable(verb: str, kind: str, key: UUID) -> Forbidden:
    return Forbidden(
        f"Unable to {verb} immutable {kind} resource: `{key.hex}`. "
        'Set resource option "immutable" to false first.'
    )
