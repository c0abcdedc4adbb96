"""Both families of APIs over one cloud, and what the tests of volumes and networks begin with."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.cloud import Cloud
from pileus.core.events import Event
from pileus.core.operations import Operation
from pileus.faces import cloudstack
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack
from tests.contract.openstack.conftest import Person, person, usable

SOURCE_NAT = "DefaultIsolatedNetworkOfferingWithSourceNatService"
EGRESS_DENIED = "IsolatedNetworkOfferingWithSourceNatServiceEgressDenied"
Deploy = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def kernel(site: Site, worker: Worker) -> Kernel:
    made = Kernel(usable(), cloud=site.cloud, site=site, access_log=False)
    cloudstack.mount(made)
    return made


@pytest.fixture
async def openstack(kernel: Kernel, cloud: Cloud) -> Person:
    """The same account, through OpenStack's APIs."""
    return await person(kernel, cloud, "demo")


@pytest.fixture
def deploy(member: Stack, place: dict[str, str], worker: Worker) -> Deploy:
    async def run(*networks: str, name: str = "web") -> dict[str, Any]:
        done = await member.job(worker, "deployVirtualMachine", **place, name=name, networkids=list(networks))
        machine: dict[str, Any] = done["virtualmachine"]
        assert machine["state"] == "Running"
        return machine

    return run


async def zone(stack: Stack) -> str:
    return str((await stack.call("listZones"))["zone"][0]["id"])


async def offering(stack: Stack, name: str) -> str:
    (found,) = (await stack.call("listNetworkOfferings", name=name))["networkoffering"]
    return str(found["id"])


async def network(stack: Stack, kind: str = SOURCE_NAT, /, **params: Any) -> dict[str, Any]:
    """Of the offering of that name."""
    params = {"name": "inside", "displaytext": "The inside", "zoneid": await zone(stack), **params}
    made = await stack.call("createNetwork", networkofferingid=await offering(stack, kind), **params)
    found: dict[str, Any] = made["network"]
    return found


async def asked(who: Person, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A request to OpenStack that must go well."""
    reply = await who.request(method, path, **({} if body is None else {"json": body}))
    assert 200 <= reply.status < 300, f"{method} {path}: {reply.status} {reply.text[:500]}"
    found: dict[str, Any] = reply.json() if reply.body else {}
    return found


async def history(cloud: Cloud) -> tuple[int, int]:
    """How much has happened: what is refused adds nothing."""
    async with cloud.view() as look:
        return await look.count(Event), await look.count(Operation)


async def bad(stack: Stack, cloud: Cloud, command: str, code: int, **params: Any) -> str:
    """Must be refused, and nothing be made."""
    before = await history(cloud)
    text = await stack.refused(command, code, **params)
    assert await history(cloud) == before, f"{command} {params} left something behind"
    assert text
    return text


def unknown() -> str:
    return str(uuid4())
