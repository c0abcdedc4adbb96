"""Mail that stays in memory, for tests."""

from pileus.drivers.mail.protocol import Message


class FakeMailer:
    """Keeps what was sent, once an id."""

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}

    async def send(self, message: Message) -> None:
        self.sent[message.id] = message
