"""Servers: reading them, changing what they are called, and every verb that is asked of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute import labels
from pileus.core.compute.deploy import Build, Deploy, DiskWant, Source, deploy, hostname, password
from pileus.core.compute.interfaces import attach_nic, detach_nic
from pileus.core.compute.lifecycle import (
    Back,
    delete,
    destroy,
    expunge,
    pause,
    reboot,
    recover,
    refuse_locked,
    reset_state,
    resume,
    set_lock,
    start,
    stop,
    suspend,
    unpause,
)
from pileus.core.compute.records import Server
from pileus.core.compute.remembered import remember
from pileus.core.compute.states import HostUnready, Locked, StateConflict, Verb
from pileus.core.errors import NotFound

PAGE = 500


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Server:
    async with cloud.view() as look:
        return await caller.find(look.rows, Server, key, "server.read")


async def listing(
    cloud: Cloud,
    caller: Caller,
    *where: Any,
    project: UUID | Sequence[UUID] | None,
    order: Sequence[str] = ("created_at",),
    after: Sequence[object] | None = None,
    limit: int | None = None,
    accept: Callable[[Server], bool] | None = None,
    **equals: Any,
) -> list[Server]:
    """A project's servers; `project` None: everybody's, for administrators. Paging as the store's, where every order
    ends in the id. `accept` decides what no condition of the store can."""
    if project is None:
        caller.require_admin("server.read in all projects")
    else:
        wanted = (project,) if isinstance(project, UUID) else tuple(project)
        for each in wanted:
            caller.require("server.read", project=each)
        equals["project"] = wanted
    async with cloud.view() as look:
        if accept is None:
            return await look.list(Server, *where, order=tuple(order), after=after, limit=limit, **equals)
        found: list[Server] = []
        while limit is None or len(found) < limit:
            page = await look.list(Server, *where, order=tuple(order), after=after, limit=PAGE, **equals)
            found += [server for server in page if accept(server)]
            if len(page) < PAGE:
                break
            after = position(page[-1], order)
    return found if limit is None else found[:limit]


def position(server: Server, order: Sequence[str]) -> tuple[object, ...]:
    """Where a server stands in an order: what `after` wants."""
    names = [name.removeprefix("-") for name in order]
    values = [getattr(server, name) for name in names]
    return tuple(values if "id" in names else [*values, server.id])


async def update(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    *,
    facets: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Server:
    """Change name, hostname, description, metadata or tags, and what an API remembers of it."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.update")
        refuse_locked(caller, server)
        labels.check(changes.get("metadata", ()), changes.get("tags", ()))
        await remember(tx, key, facets or {})
        changed = replace(server, **changes)
        return await tx.put(replace(changed, updated_at=cloud.now())) if changed != server else server


async def change_metadata(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    *,
    put: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    whole: bool = False,
) -> Server:
    """Add or replace items (`whole`: nothing else stays) and drop others. Raises NotFound for one that is not there."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.update")
        refuse_locked(caller, server)
        kept = {} if whole else dict(server.metadata)
        for name in drop:
            if kept.pop(name, None) is None:
                raise NotFound("Metadata item", name)
        changes = {"metadata": kept | dict(put or {})}
        labels.check(changes.get("metadata", ()), changes.get("tags", ()))
        return await tx.put(replace(server, **changes, updated_at=cloud.now()))


async def change_tags(
    cloud: Cloud, caller: Caller, key: UUID, change: Callable[[tuple[str, ...]], Sequence[str]]
) -> Server:
    """`change` gets the tags and returns those to have; it may raise."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.update")
        refuse_locked(caller, server)
        tags = tuple(dict.fromkeys(change(server.tags)))
        labels.check((), tags)
        return await tx.put(replace(server, tags=tags, updated_at=cloud.now()))


__all__ = [
    "Back",
    "Build",
    "Deploy",
    "DiskWant",
    "HostUnready",
    "Locked",
    "Source",
    "StateConflict",
    "Verb",
    "attach_nic",
    "change_metadata",
    "change_tags",
    "delete",
    "deploy",
    "destroy",
    "detach_nic",
    "expunge",
    "hostname",
    "listing",
    "password",
    "pause",
    "position",
    "reboot",
    "recover",
    "remember",
    "reset_state",
    "resume",
    "set_lock",
    "show",
    "start",
    "stop",
    "suspend",
    "unpause",
    "update",
]
