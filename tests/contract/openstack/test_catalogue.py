"""Conversations with Keystone's catalogue: regions, services, endpoints, and the policies kept for them."""

from msgspec.structs import replace

from pileus.app.bootstrap import bootstrap
from pileus.core.identity.services import offers
from pileus.core.identity.services.catalogue import service_key
from tests.asgi import Client
from tests.contract.openstack.conftest import Person
from tests.contract.openstack.test_identity import NOBODY, V3, by_token, login

OWN = {"identity", "compute", "placement", "network", "image", "block-storage", "volumev3"}


async def made(who: Person, many: str, one: str, **values):
    reply = await who.post(f"{V3}/{many}", json={one: values})
    assert reply.status == 201, reply.text
    return reply.json()[one]


async def offered(who: Person):
    """The addresses in a fresh token's catalogue, by type of service."""
    _, token = await login(
        Client(who.app), by_token(who.token, scope={"project": {"id": who.project.id.hex}})
    )
    return {entry["type"]: [each["url"] for each in entry["endpoints"]] for entry in token["catalog"]}


async def test_regions_have_ids_of_their_operator_and_form_a_tree(admin, member):
    first = await made(admin, "regions", "region", id="north", description=None, climate="cold")
    assert first == {
        "id": "north",
        "description": "",
        "parent_region_id": None,
        "climate": "cold",
        "links": {"self": "http://cloud.test/identity/v3/regions/north"},
    }
    assert len((await made(admin, "regions", "region"))["id"]) == 32
    reply = await admin.put(f"{V3}/regions/pole", json={"region": {"parent_region_id": "north"}})
    assert (reply.status, reply.json()["region"]["id"]) == (201, "pole")
    assert (await admin.put(f"{V3}/regions/pole", json={"region": {}})).status == 409
    assert (await admin.put(f"{V3}/regions/x", json={"region": {"id": "y"}})).status == 400
    orphan = {"region": {"id": "z", "parent_region_id": "nope"}}
    assert (await admin.post(f"{V3}/regions", json=orphan)).status == 404
    below = (await member.get(f"{V3}/regions?parent_region_id=north")).json()["regions"]
    assert [region["id"] for region in below] == ["pole"]
    assert (await member.get(f"{V3}/regions?climate=cold")).status == 400
    assert (await member.head(f"{V3}/regions/north")).status == 200


async def test_a_region_is_changed_in_part_and_is_never_above_itself(admin, member):
    await made(admin, "regions", "region", id="north")
    await made(admin, "regions", "region", id="pole", parent_region_id="north")
    path = f"{V3}/regions/north"
    changed = await admin.patch(path, json={"region": {"description": "cold", "ice": True}})
    assert (changed.json()["region"]["description"], changed.json()["region"]["ice"]) == ("cold", True)
    for bad, status in (
        ({}, 400),
        ({"id": "south"}, 400),
        ({"parent_region_id": "north"}, 400),
        ({"parent_region_id": "pole"}, 400),
        ({"parent_region_id": "nope"}, 404),
    ):
        assert (await admin.patch(path, json={"region": bad})).status == status, bad
    assert (await member.patch(path, json={"region": {"description": "x"}})).status == 403
    assert (await admin.patch(f"{V3}/regions/nope", json={"region": {"description": "x"}})).status == 404


async def test_a_region_goes_with_those_below_unless_an_endpoint_is_there(admin):
    await made(admin, "regions", "region", id="north")
    await made(admin, "regions", "region", id="pole", parent_region_id="north")
    service = (await made(admin, "services", "service", type="dns"))["id"]
    endpoint = await made(
        admin, "endpoints", "endpoint", service_id=service, interface="public", url="http://x", region="pole"
    )
    refused = await admin.delete(f"{V3}/regions/north")
    assert refused.status == 403
    assert "pole has endpoints" in refused.json()["error"]["message"]
    assert (await admin.delete(f"{V3}/regions/RegionOne")).status == 403
    await admin.delete(f"{V3}/endpoints/{endpoint['id']}")
    assert (await admin.delete(f"{V3}/regions/north")).status == 204
    assert (await admin.get(f"{V3}/regions/pole")).status == 404
    assert (await admin.delete(f"{V3}/regions/north")).status == 404


async def test_services_keep_what_nobody_declared_and_are_found_by_type_and_name(admin, member):
    service = await made(admin, "services", "service", type="dns", name="designate", colour="red")
    assert service["links"]["self"].endswith(f"/services/{service['id']}")
    assert (service["enabled"], service["colour"]) == (True, "red")
    for query, found in (
        ("type=dns", 1),
        ("name=designate", 1),
        ("type=dns&name=x", 0),
        ("name__contains=SIGN", 1),
        ("type__startswith=vol", 1),
        ("", 8),
    ):
        assert len((await admin.get(f"{V3}/services?{query}")).json()["services"]) == found, query
    path = f"{V3}/services/{service['id']}"
    changed = (await admin.patch(path, json={"service": {"name": "d", "size": 2}})).json()["service"]
    assert (changed["name"], changed["colour"], changed["size"]) == ("d", "red", 2)
    assert (await admin.get(path)).json() == {"service": changed}
    for bad in ({}, {"id": NOBODY}, {"type": ""}, {"enabled": "true"}):
        assert (await admin.patch(path, json={"service": bad})).status == 400, bad
    assert (await admin.post(f"{V3}/services", json={"service": {"name": "x"}})).status == 400
    assert (await member.get(path)).status == 403
    assert (await admin.get(f"{V3}/services/{NOBODY}")).status == 404


async def test_an_endpoint_is_in_a_service_and_a_region_and_goes_with_its_service(admin):
    service = (await made(admin, "services", "service", type="dns"))["id"]
    common = {"service_id": service, "interface": "public", "url": "http://dns/$(project_id)s"}
    endpoint = await made(admin, "endpoints", "endpoint", **common, region="south", name="n", shade=1)
    assert (endpoint["region"], endpoint["region_id"]) == ("south", "south")
    assert (endpoint["url"], endpoint["shade"]) == ("http://dns/$(project_id)s", 1)
    assert (await admin.get(f"{V3}/regions/south")).status == 200
    for bad in (
        {"url": "http://x/$(password)s"},
        {"url": "http://x/%(project_id)"},
        {"url": "http://x/100%"},
        {"url": "nonsense"},
        {"interface": "secret"},
        {"service_id": NOBODY},
        {"service_id": "nope"},
        {"region_id": "nope"},
    ):
        reply = await admin.post(f"{V3}/endpoints", json={"endpoint": {**common, **bad}})
        assert reply.status == 400, (bad, reply.text)
    for query, found in (
        (f"service_id={service}", 1),
        ("region_id=south", 1),
        (f"interface=admin&service_id={service}", 0),
        ("service_id=nope", 0),
    ):
        assert len((await admin.get(f"{V3}/endpoints?{query}")).json()["endpoints"]) == found, query
    path = f"{V3}/endpoints/{endpoint['id']}"
    assert (await admin.delete(f"{V3}/services/{service}")).status == 204
    assert (await admin.get(path)).status == 404


async def test_an_endpoint_is_changed_in_part(admin, member):
    service = (await made(admin, "services", "service", type="dns"))["id"]
    endpoint = await made(
        admin, "endpoints", "endpoint", service_id=service, interface="public", url="http://x"
    )
    assert endpoint["region"] is None
    path = f"{V3}/endpoints/{endpoint['id']}"
    change = {"url": "http://y", "region": "west", "enabled": False, "shade": 2}
    changed = (await admin.patch(path, json={"endpoint": change})).json()["endpoint"]
    assert {name: changed[name] for name in change} == change
    assert (await admin.get(path)).json() == {"endpoint": changed}
    bad = ({}, {"id": NOBODY}, {"url": "http://x/$(x)s"}, {"region_id": "nope"}, {"service_id": NOBODY})
    for each in bad:
        assert (await admin.patch(path, json={"endpoint": each})).status == 400, each
    assert (await member.patch(path, json={"endpoint": {"url": "http://z"}})).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 404


async def test_what_this_cloud_serves_is_there_from_the_start_and_cannot_be_deleted(admin):
    services = (await admin.get(f"{V3}/services")).json()["services"]
    assert {service["type"] for service in services} == OWN
    endpoints = (await admin.get(f"{V3}/endpoints")).json()["endpoints"]
    assert len(endpoints) == 3 * len(OWN)
    assert {endpoint["region_id"] for endpoint in endpoints} == {"RegionOne"}
    compute = service_key("compute").hex
    own = [endpoint for endpoint in endpoints if endpoint["service_id"] == compute]
    assert {endpoint["url"] for endpoint in own} == {"http://cloud.test/compute/v2.1"}
    for path in (f"services/{compute}", f"endpoints/{own[0]['id']}"):
        refused = await admin.delete(f"{V3}/{path}")
        assert refused.status == 403
        assert "disable it instead" in refused.json()["error"]["message"]
    fixed = {"endpoint": {"interface": "admin", "region": "elsewhere"}}
    assert (await admin.patch(f"{V3}/endpoints/{own[0]['id']}", json=fixed)).status == 403
    assert (await admin.patch(f"{V3}/services/{compute}", json={"service": {"type": "x"}})).status == 403
    assert (await admin.get(f"{V3}/regions/elsewhere")).status == 404


async def test_what_an_operator_changed_stays_at_the_next_start_and_the_region_follows(admin, cloud):
    service = service_key("image")
    own = (await admin.get(f"{V3}/endpoints?service_id={service.hex}")).json()["endpoints"][0]["id"]
    await admin.patch(f"{V3}/endpoints/{own}", json={"endpoint": {"url": "https://images.example"}})
    await admin.patch(f"{V3}/services/{service_key('placement').hex}", json={"service": {"enabled": False}})
    cloud.config = replace(cloud.config, region="elsewhere")
    assert not await bootstrap(cloud)
    endpoints = (await admin.get(f"{V3}/endpoints")).json()["endpoints"]
    assert {endpoint["region"] for endpoint in endpoints} == {"elsewhere"}
    assert next(each for each in endpoints if each["id"] == own)["url"] == "https://images.example"
    assert [region["id"] for region in (await admin.get(f"{V3}/regions")).json()["regions"]] == ["elsewhere"]
    assert set(await offered(admin)) == OWN - {"placement"}


async def test_the_catalogue_of_a_token_has_what_is_enabled_with_its_places_filled_in(admin, cloud):
    service = (await made(admin, "services", "service", type="dns"))["id"]
    common = {"service_id": service, "url": "http://dns/%(tenant_id)s/$(user_id)s"}
    await made(admin, "endpoints", "endpoint", **common, interface="public", shade=1)
    await made(admin, "endpoints", "endpoint", **common, interface="admin", enabled=False)
    unknown = {**common, "url": "http://$(compute_host)s"}
    await made(admin, "endpoints", "endpoint", **unknown, interface="internal")
    address = f"http://dns/{admin.project.id.hex}/{admin.user.id.hex}"
    assert (await offered(admin))["dns"] == [address]
    system = (await login(Client(admin.app), by_token(admin.token, scope={"system": {"all": True}})))[1]
    assert [entry["endpoints"] for entry in system["catalog"] if entry["type"] == "dns"] == [[]]
    await admin.patch(f"{V3}/services/{service}", json={"service": {"enabled": False}})
    assert "dns" not in await offered(admin)


async def test_the_catalogue_is_read_again_only_when_something_changed(admin, cloud):
    await offered(admin)
    first = await offers.catalogue(cloud)
    assert await offers.catalogue(cloud) is first
    await made(admin, "services", "service", type="dns")
    assert await offers.catalogue(cloud) is not first


async def test_policies_are_kept_and_shown_as_they_were_sent(admin, member):
    policy = await made(admin, "policies", "policy", type="text/plain", blob="all of it", foo="bar")
    path = f"{V3}/policies/{policy['id']}"
    assert (policy["blob"], policy["foo"]) == ("all of it", "bar")
    assert (await admin.get(path)).json() == {"policy": policy}
    changed = (await admin.patch(path, json={"policy": {"blob": "less", "baz": 1}})).json()["policy"]
    assert (changed["blob"], changed["foo"], changed["baz"]) == ("less", "bar", 1)
    assert (await admin.get(f"{V3}/policies?type=text/plain")).json()["policies"] == [changed]
    assert (await admin.get(f"{V3}/policies?type=x")).json()["policies"] == []
    for bad in ({"type": "x"}, {"blob": "x"}, {"type": "x", "blob": {"a": 1}}):
        assert (await admin.post(f"{V3}/policies", json={"policy": bad})).status == 400, bad
    assert (await member.get(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_the_policy_of_an_endpoint_is_its_own_or_its_regions_or_its_services(admin):
    service = (await made(admin, "services", "service", type="dns"))["id"]
    await made(admin, "regions", "region", id="north")
    await made(admin, "regions", "region", id="pole", parent_region_id="north")
    endpoint = await made(
        admin,
        "endpoints",
        "endpoint",
        service_id=service,
        interface="public",
        url="http://x",
        region_id="pole",
    )
    names = {}
    places = ("service", f"services/{service}"), ("region", f"services/{service}/regions/north")
    for name, place in (*places, ("endpoint", f"endpoints/{endpoint['id']}")):
        names[name] = (await made(admin, "policies", "policy", type="t", blob=name))["id"]
        path = f"{V3}/policies/{names[name]}/OS-ENDPOINT-POLICY/{place}"
        assert (await admin.get(path)).status == 404
        assert (await admin.put(path)).status == 204
        assert (await admin.put(path)).status == 204
        assert (await admin.get(path)).status == 204
        found = await admin.get(f"{V3}/endpoints/{endpoint['id']}/OS-ENDPOINT-POLICY/policy")
        assert found.json()["policy"]["blob"] == name
        users = await admin.get(f"{V3}/policies/{names[name]}/OS-ENDPOINT-POLICY/endpoints")
        assert [each["id"] for each in users.json()["endpoints"]] == [endpoint["id"]]
    for name, place in (*places, ("endpoint", f"endpoints/{endpoint['id']}")):
        path = f"{V3}/policies/{names[name]}/OS-ENDPOINT-POLICY/{place}"
        assert (await admin.delete(path)).status == 204
    path = f"{V3}/endpoints/{endpoint['id']}/OS-ENDPOINT-POLICY/policy"
    assert (await admin.get(path)).status == 404
    for place in (f"services/{NOBODY}", f"endpoints/{NOBODY}", f"services/{service}/regions/nope"):
        reply = await admin.put(f"{V3}/policies/{names['service']}/OS-ENDPOINT-POLICY/{place}")
        assert reply.status == 404, place


async def test_what_keystone_removed_says_so(admin):
    for path in ("OS-SIMPLE-CERT/ca", "OS-SIMPLE-CERT/certificates"):
        reply = await admin.get(f"{V3}/{path}")
        assert (reply.status, reply.json()["error"]["title"]) == (410, "Gone")
