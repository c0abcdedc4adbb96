"""/v3/users/{user}/access_rules: the requests to which the user's application credentials are bound."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Forbidden
from pileus.core.identity.authentication.credential_records import AccessRule
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.delegation import access_rules as core
from pileus.faces.openstack.identity.refs import listed, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import session
from pileus.faces.wire import Request

PATH = "/v3/users/{user}/access_rules"


class RuleQuery(msgspec.Struct, frozen=True, kw_only=True):
    service: str | None = None
    path: str | None = None
    method: str | None = None


def brief(rule: AccessRule) -> dict[str, Any]:
    return {"id": rule.id.hex, "service": rule.service, "path": rule.path, "method": rule.method}


def view(request: Request, rule: AccessRule) -> dict[str, Any]:
    return brief(rule) | {"links": self_link(request, "access_rules", rule.id.hex)}


def refuse_delegated(held: Session) -> None:
    """What a trust, OAuth or a signature handed on must not leave behind what outlives it; application credentials are
    held back by being restricted."""
    if held.delegated and "application_credential" not in held.token.methods:
        raise Forbidden("Cannot manage application credentials with a token issued via delegation.")


@SERVICE.operation("GET", PATH, policy="identity:list_access_rules", query=RuleQuery)
async def list_all(request: Request, user: UUID, query: RuleQuery) -> dict[str, Any]:
    request.enforce("identity:list_access_rules", target(user__id=user))
    refuse_delegated(session(request))
    equals = {name: value for name, value in msgspec.structs.asdict(query).items() if value is not None}
    found = await core.list_all(request.cloud, request.caller, user, **equals)
    return listed(request, "access_rules", [view(request, rule) for rule in found])


@SERVICE.operation("GET", PATH + "/{rule}", policy="identity:get_access_rule")
async def show(request: Request, user: UUID, rule: UUID) -> dict[str, Any]:
    request.enforce("identity:get_access_rule", target(user__id=user))
    refuse_delegated(session(request))
    return {"access_rule": view(request, await core.show(request.cloud, request.caller, user, rule))}


@SERVICE.operation("DELETE", PATH + "/{rule}", policy="identity:delete_access_rule", status=204)
async def delete(request: Request, user: UUID, rule: UUID) -> None:
    request.enforce("identity:delete_access_rule", target(user__id=user))
    refuse_delegated(session(request))
    await core.delete(request.cloud, request.caller, user, rule)
