"""Alerts in CloudStack's words."""

from typing import Any

import pytest

from pileus.core import alerts
from pileus.core.alerts import Finding
from pileus.core.cloud import Cloud
from pileus.faces.cloudstack.alerts import BY_NUMBER, KINDS, OTHERS, SUBJECTS, TYPES, name_of
from pileus.reconcile.reactions import RULES
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack


@pytest.fixture
async def found(cloud: Cloud) -> list[str]:
    """A host that is away, a pool that is full."""
    async with cloud.transaction() as tx:
        away = await alerts.raise_(
            tx, Finding(kind="host away", subject=cloud.new_id(), text="Host is away.")
        )
        full = await alerts.raise_(
            tx, Finding(kind="pool full", subject=cloud.new_id(), text="Pool is full.")
        )
    return [str(away.id), str(full.id)]


async def listed(who: Stack, **params: Any) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = (await who.call("listAlerts", **params)).get("alert", [])
    return shown


async def ids(who: Stack, **params: Any) -> set[str]:
    return {each["id"] for each in await listed(who, **params)}


def test_every_kind_of_finding_has_a_type_of_cloudstacks() -> None:
    assert {*SUBJECTS.values(), *KINDS.values(), OTHERS} <= TYPES.keys()
    kinds = {drift.value for drift, rule in RULES.items() if rule.severity is not None}
    assert KINDS.keys() <= kinds
    others = {kind for kind in kinds if name_of(kind) == OTHERS}
    assert others == {"unsound", "operation flagged"}


async def test_alerts_have_the_type_and_name_of_their_kind(found: list[str], admin: Stack) -> None:
    away, full = found
    shown = {each["id"]: each for each in await listed(admin)}
    assert shown.keys() == {away, full}
    assert (shown[away]["type"], shown[away]["name"]) == (7, "ALERT.COMPUTE.HOST")
    assert (shown[full]["type"], shown[full]["name"]) == (2, "ALERT.STORAGE")
    assert shown[away]["description"] == "Host is away."
    assert await ids(admin, type="7") == await ids(admin, name="alert.compute.host") == {away}
    assert await ids(admin, id=full) == await ids(admin, keyword="is full") == {full}
    assert await ids(admin, type="7", name="ALERT.STORAGE") == await ids(admin, type="x") == set()
    for filtered in ({}, {"type": "7"}):
        page = await admin.call("listAlerts", page=1, pagesize=1, **filtered)
        assert (page["count"], len(page["alert"])) == (1 if filtered else 2, 1)


async def test_what_is_over_says_since_when(found: list[str], cloud: Cloud, admin: Stack) -> None:
    async with cloud.transaction() as tx:
        alert = await tx.get(alerts.Alert, (await alerts.standing(cloud, ["pool full"]))[0].id)
        await alerts.clear(tx, "pool full", alert.subject)
    (shown,) = await listed(admin, type="2")
    assert shown["description"].startswith("Pool is full. (over since 2")


async def test_archived_and_deleted_alerts_are_not_listed(
    found: list[str], admin: Stack, cloud: Cloud
) -> None:
    away, full = found
    assert await admin.call("archiveAlerts", ids=[away]) == {"success": True}
    assert await ids(admin) == {full}
    assert await admin.call("deleteAlerts", type="7") == {"success": True}
    assert await admin.call("deleteAlerts", type="2", startdate="2001-01-01", enddate="2002-01-01") == {
        "success": True
    }
    assert await ids(admin) == {full}
    assert await admin.call("deleteAlerts", startdate="2001-01-01", enddate="2999-01-01") == {"success": True}
    assert await ids(admin) == set()
    async with cloud.view() as look:
        assert await look.count(alerts.Alert) == 0


async def test_what_names_nothing_is_refused(found: list[str], admin: Stack, cloud: Cloud) -> None:
    for command in ("archiveAlerts", "deleteAlerts"):
        for nothing in ({}, {"startdate": "2001-01-01"}, {"ids": [found[0], str(cloud.new_id())]}):
            await admin.refused(command, 431, **nothing)
        await admin.refused(command, 431, ids=found, type="7")
        await admin.refused(command, 431, enddate="2001-01-01", startdate="2002-01-01")
        await admin.call(command, type="8")
    assert await ids(admin) == set(found)


async def test_an_administrator_posts_alerts(admin: Stack, member: Stack, worker: Worker) -> None:
    zone = (await admin.call("listZones"))["zone"][0]["id"]
    pod = (await admin.call("listPods"))["pod"][0]["id"]
    own = {
        "type": 1000,
        "name": "CABLES",
        "description": "Somebody cut a cable.",
        "podid": pod,
        "zoneid": zone,
    }
    assert await admin.job(worker, "generateAlert", **own) == {"success": True}
    known = {"type": 7, "name": "alert.compute.host", "description": "It hums."}
    assert await admin.job(worker, "generateAlert", **known) == {"success": True}
    shown = {(each["type"], each["name"], each["description"]) for each in await listed(admin)}
    assert shown == {(1000, "CABLES", "Somebody cut a cable."), (7, "ALERT.COMPUTE.HOST", "It hums.")}
    assert len(await listed(admin, type="1000")) == 1
    await admin.call("archiveAlerts", type="1000")
    assert [each["type"] for each in await listed(admin)] == [7]


async def test_a_type_keeps_its_name(admin: Stack, cloud: Cloud) -> None:
    text = {"description": "x"}
    assert "ALERT.COMPUTE.HOST" in await admin.refused("generateAlert", 431, type=7, name="HOST", **text)
    await admin.refused("generateAlert", 431, type=32768, name="x", **text)
    await admin.refused("generateAlert", 431, type=-1, name="x", **text)
    await admin.refused("generateAlert", 431, type=1000, name="x", zoneid=str(cloud.new_id()), **text)
    await admin.refused("generateAlert", 431, type=1000, name="x", podid=str(cloud.new_id()), **text)
    assert await listed(admin) == []


async def test_types_are_told(admin: Stack) -> None:
    told = (await admin.call("listAlertTypes"))["alerttype"]
    assert {each["name"]: each["type"] for each in told} == TYPES
    assert {each["type"] for each in told} == BY_NUMBER.keys()


async def test_alerts_are_for_administrators(member: Stack) -> None:
    for command in ("listAlerts", "listAlertTypes", "archiveAlerts", "deleteAlerts", "generateAlert"):
        await member.refused(command, 432)
