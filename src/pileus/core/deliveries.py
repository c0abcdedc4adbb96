"""The log of what webhooks were sent: written before it is sent, tried again until it arrives or is given up."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Invalid
from pileus.core.events import Event
from pileus.core.webhooks import CURSOR, KEPT_DAYS, Cursor, Delivery, State, Webhook, filter_of
from pileus.store import Condition, le, lt, not_in


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Delivery:
    async with cloud.view() as look:
        return await caller.find(look.rows, Delivery, key, "webhook.read")


async def listing(cloud: Cloud, caller: Caller, webhook: UUID, *, limit: int = 100) -> list[Delivery]:
    """The log of one webhook, the newest first."""
    async with cloud.view() as look:
        await caller.find(look.rows, Webhook, webhook, "webhook.read")
        return await look.list(Delivery, webhook=webhook, order=("-created_at", "-seq"), limit=limit)


async def send_again(cloud: Cloud, caller: Caller, key: UUID) -> Delivery:
    """One more try, whatever became of the earlier ones; its message is the same. Raises NotFound."""
    async with cloud.transaction(caller) as tx:
        held = await caller.find(tx.rows, Delivery, key, "webhook.update")
        again = replace(
            held, state=State.PENDING, tries=0, next_at=cloud.now(), finished_at=None, status=0, answer=""
        )
        await tx.rows.update(again)
        return again


async def send_test(cloud: Cloud, caller: Caller, key: UUID) -> Delivery:
    """A message that tells of nothing, to see whether it arrives."""
    async with cloud.transaction(caller) as tx:
        held = await caller.find(tx.rows, Webhook, key, "webhook.update")
        made = awaiting(cloud, held, 0, "webhook.test")
        await tx.rows.insert(made)
        return made


async def forget(
    cloud: Cloud, caller: Caller, *where: Condition, webhook: UUID | None = None, key: UUID | None = None
) -> int:
    """Remove deliveries from the log of one webhook, or one of them; how many. Raises NotFound, Invalid."""
    async with cloud.transaction(caller) as tx:
        if key is not None:
            held = await caller.find(tx.rows, Delivery, key, "webhook.delete")
            return await tx.rows.delete_where(Delivery, id=held.id)
        if webhook is None:
            raise Invalid("Name a delivery, or the webhook whose deliveries are to be removed.")
        await caller.find(tx.rows, Webhook, webhook, "webhook.delete")
        return await tx.rows.delete_where(Delivery, *where, webhook=webhook)


def awaiting(cloud: Cloud, webhook: Webhook, seq: int, event: str) -> Delivery:
    now = cloud.now()
    return Delivery(
        id=cloud.new_id(),
        webhook=webhook.id,
        project=webhook.project,
        seq=seq,
        event=event,
        next_at=now,
        created_at=now,
    )


async def wanted(cloud: Cloud) -> bool:
    """Whether anyone is to be told of anything."""
    async with cloud.view() as look:
        return await look.one(Webhook, enabled=True) is not None


async def position(cloud: Cloud) -> int | None:
    """Behind which event to go on; None while there are no webhooks."""
    async with cloud.view() as look:
        enabled = await look.list(Webhook, enabled=True)
        cursor = await look.maybe(Cursor, CURSOR)
    if not enabled:
        return None
    return max(cursor.seq if cursor else 0, min(webhook.since for webhook in enabled))


async def assign(cloud: Cloud, events: list[Event], through: int) -> int:
    """Note for every enabled webhook what it is to be told of these events; how many messages that makes.

    The cursor moves in the same transaction: each event is looked at once, whoever does it and is killed when.
    """
    async with cloud.transaction() as tx:
        cursor, made = await tx.maybe(Cursor, CURSOR), 0
        done = cursor.seq if cursor else 0
        if done >= through:
            return 0
        for webhook in await tx.list(Webhook, enabled=True):
            wants = filter_of(webhook)
            for event in events:
                if event.seq > max(done, webhook.since) and wants.seen(event) is not None:
                    what = f"{event.kind}.{event.action}"
                    await tx.rows.insert(awaiting(cloud, webhook, event.seq, what))
                    made += 1
        await tx.rows.put(Cursor(id=CURSOR, seq=through))
        return made


async def claim(
    cloud: Cloud, limit: int, seconds: float, busy: frozenset[UUID]
) -> list[tuple[Delivery, Webhook]]:
    """Deliveries that are due, the oldest one of each webhook that is not `busy`, and ours for so many seconds."""
    now = cloud.now()
    async with cloud.view() as look:
        due = await look.list(
            Delivery,
            le("next_at", now),
            not_in("webhook", busy),
            state=State.PENDING,
            order=("next_at", "seq"),
            limit=limit * 8,
        )
    first: dict[UUID, Delivery] = {}
    for each in due:
        first.setdefault(each.webhook, each)
    async with cloud.transaction() as tx:
        mine = [await _claim_one(tx, each, seconds) for each in list(first.values())[:limit]]
    return [one for one in mine if one is not None]


async def _claim_one(tx: Tx, due: Delivery, seconds: float) -> tuple[Delivery, Webhook] | None:
    held, webhook, now = (
        await tx.maybe(Delivery, due.id),
        await tx.maybe(Webhook, due.webhook),
        tx.cloud.now(),
    )
    if held != due:
        return None
    if webhook is None:
        await tx.rows.delete(Delivery, due.id)
        return None
    later = now + timedelta(seconds=seconds)
    ours = replace(due, tries=due.tries + 1, next_at=later, started_at=now)
    await tx.rows.update(ours)
    return ours, webhook


async def event_of(cloud: Cloud, delivered: Delivery, webhook: Webhook) -> Event | None:
    """The event as the webhook's owner may know it; None for a test, and for one that is forgotten already."""
    async with cloud.view() as look:
        event = await look.maybe(Event, delivered.seq) if delivered.seq else None
    return filter_of(webhook).seen(event) if event is not None else None


async def settle(cloud: Cloud, sent: Delivery, **changes: Any) -> None:
    """Write how a try ended, unless the delivery was removed or asked for again meanwhile."""
    async with cloud.transaction() as tx:
        held = await tx.maybe(Delivery, sent.id)
        if held is not None and (held.tries, held.next_at) == (sent.tries, sent.next_at):
            await tx.rows.update(replace(held, **changes))


async def prune(cloud: Cloud) -> int:
    """Remove what ended long ago from the log; how many. May be repeated."""
    before = cloud.now() - timedelta(days=KEPT_DAYS)
    async with cloud.transaction() as tx:
        return await tx.rows.delete_where(Delivery, lt("finished_at", before))
