"""Letters to people. They are posted in the transaction of what they tell of, and leave by the workflow `mail.send`."""

from datetime import datetime
from email.utils import parseaddr
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Invalid, Unsupported
from pileus.core.identity.authentication import secrets as vault
from pileus.store import Record, table

MAX_ADDRESS = 254


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A plain text to one address."""

    to: str
    subject: str
    text: str


@table("mail")
class Mail(Record):
    """A letter on its way; gone when it was handed over, or given up."""

    id: UUID
    secret: str
    """The letter, encrypted: it may hold what only its reader shall know."""
    operation: UUID | None = None
    created_at: datetime


def available(cloud: Cloud) -> bool:
    return bool(cloud.config.smtp_host)


def require(cloud: Cloud) -> None:
    """Raises Unsupported where no mail server is configured. Before anything that only works with mail."""
    if not available(cloud):
        raise Unsupported(
            "This cloud sends no mail; its operator can name a server by the setting smtp_host."
        )


def address(text: str) -> str:
    """An address that a letter can go to. Raises Invalid."""
    name, plain = parseaddr(text)
    local, at, host = plain.rpartition("@")
    sound = not name and plain == text and local and at and host and text.isascii() and text.isprintable()
    if not sound or " " in text or len(text) > MAX_ADDRESS:
        raise Invalid(f"{text[:80]!r} is no e-mail address; write it as name@host.")
    return text


async def post(tx: Tx, letter: Letter) -> Mail:
    """Send it after the commit. Raises Unsupported (no mail server), Invalid (no address)."""
    require(tx.cloud)
    address(letter.to)
    hidden = vault.of(tx.cloud).encrypt(msgspec.json.encode(letter).decode())
    mail = Mail(id=tx.cloud.new_id(), secret=hidden, created_at=tx.cloud.now())
    operation = await tx.start("mail.send", subject=mail)
    # No event: nobody has to know that somebody was written to.
    return await tx.rows.insert(msgspec.structs.replace(mail, operation=operation.id))


def opened(cloud: Cloud, mail: Mail) -> Letter:
    return msgspec.json.decode(vault.of(cloud).decrypt(mail.secret), type=Letter)


def message_id(cloud: Cloud, mail: Mail) -> str:
    """The same at every try, so that who gets it twice can tell."""
    return f"{mail.id.hex}@{cloud.config.smtp_from.rpartition('@')[2].strip('> ') or 'localhost'}"
