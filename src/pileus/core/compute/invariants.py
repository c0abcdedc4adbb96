"""What is always true of servers, whatever was killed when: functions that return the violations, of which there are none."""

from collections import Counter
from typing import Any
from uuid import UUID

from pileus.core import quota
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import TRANSITIONAL, KeyPair, Server
from pileus.core.operations import LIVE, Operation
from pileus.core.placement import claims
from pileus.core.placement.records import Claim
from pileus.core.quota import Usage


async def violations(cloud: Cloud) -> list[str]:
    async with cloud.view() as look:
        return [
            *await stuck(look),
            *await claims.differences(look),
            *await unclaimed(look),
            *await miscounted(look),
        ]


async def stuck(look: Look) -> list[str]:
    """Servers in a transitional state without a live operation, or in a steady one with an operation."""
    wrong = []
    for server in await look.list(Server):
        operation = await look.maybe(Operation, server.operation) if server.operation else None
        live = operation is not None and operation.outcome in LIVE
        if server.state in TRANSITIONAL and not live:
            wrong.append(f"server {server.id} is {server.state} without a live operation")
        if server.state not in TRANSITIONAL and server.operation is not None:
            wrong.append(f"server {server.id} is {server.state} and names operation {server.operation}")
    return wrong


async def unclaimed(look: Look) -> list[str]:
    """Servers on a host without a claim there, and claims without a server."""
    held = {claim.id: claim.host for claim in await look.list(Claim)}
    placed = {server.id: server.host for server in await look.list(Server) if server.host is not None}
    return [
        f"server {key} is on host {placed.get(key)}, its claim on {held.get(key)}"
        for key in held.keys() | placed.keys()
        if held.get(key) != placed.get(key)
    ]


async def miscounted(look: Look) -> list[str]:
    """Projects whose use of servers, processors and memory is not the sum of their records."""
    counted: Counter[tuple[UUID, str]] = Counter()
    for server in await look.list(Server):
        counted[server.project, "servers"] += 1
        counted[server.project, "vcpus"] += server.vcpus
        counted[server.project, "memory_mib"] += server.memory_mib
    for pair in await look.list(KeyPair):
        counted[pair.user, "key_pairs"] += 1
    names = ("servers", "vcpus", "memory_mib", "key_pairs")
    recorded: dict[Any, int] = {
        (use.project, use.resource): use.used for use in await look.list(Usage, resource=names)
    }
    wrong = quota.differences(recorded, counted)
    return [
        f"{resource} of project {project}: {kept} recorded, {real} counted"
        for (project, resource), (kept, real) in wrong.items()
    ]
