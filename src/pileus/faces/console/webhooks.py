"""Webhooks of a project, and the log of what they were sent."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from pileus.core import deliveries, webhooks
from pileus.core.webhooks import Change, Create, Delivery, Scope, Webhook
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.paging import window

MOST = 500


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    url: str
    description: str = ""
    secret: str = ""
    verify_tls: bool = True
    enabled: bool = True
    scope: Scope = Scope.PROJECT
    kinds: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class Changed(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, what stays left out."""


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] | None = None


def view(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "project": webhook.project,
        "name": webhook.name,
        "description": webhook.description,
        "url": webhook.url,
        "signed": bool(webhook.secret),
        "verify_tls": webhook.verify_tls,
        "enabled": webhook.enabled,
        "scope": webhook.scope,
        "kinds": webhook.kinds,
        "actions": webhook.actions,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }


def logged(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "webhook": delivery.webhook,
        "event": delivery.event,
        "seq": delivery.seq or None,
        "state": delivery.state,
        "tries": delivery.tries,
        "next_at": delivery.next_at if delivery.finished_at is None else None,
        "status": delivery.status or None,
        "answer": delivery.answer,
        "created_at": delivery.created_at,
        "started_at": delivery.started_at,
        "finished_at": delivery.finished_at,
    }


@SERVICE.operation("GET", "/webhooks", policy="console:webhooks:read")
async def index(request: Request) -> dict[str, Any]:
    found = await webhooks.listing(request.cloud, request.caller)
    return {"webhooks": [view(webhook) for webhook in found]}


@SERVICE.operation("POST", "/webhooks", policy="console:webhooks:write", body=("webhook", Wanted), status=201)
async def create(request: Request, body: Wanted) -> dict[str, Any]:
    """The secret is in this answer, and in no later one."""
    want = Create(**msgspec.structs.asdict(body))
    made = await webhooks.create(request.cloud, request.caller, want)
    return {"webhook": view(made.webhook) | {"secret": made.secret}}


@SERVICE.operation("GET", "/webhooks/{webhook}", policy="console:webhooks:read")
async def show(request: Request, webhook: UUID) -> dict[str, Any]:
    return {"webhook": view(await webhooks.show(request.cloud, request.caller, webhook))}


@SERVICE.operation("PATCH", "/webhooks/{webhook}", policy="console:webhooks:write", body=("webhook", Changed))
async def update(request: Request, webhook: UUID, body: Changed) -> dict[str, Any]:
    return {"webhook": view(await webhooks.update(request.cloud, request.caller, webhook, body))}


@SERVICE.operation("DELETE", "/webhooks/{webhook}", policy="console:webhooks:write", status=204)
async def delete(request: Request, webhook: UUID) -> None:
    await webhooks.delete(request.cloud, request.caller, webhook)


@SERVICE.operation("POST", "/webhooks/{webhook}/test", policy="console:webhooks:write", status=202)
async def test(request: Request, webhook: UUID) -> dict[str, Any]:
    """Send a message that tells of nothing."""
    return {"delivery": logged(await deliveries.send_test(request.cloud, request.caller, webhook))}


@SERVICE.operation(
    "GET", "/webhooks/{webhook}/deliveries", policy="console:webhooks:read", query=LogQuery, strict_query=True
)
async def log(request: Request, webhook: UUID, query: LogQuery) -> dict[str, Any]:
    """The newest first."""
    limit = window(query.limit, MOST)
    found = await deliveries.listing(request.cloud, request.caller, webhook, limit=limit)
    return {"deliveries": [logged(delivery) for delivery in found]}


@SERVICE.operation("GET", "/webhook-deliveries/{delivery}", policy="console:webhooks:read")
async def one(request: Request, delivery: UUID) -> dict[str, Any]:
    """With what was sent."""
    found = await deliveries.show(request.cloud, request.caller, delivery)
    return {"delivery": logged(found) | {"body": found.body, "headers": found.headers}}


@SERVICE.operation(
    "POST", "/webhook-deliveries/{delivery}/again", policy="console:webhooks:write", status=202
)
async def again(request: Request, delivery: UUID) -> dict[str, Any]:
    """One more try, whatever became of the earlier ones."""
    return {"delivery": logged(await deliveries.send_again(request.cloud, request.caller, delivery))}
