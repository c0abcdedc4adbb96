"""Images: fetching from servers that behave and that do not, exports and uploads."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import VolumeState
from pileus.core.caller import Caller
from pileus.core.errors import Conflict
from pileus.core.image import exports, images
from pileus.core.image.records import Image, ImageState
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Refused, Unreachable
from pileus.workflows import downloads, image_delete, image_fill, image_upload  # noqa: F401
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.storage import CONTENT, state_of, world

__all__ = ["world"]


class Handler(BaseHTTPRequestHandler):
    """What each path of the test server does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, rest = self.path.removeprefix("/").partition("/")
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        getattr(self, f"do_{path}")(rest)

    def do_good(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def do_chunked(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))

    def do_short(self, _: str) -> None:
        """Half of what was promised, the first time only."""
        if self.server.asked.count(self.path) > 1:  # type: ignore[attr-defined]
            self.do_good("")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.close_connection = True

    def do_busy(self, _: str) -> None:
        """Not now, the first time only."""
        self.do_good("") if self.server.asked.count(self.path) > 1 else self.send_error(503)  # type: ignore[attr-defined]

    def do_missing(self, _: str) -> None:
        self.send_error(404)

    def do_to(self, rest: str) -> None:
        self.send_response(302)
        self.send_header("Location", {"good": "/good", "loop": "/to/loop"}.get(rest, rest))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        return


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def remote():
    with serving() as server:
        yield server


def url(server, path):
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


def admin(world):
    return Caller(user=world.caller.user, project=world.caller.home, roles=frozenset({"admin"}), face="test")


async def register(world, address, caller=None, **fields):
    want = images.Create(project=world.caller.home, url=address, **{"disk_format": "raw", **fields})
    made = await images.create(world.cloud, caller or admin(world), want)
    return made.resource


async def fetched(world, address, caller=None, **fields):
    image = await register(world, address, caller, **fields)
    await world.quiet()
    return await images.show(world.cloud, world.caller, image.id)


# Enumeration


async def volume_of_image(world):
    return await world.volume(image=(await world.image()).id)


async def export(world, volume):
    want = exports.FromVolume(volume=volume.id, name="copy", disk_format="qcow2")
    await exports.create(world.cloud, world.caller, want)


async def image_with_base(world):
    image = await world.image()
    volume = await world.volume(image=image.id)
    await volumes.delete(world.cloud, world.caller, volume.id)
    await world.quiet()
    assert await world.pool.bases() == {image.id}
    return image


class TestFetching:
    @pytest.mark.parametrize("path", ["good", "chunked", "to/good"])
    async def test_content_comes_from_an_address(self, world, remote, path):
        image = await fetched(world, url(remote, path))
        assert (image.state, image.size, image.fault) == (ImageState.ACTIVE, len(CONTENT), "")
        assert await world.faults() == []

    @pytest.mark.parametrize("path", ["short", "busy"])
    async def test_what_may_get_better_is_tried_again(self, world, remote, path):
        image = await fetched(world, url(remote, path))
        assert (image.state, image.size) == (ImageState.ACTIVE, len(CONTENT))
        assert len(remote.asked) == 2

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("missing", "404"),
            ("to/ftp://127.0.0.1/x", "ftp"),
            ("to/file:///etc/passwd", "file"),
            ("to/loop", "redirect"),
            ("to/http://[broken", ""),
        ],
    )
    async def test_what_will_not_get_better_is_told(self, world, remote, path, words):
        image = await fetched(world, url(remote, path))
        assert image.state is ImageState.ERROR
        assert words in image.fault
        assert await world.faults() == []
        await world.remove_everything()

    async def test_an_address_that_nobody_serves_is_given_up_after_a_while(self, world, monkeypatch):
        with serving() as server:
            address = url(server, "good")
        workflow = image_fill.FETCH
        step = workflow.steps[0]
        impatient = (changed(step, patience=0.0), *workflow.steps[1:])
        monkeypatch.setitem(WORKFLOWS, "image.fetch", changed(workflow, steps=impatient))
        image = await fetched(world, address)
        assert image.state is ImageState.ERROR
        assert "refused" in image.fault.lower()

    async def test_too_much_is_refused(self, world, remote, monkeypatch):
        small = replace(world.cloud.config, max_image_bytes=100)
        monkeypatch.setattr(world.cloud, "config", small)
        image = await fetched(world, url(remote, "good"))
        assert image.state is ImageState.ERROR
        assert "100 bytes" in image.fault
        assert await world.faults() == []

    async def test_another_format_than_declared_is_refused(self, world, remote):
        image = await fetched(world, url(remote, "good"), disk_format="qcow2")
        assert image.state is ImageState.ERROR
        assert "qcow2 was declared" in image.fault
        await world.remove_everything()

    @pytest.mark.parametrize("path", ["good", "to/good"])
    async def test_users_do_not_reach_the_cloud_itself(self, world, remote, path):
        image = await fetched(world, url(remote, path), world.caller)
        assert image.state is ImageState.ERROR
        assert "belongs to the cloud itself" in image.fault
        assert remote.asked == []

    async def test_a_delete_calls_off_a_fetch(self, world, remote, monkeypatch):
        reached, go_on = asyncio.Event(), asyncio.Event()
        write = world.images.write

        async def slowly(*arguments, **more):
            reached.set()
            await go_on.wait()
            return await write(*arguments, **more)

        monkeypatch.setattr(world.images, "write", slowly)
        image = await register(world, url(remote, "good"))
        await reached.wait()
        await images.delete(world.cloud, world.caller, image.id)
        go_on.set()
        await world.quiet()
        assert await state_of(world, image) is None
        assert await world.faults() == []


class TestExports:
    async def test_deleting_the_image_frees_the_volume(self, world, monkeypatch):
        volume = await volume_of_image(world)
        reached, go_on = asyncio.Event(), asyncio.Event()
        work = world.pool.export

        async def slowly(*arguments):
            reached.set()
            await go_on.wait()
            await work(*arguments)

        monkeypatch.setattr(world.pool, "export", slowly)
        want = exports.FromVolume(volume=volume.id, name="copy")
        image = (await exports.create(world.cloud, world.caller, want)).resource
        await reached.wait()
        await images.delete(world.cloud, world.caller, image.id)
        go_on.set()
        await world.quiet()
        assert await state_of(world, image) is None
        assert await state_of(world, volume) is VolumeState.AVAILABLE
        assert await world.faults() == []

    async def test_only_a_free_volume_becomes_an_image(self, world):
        volume, _ = await world.held()
        want = exports.FromVolume(volume=volume.id, name="copy")
        with pytest.raises(Conflict, match="must be available"):
            await exports.create(world.cloud, world.caller, want)
        assert await world.faults() == []


class TestUploads:
    async def test_an_upload_that_a_dead_process_left_waits_again(self, world):
        want = images.Create(project=world.caller.home, name="i", disk_format="raw", container_format="bare")
        image = await images.create(world.cloud, world.caller, want)
        await images.open_upload(world.cloud, world.caller, image.id)
        await image_upload.requeue_broken(world.site)
        assert await state_of(world, image) is ImageState.QUEUED
        assert await world.faults() == []

    async def test_requeuing_leaves_fetches_and_exports_alone(self, world):
        volume = await world.volume()
        world.pool.fail("export", Unreachable("away"))
        await export(world, volume)
        await image_upload.requeue_broken(world.site)
        await world.quiet()
        async with world.cloud.view() as look:
            (image,) = await look.list(Image)
            (done,) = await look.list(Operation, workflow="image.from_volume")
        assert (image.state, done.outcome) == (ImageState.ACTIVE, Outcome.DONE)

    async def test_a_base_that_cannot_be_dropped_now_is_dropped_later(self, world):
        image = await image_with_base(world)
        world.pool.fail("delete_base", Refused("busy"), times=2)
        await images.delete(world.cloud, world.caller, image.id)
        await world.quiet()
        assert await state_of(world, image) is None
        assert not await world.pool.bases()
