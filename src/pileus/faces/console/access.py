"""Why a user may do an action to an object, or may not: each token that the user could get, the core's word, the rule."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pileus.core.errors import Invalid
from pileus.core.identity.authorization import explaining
from pileus.core.identity.authorization.explaining import Findings, Standing, Thing
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.policy import Enforcer

READING = ("get", "list", "show", "index", "detail", "check", "validate", "read")
"""How the last or first word of an action that only looks begins, in every face."""


class AccessQuery(msgspec.Struct, frozen=True, kw_only=True):
    user: str
    """Id or name."""
    action: str
    """The name of a rule, as in os_compute_api:servers:delete."""
    object: str = ""
    """Id of what it is done to."""


@SERVICE.operation("GET", "/access/explain", policy="console:access:explain", query=AccessQuery)
async def explain(request: Request, query: AccessQuery) -> dict[str, Any]:
    told = await commanded(request, query)
    if told is not None:
        return told
    service, enforcer = ruling(request, query.action)
    reading = reads(query.action)
    found = await explaining.find(request.cloud, request.caller, query.user, query.object, reading=reading)
    tried = [judged(each, found.thing, query.action, enforcer) for each in found.standings]
    return {
        **asked(found, {"name": query.action, "service": service, "rule": enforcer.text(query.action)}),
        "allowed": not found.problems and any(each["allowed"] for each in tried),
        "tokens": tried,
        "advice": advice(found, tried),
    }


async def commanded(request: Request, query: AccessQuery) -> dict[str, Any] | None:
    """Of an action whose face decides by other rules than policies; None: there is none."""
    for name, explainer in request.explainers.items():
        if not explainer.knows(query.action):
            continue
        reading = reads(query.action)
        found = await explaining.find(
            request.cloud, request.caller, query.user, query.object, reading=reading
        )
        told = await explainer.explain(request.cloud, found.user.id, query.action)
        rule = told.get("rule") or told.get("why", "")
        standing = next((each for each in found.standings if each.target == told.get("account")), None)
        core = standing.refused if standing else None
        allowed = bool(told["allowed"]) and not core and not found.problems
        token = {
            "scope": "account",
            "id": told.get("account"),
            "name": standing.name if standing else "",
            "roles": [told.get("role", "none")],
            "core": core or None,
            "rule": told["allowed"],
            "parts": [{"text": rule, "holds": told["allowed"]}],
            "allowed": allowed,
        }
        helpful = [] if allowed else ["Change the role of the account, or the rule, by updateRolePermission."]
        return {
            **asked(found, {"name": query.action, "service": name, "rule": rule}),
            "allowed": allowed,
            "tokens": [token],
            "advice": advice(found, [token]) if core or found.problems else helpful,
        }
    return None


def asked(found: Findings, action: Mapping[str, str]) -> dict[str, Any]:
    """Who wants to do what to which object."""
    return {
        "user": {
            "id": found.user.id,
            "name": found.user.name,
            "domain": found.user.domain,
            "problems": list(found.problems),
            "notes": list(found.notes),
        },
        "action": action,
        "object": thing_view(found.thing),
    }


def reads(action: str) -> bool:
    words = action.replace(".", ":").split(":")
    return words[-1].startswith(READING) or words[0].startswith(READING)


def ruling(request: Request, action: str) -> tuple[str, Enforcer]:
    """The service whose rule it is. Raises Invalid."""
    for name, enforcer in request.enforcers.items():
        if enforcer.knows(action):
            return name, enforcer
    raise Invalid(
        f"No rule is called {action[:100]}; rules are named as in os_compute_api:servers:delete, create_network, "
        "volume:delete, identity:update_user; commands as in deployVirtualMachine."
    )


def judged(standing: Standing, thing: Thing | None, action: str, enforcer: Enforcer) -> dict[str, Any]:
    """What one token could do: both the core and the rule must let it."""
    credentials = standing.caller.credentials
    target = target_of(thing, credentials)
    holds = enforcer.allowed(action, target, credentials)
    return {
        "scope": standing.scope,
        "id": standing.target,
        "name": standing.name,
        "roles": sorted(standing.caller.roles),
        "core": standing.refused or None,
        "rule": holds,
        "parts": [
            {"text": text, "holds": part} for text, part in enforcer.parts(action, target, credentials)
        ],
        "allowed": holds and not standing.refused,
    }


def target_of(thing: Thing | None, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """What faces put into a rule's target, for any kind of object; without one, what the caller would make."""
    if thing is None:
        own = {"project_id": credentials["project_id"], "user_id": credentials["user_id"]}
        return {name: value for name, value in own.items() if value is not None}
    made: dict[str, Any] = {f"target.{thing.kind}.id": thing.id.hex}
    if thing.project is not None:
        made |= {"project_id": thing.project.hex, "tenant_id": thing.project.hex}
    if thing.domain is not None:
        made |= {
            "domain_id": thing.domain.hex,
            "target.domain_id": thing.domain.hex,
            f"target.{thing.kind}.domain_id": thing.domain.hex,
        }
    if thing.owner is not None:
        made |= {"user_id": thing.owner.hex, f"target.{thing.kind}.user_id": thing.owner.hex}
    return made


def thing_view(thing: Thing | None) -> dict[str, Any] | None:
    if thing is None:
        return None
    return {
        "id": thing.id,
        "kind": thing.kind,
        "name": thing.name,
        "project": thing.project,
        "domain": thing.domain,
    }


def advice(found: Findings, tried: list[dict[str, Any]]) -> list[str]:
    """What would have to change; nothing when it is allowed."""
    if found.problems:
        return ["Enable the user, its domain or its account first."]
    if any(each["allowed"] for each in tried):
        return []
    if not tried:
        return [f"User {found.user.name} has no role anywhere; grant one on the project."]
    if any(each["core"] is None for each in tried):
        return [
            "The rule refuses it: grant a role that the rule names, or change the rule in the policy file."
        ]
    place = f"project {found.thing.project.hex}" if found.thing and found.thing.project else "the project"
    return [f"Grant the user a role on {place}, and use a token for it."]
