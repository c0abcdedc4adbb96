"""Conversations with Cinder's API."""

from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.core.block import volumes
from pileus.core.block.records import SnapshotState, Volume, VolumeState
from pileus.core.block.sources import kind_for, pool_for
from pileus.core.caller import Caller
from pileus.core.compute.records import Host, Server, Size, State
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.quota import Usage
from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.protocol import Guest
from pileus.drivers.volume import fake
from pileus.faces.openstack.volume import SERVICE, SERVICES
from pileus.faces.openstack.volume.words import SNAPSHOT_STATUS, STATUS
from pileus.faces.wire import ledger
from tests.asgi import Client

V3 = "/volume/v3"
LEDGER = Path(__file__).parents[3] / "specs" / "openstack-volume.toml"
MIB = 1 << 20
NOBODY = str(uuid4())
LATEST = {"openstack-api-version": "volume latest"}


def at(version):
    return {"openstack-api-version": f"volume {version}"}


async def made(person, path="volumes", *, headers=None, **fields):
    envelope = path.removesuffix("s")
    fields = {"size": 1, **fields} if path == "volumes" else fields
    reply = await person.post(f"{V3}/{path}", json={envelope: fields}, headers=headers)
    assert reply.status == 202, reply.text
    return reply.json()[envelope]


async def shown(person, key, path="volumes", **more):
    reply = await person.get(f"{V3}/{path}/{key}", headers=LATEST, **more)
    assert reply.status == 200, reply.text
    return reply.json()[path.removesuffix("s")]


async def ready(person, worker, path="volumes", **fields):
    fresh = await made(person, path, **fields)
    await worker.idle()
    found = await shown(person, fresh["id"], path)
    assert found["status"] == "available"
    return found


async def do(person, key, action, value=None, *, headers=LATEST, path="volumes"):
    return await person.post(f"{V3}/{path}/{key}/action", json={action: value}, headers=headers)


async def usage(site, project):
    async with site.cloud.view() as look:
        return {u.resource: u.used for u in await look.list(Usage, project=project.id) if u.used}


@pytest.fixture
async def image(site, member):
    """A bootable image of one GiB with real content."""
    now, key = site.cloud.now(), uuid4()

    async def content():
        yield b"boot" * 1024

    size, checksum, sha512 = await site.images.write(key, content(), max_bytes=1 << 20)
    record = Image(
        id=key,
        project=member.project.id,
        name="tiny",
        state=ImageState.ACTIVE,
        visibility=Visibility.PRIVATE,
        disk_format="raw",
        container_format="bare",
        size=size,
        virtual_size=size,
        checksum=checksum,
        sha512=sha512,
        properties={"hw_disk_bus": "virtio"},
        created_at=now,
        updated_at=now,
    )
    async with site.cloud.transaction() as tx:
        await tx.add(record)
    return record


@pytest.fixture
async def server(site, member):
    """A running guest without disks, with its record."""
    now, key = site.cloud.now(), uuid4()
    async with site.cloud.view() as look:
        host, size = (await look.list(Host))[0], (await look.list(Size))[0]
    record = Server(
        id=key,
        project=member.project.id,
        user=member.user.id,
        name="s",
        hostname="s",
        size=size.id,
        vcpus=1,
        memory_mib=64,
        disk_gib=1,
        state=State.ACTIVE,
        host=host.id,
        created_at=now,
        updated_at=now,
    )
    async with site.cloud.transaction() as tx:
        await tx.add(record)
    hypervisor = site.hypervisors[host.id]
    await hypervisor.define(Guest(id=key, name="s", vcpus=1, memory_mib=64))
    await hypervisor.start(key)
    return record


async def attached(site, worker, member, server, key):
    await volumes.attach(site.cloud, caller_of(member), UUID(key), server.id)
    await worker.idle()


def caller_of(person):
    return Caller(
        user=person.user.id, project=person.project.id, roles=frozenset({"member", "reader"}), face="test"
    )


class TestDiscovery:
    async def test_the_root_lists_the_versions_without_a_token(self, kernel):
        reply = await Client(kernel).get("/volume/")
        assert reply.status == 300
        (version,) = reply.json()["versions"]
        assert (version["id"], version["min_version"], version["version"]) == ("v3.0", "3.0", "3.71")
        assert version["links"][-1]["rel"] == "self"
        assert version["links"][-1]["href"].endswith("/volume/v3/")

    async def test_the_versioned_root_says_the_same(self, kernel):
        reply = await Client(kernel).get("/volume/v3/")
        assert reply.status == 200
        assert reply.json()["versions"][0]["status"] == "CURRENT"

    async def test_extensions_zones_and_filters(self, member):
        listed = (await member.get(f"{V3}/extensions")).json()["extensions"]
        assert {"os-quota-sets", "os-vol-tenant-attr"} <= {one["alias"] for one in listed}
        assert (await member.get(f"{V3}/extensions/os-services")).json()["extension"]["name"] == "Services"
        assert (await member.get(f"{V3}/extensions/nothing")).status == 404
        (zone,) = (await member.get(f"{V3}/os-availability-zone")).json()["availabilityZoneInfo"]
        assert zone == {"zoneName": "nova", "zoneState": {"available": True}}
        reply = await member.get(f"{V3}/resource_filters?resource=volume", headers=LATEST)
        (found,) = reply.json()["resource_filters"]
        assert "created_at" in found["filters"]
        assert (await member.get(f"{V3}/resource_filters", headers=at("3.32"))).status == 404

    async def test_a_version_outside_the_range_is_refused(self, member):
        reply = await member.get(f"{V3}/volumes", headers=at("3.72"))
        assert reply.status == 406
        assert reply.json()["computeFault"]["code"] == 406

    async def test_a_bad_token_is_told_by_all_operations(self, kernel):
        reply = await Client(kernel, {"x-auth-token": "wrong"}).get(f"{V3}/volumes")
        assert reply.status == 401
        assert reply.json()["error"]["code"] == 401

    @pytest.mark.parametrize("dashed", [False, True])
    async def test_the_project_may_stand_in_the_path(self, member, other, dashed):
        own = str(member.project.id) if dashed else member.project.id.hex
        assert (await member.get(f"{V3}/{own}/volumes/detail")).status == 200
        assert (await member.get(f"{V3}/{other.project.id.hex}/volumes")).status == 400


class TestVolumes:
    async def test_a_volume_from_create_to_delete(self, site, worker, member):
        fresh = await made(member, name="data", description="mine", metadata={"a": "b"}, size="2")
        assert (fresh["status"], fresh["size"], fresh["name"]) == ("creating", 2, "data")
        await worker.idle()
        found = await shown(member, fresh["id"])
        assert found["status"] == "available"
        assert found["metadata"] == {"a": "b"}
        assert (found["bootable"], found["encrypted"], found["multiattach"]) == ("false", False, False)
        assert found["volume_type"] == "standard"
        assert found["availability_zone"] == "nova"
        assert found["os-vol-tenant-attr:tenant_id"] == member.project.id.hex
        assert "os-vol-host-attr:host" not in found
        assert not found["created_at"].endswith("Z")
        assert set(await site.pools[next(iter(site.pools))].volumes()) == {UUID(fresh["id"])}
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 2}

        changed = await member.put(f"{V3}/volumes/{fresh['id']}", json={"volume": {"name": "new"}})
        assert changed.json()["volume"]["name"] == "new"
        assert (await member.delete(f"{V3}/volumes/{fresh['id']}")).status == 202
        await worker.idle()
        assert (await member.get(f"{V3}/volumes/{fresh['id']}")).status == 404
        assert not await site.pools[next(iter(site.pools))].volumes()
        assert not await usage(site, member.project)

    async def test_what_a_version_shows(self, worker, member, admin):
        fresh = await ready(member, worker)
        since = {
            "group_id": "3.13",
            "shared_targets": "3.48",
            "service_uuid": "3.48",
            "volume_type_id": "3.63",
            "consumes_quota": "3.65",
        }
        for name, version in since.items():
            major, minor = version.split(".")
            for headers, there in ((at(version), True), (at(f"{major}.{int(minor) - 1}"), False)):
                reply = await member.get(f"{V3}/volumes/{fresh['id']}", headers=headers)
                assert (name in reply.json()["volume"]) is there, (name, headers)
        found = await shown(admin, fresh["id"])
        assert found["os-vol-host-attr:host"] == "pileus@primary#primary"
        assert {"cluster_name", "provider_id", "migration_status"} <= set(found)

    async def test_a_volume_of_an_image_is_bootable(self, site, worker, member, image):
        for reference in (str(image.id), f"http://x/images/{image.id}", "tiny"):
            found = await ready(member, worker, imageRef=reference)
            assert found["bootable"] == "true"
            assert found["volume_image_metadata"]["image_id"] == str(image.id)
            assert found["volume_image_metadata"]["hw_disk_bus"] == "virtio"

    async def test_an_image_names_the_type_of_its_volumes_unless_the_request_does(self, site, member, image):
        properties = image.properties | {"cinder_img_volume_type": "small-5"}
        async with site.cloud.transaction() as tx:
            await tx.put(msgspec.structs.replace(image, properties=properties))
        assert (await made(member, imageRef=str(image.id)))["volume_type"] == "small-5"
        named = await made(member, imageRef=str(image.id), volume_type="standard")
        assert named["volume_type"] == "standard"

    async def test_a_volume_of_a_snapshot_and_of_a_volume(self, worker, member):
        source = await ready(member, worker, size=2)
        snapshot = await ready(member, worker, "snapshots", volume_id=source["id"])
        copy = await ready(member, worker, snapshot_id=snapshot["id"], size=3)
        assert copy["snapshot_id"] == snapshot["id"]
        clone = await ready(member, worker, source_volid=source["id"], size=None)
        assert (clone["size"], clone["source_volid"]) == (2, source["id"])

    async def test_an_image_that_stands_for_a_snapshot(self, site, worker, member, image):
        source = await ready(member, worker)
        snapshot = await ready(member, worker, "snapshots", volume_id=source["id"])
        listed = f'[{{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "{snapshot["id"]}"}}]'
        async with site.cloud.transaction() as tx:
            held = await tx.get(Image, image.id)
            await tx.put(msgspec.structs.replace(held, properties={"block_device_mapping": listed}))
        found = await made(member, imageRef=str(image.id), headers=LATEST)
        assert found["snapshot_id"] == snapshot["id"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"size": 0},
            {"size": -1},
            {"size": "many"},
            {"size": ""},
            {"size": 1.5},
            {"size": 1 << 40},
            {"size": 70000},
            {"size": None},
            {"name": "x" * 256},
            {"name": 7},
            {"metadata": {"": "x"}},
            {"metadata": {"k": "x" * 256}},
            {"metadata": {"k": None}},
            {"metadata": "no"},
            {"snapshot_id": "no"},
            {"source_volid": "no"},
            {"imageRef": "no such image"},
            {"availability_zone": "nowhere"},
            {"multiattach": True},
            {"multiattach": "perhaps"},
        ],
    )
    async def test_bad_fields_are_told_and_nothing_is_made(self, site, member, fields):
        reply = await member.post(f"{V3}/volumes", json={"volume": {"size": 1, **fields}})
        assert reply.status == 400, reply.text
        assert reply.json()["badRequest"]["message"]
        assert not await usage(site, member.project)

    @pytest.mark.parametrize(
        "fields",
        [
            {"snapshot_id": NOBODY},
            {"source_volid": NOBODY},
            {"volume_type": NOBODY},
            {"volume_type": "none"},
            {"group_id": NOBODY},
            {"backup_id": NOBODY},
            {"consistencygroup_id": NOBODY},
        ],
    )
    async def test_sources_that_do_not_exist_are_not_found(self, member, fields):
        reply = await member.post(f"{V3}/volumes", json={"volume": {"size": 1, **fields}}, headers=LATEST)
        assert reply.status == 404, reply.text

    async def test_unknown_fields_are_refused_since_3_53(self, member):
        body = {"volume": {"size": 1, "status": "available"}}
        assert (await member.post(f"{V3}/volumes", json=body, headers=at("3.52"))).status == 202
        assert (await member.post(f"{V3}/volumes", json=body, headers=at("3.53"))).status == 400

    async def test_an_update_without_anything_is_refused_since_3_53(self, worker, member):
        key = (await ready(member, worker))["id"]
        assert (
            await member.put(f"{V3}/volumes/{key}", json={"volume": {}}, headers=at("3.52"))
        ).status == 200
        assert (
            await member.put(f"{V3}/volumes/{key}", json={"volume": {}}, headers=at("3.53"))
        ).status == 400

    async def test_the_quota_is_told_as_over_limit(self, site, admin, member):
        sent = {"quota_set": {"gigabytes": 3}}
        assert (await admin.put(f"{V3}/os-quota-sets/{member.project.id.hex}", json=sent)).status == 200
        await made(member, size=2)
        reply = await member.post(f"{V3}/volumes", json={"volume": {"size": 2}})
        assert reply.status == 413
        assert reply.json()["overLimit"]["code"] == 413
        assert reply.json()["overLimit"]["message"] == (
            "Requested volume or snapshot exceeds allowed gigabytes quota. "
            "Requested 2G, quota is 3G and 2G has been consumed."
        )
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 2}

    async def test_another_projects_volume_is_not_found(self, worker, member, other):
        key = (await ready(member, worker))["id"]
        snapshot = (await ready(member, worker, "snapshots", volume_id=key))["id"]
        for reply in (
            await other.get(f"{V3}/volumes/{key}"),
            await other.put(f"{V3}/volumes/{key}", json={"volume": {"name": "x"}}),
            await other.delete(f"{V3}/volumes/{key}"),
            await other.get(f"{V3}/volumes/{key}/metadata"),
            await do(other, key, "os-extend", {"new_size": 5}),
            await other.post(f"{V3}/snapshots", json={"snapshot": {"volume_id": key}}),
            await other.post(f"{V3}/volumes", json={"volume": {"size": 1, "source_volid": key}}),
            await other.get(f"{V3}/snapshots/{snapshot}"),
            await other.delete(f"{V3}/snapshots/{snapshot}"),
        ):
            assert reply.status == 404, reply.text
        assert (await other.get(f"{V3}/volumes")).json()["volumes"] == []
        assert (await shown(member, key))["status"] == "available"

    async def test_a_servers_own_root_disk_is_no_volume(self, site, member):
        async with site.cloud.transaction() as tx:
            kind, pool, now = await kind_for(tx, None), await pool_for(tx, None), site.cloud.now()
            root = Volume(
                id=uuid4(),
                project=member.project.id,
                user=member.user.id,
                size_gib=1,
                kind=kind.id,
                pool=pool.id,
                zone=pool.zone,
                state=VolumeState.AVAILABLE,
                ephemeral=True,
                created_at=now,
                updated_at=now,
            )
            await tx.add(root)
        assert (await member.get(f"{V3}/volumes")).json()["volumes"] == []
        for reply in (
            await member.get(f"{V3}/volumes/{root.id}"),
            await member.delete(f"{V3}/volumes/{root.id}"),
            await do(member, root.id, "os-extend", {"new_size": 5}),
            await member.post(f"{V3}/snapshots", json={"snapshot": {"volume_id": str(root.id)}}),
            await member.post(f"{V3}/volumes", json={"volume": {"size": 1, "source_volid": str(root.id)}}),
        ):
            assert reply.status == 404

    async def test_a_volume_that_cannot_be_filled_is_in_error_and_can_be_deleted(self, site, worker, member):
        pool = next(iter(site.pools.values()))
        pool.fail("create", Refused("the pool is full"))
        fresh = await made(member)
        await worker.idle()
        assert (await shown(member, fresh["id"]))["status"] == "error"
        assert (await member.delete(f"{V3}/volumes/{fresh['id']}")).status == 202
        await worker.idle()
        assert not await pool.volumes()
        assert not await usage(site, member.project)

    async def test_delete_with_snapshots(self, site, worker, member):
        key = (await ready(member, worker))["id"]
        await ready(member, worker, "snapshots", volume_id=key)
        reply = await member.delete(f"{V3}/volumes/{key}")
        assert reply.status == 400
        assert "snapshots" in reply.json()["badRequest"]["message"]
        assert (await member.delete(f"{V3}/volumes/{key}?cascade=true")).status == 202
        await worker.idle()
        assert not await usage(site, member.project)
        assert not await next(iter(site.pools.values())).volumes()
        assert (await member.get(f"{V3}/snapshots")).json()["snapshots"] == []

    async def test_force_is_for_administrators(self, worker, member, admin):
        key = (await ready(member, worker))["id"]
        assert (await member.delete(f"{V3}/volumes/{key}?force=true", headers=LATEST)).status == 403
        assert (await do(member, key, "os-force_delete")).status == 403
        assert (await do(admin, key, "os-force_delete")).status == 202


class TestLists:
    @pytest.fixture
    async def three(self, worker, member):
        found = []
        for name, size in (("a", 3), ("b", 1), ("c", 2)):
            found.append(await ready(member, worker, name=name, size=size, metadata={"k": name}))
        return found

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", "cba"),
            ("sort=name:asc", "abc"),
            ("sort=size", "acb"),
            ("sort_key=size&sort_dir=asc", "bca"),
            ("sort=status:asc,name:desc", "cba"),
            ("name=a", "a"),
            ("status=available&size=1", "b"),
            ("status=in-use", ""),
            ("status=nonsense", ""),
            ("bootable=false", "cba"),
            ("bootable=true", ""),
            ("metadata=%7B%27k%27%3A+%27b%27%7D", "b"),
            ("metadata=%7B%22k%22%3A+%22b%22%7D", "b"),
            ("availability_zone=nova", "cba"),
            ("availability_zone=elsewhere", ""),
            ("group_id=1", ""),
            ("name~=A", "a"),
            ("created_at=gt:2020-01-01T00:00:00,lt:2999-01-01T00:00:00", "cba"),
            ("created_at=lt:2020-01-01T00:00:00", ""),
            ("consumes_quota=true", "cba"),
            ("consumes_quota=false", ""),
            ("glance_metadata=%7B%27k%27%3A+%27b%27%7D", ""),
            ("limit=2&sort=name:asc", "ab"),
            ("limit=0", ""),
            ("offset=1&sort=name:asc", "bc"),
            ("limit=1&offset=2&sort=name:asc", "c"),
        ],
    )
    async def test_filters_and_order(self, member, three, query, names):
        for path in ("volumes", "volumes/detail"):
            reply = await member.get(f"{V3}/{path}?{query}", headers=LATEST)
            assert reply.status == 200, reply.text
            assert "".join(volume["name"] for volume in reply.json()["volumes"]) == names

    @pytest.mark.parametrize(
        "query",
        [
            "limit=-1",
            "limit=x",
            "offset=x",
            "marker=x",
            "sort=nothing:asc",
            "sort=name:up",
            "bootable=perhaps",
            "created_at=2020",
            "created_at=gt:never",
            "metadata=x",
            "metadata=%7B%27k%27%3A+1%7D",
            "size=x",
            "consumes_quota=x",
            "with_count=x",
            "nonsense=1",
        ],
    )
    async def test_bad_queries_are_told(self, member, query):
        reply = await member.get(f"{V3}/volumes/detail?{query}", headers=LATEST)
        assert reply.status == 400, reply.text

    @pytest.mark.parametrize("path", ["volumes", "volumes/detail", "snapshots", "snapshots/detail"])
    async def test_a_marker_that_names_nothing_is_not_found(self, member, path):
        assert (await member.get(f"{V3}/{path}?marker={NOBODY}")).status == 404

    async def test_unknown_filters_are_ignored_before_3_31(self, member, three):
        assert len((await member.get(f"{V3}/volumes?nonsense=1")).json()["volumes"]) == 3

    @pytest.mark.parametrize("more", ["", "&metadata=%7B%7D"])
    async def test_pages_follow_each_other(self, member, three, more):
        path, seen = f"{V3}/volumes?limit=1&sort=name:asc&with_count=true{more}", ""
        while path:
            page = (await member.get(path, headers=LATEST)).json()
            assert page["count"] == 3
            seen += "".join(volume["name"] for volume in page["volumes"])
            following = page.get("volumes_links")
            assert bool(following) is bool(page["volumes"]), "a full page has a link, also the last one"
            path = following[0]["href"].removeprefix("http://cloud.test") if following else ""
        assert seen == "abc"

    async def test_administrators_see_all_projects_when_they_ask(self, admin, member, three):
        assert (await admin.get(f"{V3}/volumes")).json()["volumes"] == []
        assert len((await admin.get(f"{V3}/volumes?all_tenants=1")).json()["volumes"]) == 3
        one = f"all_tenants=1&project_id={member.project.id.hex}&user_id={member.user.id.hex}"
        assert len((await admin.get(f"{V3}/volumes?{one}")).json()["volumes"]) == 3
        other = f"all_tenants=1&project_id={admin.project.id.hex}"
        assert (await admin.get(f"{V3}/volumes?{other}")).json()["volumes"] == []
        host = "all_tenants=1&host=pileus@primary%23primary"
        assert len((await admin.get(f"{V3}/volumes?{host}")).json()["volumes"]) == 3

    async def test_all_tenants_means_nothing_to_others(self, other, three):
        assert (await other.get(f"{V3}/volumes?all_tenants=1")).json()["volumes"] == []

    async def test_the_summary(self, member, three):
        reply = await member.get(f"{V3}/volumes/summary", headers=at("3.12"))
        assert reply.json() == {"volume-summary": {"total_count": 3, "total_size": 6}}
        reply = await member.get(f"{V3}/volumes/summary?name=a", headers=LATEST)
        assert reply.json()["volume-summary"] == {
            "total_count": 1,
            "total_size": 3,
            "metadata": {"k": ["a"]},
        }
        assert (await member.get(f"{V3}/volumes/summary", headers=at("3.11"))).status == 404


class TestMetadata:
    @pytest.fixture(params=["volumes", "snapshots"])
    async def path(self, request, worker, member):
        volume = await ready(member, worker, metadata={"a": "1"})
        if request.param == "volumes":
            return f"{V3}/volumes/{volume['id']}/metadata"
        snapshot = await ready(member, worker, "snapshots", volume_id=volume["id"], metadata={"a": "1"})
        return f"{V3}/snapshots/{snapshot['id']}/metadata"

    async def test_items_come_and_go(self, member, path):
        assert (await member.get(path)).json() == {"metadata": {"a": "1"}}
        reply = await member.post(path, json={"metadata": {"b": "2"}})
        assert reply.json() == {"metadata": {"a": "1", "b": "2"}}
        assert (await member.get(f"{path}/b")).json() == {"meta": {"b": "2"}}
        assert (await member.put(f"{path}/b", json={"meta": {"b": "3"}})).json() == {"meta": {"b": "3"}}
        assert (await member.delete(f"{path}/a")).status == 200
        assert (await member.get(path)).json() == {"metadata": {"b": "3"}}
        assert (await member.put(path, json={"metadata": {"c": "4"}})).json() == {"metadata": {"c": "4"}}
        assert (await member.get(f"{path}/b")).status == 404
        assert (await member.delete(f"{path}/b")).status == 404

    @pytest.mark.parametrize(
        "body",
        [{"meta": {"a": "1", "b": "2"}}, {"meta": {"b": "1"}}, {"meta": {}}, {"meta": {"a": 1}}, {}, [], 7],
    )
    async def test_a_wrong_item_is_told(self, member, path, body):
        assert (await member.put(f"{path}/a", json=body)).status == 400
        assert (await member.get(path)).json() == {"metadata": {"a": "1"}}

    async def test_a_change_over_a_change_is_refused(self, worker, member):
        path = f"{V3}/volumes/{(await ready(member, worker))['id']}/metadata"
        seen = (await member.get(path, headers=LATEST)).headers["etag"]
        assert "etag" not in (await member.get(path, headers=at("3.14"))).headers
        first = await member.put(path, json={"metadata": {"a": "1"}}, headers={**LATEST, "if-match": seen})
        assert first.status == 200
        for late in (
            await member.put(path, json={"metadata": {}}, headers={**LATEST, "if-match": seen}),
            await member.put(f"{path}/a", json={"meta": {"a": "2"}}, headers={**LATEST, "if-match": seen}),
        ):
            assert late.status == 412
        assert (await member.get(path)).json() == {"metadata": {"a": "1"}}


class TestActions:
    async def test_extend(self, site, worker, member):
        key = (await ready(member, worker))["id"]
        assert (await do(member, key, "os-extend", {"new_size": 3})).status == 202
        await worker.idle()
        assert (await shown(member, key))["size"] == 3
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 3}
        for size in (2, 3, 0, "x", None, 1 << 40):
            assert (await do(member, key, "os-extend", {"new_size": size})).status == 400

    async def test_extend_of_a_volume_in_use_goes_through_the_guest_since_3_42(
        self, site, worker, member, server
    ):
        key = (await ready(member, worker))["id"]
        await attached(site, worker, member, server, key)
        found = await shown(member, key)
        assert found["status"] == "in-use"
        (attachment,) = found["attachments"]
        assert attachment["server_id"] == str(server.id)
        assert attachment["device"] == "/dev/vdb"
        assert attachment["host_name"] is None
        assert (await do(member, key, "os-extend", {"new_size": 2}, headers=at("3.41"))).status == 400
        assert (await do(member, key, "os-extend", {"new_size": 2}, headers=at("3.42"))).status == 202
        await worker.idle()
        found = await shown(member, key)
        assert (found["status"], found["size"]) == ("in-use", 2)
        assert site.hypervisors[server.host].calls["resize_disk"] == 1
        assert (await member.delete(f"{V3}/volumes/{key}")).status == 400

    async def test_an_extend_that_fails_gives_the_quota_back(self, site, worker, member):
        key = (await ready(member, worker))["id"]
        next(iter(site.pools.values())).fail("extend", Refused("full"))
        await do(member, key, "os-extend", {"new_size": 3})
        await worker.idle()
        found = await shown(member, key)
        assert (found["status"], found["size"]) == ("available", 1)
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 1}

    async def test_bootable_and_read_only(self, worker, member):
        key = (await ready(member, worker, metadata={"readonly": "True"}))["id"]
        assert (await shown(member, key))["metadata"] == {}
        assert (await do(member, key, "os-set_bootable", {"bootable": "true"})).status == 200
        assert (await do(member, key, "os-update_readonly_flag", {"readonly": True})).status == 202
        found = await shown(member, key)
        assert (found["bootable"], found["metadata"]) == ("true", {"readonly": "True"})
        await member.put(f"{V3}/volumes/{key}/metadata", json={"metadata": {"readonly": "False", "a": "b"}})
        assert (await shown(member, key))["metadata"] == {"readonly": "True", "a": "b"}
        for action, body in (
            ("os-set_bootable", {"bootable": "perhaps"}),
            ("os-set_bootable", {}),
            ("os-update_readonly_flag", {"readonly": 7}),
            ("os-set_bootable", {"bootable": True, "more": 1}),
        ):
            assert (await do(member, key, action, body)).status == 400

    async def test_a_guest_gets_a_read_only_volume_read_only(self, site, worker, member, server):
        key = (await ready(member, worker))["id"]
        await do(member, key, "os-update_readonly_flag", {"readonly": "true"})
        await attached(site, worker, member, server, key)
        machine = site.hypervisors[server.host]._machines[server.id]
        assert [disk.read_only for disk in machine.guest.disks] == [True]
        assert (await do(member, key, "os-update_readonly_flag", {"readonly": False})).status == 400

    async def test_image_metadata(self, worker, member):
        key = (await ready(member, worker))["id"]
        reply = await do(member, key, "os-set_image_metadata", {"metadata": {"os": "x"}})
        assert reply.json() == {"metadata": {"os": "x"}}
        assert (await do(member, key, "os-show_image_metadata")).json() == {"metadata": {"os": "x"}}
        assert (await do(member, key, "os-unset_image_metadata", {"key": "no"})).status == 404
        assert (await do(member, key, "os-unset_image_metadata", {"key": "os"})).status == 200
        assert "volume_image_metadata" not in await shown(member, key)

    async def test_reset_status_is_for_administrators_and_for_states_that_last(self, worker, member, admin):
        key = (await ready(member, worker))["id"]
        assert (await do(member, key, "os-reset_status", {"status": "error"})).status == 403
        assert (await do(admin, key, "os-reset_status", {"status": "error"})).status == 202
        assert (await shown(member, key))["status"] == "error"
        assert (await do(admin, key, "os-reset_status", {"status": "available"})).status == 202
        for body in (
            {"status": "deleting"},
            {"status": "in-use"},
            {},
            {"attach_status": "detached"},
            {"a": 1},
        ):
            assert (await do(admin, key, "os-reset_status", body)).status == 400
        assert (await shown(member, key))["status"] == "available"

    @pytest.mark.parametrize("format", ["raw", "qcow2"])
    async def test_an_image_from_a_volume(self, site, worker, member, image, format, monkeypatch):
        monkeypatch.setattr(fake, "GIB", MIB)  # a raw export is as large as its volume
        key = (await ready(member, worker, imageRef=str(image.id)))["id"]
        sent = {"image_name": "copy", "disk_format": format, "visibility": "private", "protected": "false"}
        reply = await do(member, key, "os-volume_upload_image", sent)
        assert reply.status == 202, reply.text
        answer = reply.json()["os-volume_upload_image"]
        assert (answer["status"], answer["image_name"]) == ("uploading", "copy")
        await worker.idle()
        assert (await shown(member, key))["status"] == "available"
        found = (await member.get(f"/image/v2/images/{answer['image_id']}")).json()
        assert (found["status"], found["disk_format"], found["virtual_size"]) == ("active", format, MIB)
        assert found["hw_disk_bus"] == "virtio"
        assert not list((site.cloud.config.state / "exports").iterdir())

    async def test_an_image_from_a_volume_that_fails_leaves_nothing(self, site, worker, member):
        key = (await ready(member, worker))["id"]
        next(iter(site.pools.values())).fail("export", Refused("broken disk"))
        answer = (await do(member, key, "os-volume_upload_image", {"image_name": "copy"})).json()
        await worker.idle()
        assert (await shown(member, key))["status"] == "available"
        image = answer["os-volume_upload_image"]["image_id"]
        assert (await member.get(f"/image/v2/images/{image}")).json()["status"] == "killed"
        assert (await member.delete(f"/image/v2/images/{image}")).status == 204
        await worker.idle()
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 1}
        assert not await site.images.images()

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"image_name": ""},
            {"image_name": "x", "disk_format": "vmdk"},
            {"image_name": "x", "disk_format": "nonsense"},
            {"image_name": "x", "container_format": "nonsense"},
            {"image_name": "x", "force": "perhaps"},
            {"image_name": "x", "visibility": "nonsense"},
            {"image_name": "x", "more": 1},
        ],
    )
    async def test_a_bad_upload_makes_nothing(self, site, worker, member, body):
        key = (await ready(member, worker))["id"]
        assert (await do(member, key, "os-volume_upload_image", body)).status == 400
        assert (await shown(member, key))["status"] == "available"
        assert "images" not in await usage(site, member.project)

    async def test_public_images_are_for_administrators(self, worker, member):
        key = (await ready(member, worker))["id"]
        body = {"image_name": "x", "visibility": "public"}
        assert (await do(member, key, "os-volume_upload_image", body)).status == 403

    async def test_unknown_actions_are_told(self, worker, member):
        key = (await ready(member, worker))["id"]
        for action in (
            "os-attach",
            "os-detach",
            "os-reserve",
            "os-retype",
            "os-migrate_volume",
            "revert",
            "",
        ):
            assert (await do(member, key, action, {})).status == 400


class TestSnapshots:
    async def test_a_snapshot_from_create_to_delete(self, site, worker, member):
        volume = await ready(member, worker)
        fresh = await made(member, "snapshots", volume_id=volume["id"], name="s", metadata={"a": "b"})
        assert fresh["status"] == "creating"
        await worker.idle()
        found = await shown(member, fresh["id"], "snapshots")
        assert (found["status"], found["size"], found["volume_id"]) == ("available", 1, volume["id"])
        assert found["os-extended-snapshot-attributes:progress"] == "100%"
        assert (found["group_snapshot_id"], found["consumes_quota"]) == (None, True)
        changed = await member.put(f"{V3}/snapshots/{fresh['id']}", json={"snapshot": {"description": "d"}})
        assert changed.json()["snapshot"]["description"] == "d"
        assert (await member.put(f"{V3}/snapshots/{fresh['id']}", json={"snapshot": {}})).status == 400
        for path in ("snapshots", "snapshots/detail"):
            query = f"name=s&status=available&volume_id={volume['id']}&availability_zone=nova&with_count=1"
            reply = (await member.get(f"{V3}/{path}?{query}&sort=name:asc", headers=LATEST)).json()
            assert (len(reply["snapshots"]), reply["count"]) == (1, 1)
            none = await member.get(f"{V3}/{path}?metadata=%7B%27a%27%3A%27c%27%7D", headers=LATEST)
            assert none.json()["snapshots"] == []
        assert (await member.delete(f"{V3}/snapshots/{fresh['id']}")).status == 202
        await worker.idle()
        assert (await member.get(f"{V3}/snapshots/{fresh['id']}")).status == 404
        assert await usage(site, member.project) == {"volumes": 1, "volume_gib": 1}

    async def test_a_volume_in_use_needs_force_before_3_66(self, site, worker, member, server):
        key = (await ready(member, worker))["id"]
        await attached(site, worker, member, server, key)
        body = {"snapshot": {"volume_id": key}}
        assert (await member.post(f"{V3}/snapshots", json=body, headers=at("3.65"))).status == 400
        forced = {"snapshot": {"volume_id": key, "force": True}}
        assert (await member.post(f"{V3}/snapshots", json=forced, headers=at("3.65"))).status == 202
        assert (await member.post(f"{V3}/snapshots", json=body, headers=LATEST)).status == 202
        assert (await member.post(f"{V3}/snapshots", json=forced, headers=LATEST)).status == 202
        unforced = {"snapshot": {"volume_id": key, "force": False}}
        assert (await member.post(f"{V3}/snapshots", json=unforced, headers=LATEST)).status == 400
        await worker.idle()
        found = (await member.get(f"{V3}/snapshots?status=available")).json()["snapshots"]
        assert len(found) == 3
        assert site.hypervisors[server.host].calls["snapshot_disk"] == 3

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"volume_id": "x"}, 400),
            ({"volume_id": None}, 404),
            ({"volume_id": NOBODY}, 404),
            ({"volume_id": NOBODY, "more": 1}, 400),
            ({"volume_id": NOBODY, "name": "x" * 256}, 400),
            ({"volume_id": NOBODY, "force": "perhaps"}, 400),
        ],
    )
    async def test_bad_requests_make_nothing(self, site, member, body, status):
        assert (await member.post(f"{V3}/snapshots", json={"snapshot": body})).status == status
        assert not await usage(site, member.project)

    async def test_reset_status_and_force_delete(self, worker, member, admin):
        volume = await ready(member, worker)
        key = (await ready(member, worker, "snapshots", volume_id=volume["id"]))["id"]
        assert (await do(member, key, "os-reset_status", {"status": "error"}, path="snapshots")).status == 403
        assert (await do(admin, key, "os-reset_status", {"status": "error"}, path="snapshots")).status == 202
        assert (await do(admin, key, "os-reset_status", {"status": "x"}, path="snapshots")).status == 400
        assert (await shown(member, key, "snapshots"))["status"] == "error"
        assert (await do(admin, key, "os-force_delete", {}, path="snapshots")).status == 202


EXTENSIONS = ("os-vol-", "os-extended-snapshot-", "volume_image_metadata", "qos_specs_id")


def extended(found):
    """The keys that Cinder's extensions add, which are no part of the answer to a change."""
    return {key for key in found if key.startswith(EXTENSIONS)}


async def test_the_extensions_show_what_is_looked_at_and_not_what_was_just_changed(worker, admin):
    fresh = {"volumes": await made(admin)}
    await worker.idle()
    fresh["snapshots"] = await made(admin, "snapshots", volume_id=fresh["volumes"]["id"])
    reply = await admin.post(f"{V3}/types", json={"volume_type": {"name": "new"}})
    fresh["types"] = reply.json()["volume_type"]
    assert "os-volume-type-access:is_public" in fresh["types"]
    for path, one in fresh.items():
        envelope = "volume_type" if path == "types" else path.removesuffix("s")
        url = f"{V3}/{path}/{one['id']}"
        changed = (await admin.put(url, json={envelope: {"name": "other"}})).json()[envelope]
        looked_at = (await admin.get(url)).json()[envelope]
        assert not extended(one) - {"os-volume-type-access:is_public"}, path
        assert not extended(changed), path
        assert extended(looked_at), path


class TestTypes:
    async def test_what_users_see(self, member):
        listed = (await member.get(f"{V3}/types")).json()["volume_types"]
        assert {"standard", "small-5"} <= {one["name"] for one in listed}
        default = (await member.get(f"{V3}/types/default")).json()["volume_type"]
        assert default["name"] == "standard"
        assert (await member.get(f"{V3}/types/{default['id']}")).json()["volume_type"] == default
        assert "qos_specs_id" not in default
        assert (await member.post(f"{V3}/types", json={"volume_type": {"name": "x"}})).status == 403

    async def test_an_administrator_makes_changes_and_deletes_a_type(self, worker, admin, member):
        body = {
            "name": "fast",
            "description": "d",
            "extra_specs": {"secret": "x", "multiattach": "<is> True"},
        }
        reply = await admin.post(f"{V3}/types", json={"volume_type": body})
        assert reply.status == 200, reply.text
        key = reply.json()["volume_type"]["id"]
        assert (await admin.post(f"{V3}/types", json={"volume_type": {"name": "fast"}})).status == 409
        seen = (await member.get(f"{V3}/types/{key}")).json()["volume_type"]
        assert seen["extra_specs"] == {"multiattach": "<is> True"}
        refused = await member.post(f"{V3}/volumes", json={"volume": {"size": 1, "volume_type": "fast"}})
        assert refused.status == 400
        specs = f"{V3}/types/{key}/extra_specs"
        assert (await admin.delete(f"{specs}/multiattach")).status == 202
        assert (await admin.delete(f"{specs}/multiattach")).status == 404
        assert (await admin.get(specs)).json() == {"extra_specs": {"secret": "x"}}
        assert (await member.get(specs)).json() == {"extra_specs": {}}
        assert (await admin.get(f"{specs}/secret")).json() == {"secret": "x"}
        assert (await admin.post(specs, json={"extra_specs": {"b": "1"}})).json() == {
            "extra_specs": {"b": "1"}
        }
        assert (await admin.put(f"{specs}/b", json={"b": "2"})).json() == {"b": "2"}
        assert (await admin.put(f"{specs}/b", json={"c": "2"})).status == 400
        filtered = await admin.get(f"{V3}/types?extra_specs=%7B%27b%27%3A%272%27%7D", headers=LATEST)
        assert [one["name"] for one in filtered.json()["volume_types"]] == ["fast"]
        changed = await admin.put(f"{V3}/types/{key}", json={"volume_type": {"is_public": False}})
        assert changed.json()["volume_type"]["is_public"] is False
        assert (await member.get(f"{V3}/types/{key}")).status == 404
        assert (
            await member.post(f"{V3}/volumes", json={"volume": {"size": 1, "volume_type": key}})
        ).status == 404
        assert [
            t["name"] for t in (await admin.get(f"{V3}/types?is_public=false")).json()["volume_types"]
        ] == ["fast"]
        assert (await admin.put(f"{V3}/types/{key}", json={"volume_type": {}})).status == 400
        volume = await ready(admin, worker, volume_type=key)
        assert (await admin.delete(f"{V3}/types/{key}")).status == 400
        assert (await admin.post(specs, json={"extra_specs": {"c": "1"}})).status == 400
        await admin.delete(f"{V3}/volumes/{volume['id']}")
        await worker.idle()
        assert (await admin.delete(f"{V3}/types/{key}")).status == 202
        assert (await admin.get(f"{V3}/types/{key}")).status == 404

    async def test_a_type_may_reserve_zones(self, admin, worker, member):
        for name, zones in (("here", "nova"), ("there", "elsewhere")):
            body = {"name": name, "extra_specs": {"RESKEY:availability_zones": zones}}
            assert (await admin.post(f"{V3}/types", json={"volume_type": body})).status == 200
        assert (await ready(member, worker, volume_type="here"))["volume_type"] == "here"
        body = {"volume": {"size": 1, "volume_type": "there", "availability_zone": "nova"}}
        assert (await member.post(f"{V3}/volumes", json=body)).status == 400

    async def test_pages(self, member):
        first = (await member.get(f"{V3}/types?limit=2&sort=name:asc")).json()
        assert [one["name"] for one in first["volume_types"]] == ["large-100", "medium-20"]
        path = first["volume_type_links"][0]["href"].removeprefix("http://cloud.test")
        assert [one["name"] for one in (await member.get(path)).json()["volume_types"]] == [
            "small-5",
            "standard",
        ]


class TestQuotasAndPlaces:
    async def test_quotas(self, worker, member, admin, other):
        path = f"{V3}/os-quota-sets/{member.project.id.hex}"
        await ready(member, worker, size=2)
        shown_ = (await member.get(path)).json()["quota_set"]
        assert (shown_["volumes"], shown_["gigabytes"], shown_["id"]) == (100, 10_000, member.project.id.hex)
        used = (await member.get(f"{path}?usage=true")).json()["quota_set"]
        assert used["gigabytes"] == {"limit": 10_000, "in_use": 2, "reserved": 0}
        assert (await other.get(path)).status == 403
        assert (await member.put(path, json={"quota_set": {"volumes": 5}})).status == 403
        changed = await admin.put(path, json={"quota_set": {"volumes": "5", "snapshots": -1}})
        assert changed.json()["quota_set"]["volumes"] == 5
        limits = (await member.get(f"{V3}/limits")).json()["limits"]["absolute"]
        assert (limits["maxTotalVolumes"], limits["totalGigabytesUsed"]) == (5, 2)
        of_other = await admin.get(f"{V3}/limits?project_id={member.project.id.hex}", headers=LATEST)
        assert of_other.json()["limits"]["absolute"]["maxTotalVolumes"] == 5
        for bad in (
            {"volumes": -2},
            {"volumes": "x"},
            {"gigabytes": 1},
            {"backups": 5},
            {"nonsense": 1},
            {"volumes": None},
            {"volumes": 1 << 40},
        ):
            assert (await admin.put(path, json={"quota_set": bad})).status == 400, bad
        assert (await admin.delete(path)).status == 200
        assert (await member.get(path)).json()["quota_set"]["volumes"] == 100
        assert (await member.get(f"{path}/defaults")).json()["quota_set"]["volumes"] == 100

    async def test_services_and_pools(self, admin, member):
        found = (await admin.get(f"{V3}/os-services", headers=LATEST)).json()["services"]
        assert {(one["binary"], one["state"]) for one in found} == {
            ("cinder-scheduler", "up"),
            ("cinder-volume", "up"),
        }
        assert len((await admin.get(f"{V3}/os-services?binary=cinder-volume")).json()["services"]) == 1
        for host, binaries in (
            ("pileus", {"cinder-scheduler", "cinder-volume"}),
            ("pileus@primary", {"cinder-volume"}),
            ("other", set()),
        ):
            listed = (await admin.get(f"{V3}/os-services?host={host}")).json()["services"]
            assert {one["binary"] for one in listed} == binaries, host
        pools = (await admin.get(f"{V3}/scheduler-stats/get_pools?detail=true")).json()["pools"]
        assert pools[0]["name"] == "pileus@primary#primary"
        assert pools[0]["capabilities"]["total_capacity_gb"] == (1 << 44) / (1 << 30)
        none = await admin.get(f"{V3}/scheduler-stats/get_pools?name=x", headers=LATEST)
        assert none.json() == {"pools": []}
        for path in ("os-services", "scheduler-stats/get_pools"):
            assert (await member.get(f"{V3}/{path}")).status == 403


OPERATIONS = [
    (service, operation) for service in SERVICES for operation in service.operations if not operation.public
]
NONSENSE = (b"", b"{", b"[]", b"7", b"null", b'"x"', b"{}", b'{"volume": 7}', b"\xff", b"[" * 5000)
ANYTHING = ("os-force_delete", "os-show_image_metadata")
"""Actions that take any value, as the original's do."""
BODIES = {
    "os-extend": {"new_size": 2},
    "os-set_bootable": {"bootable": True},
    "os-update_readonly_flag": {"readonly": True},
    "os-reset_status": {"status": "error"},
    "os-volume_upload_image": {"image_name": "x"},
    "os-set_image_metadata": {"metadata": {}},
    "os-unset_image_metadata": {"key": "x"},
    "/volumes/{volume}": {"volume": {"name": "x"}},
    "/snapshots/{snapshot}": {"snapshot": {"name": "x"}},
    "/types/{type}": {"volume_type": {"name": "x"}},
    "/metadata": {"metadata": {}},
    "/metadata/{key}": {"meta": {"k": "v"}},
    "/extra_specs": {"extra_specs": {}},
    "/extra_specs/{key}": {"k": "v"},
}


def path_of(service, operation, **given):
    path = service.prefix + operation.path
    for name in ("volume", "snapshot", "type", "project", "alias", "key"):
        path = path.replace(f"{{{name}}}", given.get(name, NOBODY))
    return path


def good_body(operation):
    if operation.action:
        return {operation.action: BODIES.get(operation.action)}
    return next((value for end, value in BODIES.items() if operation.path.endswith(end)), {})


async def test_no_operation_takes_a_bad_token(kernel):
    stranger = Client(kernel, {"x-auth-token": "no", **LATEST})
    for service, operation in OPERATIONS:
        sent = good_body(operation)
        reply = await stranger.request(operation.method, path_of(service, operation), json=sent)
        assert reply.status == 401, operation.key
        assert reply.json()["error"]["code"] == 401


async def test_no_operation_takes_nonsense(site, worker, admin):
    volume = await ready(admin, worker, metadata={"a": "b"})
    snapshot = await ready(admin, worker, "snapshots", volume_id=volume["id"])
    before = await usage(site, admin.project)
    given = {"volume": volume["id"], "snapshot": snapshot["id"], "type": volume["volume_type_id"]}
    for service, operation in OPERATIONS:
        if operation.body is None or operation.action in ANYTHING:
            continue
        path = path_of(service, operation, **given, project=admin.project.id.hex, key="a")
        for content in NONSENSE:
            if operation.action and content in (b"7", b"null", b'"x"'):
                content = b'{"%s": %s}' % (operation.action.encode(), content)
            reply = await admin.request(operation.method, path, data=content, headers=LATEST)
            assert reply.status == 400, (operation.key, content, reply.text)
    assert await usage(site, admin.project) == before
    assert await shown(admin, volume["id"]) == volume
    assert await shown(admin, snapshot["id"], "snapshots") == snapshot


async def test_no_operation_takes_an_oversized_body(admin):
    for service, operation in OPERATIONS:
        if operation.body is None:
            continue
        large = b" " * ((2 << 20) + 1)
        reply = await admin.request(operation.method, path_of(service, operation), data=large, headers=LATEST)
        assert reply.status == 413, operation.key
        assert reply.json()["overLimit"]["retryAfter"] == "0"


@pytest.mark.parametrize("key", [NOBODY, "0", "x" * 300, "%F0%9F%98%80", "..%2f"])
async def test_no_operation_finds_what_does_not_exist(admin, key):
    given = dict.fromkeys(("volume", "snapshot", "type"), key)
    for service, operation in OPERATIONS:
        if any(f"{{{name}}}" in operation.path for name in given):
            path = path_of(service, operation, key="k", **given)
            reply = await admin.request(operation.method, path, json=good_body(operation), headers=LATEST)
            assert reply.status == 404, (operation.key, reply.text)


def test_every_state_has_a_word():
    assert set(STATUS) == set(VolumeState)
    assert set(SNAPSHOT_STATUS) == set(SnapshotState)


def test_the_ledger_agrees_with_what_is_registered():
    assert ledger.check(ledger.load(LEDGER), SERVICE.operations) == []
