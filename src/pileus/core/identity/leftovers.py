"""What a project still owns, which keeps it from being deleted, and what goes away with it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core import quota
from pileus.core.block.records import Snapshot, Volume
from pileus.core.block.volumes import SHOWN
from pileus.core.cloud import Look, Tx
from pileus.core.compute.records import KeyPair, Server, ServerGroup
from pileus.core.image.records import Image
from pileus.core.network.records import Address, Network, Port, Router, SecurityGroup, SecurityRule, Subnet
from pileus.core.network.sync import sync
from pileus.core.webhooks import Delivery, Webhook

OWNED: tuple[tuple[str, Any, Mapping[str, Any]], ...] = (
    ("server", Server, {}),
    ("volume", Volume, {"state": SHOWN}),
    ("snapshot", Snapshot, {}),
    ("image", Image, {}),
    ("address", Address, {}),
    ("router", Router, {}),
    ("port", Port, {}),
    ("subnet", Subnet, {}),
    ("network", Network, {}),
    ("security group", SecurityGroup, {"default": False}),
    ("server group", ServerGroup, {}),
)
"""What is a part of one of these (rules, forwardings) goes with it and is not named."""


async def left(look: Look, project: UUID) -> list[str]:
    """As words: "2 servers", "1 volume"."""
    words = []
    for name, cls, equals in OWNED:
        count = await look.count(cls, project=project, **equals)
        if count:
            words.append(
                f"{count} {name}{'s' if count > 1 and name != 'address' else 'es' if count > 1 else ''}"
            )
    return words


async def clear(tx: Tx, project: UUID) -> None:
    """Remove what a project has without having asked for it: its default security group, limits and usage; and its
    webhooks, which have nothing left to tell."""
    for group in await tx.list(SecurityGroup, project=project, default=True):
        for rule in await tx.list(SecurityRule, group=group.id):
            await tx.remove(rule)
        await tx.remove(group)
        await sync(tx, group)
    await tx.rows.delete_where(Delivery, project=project)
    for webhook in await tx.list(Webhook, project=project):
        await tx.remove(webhook)
    await quota.forget(tx.rows, project)


async def clear_user(tx: Tx, user: UUID) -> None:
    """Remove what only the user could reach: the key pairs, with their limit and usage."""
    for pair in await tx.list(KeyPair, user=user):
        await tx.remove(pair)
    await quota.forget(tx.rows, user)
