"""Letters: sent once under one id whatever befalls, tried again while the server says later, given up when it says no."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pileus.core import mail
from pileus.core.caller import system
from pileus.core.errors import Invalid, Unsupported
from pileus.core.events import Event
from pileus.core.mail import Letter, Mail
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import DriverError, Refused, Unreachable
from pileus.drivers.mail.fake import FakeMailer
from pileus.drivers.mail.protocol import Message
from pileus.drivers.mail.smtp import SmtpMailer, Tls, written
from pileus.workflows import mail_send
from pileus.workflows.engine import WORKFLOWS
from tests.contract import letterbox
from tests.contract.letterbox import Letterbox
from tests.unit.workflows.storage import World, world
from tests.unit.workflows.test_servers import WHENS, breaking, names, twice, with_step

__all__ = ["world"]

LETTER = Letter(to="ann@example.org", subject="News", text="The word is xyzzy.\n")


@pytest.fixture
def mailer(world: World) -> FakeMailer:
    world.cloud.config = msgspec.structs.replace(
        world.cloud.config, smtp_host="mail.example.org", smtp_from="Cloud <cloud@example.org>"
    )
    made = FakeMailer()
    world.site.mail = made
    return made


async def posted(world: World) -> Operation:
    async with world.cloud.transaction(system()) as tx:
        made = await mail.post(tx, LETTER)
    await world.quiet()
    async with world.cloud.view() as look:
        (operation,) = await look.list(Operation, subject=made.id)
        assert not await look.count(Mail), "a letter is kept no longer than needed"
        return operation


@pytest.mark.parametrize("step", names(mail_send.WORKFLOW))
async def test_a_letter_goes_under_one_id_however_often_it_is_tried(
    world: World, mailer: FakeMailer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    workflow = WORKFLOWS["mail.send"]
    monkeypatch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, twice))
    assert (await posted(world)).outcome is Outcome.DONE
    (message,) = mailer.sent.values()
    assert (message.to, message.subject, message.text) == (LETTER.to, LETTER.subject, LETTER.text)
    assert message.id.endswith("@example.org")


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("step", names(mail_send.WORKFLOW))
async def test_a_step_that_fails_leaves_nothing(
    world: World, mailer: FakeMailer, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    workflow = WORKFLOWS["mail.send"]
    monkeypatch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, breaking(when)))
    done = await posted(world)
    assert (done.outcome, done.fault) == (Outcome.FAILED, "injected")


async def test_a_letter_waits_for_a_server_that_is_away(world: World, mailer: FakeMailer) -> None:
    class Away(FakeMailer):
        tries = 0

        async def send(self, message: Message) -> None:
            self.tries += 1
            if self.tries < 3:
                raise Unreachable("it says later")
            await super().send(message)

    world.site.mail = away = Away()
    assert (await posted(world)).outcome is Outcome.DONE
    assert (away.tries, len(away.sent)) == (3, 1)


async def test_what_a_letter_says_stands_nowhere_in_the_clear(world: World, mailer: FakeMailer) -> None:
    async with world.cloud.transaction(system()) as tx:
        made = await mail.post(tx, LETTER)
        operation = await tx.get(Operation, made.operation)
    assert "xyzzy" not in made.secret
    assert b"xyzzy" not in operation.want
    async with world.cloud.view() as look:
        assert not await look.count(Event, kind="mail")
    await world.quiet()


async def test_without_a_server_nothing_is_posted(world: World) -> None:
    async with world.cloud.transaction(system()) as tx:
        with pytest.raises(Unsupported, match="smtp_host"):
            await mail.post(tx, LETTER)


@pytest.mark.parametrize(
    "text", ["", "ann", "ann@", "@b", "a b@c", "A <a@b>", "a@b\r\nBcc: c@d", "ä@b", "a@b, c@d"]
)
async def test_what_is_no_address_is_refused(world: World, mailer: FakeMailer, text: str) -> None:
    async with world.cloud.transaction(system()) as tx:
        with pytest.raises(Invalid):
            await mail.post(tx, msgspec.structs.replace(LETTER, to=text))


# A real server


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox.opened() as made:
        yield made


MESSAGE = Message(id="1@example.org", to="ann@example.org", subject="Grüße", text="Zeile\n.\nZeile\n")


async def test_a_real_server_gets_what_was_written(box: Letterbox) -> None:
    mailer = SmtpMailer(host="127.0.0.1", port=box.port, sender="Cloud <cloud@example.org>", tls="none")
    await mailer.send(MESSAGE)
    letter: EmailMessage = await box.read("ann@example.org")
    assert (letter["Message-ID"], letter["Subject"], letter["From"]) == (
        "<1@example.org>",
        "Grüße",
        "Cloud <cloud@example.org>",
    )
    assert letterbox.text_of(letter).replace("\r\n", "\n") == MESSAGE.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"to": "nobody@example.org"}, Refused),
        ({"subject": "a\nBcc: b@example.org"}, Refused),
        ({"port": 1}, Unreachable),
        ({"tls": "starttls"}, Refused),
        ({"user": "cloud", "password": "secret"}, Refused),
    ],
)
async def test_what_a_server_does_not_take(
    box: Letterbox, changes: dict[str, object], error: type[DriverError]
) -> None:
    box.refused.add("nobody@example.org")
    how = {name: value for name, value in changes.items() if name not in ("to", "subject")}
    what = {name: value for name, value in changes.items() if name in ("to", "subject")}
    given = {"host": "127.0.0.1", "port": box.port, "sender": "cloud@example.org", "tls": "none", **how}
    mailer = SmtpMailer(**given)  # type: ignore[arg-type]
    fields = {name: getattr(MESSAGE, name) for name in ("id", "to", "subject", "text")}
    with pytest.raises(error):
        await mailer.send(Message(**{**fields, **what}))  # type: ignore[arg-type]


def test_the_password_of_a_mailer_is_not_shown() -> None:
    assert "hidden" not in repr(SmtpMailer(host="h", port=25, sender="s", password="hidden"))


def test_a_letter_names_its_id_and_is_no_answer_to_anything() -> None:
    letter = written(MESSAGE, "cloud@example.org")
    assert (letter["Message-ID"], letter["Auto-Submitted"]) == ("<1@example.org>", "auto-generated")


# With TLS and a login


def certified(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server named localhost, and of clients that believe it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, form = directory / "server.pem", serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(form, *plain) + certificate.public_bytes(form))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=file)


def authenticate(
    server: SMTP, session: object, envelope: object, mechanism: str, given: object
) -> AuthResult:
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"cloud", b"secret")
    return AuthResult(success=right, handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_server_with_tls_is_believed_by_its_certificate_and_gets_the_login(
    box: Letterbox, tmp_path: Path, tls: Tls
) -> None:
    offered, believed = certified(tmp_path)
    loop = asyncio.get_running_loop()
    implicit = tls == "tls"

    def answer() -> SMTP:
        how = {"auth_require_tls": False} if implicit else {"tls_context": offered, "require_starttls": True}
        return SMTP(box, loop=loop, authenticator=authenticate, auth_required=True, **how)

    server = await loop.create_server(answer, "127.0.0.1", 0, ssl=offered if implicit else None)
    try:
        port = server.sockets[0].getsockname()[1]
        mailer = SmtpMailer(
            host="localhost", port=port, sender="c@example.org", user="cloud", password="secret", tls=tls
        )
        with pytest.raises(Unreachable, match="certificate"):
            await mailer.send(MESSAGE)
        with pytest.raises(Unreachable, match="smtp_user"):
            await replace(mailer, trusted=believed, password="wrong").send(MESSAGE)
        await replace(mailer, trusted=believed).send(MESSAGE)
        assert (await box.read("ann@example.org"))["Subject"] == "Grüße"
    finally:
        server.close()
        await server.wait_closed()
