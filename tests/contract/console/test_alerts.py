"""Alerts through the console's API."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.core import alerts
from pileus.core.alerts import Alert, Finding, Severity
from pileus.core.cloud import Cloud
from tests.contract.openstack.conftest import Person

PATH = "/console/alerts"


@pytest.fixture
async def two(cloud: Cloud, member: Person) -> tuple[Alert, Alert]:
    """One about the cloud, one about the member's server."""
    async with cloud.transaction() as tx:
        return (
            await alerts.raise_(
                tx, Finding(kind="pool full", severity=Severity.CRITICAL, text="It is full.")
            ),
            await alerts.raise_(
                tx,
                Finding(
                    kind="guest lost",
                    subject=uuid4(),
                    subject_kind="server",
                    project=member.project.id,
                    text="It was gone.",
                ),
            ),
        )


async def ids(who: Person, query: str = "") -> set[str]:
    reply = await who.get(f"{PATH}?{query}")
    assert reply.status == 200, reply.text
    return {each["id"] for each in reply.json()["alerts"]}


async def test_administrators_see_all_and_projects_their_own(
    two: tuple[Alert, Alert], admin: Person, member: Person, other: Person
) -> None:
    whole, own = (str(each.id) for each in two)
    assert await ids(admin) == {whole, own}
    assert await ids(member) == {own}
    assert await ids(other) == set()
    assert (await member.get(f"{PATH}/{whole}")).status == 404
    assert (await other.get(f"{PATH}/{own}")).status == 404
    assert (await other.get(f"{PATH}?project={two[1].project}")).status == 403
    shown = (await member.get(f"{PATH}/{own}")).json()["alert"]
    assert (shown["kind"], shown["count"], shown["cleared_at"]) == ("guest lost", 1, None)
    assert (await admin.get(f"{PATH}/{whole}")).json()["alert"]["subject"] is None


async def test_a_list_is_filtered_and_paged(two: tuple[Alert, Alert], admin: Person) -> None:
    whole, own = (str(each.id) for each in two)
    assert await ids(admin, "severity=critical") == {whole}
    assert await ids(admin, "kind=guest%20lost") == {own}
    assert await ids(admin, f"subject={two[1].subject}") == {own}
    first: dict[str, Any] = (await admin.get(f"{PATH}?limit=1")).json()
    assert (len(first["alerts"]), first["total"]) == (1, 2)
    rest = await ids(admin, "skip=1&limit=1")
    assert rest | {first["alerts"][0]["id"]} == {whole, own}
    assert (await admin.get(f"{PATH}?limit=0")).status == 400


async def test_what_is_over_or_archived_is_listed_when_asked_for(
    two: tuple[Alert, Alert], cloud: Cloud, admin: Person, member: Person
) -> None:
    whole, own = (str(each.id) for each in two)
    async with cloud.transaction() as tx:
        await alerts.clear(tx, two[1].kind, two[1].subject)
    assert await ids(admin) == {whole}
    assert await ids(admin, "over=true") == {whole, own}
    assert (await member.post(f"{PATH}/{own}/archive")).status == 403
    assert (await admin.post(f"{PATH}/{whole}/archive")).json()["alert"]["archived"] is True
    assert await ids(admin) == set()
    assert await ids(admin, "archived=true") == {whole}


async def test_only_administrators_delete(two: tuple[Alert, Alert], admin: Person, member: Person) -> None:
    own = f"{PATH}/{two[1].id}"
    assert (await member.request("DELETE", own)).status == 403
    assert (await admin.request("DELETE", own)).status == 204
    assert (await admin.request("DELETE", own)).status == 404
    assert (await admin.request("DELETE", f"{PATH}/{UUID(int=1)}")).status == 404
    assert (await admin.post(f"{PATH}/{UUID(int=1)}/archive")).status == 404
