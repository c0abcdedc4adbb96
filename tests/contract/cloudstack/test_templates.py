"""Templates: registering, uploading, seeing and deleting them."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.image.records import Image, ImageState
from pileus.faces.cloudstack.templates import STATUS
from pileus.faces.cloudstack.uploads import file_of
from pileus.workflows.worker import Worker
from tests.asgi import Client
from tests.contract.cloudstack.conftest import Stack

CONTENT = b"\x11" * 70_000
WANT = {"name": "mine", "displaytext": "Mine", "format": "RAW", "hypervisor": "Simulator"}


@pytest.fixture
def url() -> Iterator[str]:
    """An address that serves the content."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/image" else 404)
            self.end_headers()
            if self.path == "/image":
                self.wfile.write(CONTENT)

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def listed(who: Stack, filter: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await who.call("listTemplates", templatefilter=filter, **more)).get(
        "template", []
    )
    return found


def test_every_state_has_a_word() -> None:
    assert set(STATUS) == set(ImageState)


async def test_a_template_is_registered_fetched_described_and_deleted(
    admin: Stack, other: Stack, worker: Worker, url: str, place: dict[str, str]
) -> None:
    more = {"zoneid": place["zoneid"], "passwordenabled": True, "details[0].a": "b"}
    made = await admin.call("registerTemplate", **WANT, url=f"{url}/image", **more)
    (first,) = made["template"]
    assert (made["count"], first["isready"], first["account"]) == (1, False, "admin")
    await worker.idle()
    (seen,) = await listed(admin, "self", name="mine")
    assert (seen["id"], seen["isready"], seen["status"]) == (first["id"], True, "Download Complete")
    assert (seen["physicalsize"], seen["passwordenabled"], seen["details"]) == (
        len(CONTENT),
        True,
        {"a": "b"},
    )
    assert await listed(other, "executable", id=seen["id"]) == []
    await other.refused("deleteTemplate", 431, id=seen["id"])
    types = (await admin.call("listOsTypes", keyword="Debian"))["ostype"]
    changed = await admin.call("updateTemplate", id=seen["id"], name="renamed", ostypeid=types[0]["id"])
    assert (changed["template"]["name"], changed["template"]["ostypename"]) == ("renamed", types[0]["name"])
    assert await admin.job(worker, "deleteTemplate", id=seen["id"]) == {"success": True}
    assert await listed(admin, "self", name="renamed") == []


async def test_a_template_that_cannot_be_fetched_says_why(
    admin: Stack, member: Stack, worker: Worker, url: str
) -> None:
    for who, path, why in ((admin, "missing", "404"), (member, "image", "only administrators")):
        await who.call("registerTemplate", **WANT, url=f"{url}/{path}")
        await worker.idle()
        (seen,) = await listed(who, "self", name="mine")
        assert seen["isready"] is False
        assert why in seen["status"]


async def test_filters_show_what_they_promise(
    admin: Stack, member: Stack, image: Image, place: dict[str, str]
) -> None:
    for who, filter, count in (
        (member, "featured", 1),
        (member, "executable", 1),
        (member, "self", 0),
        (member, "selfexecutable", 0),
        (member, "community", 0),
        (member, "sharedexecutable", 0),
        (admin, "self", 1),
        (admin, "all", 1),
    ):
        assert len(await listed(who, filter)) == count, filter
    for more, count in (
        ({"id": image.id}, 1),
        ({"name": "guest"}, 1),
        ({"name": "other"}, 0),
        ({"keyword": "ues"}, 1),
        ({"zoneid": place["zoneid"]}, 1),
        ({"hypervisor": "simulator"}, 1),
        ({"hypervisor": "VMware"}, 0),
        ({"isready": False}, 0),
        ({"ids": f"{image.id},{uuid4()}"}, 1),
    ):
        assert len(await listed(member, "featured", **more)) == count, more
    await member.refused("listTemplates", 431, templatefilter="all")
    await member.refused("listTemplates", 431, templatefilter="nonsense")


async def test_bad_wishes_register_nothing(member: Stack, worker: Worker, place: dict[str, str]) -> None:
    for code, more in (
        (431, {"url": "file:///etc/passwd"}),
        (431, {"url": "http://x/", "format": "EXE"}),
        (431, {"url": "http://x/", "hypervisor": "VMware"}),
        (431, {"url": "http://x/", "zoneid": str(uuid4())}),
        (431, {"url": "http://x/", "zoneids": "a,b"}),
        (431, {"url": "http://x/", "ostypeid": str(uuid4())}),
        (531, {"url": "http://x/", "ispublic": True}),
    ):
        await member.refused("registerTemplate", code, **{**WANT, **more})
    await worker.idle()
    assert await listed(member, "self") == []


def form(content: bytes, boundary: str = "X-1") -> tuple[dict[str, str], bytes]:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="note"\r\n\r\nfirst\r\n'
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.img"\r\n\r\n'
    body = head.encode() + file.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body


@pytest.mark.parametrize("as_form", [True, False])
async def test_a_browser_uploads_a_template_once(as_form: bool, member: Stack, place: dict[str, str]) -> None:
    asked = await member.call("getUploadParamsForTemplate", **WANT, zoneid=place["zoneid"])
    told = asked["getuploadparams"]
    path = told["postURL"].removeprefix("http://cloud.test")
    headers, body = form(CONTENT) if as_form else ({}, CONTENT)
    browser = Client(member.app)
    for bad in ({}, {"x-signature": "wrong"}):
        assert (await browser.post(path, data=body, headers={**headers, **bad})).status == 404
    signed = {**headers, "x-signature": told["signature"]}
    assert (await browser.post(f"/client/upload/{uuid4()}", data=body, headers=signed)).status == 404
    reply = await browser.post(path, data=body, headers=signed)
    assert reply.status == 200, reply.text
    (seen,) = await listed(member, "self")
    assert (seen["isready"], seen["physicalsize"]) == (True, len(CONTENT))
    assert (await browser.post(path, data=body, headers=signed)).status == 404


async def test_a_form_without_its_end_or_without_a_file_uploads_nothing(
    member: Stack, place: dict[str, str]
) -> None:
    asked = await member.call("getUploadParamsForTemplate", **WANT, zoneid=place["zoneid"])
    told = asked["getuploadparams"]
    headers, body = form(CONTENT)
    signed = {**headers, "x-signature": told["signature"]}
    path = told["postURL"].removeprefix("http://cloud.test")
    for broken in (body[:-20], b"", b"--X-1--\r\n", b"nothing of a form" * 2000):
        assert (await Client(member.app).post(path, data=broken, headers=signed)).status == 400
    (seen,) = await listed(member, "self")
    assert seen["isready"] is False


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 100_000])
def test_a_form_is_read_whatever_its_pieces(size: int) -> None:
    content = b"\r\n--X" * 50 + b"--X-2\r\n\r\n" + CONTENT[:500]
    _, body = form(content)

    async def pieces() -> Any:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def read() -> bytes:
        return b"".join([chunk async for chunk in file_of(pieces(), b"--X-1")])

    assert asyncio.run(read()) == content
