"""Conversations with Glance's API."""

import asyncio
import hashlib
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from pileus.core.image.records import Image, ImageState
from pileus.core.operations import Operation
from pileus.core.quota import Limit, Usage
from pileus.drivers.errors import Refused, Unreachable
from pileus.faces.openstack.image import SERVICE
from pileus.faces.openstack.image.images import STATUS
from pileus.faces.wire import ledger
from tests.asgi import Client, scope

V2 = "/image/v2"
LEDGER = Path(__file__).parents[3] / "specs" / "openstack-image.toml"
OCTETS = {"content-type": "application/octet-stream"}
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
OLD_PATCH = {"content-type": "application/openstack-images-v2.0-json-patch"}
NOBODY = str(uuid4())
MIB = 1 << 20


def qemu_img(*arguments):
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def qcow2(tmp_path):
    """A real one, of 8 MiB, with a little in it."""
    path = tmp_path / "disk.qcow2"
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"pileus" * 1000 + bytes(8 * MIB - 6000))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    return path.read_bytes()


@pytest.fixture
def with_backing_file(tmp_path):
    """A qcow2 file that names another file below it."""
    below, path = tmp_path / "below.raw", tmp_path / "top.qcow2"
    below.write_bytes(bytes(MIB))
    qemu_img("create", "-f", "qcow2", "-b", below, "-F", "raw", path)
    return path.read_bytes()


async def made(person, **fields):
    body = {"name": "i", "disk_format": "qcow2", "container_format": "bare", **fields}
    reply = await person.post(f"{V2}/images", json=body)
    assert reply.status == 201, reply.text
    return reply.json()


async def send(person, key, content, **more):
    return await person.put(f"{V2}/images/{key}/file", data=content, headers=OCTETS, **more)


async def leave_half_way(person, path, content):
    """Send some of it, and go away."""
    messages = iter([{"type": "http.request", "body": content, "more_body": True}])

    async def receive():
        return next(messages, {"type": "http.disconnect"})

    async def nobody_listens(message):
        return None

    headers = {**person.headers, **OCTETS, "transfer-encoding": "chunked"}
    await person.app(scope("PUT", path, headers), receive, nobody_listens)


async def shown(person, key):
    reply = await person.get(f"{V2}/images/{key}")
    assert reply.status == 200, reply.text
    return reply.json()


async def patch(person, key, *changes):
    return await person.patch(f"{V2}/images/{key}", json=list(changes), headers=PATCH)


def put(path, value, op="replace"):
    return {"op": op, "path": path, "value": value}


async def usage(site, person):
    async with site.cloud.view() as look:
        found = await look.maybe(Usage, person.project.id, "images")
    return found.used if found else 0


class TestDiscovery:
    async def test_the_root_lists_the_versions_without_a_token(self, kernel):
        reply = await Client(kernel).get("/image/")
        assert reply.status == 300
        first = reply.json()["versions"][0]
        assert (first["id"], first["status"]) == ("v2.5", "CURRENT")
        assert (await Client(kernel).get("/image/versions")).status == 200

    async def test_schemas_say_which_formats_there_are(self, member):
        one = (await member.get(f"{V2}/schemas/image")).json()
        assert "qcow2" in one["properties"]["disk_format"]["enum"]
        many = (await member.get(f"{V2}/schemas/images")).json()
        assert many["properties"]["images"]["items"] == one
        methods = (await member.get(f"{V2}/info/import")).json()["import-methods"]
        assert methods["value"] == []

    async def test_refusals_are_small_pages(self, member):
        reply = await member.get(f"{V2}/images/{NOBODY}")
        assert reply.status == 404
        assert reply.headers["content-type"].startswith("text/html")
        assert NOBODY in reply.text


class TestContent:
    async def test_an_image_from_create_to_delete(self, site, worker, member, qcow2):
        fresh = await made(member, min_disk=1, min_ram=64, hw_disk_bus="virtio", os_type="linux", tags=["a"])
        assert (fresh["status"], fresh["size"], fresh["visibility"]) == ("queued", None, "shared")
        assert (await member.get(f"{V2}/images/{fresh['id']}/file")).status == 204
        assert (await send(member, fresh["id"], qcow2)).status == 204
        found = await shown(member, fresh["id"])
        assert (found["status"], found["size"], found["virtual_size"]) == ("active", len(qcow2), 8 * MIB)
        assert found["checksum"] == hashlib.md5(qcow2).hexdigest()
        assert (found["os_hash_algo"], found["os_hash_value"]) == (
            "sha512",
            hashlib.sha512(qcow2).hexdigest(),
        )
        assert (found["hw_disk_bus"], found["os_type"], found["tags"]) == ("virtio", "linux", ["a"])
        assert found["owner"] == member.project.id.hex
        reply = await member.get(f"{V2}/images/{fresh['id']}/file")
        assert (reply.status, reply.body) == (200, qcow2)
        assert reply.headers["content-md5"] == found["checksum"]
        assert await usage(site, member) == 1
        assert (await member.delete(f"{V2}/images/{fresh['id']}")).status == 204
        assert (await member.get(f"{V2}/images/{fresh['id']}")).status == 404
        await worker.idle()
        assert not await site.images.images()
        assert await usage(site, member) == 0

    @pytest.mark.parametrize(
        ("header", "first", "last"),
        [("bytes=0-9", 0, 9), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=5-5", 5, 5)],
    )
    async def test_a_range(self, member, qcow2, header, first, last):
        key = (await made(member))["id"]
        await send(member, key, qcow2)
        reply = await member.get(f"{V2}/images/{key}/file", headers={"range": header})
        assert reply.status == 206
        start = first if first >= 0 else len(qcow2) + first
        end = len(qcow2) - 1 if last is None else last
        assert reply.body == qcow2[start : end + 1]
        assert reply.headers["content-range"] == f"bytes {start}-{end}/{len(qcow2)}"

    @pytest.mark.parametrize(
        "header", ["bytes=9999999-", "bytes=-", "bytes=5-1", "lines=1-2", "bytes=1-2,4-5"]
    )
    async def test_a_range_that_cannot_be_served(self, member, qcow2, header):
        key = (await made(member))["id"]
        await send(member, key, qcow2)
        reply = await member.get(f"{V2}/images/{key}/file", headers={"range": header})
        assert reply.status == 416
        assert reply.headers["content-range"] == f"bytes */{len(qcow2)}"

    @pytest.mark.parametrize("declared", ["vmdk", "vhd", "vdi", "iso", "raw"])
    async def test_content_of_another_format_is_refused_and_the_image_waits_again(
        self, site, member, qcow2, declared
    ):
        key = (await made(member, disk_format=declared))["id"]
        reply = await send(member, key, qcow2)
        assert reply.status == 400
        assert declared in reply.text
        assert (await shown(member, key))["status"] == "queued"
        assert not await site.images.images()
        assert (await patch(member, key, put("/disk_format", "qcow2"))).status == 200
        assert (await send(member, key, qcow2)).status == 204

    async def test_a_backing_file_is_refused(self, site, member, with_backing_file):
        key = (await made(member))["id"]
        assert (await send(member, key, with_backing_file)).status == 400
        assert (await shown(member, key))["status"] == "queued"
        assert not await site.images.images()

    async def test_content_needs_formats_and_the_right_type(self, member, qcow2):
        key = (await made(member, disk_format=None, container_format=None))["id"]
        assert (await send(member, key, qcow2)).status == 400
        reply = await member.put(
            f"{V2}/images/{key}/file", data=qcow2, headers={"content-type": "text/plain"}
        )
        assert reply.status == 415
        assert (await shown(member, key))["status"] == "queued"

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_too_much_content_is_refused(self, site, member, monkeypatch, qcow2, chunked):
        monkeypatch.setattr(site.cloud, "config", _limited(site.cloud.config, 1000))
        key = (await made(member))["id"]
        reply = await send(member, key, [qcow2] if chunked else qcow2)
        assert reply.status == 413
        assert (await shown(member, key))["status"] == "queued"
        assert not await site.images.images()

    async def test_content_that_breaks_off_leaves_the_image_waiting(self, site, member, qcow2):
        key = (await made(member))["id"]

        await leave_half_way(member, f"{V2}/images/{key}/file", qcow2[:1000])
        assert (await shown(member, key))["status"] == "queued"
        assert not await site.images.images()
        assert (await send(member, key, qcow2)).status == 204

    async def test_a_store_that_does_not_answer_is_no_fault_of_the_client(self, site, member, qcow2):
        key = (await made(member))["id"]
        for call in ("write", "inspect"):
            site.images.fail(call, Unreachable("secondary storage is away"))
            reply = await send(member, key, qcow2)
            assert reply.status == 503
            assert "secondary storage is away" not in reply.text
            assert (await shown(member, key))["status"] == "queued"
        assert not await site.images.images()

    async def test_one_upload_at_a_time(self, member, qcow2):
        key = (await made(member))["id"]
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slowly():
            yield qcow2[:1000]
            arrived.set()
            await go_on.wait()
            yield qcow2[1000:]

        first = asyncio.create_task(send(member, key, slowly()))
        await arrived.wait()
        assert (await shown(member, key))["status"] == "saving"
        assert (await send(member, key, qcow2)).status == 409
        go_on.set()
        assert (await first).status == 204
        assert (await send(member, key, qcow2)).status == 409
        assert (await shown(member, key))["status"] == "active"

    async def test_an_image_deleted_while_it_arrives_leaves_nothing(self, site, worker, member, qcow2):
        key = (await made(member))["id"]
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slowly():
            yield qcow2[:1000]
            arrived.set()
            await go_on.wait()
            yield qcow2[1000:]

        upload = asyncio.create_task(send(member, key, slowly()))
        await arrived.wait()
        assert (await member.delete(f"{V2}/images/{key}")).status == 204
        await worker.idle()
        go_on.set()
        assert (await upload).status == 404
        assert not await site.images.images()
        assert await usage(site, member) == 0


def _limited(config, bytes_):
    return replace(config, max_image_bytes=bytes_)


class TestRecords:
    async def test_patches(self, member):
        key = (await made(member, a="1", b="2"))["id"]
        reply = await patch(
            member,
            key,
            put("/name", "new"),
            put("/min_disk", 3),
            put("/tags", ["x", "y", "x"]),
            put("/a", "3"),
            put("/c~1d", "4", "add"),
            {"op": "remove", "path": "/b"},
            put("/protected", True),
            put("/os_hidden", True),
            put("/visibility", "community"),
        )
        assert reply.status == 200, reply.text
        found = reply.json()
        assert (found["name"], found["min_disk"], found["tags"], found["a"]) == ("new", 3, ["x", "y"], "3")
        assert (found["c/d"], found["protected"], found["os_hidden"]) == ("4", True, True)
        assert found["visibility"] == "community"
        assert "b" not in found

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            (put("/status", "active"), 403),
            (put("/size", 1), 403),
            (put("/checksum", "x"), 403),
            (put("/id", NOBODY), 403),
            (put("/owner", "x"), 403),
            (put("/os_glance_x", "1", "add"), 403),
            (put("/locations", []), 400),
            ({"op": "remove", "path": "/name"}, 403),
            ({"op": "remove", "path": "/nothing"}, 409),
            (put("/nothing", "x"), 409),
            (put("name", "x"), 400),
            (put("/a/b", "x"), 400),
            (put("/name", 7), 400),
            (put("/name", "x" * 256), 400),
            (put("/min_ram", -1), 400),
            (put("/min_ram", "x"), 400),
            (put("/protected", "yes"), 400),
            (put("/visibility", "secret"), 400),
            (put("/visibility", "public"), 403),
            (put("/disk_format", "nonsense"), 400),
            (put("/tags", "x"), 400),
            (put("/new", 7, "add"), 400),
            (put("/name", "x", "move"), 400),
            ({"op": "replace", "path": "/name"}, 400),
            ({"path": "/name"}, 400),
            (7, 400),
        ],
    )
    async def test_a_bad_patch_changes_nothing(self, member, change, status):
        before = await made(member)
        reply = await patch(member, before["id"], put("/name", "other"), change)
        assert reply.status == status, reply.text
        assert await shown(member, before["id"]) == before

    async def test_patches_in_the_form_of_2_0(self, member):
        key = (await made(member, a="1", b="2"))["id"]
        body = [
            {"replace": "/name", "value": "new"},
            {"add": "/c", "value": "3"},
            {"remove": "/a"},
            {"replace": "/protected", "value": True},
        ]
        reply = await member.patch(f"{V2}/images/{key}", json=body, headers=OLD_PATCH)
        assert reply.status == 200, reply.text
        found = reply.json()
        assert (found["name"], found["b"], found["c"], found["protected"]) == ("new", "2", "3", True)
        assert "a" not in found
        for wrong in (
            {"add": "/d", "remove": "/b"},
            {"value": "x"},
            put("/name", "x"),
            {"add": 7, "value": "x"},
        ):
            reply = await member.patch(f"{V2}/images/{key}", json=[wrong], headers=OLD_PATCH)
            assert reply.status == 400, (wrong, reply.text)

    async def test_administrators_give_an_image_to_another_project_with_its_quota(self, site, admin, member):
        key, owner = (await made(member))["id"], uuid4()
        assert (await patch(admin, key, put("/owner", owner.hex))).json()["owner"] == owner.hex
        assert (await member.get(f"{V2}/images/{key}")).status == 404
        async with site.cloud.view() as look:
            used = {u.project: u.used for u in await look.list(Usage, resource="images") if u.used}
        assert used == {owner: 1}

    async def test_formats_are_fixed_with_the_content(self, member, qcow2):
        key = (await made(member))["id"]
        await send(member, key, qcow2)
        assert (await patch(member, key, put("/disk_format", "raw"))).status == 403
        assert (await patch(member, key, put("/disk_format", "qcow2"))).status == 200

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"disk_format": "nonsense"}, 400),
            ({"container_format": "nonsense"}, 400),
            ({"id": "x"}, 400),
            ({"min_disk": "x"}, 400),
            ({"min_disk": 1 << 40}, 400),
            ({"visibility": "secret"}, 400),
            ({"visibility": "public"}, 403),
            ({"status": "active"}, 403),
            ({"owner": NOBODY}, 403),
            ({"custom": 7}, 400),
            ({"custom": None}, 400),
            ({"x" * 256: "y"}, 400),
            ({"name": "x" * 256}, 400),
            ({"tags": ["x" * 256]}, 400),
            ({"tags": [7]}, 400),
        ],
    )
    async def test_bad_fields_are_told_and_nothing_is_made(self, site, member, fields, status):
        assert (await member.post(f"{V2}/images", json=fields)).status == status
        assert (await member.get(f"{V2}/images")).json()["images"] == []
        assert await usage(site, member) == 0

    async def test_an_id_may_be_chosen_once(self, member, other):
        key = str(uuid4())
        assert (await made(member, id=key))["id"] == key
        assert (await member.post(f"{V2}/images", json={"id": key})).status == 409
        assert (await other.post(f"{V2}/images", json={"id": key})).status == 409

    async def test_the_quota_is_told(self, site, member):
        async with site.cloud.transaction() as tx:
            await tx.rows.put(Limit(project=member.project.id, resource="images", limit=1))
        await made(member)
        assert (await member.post(f"{V2}/images", json={})).status == 413
        assert await usage(site, member) == 1

    async def test_tags(self, member):
        key = (await made(member))["id"]
        assert (await member.put(f"{V2}/images/{key}/tags/blue%20sky")).status == 204
        assert (await member.put(f"{V2}/images/{key}/tags/blue%20sky")).status == 204
        assert (await shown(member, key))["tags"] == ["blue sky"]
        assert (await member.put(f"{V2}/images/{key}/tags/{'x' * 256}")).status == 400
        assert (await member.delete(f"{V2}/images/{key}/tags/none")).status == 404
        assert (await member.delete(f"{V2}/images/{key}/tags/blue%20sky")).status == 204
        assert (await shown(member, key))["tags"] == []

    async def test_many_tags_at_once_all_stay(self, member):
        key = (await made(member))["id"]
        await asyncio.gather(*(member.put(f"{V2}/images/{key}/tags/{n}") for n in range(20)))
        assert set((await shown(member, key))["tags"]) == {str(n) for n in range(20)}

    async def test_a_protected_image_stays(self, member):
        key = (await made(member, protected=True))["id"]
        assert (await member.delete(f"{V2}/images/{key}")).status == 403
        await patch(member, key, put("/protected", False))
        assert (await member.delete(f"{V2}/images/{key}")).status == 204

    async def test_deactivated_content_is_for_administrators(self, admin, member, other, qcow2):
        key = (await made(member))["id"]
        assert (await admin.post(f"{V2}/images/{key}/actions/deactivate")).status == 409
        await send(member, key, qcow2)
        assert (await other.post(f"{V2}/images/{key}/actions/deactivate")).status == 404
        assert (await member.post(f"{V2}/images/{key}/actions/deactivate")).status == 204
        assert (await shown(member, key))["status"] == "deactivated"
        assert (await member.get(f"{V2}/images/{key}/file")).status == 403
        assert (await admin.get(f"{V2}/images/{key}/file")).status == 200
        assert (await member.post(f"{V2}/images/{key}/actions/reactivate")).status == 204
        assert (await member.get(f"{V2}/images/{key}/file")).status == 200


class TestVisibility:
    @pytest.mark.parametrize("visibility", ["private", "shared", "community", "public"])
    async def test_what_another_project_sees_and_may_do(self, admin, other, qcow2, visibility):
        key = (await made(admin, visibility=visibility))["id"]
        await send(admin, key, qcow2)
        seen = visibility in ("community", "public")
        assert (await other.get(f"{V2}/images/{key}")).status == (200 if seen else 404)
        assert (await other.get(f"{V2}/images/{key}/file")).status == (200 if seen else 404)
        listed = [one["id"] for one in (await other.get(f"{V2}/images")).json()["images"]]
        assert (key in listed) is (visibility == "public")
        asked = await other.get(f"{V2}/images?visibility={visibility}")
        assert [one["id"] for one in asked.json()["images"]] == ([key] if seen else [])
        for reply in (
            await patch(other, key, put("/name", "mine")),
            await other.delete(f"{V2}/images/{key}"),
            await send(other, key, qcow2),
            await other.put(f"{V2}/images/{key}/tags/x"),
        ):
            assert reply.status == (403 if seen else 404)
        assert (await shown(admin, key))["name"] == "i"

    async def test_hidden_images_are_listed_when_asked_for(self, member):
        key = (await made(member, os_hidden=True))["id"]
        assert (await member.get(f"{V2}/images")).json()["images"] == []
        asked = await member.get(f"{V2}/images?os_hidden=true")
        assert [one["id"] for one in asked.json()["images"]] == [key]
        assert (await shown(member, key))["os_hidden"] is True


class TestLists:
    @pytest.fixture
    async def three(self, member, qcow2):
        for name, ram in (("a", 3), ("b", 1), ("c", 2)):
            one = await made(member, name=name, min_ram=ram, tags=["t", name], kind=name)
        await send(member, one["id"], qcow2)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", "cba"),
            ("sort=name:asc", "abc"),
            ("sort_key=name&sort_dir=asc", "abc"),
            ("sort_key=status&sort_key=name&sort_dir=asc", "cab"),
            ("name=a", "a"),
            ("name=in:a,c", "ca"),
            ("status=active", "c"),
            ("status=in:queued,saving", "ba"),
            ("tag=t&tag=b", "b"),
            ("kind=b", "b"),
            ("nonsense=b", ""),
            ("size_min=1", "c"),
            ("size_max=1", ""),
            ("protected=false", "cba"),
            ("protected=true", ""),
            ("visibility=all", "cba"),
            ("visibility=private", ""),
            ("created_at=gt:2020-01-01T00:00:00Z", "cba"),
            ("updated_at=lt:2020-01-01T00:00:00", ""),
            ("limit=2", "cb"),
            ("limit=0", ""),
        ],
    )
    async def test_filters_and_order(self, member, three, query, names):
        reply = await member.get(f"{V2}/images?{query}")
        assert reply.status == 200, reply.text
        assert "".join(image["name"] for image in reply.json()["images"]) == names

    @pytest.mark.parametrize(
        "query",
        [
            "limit=-1",
            "limit=x",
            f"marker={NOBODY}",
            "sort=nothing",
            "sort=name:up",
            "sort_dir=up",
            "created_at=never",
            "protected=perhaps",
            "size_min=x",
        ],
    )
    async def test_bad_queries_are_told(self, member, three, query):
        assert (await member.get(f"{V2}/images?{query}")).status == 400

    async def test_pages_follow_each_other(self, member, three):
        path, seen = "/v2/images?limit=1&sort=name:asc", ""
        while path:
            page = (await member.get(f"/image{path}")).json()
            assert page["first"] == "/v2/images?limit=1&sort=name%3Aasc"
            seen += "".join(image["name"] for image in page["images"])
            path = page.get("next")
        assert seen == "abc"


OPERATIONS = [operation for operation in SERVICE.operations if not operation.public]
NONSENSE = (b"", b"{", b"7", b"null", b'"x"', b"\xff", b"[" * 5000, b'{"name": "\\u0000"}', b"[7]")


def path_of(operation, key):
    return SERVICE.prefix + operation.path.replace("{image}", key).replace("{tag}", "x")


async def test_no_operation_takes_a_bad_token(kernel):
    for operation in OPERATIONS:
        stranger = Client(kernel, {"x-auth-token": "no"})
        reply = await stranger.request(operation.method, path_of(operation, NOBODY))
        assert reply.status == 401, operation.key
        assert reply.json()["error"]["code"] == 401


async def test_no_operation_takes_nonsense(member):
    before = await made(member)
    for operation in OPERATIONS:
        if operation.body is not None:
            for content in NONSENSE:
                path = path_of(operation, before["id"])
                reply = await member.request(operation.method, path, data=content)
                assert reply.status == 400, (operation.key, content, reply.text)
            large = b" " * ((2 << 20) + 1)
            assert (await member.request(operation.method, path, data=large)).status == 413
    assert (await member.get(f"{V2}/images")).json()["images"] == [before]


@pytest.mark.parametrize("key", [NOBODY, "0", "x" * 300, "%F0%9F%98%80", "..%2f"])
async def test_no_operation_finds_what_does_not_exist(admin, key):
    for operation in OPERATIONS:
        if "{image}" in operation.path:
            sent = b"[]" if operation.body is not None else b""
            reply = await admin.request(
                operation.method,
                path_of(operation, key),
                data=sent,
                headers=OCTETS | PATCH if operation.body is not None else OCTETS,
            )
            assert reply.status == 404, (operation.key, reply.text)


async def test_a_failed_deletion_can_be_repeated(site, worker, member, qcow2):
    key = (await made(member))["id"]
    await send(member, key, qcow2)
    site.images.fail("delete", Refused("read-only store"))
    assert (await member.delete(f"{V2}/images/{key}")).status == 204
    await worker.idle()
    assert (await shown(member, key))["status"] == "killed"
    assert (await member.delete(f"{V2}/images/{key}")).status == 204
    await worker.idle()
    async with site.cloud.view() as look:
        assert not await look.list(Image)
        assert all(op.finished_at for op in await look.list(Operation, workflow="image.delete"))
    assert not await site.images.images()


def test_every_state_has_a_word():
    assert set(STATUS) == set(ImageState)


def test_the_ledger_agrees_with_what_is_registered():
    assert ledger.check(ledger.load(LEDGER), SERVICE.operations) == []
