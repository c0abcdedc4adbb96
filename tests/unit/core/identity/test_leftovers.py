"""What a project or a user leaves behind: nothing that nobody could reach."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Affinity, KeyPair, ServerGroup
from pileus.core.errors import InUse
from pileus.core.identity import departures, leftovers, projects, users
from pileus.core.identity.domains import ROOT
from pileus.core.quota import Usage
from pileus.store import REGISTRY

NAMED = {cls for _, cls, _ in leftovers.OWNED} | {cls for cls, _ in departures.PROJECT}
NOW = datetime(2030, 1, 1, tzinfo=UTC)
ELSEWHERE = {
    "quota_limit": "cleared",
    "quota_usage": "cleared",
    "security_rule": "goes with its group",
    "forwarding": "goes with its address",
    "firewall_rule": "goes with its address or network",
    "claim": "goes with its server",
    "placement_decision": "history of a server, which ages away",
    "key_pair": "goes with its user",
    "event": "history",
    "operation": "history",
    "webhook": "removed with the project",
    "webhook_delivery": "removed with its webhook",
    "alert": "history, which ages away",
}
"""Records that name a project and do not keep it, with the reason."""


def test_every_record_of_a_project_keeps_it_or_goes_with_it() -> None:
    of_projects = [layout for layout in REGISTRY if "project" in layout.columns]
    forgotten = [one.name for one in of_projects if one.cls not in NAMED and one.name not in ELSEWHERE]
    assert forgotten == []


async def a_project(cloud: Cloud, admin: Caller) -> UUID:
    want = projects.CreateProject(name="p", domain=ROOT)
    return (await projects.create(cloud, admin, want)).id


async def test_a_project_says_what_keeps_it(cloud: Cloud, admin: Caller) -> None:
    project = await a_project(cloud, admin)
    group = ServerGroup(
        id=uuid4(), project=project, user=uuid4(), name="g", affinity=Affinity.APART, created_at=NOW
    )
    async with cloud.transaction() as tx:
        await tx.add(group)
    with pytest.raises(InUse, match="still owns 1 server group; delete those first"):
        await projects.delete(cloud, admin, project)
    async with cloud.transaction() as tx:
        await tx.remove(group)
    await projects.delete(cloud, admin, project)


async def test_a_users_key_pairs_go_with_the_user(cloud: Cloud, admin: Caller) -> None:
    made: Any = await users.create(cloud, admin, users.CreateUser(name="u", domain=ROOT, password="Secret-1"))
    pair = KeyPair(
        id=uuid4(), user=made.id, project=uuid4(), name="k", public_key="k", fingerprint="f", created_at=NOW
    )
    async with cloud.transaction() as tx:
        await tx.add(pair)
        await tx.charge(made.id, "key_pairs", 1)
    await users.delete(cloud, admin, made.id)
    async with cloud.view() as look:
        assert await look.list(KeyPair) == []
        assert await look.list(Usage, project=made.id) == []
