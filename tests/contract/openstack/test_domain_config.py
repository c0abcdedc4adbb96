"""Conversations with Keystone's configuration of domains."""

import pytest
from msgspec.structs import replace

from pileus.core.events import Event
from pileus.core.identity import domain_settings
from pileus.core.identity.records import Domain
from pileus.core.identity.services.catalogue_records import DomainSetting
from tests.contract.openstack.test_identity import NOBODY, V3

WHOLE = {
    "ldap": {"url": "ldap://d", "password": "hush", "user": "%(password)s!"},
    "identity": {"driver": "ldap"},
}
SHOWN = {"ldap": {"url": "ldap://d", "user": "%(password)s!"}, "identity": {"driver": "ldap"}}


@pytest.fixture
async def path(admin):
    made = await admin.post(f"{V3}/domains", json={"domain": {"name": "lab"}})
    return f"{V3}/domains/{made.json()['domain']['id']}/config"


async def put(admin, path, config=WHOLE):
    return await admin.put(path, json={"config": config})


async def test_a_configuration_is_set_whole_and_shown_without_its_secrets(admin, path):
    assert (await admin.get(path)).status == 404
    first = await put(admin, path)
    assert (first.status, first.json()) == (201, {"config": SHOWN})
    again = await put(admin, path, {"ldap": {"url": "ldap://e"}})
    assert (again.status, again.json()) == (200, {"config": {"ldap": {"url": "ldap://e"}}})
    assert (await admin.get(path)).json() == again.json()
    assert (await admin.head(path)).status == 200
    assert (await admin.get(f"{path}/ldap")).json() == again.json()
    assert (await admin.get(f"{path}/ldap/url")).json() == {"config": {"url": "ldap://e"}}
    assert (await admin.get(f"{path}/ldap/user")).status == 404
    assert (await admin.get(f"{path}/identity")).status == 404


async def test_only_what_a_domain_may_set_is_taken(admin, path):
    for bad in ({}, {"ldap": {}}, {"ldap": "x"}, {"token": {"a": 1}}, {"ldap": {"foo": 1}}):
        assert (await put(admin, path, bad)).status == 403, bad
    for part in ("token", "ldap/foo"):
        assert (await admin.get(f"{path}/{part}")).status == 403, part
    assert (await admin.put(path, json={})).status == 400
    assert (await put(admin, f"{V3}/domains/{NOBODY}/config")).status == 404


async def test_a_part_is_changed_where_it_is_set(admin, path):
    await put(admin, path)
    for where, config, status in (
        ("", {"ldap": {"suffix": "dc=x"}}, 200),
        ("/ldap", {"ldap": {"url": "ldap://e"}}, 200),
        ("/ldap/url", {"url": "ldap://f"}, 200),
        ("/ldap", {"identity": {"driver": "sql"}}, 403),
        ("/ldap", {"ldap": {"url": "x"}, "identity": {"driver": "sql"}}, 403),
        ("/ldap/url", {"url": "x", "user": "y"}, 403),
        ("/ldap/url", {"user": "y"}, 403),
        ("/ldap/page_size", {"page_size": 5}, 404),
        ("", {}, 403),
    ):
        reply = await admin.patch(path + where, json={"config": config})
        assert reply.status == status, (where, config, reply.text)
    assert (await admin.get(path)).json() == {
        "config": {**SHOWN, "ldap": {**SHOWN["ldap"], "suffix": "dc=x", "url": "ldap://f"}}
    }


async def test_a_part_or_the_whole_is_removed(admin, path):
    await put(admin, path)
    for where in ("/ldap/url", "/ldap/password", "/ldap"):
        assert (await admin.delete(path + where)).status == 204, where
        assert (await admin.delete(path + where)).status == 404, where
    assert (await admin.get(path)).json() == {"config": {"identity": {"driver": "ldap"}}}
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 204


async def test_the_secret_is_encrypted_for_those_who_connect_and_stands_in_no_event(admin, path, cloud):
    await put(admin, path)
    async with cloud.view() as look:
        lab = await look.one(Domain, name="lab")
        opened = await domain_settings.opened(cloud, look, lab.id)
        assert opened["ldap"] == {"url": "ldap://d", "user": "hush!", "password": "hush"}
        assert await domain_settings.of(look, lab.id) == SHOWN
        rows = [row.value for row in await look.list(DomainSetting, domain=lab.id)]
        assert "hush" not in rows
        assert not [event for event in await look.list(Event) if "hush" in str(event.change)]


async def test_the_defaults_are_shown_to_those_who_administer(admin, member):
    whole = (await admin.get(f"{V3}/domains/config/default")).json()["config"]
    assert whole["identity"] == {"driver": "sql", "list_limit": None}
    assert "password" not in whole["ldap"]
    group = (await admin.get(f"{V3}/domains/config/ldap/default")).json()["config"]
    assert group == {"ldap": whole["ldap"]}
    assert (await admin.get(f"{V3}/domains/config/ldap/url/default")).json() == {
        "config": {"url": "ldap://localhost"}
    }
    for part in ("ldap/password", "ldap/foo", "token"):
        assert (await admin.get(f"{V3}/domains/config/{part}/default")).status == 403, part
    assert (await member.get(f"{V3}/domains/config/default")).status == 403


async def test_everybody_may_know_what_a_password_must_match(member, cloud):
    path = f"{V3}/domains/default/config/security_compliance"
    nothing = {"password_regex": None, "password_regex_description": None}
    assert (await member.get(path)).json() == {"config": {"security_compliance": nothing}}
    cloud.config = replace(cloud.config, password_regex="^.{8}", password_regex_description="eight letters")
    assert (await member.get(f"{path}/password_regex")).json() == {"config": {"password_regex": "^.{8}"}}
    assert (await member.get(f"{path}/lockout_duration")).status == 403
    elsewhere = f"{V3}/domains/{NOBODY}/config/security_compliance"
    assert (await member.get(elsewhere)).status == 403


async def test_a_configuration_is_for_those_who_administer_and_goes_with_its_domain(
    admin, member, path, cloud
):
    await put(admin, path)
    for method in ("get", "delete"):
        assert (await getattr(member, method)(path)).status == 403, method
    for method in ("put", "patch"):
        assert (await getattr(member, method)(path, json={"config": WHOLE})).status == 403, method
    domain = path.removesuffix("/config")
    await admin.patch(domain, json={"domain": {"enabled": False}})
    assert (await admin.delete(domain)).status == 204
    async with cloud.view() as look:
        assert not await look.count(DomainSetting)
