"""What the core asks of anything that carries mail."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A plain text to one reader. `id` is its Message-ID without brackets, chosen before the first try."""

    id: str
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    async def send(self, message: Message) -> None:
        """Hand it to the next server. May be repeated: a reader may then get it twice, under the same id.

        Raises Refused when that server will never take it, Unreachable when it does not answer or says later.
        """
