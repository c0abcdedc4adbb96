"""/v3/OS-REVOKE/events and its kin: tokens that ended before their time."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Forbidden
from pileus.core.identity.authentication import revocations as core
from pileus.core.identity.records import Revocation
from pileus.faces.openstack.identity.moments import moment
from pileus.faces.openstack.identity.refs import listed, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise
from pileus.faces.wire import Request


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    since: str | None = None


def views(revocation: Revocation) -> list[dict[str, Any]]:
    """As Keystone has them: one event for a token, one for its chain."""
    at = precise(revocation.created_at)
    when = {"issued_before": precise(revocation.before) or at, "revoked_at": at}
    if revocation.audit or revocation.chain:
        named = {"audit_id": revocation.audit, "audit_chain_id": revocation.chain}
        return [{name: value, **when} for name, value in named.items() if value]
    return [{"user_id": revocation.user.hex, **when}] if revocation.user else []


@SERVICE.operation("GET", "/v3/OS-REVOKE/events", policy="identity:list_revoke_events", query=EventQuery)
async def list_events(request: Request, query: EventQuery) -> dict[str, Any]:
    since = moment(query.since or None)
    found = await core.list_all(request.cloud, request.caller, since)
    return listed(request, "events", [event for revocation in found for event in views(revocation)])


@SERVICE.operation("GET", "/v3/auth/tokens/OS-PKI/revoked", public=True)
async def list_revoked(request: Request) -> None:
    """Of tokens that were signed; they were given up, and today's Keystone says no as well."""
    raise Forbidden("You are not authorized to perform the requested action.")


@SERVICE.operation("DELETE", "/v3/users/{user}/tokens", policy="identity:revoke_tokens_for_user", status=204)
async def end_all_of(request: Request, user: UUID) -> None:
    request.enforce("identity:revoke_tokens_for_user", target(user__id=user))
    await core.end_all_of(request.cloud, request.caller, user)
