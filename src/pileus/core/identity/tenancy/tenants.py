"""The end and the rest of a tenant (an account, or a project) with everything in it: deleted, or put to sleep."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from pileus.core import deletion
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, InUse, NotFound
from pileus.core.identity import leftovers, options
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Project, ProjectKind
from pileus.core.identity.tenancy import project_members
from pileus.core.operations import LIVE, Accepted, Operation

DELETE = {ProjectKind.PROJECT: "project.delete", ProjectKind.ACCOUNT: "account.delete"}
SUSPEND = {ProjectKind.PROJECT: "project.suspend", ProjectKind.ACCOUNT: "account.suspend"}
"""Workflows, by what the tenant is."""


async def delete(
    cloud: Cloud, caller: Caller, key: UUID, *, cleanup: bool = True, command: str = ""
) -> Accepted:
    """Start deleting an account or a project: it is disabled at once; everything that it owns, then an account's
    users and the record itself go with the operation. A second call is answered with the first.

    `cleanup` False: raises InUse when something is left in it. Raises InUse for an account without which a project
    would have nobody to manage it, NotFound, Forbidden.
    """
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "project.delete")
        first = await leaving(tx, [key])
        if key in first:
            await deletion.wake(tx, first[key])
            return Accepted(held, first[key])
        await _refuse(tx, caller, held, cleanup)
        updated = await tx.put(msgspec.structs.replace(held, enabled=False))
        await changed(tx)
        return Accepted(updated, await tx.start(DELETE[held.kind], subject=updated, command=command))


async def _refuse(tx: Tx, caller: Caller, held: Project, cleanup: bool) -> None:
    if held.kind is ProjectKind.ACCOUNT and caller.project == held.id:
        raise Forbidden("You cannot delete the account that you act in; ask another administrator.")
    options.refuse_immutable_delete("project", held.id, held.options)
    if await tx.count(Project, parent=held.id):
        raise InUse(f"Project {held.name} has projects below it; delete those first.")
    words = [] if cleanup else await leftovers.left(tx, held.id)
    if words:
        raise InUse(f"Can't delete the project yet because it has {', '.join(words)} to clean up")
    orphans = await project_members.managed_alone(tx, held.id) if held.kind is ProjectKind.ACCOUNT else []
    if orphans:
        names = ", ".join(project.name for project in orphans)
        raise InUse(f"Account {held.name} is the owner of project {names}; give that to another first.")


async def suspend(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """Disable an account or a project, and stop its servers. May be repeated."""
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "project.update")
        options.refuse_immutable_update("project", key, held.options, {"enabled": False})
        updated = await tx.put(msgspec.structs.replace(held, enabled=False))
        await changed(tx)
        return Accepted(updated, await tx.start(SUSPEND[held.kind], subject=updated, command=command))


async def activate(cloud: Cloud, caller: Caller, key: UUID) -> Project:
    """Enable it again; its servers stay stopped. Raises InUse when it is being deleted."""
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "project.update")
        options.refuse_immutable_update("project", key, held.options, {"enabled": True})
        if key in await leaving(tx, [key]):
            raise InUse(f"Can't activate the project {held.name}, which is being deleted")
        for operation in await tx.list(Operation, key=key, outcome=tuple(LIVE)):
            await deletion.call_off(tx, operation)
        updated = await tx.put(msgspec.structs.replace(held, enabled=True))
        await changed(tx)
        return updated


async def leaving(look: Look, keys: Sequence[UUID] | None = None) -> dict[UUID, Operation]:
    """Those of the tenants (None: of all) that are being deleted, with the operation."""
    named = {} if keys is None else {"key": tuple(keys)}
    live = await look.list(Operation, outcome=tuple(LIVE), workflow=tuple(DELETE.values()), **named)
    return {operation.subject: operation for operation in live}


async def managed(look: Look, caller: Caller, key: UUID, verb: str) -> Project:
    """The tenant, when the caller may do this to it: managers of a domain to what is there, a project's own managers
    to the project. Raises NotFound, Forbidden."""
    held = await look.maybe(Project, key)
    if held is None:
        raise NotFound("Project", key)
    if held.kind is ProjectKind.PROJECT:
        await project_members.require_manages(look, caller, held, verb)
    else:
        await authority.require_manages(look, caller, held.domain, verb)
    return held
