"""What is stored encrypted: the columns, and how their texts come to the newest key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
from pileus.core.errors import Unavailable
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import (
    AccessToken,
    Consumer,
    Credential,
    RequestToken,
)
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.services.catalogue_records import DomainSetting
from pileus.core.identity.tenancy.tenancy_records import LoginProvider, SecondFactor
from pileus.core.mail import Mail
from pileus.core.webhooks import Webhook
from pileus.store import Record
from pileus.store.records import layout_of

log = structlog.get_logger("pileus.identity")

PAGE = 200
"""Rows that are read at once."""
TOGETHER = 50
"""Rows that are written in one transaction: nobody waits long behind it."""


class Column(msgspec.Struct, frozen=True):
    """Texts that are encrypted, or empty. `where`: which rows of the table hold such."""

    record: type[Record]
    name: str
    where: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f"{layout_of(self.record).name}.{self.name}"


COLUMNS = (
    Column(Credential, "secret"),
    Column(Consumer, "secret"),
    Column(RequestToken, "secret"),
    Column(RequestToken, "verifier"),
    Column(AccessToken, "secret"),
    Column(SecondFactor, "secret"),
    Column(IdentityProvider, "secrets"),
    Column(LoginProvider, "secret"),
    Column(DomainSetting, "value", {"sensitive": True}),
    Column(Webhook, "secret"),
    Column(Mail, "secret"),
    Column(Server, "admin_password"),
)
"""All of them. An operation's request or outputs must never hold such a text: no rotation would find it there."""


class Renewal(msgspec.Struct, frozen=True):
    """`older`: how many texts of each key but the newest were found. `unreadable`: why one stayed, and how many."""

    older: Mapping[int, int]
    renewed: int
    unreadable: Mapping[str, int]


class _Text(msgspec.Struct, frozen=True):
    key: Mapping[str, Any]
    before: str
    after: str


async def renew(cloud: Cloud) -> Renewal:
    """Encrypt every stored text with the newest key that was encrypted with an older one. It may be ended at any
    moment, run twice at once, and be repeated; what cannot be read stays as it is."""
    older: Counter[int] = Counter()
    unreadable: Counter[str] = Counter()
    renewed = 0
    for column in COLUMNS:
        async for rows in _pages(cloud, column):
            newest, _ = vault.of(cloud).keys.primary()
            stale = [row for row in rows if 0 < _number(column, row) != newest]
            older.update(_number(column, row) for row in stale)
            texts = [text for row in stale if (text := _again(cloud, column, row, unreadable)) is not None]
            for at in range(0, len(texts), TOGETHER):
                renewed += await _replace(cloud, column, texts[at : at + TOGETHER])
            await asyncio.sleep(0)
    return Renewal(older, renewed, unreadable)


async def _pages(cloud: Cloud, column: Column) -> AsyncIterator[Sequence[Record]]:
    after = None
    while True:
        async with cloud.view() as look:
            rows = await look.list(column.record, after=after, limit=PAGE, **column.where)
        yield rows
        if len(rows) < PAGE:
            return
        after = layout_of(column.record).key_of(rows[-1])


def _number(column: Column, row: Record) -> int:
    """Of the key of the row's text; 0 where there is none."""
    text = getattr(row, column.name)
    return vault.key_number(text) if text else 0


def _again(cloud: Cloud, column: Column, row: Record, unreadable: Counter[str]) -> _Text | None:
    secrets, hidden = vault.of(cloud), getattr(row, column.name)
    layout = layout_of(column.record)
    key = dict(zip(layout.key, layout.key_of(row), strict=True))
    try:
        return _Text(key, hidden, secrets.encrypt(secrets.decrypt(hidden)))
    except Unavailable as error:
        told = {name: str(value) for name, value in key.items()}
        log.warning("a stored secret cannot be read", column=str(column), row=told, error=error.private)
        unreadable[error.public] += 1
        return None


async def _replace(cloud: Cloud, column: Column, texts: Sequence[_Text]) -> int:
    """How many were still as they were read. No event: what the texts say is the same."""
    async with cloud.transaction() as tx:
        return sum(
            [
                await tx.rows.update_where(
                    column.record, {column.name: text.after}, **text.key, **{column.name: text.before}
                )
                for text in texts
            ]
        )
