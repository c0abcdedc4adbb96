"""Mail by SMTP, in plain text or by TLS, with or without a login."""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import Literal

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.mail.protocol import Message

SECONDS = 30.0
"""For connecting, and for each answer."""
Tls = Literal["none", "starttls", "tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpMailer:
    """`tls`: from the first byte, by STARTTLS, or not at all. Without a user there is no login."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = "starttls"
    trusted: ssl.SSLContext | None = None
    """Whose certificates are believed; None: as this machine has it."""

    async def send(self, message: Message) -> None:
        await asyncio.to_thread(self._send, written(message, self.sender))

    def _send(self, letter: EmailMessage) -> None:
        try:
            with self._connected() as server:
                server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as error:
            code = max(code for code, _ in error.recipients.values())
            raise _sorted(code, f"the mail server refused the reader ({code})") from error
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(f"the mail server cannot do what is configured: {error}") from error
        except smtplib.SMTPAuthenticationError as error:
            raise Unreachable(
                "the mail server refused the login; look at smtp_user and its password"
            ) from error
        except smtplib.SMTPResponseException as error:
            raise _sorted(error.smtp_code, f"the mail server answered {error.smtp_code}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable(f"the mail server at {self.host} port {self.port}: {error}") from error

    def _connected(self) -> smtplib.SMTP:
        trusted = self.trusted or ssl.create_default_context()
        if self.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=trusted)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        try:
            if self.tls == "starttls":
                server.starttls(context=trusted)
            if self.user:
                server.login(self.user, self.password)
        except BaseException:
            server.close()
            raise
        return server


def written(message: Message, sender: str) -> EmailMessage:
    """Raises Refused for what cannot stand in a header."""
    letter = EmailMessage()
    try:
        letter["From"], letter["To"], letter["Subject"] = sender, message.to, message.subject
        letter["Message-ID"], letter["Date"] = f"<{message.id}>", formatdate()
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.text)
    except ValueError as error:
        raise Refused(f"the letter cannot be written: {error}") from error
    return letter


def _sorted(code: int, text: str) -> Refused | Unreachable:
    """The server's own word for whether to ask again."""
    return Unreachable(text) if 400 <= code < 500 else Refused(text)
