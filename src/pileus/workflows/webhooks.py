"""Tells webhooks of events: signed messages, tried again with growing pauses, every try in the log."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import http.client
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import structlog

from pileus.core import deliveries, stream, webhooks
from pileus.core.cloud import Cloud
from pileus.core.errors import CoreError
from pileus.core.events import Event, Filter, Wanted
from pileus.core.webhooks import Delivery, State, Webhook
from pileus.drivers.errors import DriverError
from pileus.store import StoreError
from pileus.workflows.downloads import Connection, SecureConnection
from pileus.workflows.site import Site

log = structlog.get_logger()

PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0)
"""Seconds after each failed try; after the last a delivery is given up."""
ANSWER_SECONDS = 10.0
"""For connecting, and for each part of the answer."""
TRY_SECONDS = 20.0
"""For the whole of a try."""
OURS_SECONDS = 60.0
"""A try that was cut off, by the end of the process, is repeated after this."""
AT_ONCE = 16
IDLE = 1.0
KEPT_BYTES = 1024


EVERYTHING = Filter(projects=None, user=UUID(int=0), wanted=Wanted(), admin=True)


class Message(msgspec.Struct, frozen=True):
    """What is sent: headers beside the signature's, and the body."""

    headers: dict[str, str]
    body: bytes


class Signed(msgspec.Struct, frozen=True):
    """What a form is given: the event (None: a test), the log entry, and the secret ("" where nothing is signed)."""

    event: Event | None
    delivery: Delivery
    webhook: Webhook
    secret: str
    at: int
    """Seconds since 1970."""


Form = Callable[[Cloud, Signed], Awaitable[Message]]


async def standard(cloud: Cloud, what: Signed) -> Message:
    """As the Standard Webhooks specification has it: https://www.standardwebhooks.com."""
    event = what.event
    data = msgspec.to_builtins(event) if event is not None else {}
    moment = event.at if event is not None else what.delivery.created_at
    content = {"type": what.delivery.event, "timestamp": moment, "data": data}
    body = msgspec.json.encode(content)
    key = f"evt_{what.delivery.seq}" if what.delivery.seq else f"test_{what.delivery.id}"
    headers = {"webhook-id": key, "webhook-timestamp": str(what.at)}
    if what.secret:
        signature = hmac.new(key_bytes(what.secret), f"{key}.{what.at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(signature.digest()).decode()}"
    return Message(headers, body)


def key_bytes(secret: str) -> bytes:
    """Of a secret in the specification's form `whsec_<base64>`, or of any other text."""
    if secret.startswith("whsec_"):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(secret[len("whsec_") :], validate=True)
    return secret.encode()


FORMS: dict[str, Form] = {"standard": standard}
"""Faces add their own: what their API's receivers expect."""


class Answer(msgspec.Struct, frozen=True):
    """`status` 0: nobody answered, and `text` says why."""

    status: int
    text: str

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def dial(webhook: Webhook) -> http.client.HTTPConnection:
    """Not connected yet."""
    parts = urlsplit(webhook.url)
    assert parts.hostname is not None
    where = parts.hostname, parts.port
    if parts.scheme == "http":
        return Connection(*where, inside=webhook.inside, timeout=ANSWER_SECONDS)
    context = ssl.create_default_context()
    if not webhook.verify_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return SecureConnection(*where, context=context, inside=webhook.inside, timeout=ANSWER_SECONDS)


def post(connection: http.client.HTTPConnection, webhook: Webhook, message: Message) -> Answer:
    """One try, in a thread. A redirection is an answer like any other: it is not followed."""
    parts = urlsplit(webhook.url)
    headers = {"content-type": "application/json", "user-agent": "pileus-webhook", **message.headers}
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, message.body, headers)
        response = connection.getresponse()
        text = response.read(KEPT_BYTES).decode(errors="replace")
        return Answer(response.status, text)
    except DriverError as error:
        return Answer(0, str(error))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, f"{type(error).__name__}: {error}"[:KEPT_BYTES])
    finally:
        connection.close()


def cut(connection: http.client.HTTPConnection) -> None:
    """End a try whose receiver answers so slowly that no single wait is too long."""
    if connection.sock is not None:
        with suppress(OSError):  # it is over already
            connection.sock.shutdown(socket.SHUT_RDWR)


async def deliver(cloud: Cloud, threads: ThreadPoolExecutor, sent: Delivery, webhook: Webhook) -> None:
    """One try of one delivery, and its end in the log."""
    event = await deliveries.event_of(cloud, sent, webhook)
    if event is None and sent.seq:
        await deliveries.settle(
            cloud, sent, state=State.FAILED, answer="The event is no longer kept.", finished_at=cloud.now()
        )
        return
    what = Signed(event, sent, webhook, webhooks.key_of(cloud, webhook), int(cloud.now().timestamp()))
    message = await FORMS.get(webhook.form, standard)(cloud, what)
    loop, connection = asyncio.get_running_loop(), dial(webhook)
    deadline = loop.call_later(TRY_SECONDS, cut, connection)
    try:
        answer = await loop.run_in_executor(threads, post, connection, webhook, message)
    finally:
        deadline.cancel()
        cut(connection)  # also where nobody waits for the answer any more
    now = cloud.now()
    told = {
        "status": answer.status,
        "answer": answer.text,
        "body": message.body.decode(errors="replace"),
        "headers": message.headers,
    }
    if answer.good:
        told |= {"state": State.DELIVERED, "finished_at": now}
    elif sent.tries > len(PAUSES):
        told |= {"state": State.FAILED, "finished_at": now}
    else:
        told |= {"next_at": now + timedelta(seconds=PAUSES[sent.tries - 1])}
    log.info(
        "webhook", webhook=str(webhook.id), delivery=str(sent.id), tries=sent.tries, status=answer.status
    )
    await deliveries.settle(cloud, sent, **told)


class Dispatcher:
    """One a process: notes what is to be told, and tells it. Several processes share the work."""

    def __init__(self, site: Site) -> None:
        self.cloud = site.cloud
        self._sending: dict[UUID, asyncio.Task[None]] = {}
        """By webhook: one gets its messages one after another."""
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(AT_ONCE, "webhooks")
        """Own ones: receivers are strangers, and what waits for them must hold up nothing else."""

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._for_ever(self.follow), name="webhooks: follow"),
            asyncio.create_task(self._for_ever(self.send), name="webhooks: send"),
        ]

    async def stop(self) -> None:
        """What is being sent is cut off, and repeated later."""
        tasks = [*self._tasks, *self._sending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _for_ever(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except (StoreError, CoreError) as error:
                log.warning("webhooks", error=str(error))
            except Exception:
                log.exception("webhooks broke")
            await asyncio.sleep(IDLE)

    async def follow(self) -> None:
        """Note what there is to tell of the events that come, while there are webhooks."""
        position = await deliveries.position(self.cloud)
        if position is None:
            return
        feed = stream.of(self.cloud)
        try:
            async with feed.follower(EVERYTHING, position) as follower:
                while not feed.stopping and await deliveries.wanted(self.cloud):
                    events = await follower.read()
                    if follower.position > position:
                        await deliveries.assign(self.cloud, events, follower.position)
                        position = follower.position
                    await follower.wait(IDLE)
        except stream.Removed as removed:
            log.warning("webhooks missed events", error=removed.public)
            await deliveries.assign(self.cloud, [], removed.oldest - 1)

    async def send(self) -> None:
        """Begin what is due, as far as there is room. One webhook's backlog does not keep the others waiting."""
        while True:
            room = AT_ONCE - len(self._sending)
            due = (
                await deliveries.claim(self.cloud, room, OURS_SECONDS, frozenset(self._sending))
                if room
                else []
            )
            for delivery, webhook in due:
                task = asyncio.create_task(self._deliver(delivery, webhook), name=f"webhook {webhook.id}")
                self._sending[webhook.id] = task
            if not due and not self._sending:
                return
            if not due:
                running = self._sending.values()
                await asyncio.wait(running, timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)

    async def _deliver(self, delivery: Delivery, webhook: Webhook) -> None:
        try:
            await deliver(self.cloud, self._threads, delivery, webhook)
        except (StoreError, CoreError) as error:
            log.warning("webhook not told", delivery=str(delivery.id), error=str(error))
        except Exception:
            log.exception("webhook broke", delivery=str(delivery.id))
        finally:
            self._sending.pop(webhook.id, None)
