"""Webhooks: addresses that are told of an account's events, and the log of what they were sent."""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from pileus.core import deliveries, webhooks
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Invalid
from pileus.core.listing import owned
from pileus.core.webhooks import Change, Create, Delivery, Scope, State, Webhook
from pileus.faces.cloudstack import owners, waiting
from pileus.faces.cloudstack.commands import VIEWS, Call, Listed, Shown, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.event_words import TYPES, sentence, state_of, type_of
from pileus.faces.cloudstack.events import id_of
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, Placed, ProjectListing, param
from pileus.store import Condition, ge, le, like, literal
from pileus.workflows.webhooks import FORMS, Message, Signed

FORM = "cloudstack"
SCOPES = {"local": Scope.PROJECT, "global": Scope.CLOUD}
SCOPE_WORDS = {Scope.PROJECT: "Local", Scope.CLOUD: "Global"}
ENABLED = {"enabled": True, "disabled": False}
KINDS = tuple(sorted({kind for kind, _ in TYPES}))
"""Of the others CloudStack has no events."""
TIMES = "%Y-%m-%d %H:%M:%S %z"


async def message(cloud: Cloud, what: Signed) -> Message:
    """The body and headers that receivers of CloudStack's webhooks read."""
    event = what.event
    told: dict[str, Any] = {
        "event": type_of(event)
        if event and (event.kind, event.action) in TYPES
        else word(what.delivery.event),
        "eventDateTime": (event.at if event else what.delivery.created_at).astimezone(UTC).strftime(TIMES),
        "status": state_of(event) if event else "Completed",
        "account": str(what.delivery.project),
    }
    if event is not None:
        told |= {
            "entity": VIEWS[event.kind].instance if event.kind in VIEWS else event.kind,
            "entityuuid": str(event.subject),
            "description": sentence(event),
            "user": str(event.user) if event.user else "",
        }
    body = msgspec.json.encode(told)
    headers = {"X-CS-Event-ID": str(event_id(what.delivery)), "X-CS-Event": told["event"]}
    if what.secret:
        headers["X-CS-Signature"] = hmac.new(what.secret.encode(), body, hashlib.sha256).hexdigest()
    return Message(headers, body)


FORMS[FORM] = message


def word(event: str) -> str:
    """The type of an event of which only kind and action are known."""
    kind, _, action = event.partition(".")
    return TYPES.get((kind, action), event.upper())


def event_id(delivery: Delivery) -> UUID:
    """A test has no event: it stands for itself."""
    return id_of(delivery.seq) if delivery.seq else delivery.id


class CreateWebhook(Placed):
    name: str = param("name", "the webhook's name", length=255)
    url: str = param("payloadurl", "the http(s) address that is told", length=2048)
    description: str = param("description", "what it is for", default="")
    state: str = param("state", "Enabled (default) or Disabled", default="Enabled")
    secret: str = param("secretkey", "signs what is sent; nothing is signed without", default="")
    verify: bool = param("sslverification", "whether a certificate must be good", default=True)
    scope: str = param("scope", "Local (default): the account's events; Global: all", default="Local")


class UpdateWebhook(Params):
    id: UUID = param("id", "the webhook")
    name: str | None = param("name", "a new name", default=None)
    url: str | None = param("payloadurl", "a new address", default=None)
    description: str | None = param("description", "a new description", default=None)
    state: str | None = param("state", "Enabled or Disabled", default=None)
    secret: str | None = param("secretkey", "a new secret", default=None)
    verify: bool | None = param("sslverification", "whether a certificate must be good", default=None)
    scope: str | None = param("scope", "Local or Global", default=None)


class DeleteWebhook(Params):
    id: UUID = param("id", "the webhook")


class ListWebhooks(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    state: str = param("state", "list by state", default="")
    scope: str = param("scope", "list by scope", default="")


class ListDeliveries(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    webhook: UUID | None = param("webhookid", "list what this webhook was sent", default=None)
    since: datetime | None = param("startdate", "list what was sent from this time on", default=None)
    until: datetime | None = param("enddate", "list what was sent up to this time", default=None)
    type: str = param("eventtype", "list by type of event", default="")


class DeleteDelivery(Params):
    id: UUID | None = param("id", "the delivery", default=None)
    webhook: UUID | None = param("webhookid", "the webhook whose deliveries go", default=None)
    since: datetime | None = param("startdate", "only those sent from this time on", default=None)
    until: datetime | None = param("enddate", "only those sent up to this time", default=None)


class Execute(Params):
    id: UUID | None = param("id", "the delivery to repeat", default=None)
    webhook: UUID | None = param("webhookid", "the webhook to try with a test message", default=None)


def one_of(table: dict[str, Any], text: str, name: str) -> Any:
    try:
        return table[text.lower()]
    except KeyError:
        known = ", ".join(each.capitalize() for each in table)
        raise ApiError(PARAMETER, f"Unable to use {name} {text[:60]!r}; it is {known}.") from None


@view(Webhook, "webhook", "Webhook")
async def shown(call: Call, look: Look, found: Sequence[Webhook]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (webhook.project for webhook in found))
    return [
        {
            "id": webhook.id,
            "name": webhook.name,
            "description": webhook.description,
            "state": "Enabled" if webhook.enabled else "Disabled",
            "payloadurl": webhook.url,
            "secretkey": webhooks.key_of(call.cloud, webhook) or None,
            "sslverification": webhook.verify_tls,
            "scope": SCOPE_WORDS[webhook.scope],
            "created": webhook.created_at,
            **holders.get(webhook.project, {}),
        }
        for webhook in found
    ]


async def logged(call: Call, look: Look, found: Sequence[Delivery]) -> list[dict[str, Any]]:
    known = await look.list(Webhook, id={delivery.webhook for delivery in found})
    titles = {webhook.id: webhook.name for webhook in known}
    return [
        {
            "id": delivery.id,
            "eventid": event_id(delivery),
            "eventtype": word(delivery.event),
            "webhookid": delivery.webhook,
            "webhookname": titles.get(delivery.webhook),
            "headers": "\n".join(f"{name}: {value}" for name, value in delivery.headers.items()),
            "payload": delivery.body,
            "success": delivery.state is State.DELIVERED,
            "response": f"{delivery.status} {delivery.answer}" if delivery.status else delivery.answer,
            "startdate": delivery.started_at,
            "enddate": delivery.finished_at,
        }
        for delivery in found
    ]


@command("createWebhook", params=CreateWebhook, view=shown)
async def create(call: Call, params: CreateWebhook) -> Webhook:
    """Creates a webhook."""
    caller = await owners.acting(call, params)
    want = Create(
        name=params.name,
        url=params.url,
        description=params.description,
        secret=params.secret,
        sign=bool(params.secret),
        verify_tls=params.verify,
        enabled=one_of(ENABLED, params.state, "state"),
        scope=one_of(SCOPES, params.scope, "scope"),
        form=FORM,
        kinds=KINDS,
    )
    return (await webhooks.create(call.cloud, caller, want)).webhook


@command("updateWebhook", params=UpdateWebhook, view=shown)
async def update(call: Call, params: UpdateWebhook) -> Webhook:
    """Updates a webhook."""
    given: dict[str, Any] = {
        "name": params.name,
        "url": params.url,
        "description": params.description,
        "secret": params.secret,
        "verify_tls": params.verify,
        "enabled": None if params.state is None else one_of(ENABLED, params.state, "state"),
        "scope": None if params.scope is None else one_of(SCOPES, params.scope, "scope"),
    }
    change = Change(**{name: value for name, value in given.items() if value is not None})
    return await webhooks.update(call.cloud, call.caller, params.id, change)


@command("deleteWebhook", params=DeleteWebhook)
async def delete(call: Call, params: DeleteWebhook) -> None:
    """Deletes a webhook and its log."""
    await webhooks.delete(call.cloud, call.caller, params.id)


@command("listWebhooks", params=ListWebhooks, view=shown)
async def listing(call: Call, params: ListWebhooks) -> Listed[Webhook]:
    """Lists webhooks."""
    equals: dict[str, Any] = {"id": params.id} if params.id else {}
    if params.name:
        equals["name"] = params.name
    if params.state:
        equals["enabled"] = one_of(ENABLED, params.state, "state")
    if params.scope:
        equals["scope"] = one_of(SCOPES, params.scope, "scope")
    where = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    async with call.cloud.view() as look:
        found = await owners.listed(call, look, params, Webhook, *where, order=("name",), **equals)
    return Listed(found.items, found.total)


def between(since: datetime | None, until: datetime | None) -> list[Condition]:
    where = [ge("created_at", since)] if since else []
    return where + ([le("created_at", until)] if until else [])


@command("listWebhookDeliveries", params=ListDeliveries, key="webhookdelivery")
async def log(call: Call, params: ListDeliveries) -> Listed[Any]:
    """Lists what webhooks were sent, the latest first."""
    skip, limit = window(params)
    where = between(params.since, params.until)
    equals: dict[str, Any] = {
        name: value for name, value in (("id", params.id), ("webhook", params.webhook)) if value
    }
    if params.webhook:
        await webhooks.show(call.cloud, call.caller, params.webhook)
    projects = None if call.admin else owners.reach(call.caller)
    async with call.cloud.view() as look:
        found = await owned(
            look, call.caller, Delivery, *where, projects=projects, order=("-created_at",), **equals
        )
        kept = [
            delivery
            for delivery in found.items
            if params.type in ("", word(delivery.event))
            and params.keyword.lower() in f"{delivery.body} {delivery.answer}".lower()
        ]
        end = None if limit is None else skip + limit
        return Listed(await logged(call, look, kept[skip:end]), len(kept))


@command("deleteWebhookDelivery", params=DeleteDelivery)
async def forget(call: Call, params: DeleteDelivery) -> None:
    """Removes deliveries from the log."""
    if params.id is None and params.webhook is None:
        raise Invalid("Name a delivery by id, or a webhook by webhookid.")
    where = between(params.since, params.until)
    await deliveries.forget(call.cloud, call.caller, *where, webhook=params.webhook, key=params.id)


@command("executeWebhookDelivery", params=Execute)
async def execute(call: Call, params: Execute) -> Shown:
    """Sends a delivery again, or a test message, and shows how it went."""
    if (params.id is None) == (params.webhook is None):
        raise ApiError(PARAMETER, "Name either a delivery by id or a webhook by webhookid.")
    if params.id is not None:
        asked = await deliveries.send_again(call.cloud, call.caller, params.id)
    else:
        assert params.webhook is not None
        asked = await deliveries.send_test(call.cloud, call.caller, params.webhook)
    tried = await after_try(call, asked)
    async with call.cloud.view() as look:
        return Shown((await logged(call, look, [tried]))[0])


async def after_try(call: Call, asked: Delivery) -> Delivery:
    """The delivery after its next try, or as it is when that takes too long."""
    loop = asyncio.get_running_loop()
    until, found = loop.time() + waiting.PATIENCE, asked
    while loop.time() < until:
        found = await deliveries.show(call.cloud, call.caller, asked.id)
        tried = found.tries > 0 and (found.status or found.answer)
        if found.state is not State.PENDING or tried:
            break
        await asyncio.sleep(0.05)
    return found
