"""Accounts of every role type, each with keys, in a domain of their own below ROOT."""

from uuid import UUID

import msgspec
import pytest

from pileus.core.caller import MANAGER, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Project, Scope
from pileus.core.identity.tenancy import account_roles
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.faces.wire import Kernel
from tests.contract.cloudstack.conftest import Stack, account, give, stack

People = dict[str, Stack]
"""By role type; `Neighbour` is a user of the same domain, `Stranger` one of another."""


async def set_role(cloud: Cloud, project: UUID, role: UUID | None) -> None:
    async with cloud.transaction() as tx:
        held = await tx.get(Project, project)
        await tx.put(msgspec.structs.replace(held, account_role=role))
        await changed(tx)


async def gathered(kernel: Kernel, cloud: Cloud, admin: Stack) -> People:
    want = domains.CreateDomain(name="sales")
    sales = await domains.create(cloud, system(), want)
    elsewhere = await domains.create(cloud, system(), domains.CreateDomain(name="elsewhere"))
    people = {"Admin": admin}
    for name, domain in (
        ("User", sales.id),
        ("Neighbour", sales.id),
        ("DomainAdmin", sales.id),
        ("ResourceAdmin", sales.id),
        ("Stranger", elsewhere.id),
    ):
        user, project = await account(cloud, name.lower(), domain)
        if name.endswith("Admin"):
            await give(cloud, system(), user.id, MANAGER, Place(Scope.DOMAIN, sales.id))
        if name == "ResourceAdmin":
            await set_role(cloud, project.id, account_roles.DEFAULT[RoleType.RESOURCE_ADMIN])
        people[name] = await stack(kernel, cloud, name.lower())
    return people


@pytest.fixture
async def people(kernel: Kernel, cloud: Cloud, admin: Stack) -> People:
    return await gathered(kernel, cloud, admin)
