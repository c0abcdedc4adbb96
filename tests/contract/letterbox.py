"""A real mail server on a loopback port, and what it was given."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from time import monotonic

from aiosmtpd.smtp import SMTP, Envelope, Session

DEADLINE = 20.0


class Letterbox:
    """Letters by reader, oldest first. `refused`: addresses that the server will not take."""

    def __init__(self) -> None:
        self.letters: dict[str, list[EmailMessage]] = {}
        self.refused: set[str] = set()
        self.port = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such reader"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        letter: Message = BytesParser(policy=default).parsebytes(envelope.original_content or b"")
        assert isinstance(letter, EmailMessage)
        for reader in envelope.rcpt_tos:
            self.letters.setdefault(reader, []).append(letter)
        return "250 taken"

    async def read(self, reader: str, count: int = 1) -> EmailMessage:
        """The latest letter, when there are `count` of them."""
        end = monotonic() + DEADLINE
        while len(self.letters.get(reader, [])) < count:
            assert monotonic() < end, f"{reader} got {len(self.letters.get(reader, []))} of {count} letters"
            await asyncio.sleep(0.01)
        return self.letters[reader][-1]


def text_of(letter: EmailMessage) -> str:
    return str(letter.get_content())


def found(pattern: str, letter: EmailMessage) -> str:
    """The first group of the pattern in the text."""
    match = re.search(pattern, text_of(letter))
    assert match, text_of(letter)
    return match[1]


@asynccontextmanager
async def opened() -> AsyncIterator[Letterbox]:
    box = Letterbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    try:
        box.port = server.sockets[0].getsockname()[1]
        yield box
    finally:
        server.close()
        await server.wait_closed()
