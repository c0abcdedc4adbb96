"""Addresses that are told of events: who may have which, and the log of what was sent there."""

import secrets as randomness
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Invalid
from pileus.core.events import ACTIONS, Event, Filter, Wanted
from pileus.core.identity.authentication import secrets
from pileus.store import REGISTRY, Record, table

MAX_NAME, MAX_URL, MAX_PER_PROJECT = 255, 2048, 50
KEPT_DAYS = 30
"""How long the log tells of a delivery after its end."""
SECRET_BYTES = 32


class Scope(StrEnum):
    PROJECT = "project"
    """The events of the webhook's own project."""
    CLOUD = "cloud"
    """All events; for administrators."""


class State(StrEnum):
    PENDING = "pending"
    """To be sent, for the first time or again."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up; it can be sent again by hand."""


@table("webhook", indexes=(("project", "created_at"),))
class Webhook(Record):
    id: UUID
    project: UUID
    user: UUID
    name: str
    description: str = ""
    url: str
    secret: str = ""
    """Encrypted; signs what is sent."""
    verify_tls: bool = True
    enabled: bool = True
    scope: Scope = Scope.PROJECT
    inside: bool = False
    """May be sent to this machine itself: an administrator gave the address."""
    form: str = "standard"
    """How a message looks: a name under which a face or the delivery has registered it."""
    kinds: tuple[str, ...] = ()
    """Only of these kinds of resources; empty: of all."""
    actions: tuple[str, ...] = ()
    since: int = 0
    """Events with a higher number are sent."""
    created_at: datetime
    updated_at: datetime


@table(
    "webhook_delivery",
    indexes=(("webhook", "created_at"), ("state", "next_at"), ("finished_at",)),
)
class Delivery(Record):
    """One event for one address. Written without events of its own: they would be delivered in turn."""

    id: UUID
    webhook: UUID
    project: UUID
    seq: int
    """The event; 0: a test."""
    event: str
    """What happened, as `kind.action`, for lists after the event itself is gone."""
    state: State = State.PENDING
    tries: int = 0
    next_at: datetime
    """When it is sent (again); moved on before each try, so that a try that was cut off is repeated."""
    status: int = 0
    """Of the last answer; 0: there was none."""
    answer: str = ""
    """The beginning of the last answer, or why there was none."""
    body: str = ""
    """What was sent, once it was."""
    headers: dict[str, str] = {}
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


@table("webhook_cursor")
class Cursor(Record):
    """Up to where the events were looked through, for all webhooks together."""

    id: str
    seq: int


CURSOR = "webhooks"


class Create(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    url: str
    description: str = ""
    secret: str = ""
    """Empty: one is made."""
    sign: bool = True
    verify_tls: bool = True
    enabled: bool = True
    scope: Scope = Scope.PROJECT
    form: str = "standard"
    kinds: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    url: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    secret: str | msgspec.UnsetType = msgspec.UNSET
    verify_tls: bool | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    scope: Scope | msgspec.UnsetType = msgspec.UNSET
    kinds: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    actions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Made(msgspec.Struct, frozen=True):
    """A new webhook with its secret in the clear, which is told this once."""

    webhook: Webhook
    secret: str


async def create(cloud: Cloud, caller: Caller, want: Create) -> Made:
    """Events from now on are sent. Raises Invalid, Forbidden, Conflict."""
    project, now = caller.home, cloud.now()
    caller.require("webhook.create", project=project)
    check(caller, want.name, want.url, want.scope, want.kinds, want.actions)
    secret = (want.secret or randomness.token_urlsafe(SECRET_BYTES)) if want.sign else ""
    async with cloud.transaction(caller) as tx:
        if await tx.count(Webhook, project=project) >= MAX_PER_PROJECT:
            raise Conflict(f"A project has at most {MAX_PER_PROJECT} webhooks; delete one first.")
        webhook = Webhook(
            id=cloud.new_id(),
            project=project,
            user=caller.user,
            name=want.name,
            description=want.description,
            url=want.url,
            secret=hidden(cloud, secret),
            verify_tls=want.verify_tls,
            enabled=want.enabled,
            scope=want.scope,
            inside=caller.admin,
            form=want.form,
            kinds=want.kinds,
            actions=want.actions,
            since=await latest(tx),
            created_at=now,
            updated_at=now,
        )
        return Made(await tx.add(webhook), secret)


async def update(cloud: Cloud, caller: Caller, key: UUID, change: Change) -> Webhook:
    """Raises NotFound, Invalid, Forbidden. What waits for a webhook that is disabled is given
    up; one that is enabled again begins with the events from now on."""
    async with cloud.transaction(caller) as tx:
        held = await caller.find(tx.rows, Webhook, key, "webhook.update")
        given = {
            name: value
            for name in Change.__struct_fields__
            if (value := getattr(change, name)) is not msgspec.UNSET
        }
        if "secret" in given:
            given["secret"] = hidden(cloud, given["secret"])
        if "url" in given:
            given["inside"] = caller.admin
        if given.get("enabled") and not held.enabled:
            given["since"] = await latest(tx)
        changed = replace(held, **given, updated_at=cloud.now())
        check(caller, changed.name, changed.url, changed.scope, changed.kinds, changed.actions)
        if held.enabled and not changed.enabled:
            ended = {"state": State.FAILED, "answer": "The webhook was disabled.", "finished_at": cloud.now()}
            await tx.rows.update_where(Delivery, ended, webhook=held.id, state=State.PENDING)
        return await tx.put(changed)


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its log; what is on its way may still arrive."""
    async with cloud.transaction(caller) as tx:
        held = await caller.find(tx.rows, Webhook, key, "webhook.delete")
        await tx.rows.delete_where(Delivery, webhook=held.id)
        await tx.remove(held)


async def listing(cloud: Cloud, caller: Caller) -> list[Webhook]:
    """Those of the caller's project, the oldest first."""
    caller.require("webhook.read", project=caller.home)
    async with cloud.view() as look:
        return await look.list(Webhook, project=caller.home, order=("created_at",))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Webhook:
    async with cloud.view() as look:
        return await caller.find(look.rows, Webhook, key, "webhook.read")


def check(
    caller: Caller, name: str, url: str, scope: Scope, kinds: tuple[str, ...], actions: tuple[str, ...]
) -> None:
    if not name.strip() or len(name) > MAX_NAME:
        raise Invalid(f"A webhook needs a name of 1 to {MAX_NAME} characters.")
    check_url(url)
    if scope is Scope.CLOUD:
        caller.require_admin("webhook.create for the whole cloud")
    known = {layout.name for layout in REGISTRY}
    if unknown := sorted(set(kinds) - known):
        raise Invalid(
            f"There are no events of {', '.join(unknown)[:200]}; kinds are server, volume, network, ..."
        )
    if unknown := sorted(set(actions) - set(ACTIONS)):
        raise Invalid(f"An action is {', '.join(ACTIONS)}, not {', '.join(unknown)[:200]}.")


def check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or len(url) > MAX_URL or not url.isascii() or any(mark in url for mark in " \r\n\t"):
        raise Invalid(
            f"{url[:200]!r} is no address to send to; it begins with http:// or https:// and a host."
        )
    if parts.username or parts.password:
        raise Invalid("The address holds a user or password; use the webhook's secret instead.")


def hidden(cloud: Cloud, secret: str) -> str:
    return secrets.of(cloud).encrypt(secret) if secret else ""


def key_of(cloud: Cloud, webhook: Webhook) -> str:
    """The secret in the clear; empty where nothing is signed."""
    return secrets.of(cloud).decrypt(webhook.secret) if webhook.secret else ""


async def latest(look: Look) -> int:
    newest = await look.list(Event, order=("-seq",), limit=1)
    return newest[0].seq if newest else 0


def filter_of(webhook: Webhook) -> Filter:
    """What a member of its project, or an administrator, may see of events."""
    cloudwide = webhook.scope is Scope.CLOUD
    return Filter(
        projects=None if cloudwide else frozenset({webhook.project}),
        user=webhook.user,
        wanted=Wanted(kinds=frozenset(webhook.kinds) or None, actions=frozenset(webhook.actions) or None),
        admin=cloudwide,
    )
