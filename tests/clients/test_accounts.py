"""Visitors and forgetful users in a browser: the pages of accounts with real letters, and the operator's command."""

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from tests.clients.browser import Page, browser
from tests.clients.cloud import PILEUS, free_port, run
from tests.contract.letterbox import Letterbox, text_of

SECONDS = 20
PASSWORD = "A-long-secret-1"
DEMANDS = "Eight characters or more"


@dataclass
class Cloud:
    state: Path
    port: int
    mail: int
    url: str

    def start(self, mode: str) -> None:
        settings = {
            "registration": mode,
            "smtp_host": "127.0.0.1",
            "smtp_port": self.mail,
            "smtp_tls": "none",
            "password_regex": ".{8,}",
            "password_regex_description": DEMANDS,
        }
        given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        run([PILEUS, "down", "--state", self.state], check=False)
        up = ("up", "--detach", "--simulate", "1", "--port", str(self.port), "--state", str(self.state))
        run([PILEUS, *up, *given])

    def registrations(self, *words: str) -> str:
        return run([PILEUS, "registrations", *words, "--state", self.state], check=False)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    state = Path(tempfile.mkdtemp(prefix="pileus-accounts-", dir="/var/tmp"))
    port = free_port()
    made = Cloud(state, port, free_port(), f"http://127.0.0.1:{port}")
    try:
        yield made
    finally:
        run([PILEUS, "down", "--state", state], check=False)
        shutil.rmtree(state, ignore_errors=True)


class Visitor:
    """In front of a page, as wide as a telephone."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, expression: str) -> Any:
        answer = await self.page.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def open(self, url: str) -> None:
        await self.page.open("about:blank")
        await self.page.open(url)

    async def until(self, expression: str) -> None:
        end = time.monotonic() + SECONDS
        while not await self.run(expression):
            assert time.monotonic() < end, (expression, await self.run("document.body.innerText"))
            await asyncio.sleep(0.05)

    async def shows(self, text: str, role: str = "status") -> None:
        await self.until(f"document.querySelector('[role={role}]')?.textContent.includes({json.dumps(text)})")

    async def send(self, form: str, **fields: str) -> None:
        """Twice, as impatient people do."""
        await self.until(f"document.forms.{form} && !document.forms.{form}.hidden")
        for name, value in fields.items():
            await self.run(f"document.forms.{form}.elements[{name!r}].value = {json.dumps(value)}")
        for _ in range(2):
            await self.run(f"document.forms.{form}.requestSubmit()")


@asynccontextmanager
async def visiting(cloud: Cloud) -> AsyncIterator[tuple[Visitor, Letterbox]]:
    box, loop = Letterbox(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", cloud.mail)
    try:
        async with browser() as page:
            phone = {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True}
            await page.call("Emulation.setDeviceMetricsOverride", **phone)
            yield Visitor(page), box
    finally:
        server.close()
        await server.wait_closed()


async def link(box: Letterbox, reader: str, count: int = 1) -> str:
    found = re.search(r"http\S+#\S+", text_of(await box.read(reader, count)))
    assert found
    return found[0]


def test_a_visitor_registers_forgets_the_password_and_chooses_another(cloud: Cloud) -> None:
    async def scene() -> None:
        async with visiting(cloud) as (visitor, box):
            await visitor.open(f"{cloud.url}/console/register")
            wish = {"name": "admin", "email": "New@Example.org"}
            await visitor.send("ask", **wish, password="short")
            await visitor.shows(DEMANDS, "alert")
            await visitor.send("ask", **wish, password=PASSWORD)
            await visitor.shows("a letter is on its way")
            confirm = await link(box, "new@example.org")
            await visitor.open(confirm)
            await visitor.send("confirm")
            await visitor.shows("admin is taken", "alert")
            await visitor.run("window.former = true; location.reload()")  # the page still knows the link
            await visitor.until("!window.former")
            await visitor.send("confirm", name="newcomer")
            await visitor.shows("Log in as newcomer")
            await visitor.open(confirm)
            await visitor.send("confirm")
            await visitor.shows("used already", "alert")
            assert len(box.letters["new@example.org"]) == 1

            await visitor.open(f"{cloud.url}/console/reset")
            await visitor.send("ask", name=" newcomer ")
            await visitor.shows("a letter with a link is on its way")
            choose = await link(box, "new@example.org", 2)
            await visitor.open(choose)
            await visitor.send("choose", password="another-secret", again="another-secert")
            await visitor.shows("differ", "alert")
            await visitor.send("choose", password="short", again="short")
            await visitor.shows(DEMANDS, "alert")
            await visitor.send("choose", password="another-secret", again="another-secret")
            await visitor.shows("Log in as newcomer")
            await visitor.open(choose)
            await visitor.send("choose", password="another-secret", again="another-secret")
            await visitor.shows("used already", "alert")

    cloud.start("open")
    asyncio.run(scene())


def test_an_operator_approves_refuses_and_invites_by_the_command(cloud: Cloud) -> None:
    async def scene() -> None:
        async with visiting(cloud) as (visitor, box):
            for name in ("good", "bad"):
                await visitor.open(f"{cloud.url}/console/register")
                email = f"{name}@example.org"
                await visitor.send("ask", name=name, email=email, password=PASSWORD, organisation="\x1b[31m")
                await visitor.open(await link(box, email))
                await visitor.send("confirm")
                await visitor.shows("An operator looks at your registration")
            listed = await asyncio.to_thread(cloud.registrations, "list")
            assert "good@example.org" in listed
            assert "\x1b" not in listed
            assert "is made" in await asyncio.to_thread(cloud.registrations, "approve", "good")
            refuse = ("refuse", "bad@example.org", "--reason", "not known here")
            assert "is refused" in await asyncio.to_thread(cloud.registrations, *refuse)
            assert "no registrations" in await asyncio.to_thread(cloud.registrations, "list")
            assert "Log in as good" in text_of(await box.read("good@example.org", 2))
            assert "not known here" in text_of(await box.read("bad@example.org", 2))

            await asyncio.to_thread(cloud.start, "invitation")
            await visitor.open(f"{cloud.url}/console/register")
            await visitor.shows("needs an invitation")
            await asyncio.to_thread(cloud.registrations, "invite", "Guest@example.org")
            invitation = await link(box, "guest@example.org")
            await visitor.open(invitation)
            await visitor.until("document.forms.ask?.elements.email.readOnly")
            await visitor.send("ask", name="guest", password=PASSWORD)
            await visitor.shows("a letter is on its way")
            await visitor.open(await link(box, "guest@example.org", 2))
            await visitor.send("confirm")
            await visitor.shows("Log in as guest")
            await visitor.open(invitation)
            await visitor.shows("used already", "alert")

    cloud.start("approval")
    asyncio.run(scene())
