"""Limits of projects, charged in the transaction that makes the record; recomputable from the records."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core.errors import QuotaExceeded
from pileus.store import Record, Transaction, View, table

UNLIMITED = -1

DEFAULTS: Mapping[str, int] = {
    "servers": 100,
    "vcpus": 200,
    "memory_mib": 512_000,
    "volumes": 100,
    "volume_gib": 10_000,
    "snapshots": 100,
    "images": 200,
    "networks": 100,
    "subnets": 100,
    "ports": 500,
    "routers": 50,
    "addresses": 100,
    "security_groups": 50,
    "security_rules": 500,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
}
"""Limits of a project that has none of its own. Key pairs count by user; members, of which none are charged, by group."""


@table("quota_limit", key=("project", "resource"))
class Limit(Record):
    project: UUID
    resource: str
    limit: int


@table("quota_usage", key=("project", "resource"))
class Usage(Record):
    project: UUID
    resource: str
    used: int


async def limit(view: View, project: UUID, resource: str) -> int:
    found = await view.get(Limit, project, resource)
    return found.limit if found else DEFAULTS[resource]


async def charge(tx: Transaction, project: UUID, resource: str, amount: int) -> None:
    """Add `amount` (negative: give back) to what the project uses. Raises QuotaExceeded when that passes the limit."""
    if amount == 0:
        return
    usage = await tx.get(Usage, project, resource)
    used = usage.used if usage else 0
    if amount > 0:
        allowed = await limit(tx, project, resource)
        if allowed != UNLIMITED and used + amount > allowed:
            raise QuotaExceeded(resource, limit=allowed, used=used, wanted=amount)
    await tx.put(Usage(project=project, resource=resource, used=max(0, used + amount)))


async def usages(view: View, project: UUID) -> dict[str, tuple[int, int]]:
    """(used, limit) of every resource."""
    used = {u.resource: u.used for u in await view.list(Usage, project=project)}
    limits = {row.resource: row.limit for row in await view.list(Limit, project=project)}
    return {name: (used.get(name, 0), limits.get(name, default)) for name, default in DEFAULTS.items()}


def differences(recorded: Mapping[Any, int], counted: Mapping[Any, int]) -> dict[Any, tuple[int, int]]:
    """(recorded, counted) where the two disagree; always empty in a sound cloud."""
    keys = recorded.keys() | counted.keys()
    return {
        key: (recorded.get(key, 0), counted.get(key, 0))
        for key in keys
        if recorded.get(key, 0) != counted.get(key, 0)
    }
