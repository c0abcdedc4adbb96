"""What the core says of images to any face."""

from datetime import timedelta
from uuid import uuid4

import pytest

from pileus.core.caller import Caller
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.image import images
from pileus.core.image.records import ImageState, Visibility
from tests.unit.workflows.storage import world

__all__ = ["world"]


def person(*roles, project=None):
    return Caller(user=uuid4(), project=project or uuid4(), roles=frozenset(roles))


async def made(world, caller=None, **fields):
    caller = caller or world.caller
    return await images.create(world.cloud, caller, images.Create(project=caller.home, **fields))


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_who_sees_an_image(world, visibility):
    administrator = person("admin", project=world.caller.home)
    image = await made(world, administrator, visibility=visibility)
    stranger, seen = person("member", "reader"), visibility in (Visibility.PUBLIC, Visibility.COMMUNITY)
    listed = await images.listing(world.cloud, stranger)
    assert [one.id for one in listed] == ([image.id] if seen else [])
    assert [one.id for one in await images.listing(world.cloud, world.caller)] == [image.id]
    with pytest.raises(Forbidden if seen else NotFound):
        await images.update(world.cloud, stranger, image.id, name="mine")
    with pytest.raises(Forbidden if seen else NotFound):
        await images.delete(world.cloud, stranger, image.id)


async def test_publishing_is_for_administrators(world):
    for fields in ({"visibility": Visibility.PUBLIC}, {"featured": True}):
        with pytest.raises(Forbidden):
            await made(world, **fields)
    image = await made(world)
    with pytest.raises(Forbidden):
        await images.update(world.cloud, world.caller, image.id, visibility=Visibility.PUBLIC)


@pytest.mark.parametrize(
    "fields", [{"disk_format": "x"}, {"container_format": "x"}, {"url": "ftp://x/y"}, {"url": "/etc/passwd"}]
)
async def test_what_cannot_be_is_refused(world, fields):
    with pytest.raises(Invalid):
        await made(world, **fields)
    assert await world.faults() == []


async def test_an_id_is_taken_once(world):
    image = await made(world)
    with pytest.raises(Exists):
        await images.create(world.cloud, world.caller, images.Create(project=world.caller.home), id=image.id)
    assert await world.faults() == []


async def test_content_is_opened_once_and_needs_formats(world):
    image = await made(world)
    with pytest.raises(Invalid, match="must be set"):
        await images.open_upload(world.cloud, world.caller, image.id)
    await images.update(world.cloud, world.caller, image.id, disk_format="raw", container_format="bare")
    opened = await images.open_upload(world.cloud, world.caller, image.id)
    assert opened.state is ImageState.SAVING
    with pytest.raises(Conflict):
        await images.open_upload(world.cloud, world.caller, image.id)
    with pytest.raises(Forbidden, match="disk_format"):
        await images.update(world.cloud, world.caller, image.id, disk_format="qcow2")


async def test_an_upload_token_is_right_for_a_while(world, monkeypatch):
    image = await made(world)
    _, token = await images.issue_upload_token(world.cloud, world.caller, image.id)
    assert (await images.by_upload_token(world.cloud, image.id, token)).id == image.id
    for key, wrong in ((image.id, "x"), (image.id, ""), (uuid4(), token)):
        with pytest.raises(NotFound):
            await images.by_upload_token(world.cloud, key, wrong)
    later = world.cloud.now() + timedelta(seconds=images.UPLOAD_SECONDS + 1)
    monkeypatch.setattr(world.cloud, "now", lambda: later)
    with pytest.raises(NotFound):
        await images.by_upload_token(world.cloud, image.id, token)


async def test_only_an_image_with_content_is_deactivated(world):
    administrator, empty = person("admin"), await made(world)
    with pytest.raises(Conflict):
        await images.set_active(world.cloud, administrator, empty.id, active=False)
    full = await world.image()
    with pytest.raises(Forbidden):
        reader = person("reader", project=world.caller.home)
        await images.set_active(world.cloud, reader, full.id, active=False)
    for who in (administrator, world.caller):
        changed = await images.set_active(world.cloud, who, full.id, active=False)
        assert changed.state is ImageState.DEACTIVATED
        changed = await images.set_active(world.cloud, who, full.id, active=True)
        assert changed.state is ImageState.ACTIVE


async def test_only_an_administrator_gives_an_image_away(world):
    image, other = await made(world), uuid4()
    with pytest.raises(Forbidden):
        await images.update(world.cloud, world.caller, image.id, project=other)
    assert await world.faults() == []
    given = await images.update(world.cloud, person("admin"), image.id, project=other)
    assert given.project == other
    assert await images.listing(world.cloud, world.caller) == []
