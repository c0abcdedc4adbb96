"""Projects, which own resources, in a tree inside their domain. A CloudStack account is one of
the kind ACCOUNT.

Deleting a project that still owns resources is refused by naming them. Keystone, which cannot know them, deletes
and leaves them behind without an owner.
"""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, InUse, Invalid, NotFound
from pileus.core.identity import departures, domain_limits, leftovers, options
from pileus.core.identity import tags as tagging
from pileus.core.identity.authorization import authority
from pileus.core.identity.authorization.holding import places
from pileus.core.identity.changes import changed, given
from pileus.core.identity.listing import EVERYTHING, Found, Match, Window, equal, page
from pileus.core.identity.records import Domain, Project, ProjectKind, Scope, User
from pileus.store import Condition, eq

DEEPEST = 6
"""Projects above one another, the domain counted, as Keystone's default has it: five below the domain."""
SHOWN = frozenset({"name", "enabled"})
"""What tokens show of a project or depend on."""


class CreateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID
    parent: UUID | None = None
    kind: ProjectKind = ProjectKind.PROJECT
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class UpdateProject(msgspec.Struct, frozen=True, kw_only=True):
    """`options` and `extra` add to those there are."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class ProjectFilter(msgspec.Struct, frozen=True, kw_only=True):
    domain: UUID | None = None
    name: str | None = None
    enabled: bool | None = None
    parent: UUID | None = None
    """A project, or the domain of those directly under it."""
    kind: ProjectKind | None = None
    names: tuple[Match, ...] = ()
    tags: tagging.Wanted = tagging.Wanted()
    within: UUID | None = None
    """Only those in the domains at and under this one."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A project's or domain's place: projects above it (nearest first), those below, and in which of them the caller has a
    role."""

    place: Project | Domain
    above: list[Project]
    below: list[Project]
    own: frozenset[UUID]


async def create(cloud: Cloud, caller: Caller, want: CreateProject) -> Project:
    async with cloud.transaction(caller) as tx:
        await authority.require_manages(tx, caller, want.domain, "project.create")
        await _fits(tx, want.parent, want.domain)
        name = want.name.strip()
        await _free(tx, want.domain, name)
        if want.kind is ProjectKind.PROJECT:
            await domain_limits.room_for_project(tx, want.domain)
        return await tx.add(
            Project(
                id=cloud.new_id(),
                domain=want.domain,
                name=name,
                kind=want.kind,
                parent=want.parent,
                description=want.description,
                enabled=want.enabled,
                tags=tagging.checked(want.tags),
                options=options.merged({}, want.options),
                extra=want.extra,
                created_at=cloud.now(),
            )
        )


async def _fits(look: Look, parent: UUID | None, domain: UUID) -> None:
    held = await look.maybe(Domain, domain)
    if held is None:
        raise NotFound("Domain", domain.hex)
    above = await ancestors(look, parent) if parent is not None else []
    if parent is not None and not above:
        raise NotFound("Project", parent.hex)
    if above and above[0].domain != domain:
        raise Invalid(
            f"Project {above[0].id.hex} is in another domain; a project's parent is in its own domain."
        )
    branch: list[Project | Domain] = [*above, held]
    for one in branch:
        if not one.enabled:
            raise Invalid(
                f"Cannot create a project in a branch containing a disabled project: {one.id.hex}; enable that first."
            )
    if len(above) + 2 > DEEPEST:
        raise Forbidden(f"Max hierarchy depth reached for {above[0].id.hex} branch.")


async def _free(look: Look, domain: UUID, name: str) -> None:
    if await look.count(Project, domain=domain, name=name):
        raise Exists(f"A project named {name} exists already in this domain; choose another name.")


async def ancestors(look: Look, key: UUID) -> list[Project]:
    """The project and those above it; empty when there is none."""
    found: list[Project] = []
    at: UUID | None = key
    while at is not None and len(found) < authority.DEEPEST:
        record = await look.maybe(Project, at)
        if record is None:
            break
        found.append(record)
        at = record.parent
    return found


async def subtree(look: Look, key: UUID) -> list[Project]:
    """Those below the project, the nearer before the further."""
    found: list[Project] = []
    level = await look.list(Project, parent=key)
    while level:
        found.extend(level)
        level = await look.list(Project, parent=tuple(project.id for project in level))
    return found


async def family(cloud: Cloud, caller: Caller, place: Project | Domain) -> Family:
    """What is around one that the caller may see."""
    async with cloud.view() as look:
        above = await ancestors(look, place.id)
        if isinstance(place, Domain):
            below = await look.list(Project, domain=place.id, order=("created_at",))
        else:
            below = await subtree(look, place.id)
        own = {target for scope, target in await places(look, caller.user) if scope is Scope.PROJECT}
    return Family(place=place, above=above[1:], below=below, own=frozenset(own))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Project:
    """A project is seen by those who read its domain, and by those who are in it."""
    async with cloud.view() as look:
        held = await look.maybe(Project, key)
        if not caller.sees(key):
            await authority.require_reads(look, caller, held.domain if held else None, "project.read")
        if held is None:
            raise NotFound("Project", key.hex)
        return held


async def list_all(cloud: Cloud, caller: Caller, want: ProjectFilter) -> list[Project]:
    return (await list_page(cloud, caller, want, EVERYTHING)).items


async def list_page(cloud: Cloud, caller: Caller, want: ProjectFilter, window: Window) -> Found[Project]:
    """Raises NotFound for a marker that is nothing."""
    async with cloud.view() as look:
        where = want.tags.conditions()
        if authority.reads_everything(caller):
            where += equal(domain=want.domain)
        else:
            where.append(eq("domain", await _readable(look, caller, want.domain)))
        if want.within is not None:
            where.append(eq("domain", tuple(await authority.below(look, want.within))))
        if want.parent is not None:
            where += await _under(look, want.parent)
        where += equal(name=want.name, enabled=want.enabled, kind=want.kind)
        exact = want.tags.passes if want.tags.asked else None
        return await page(look, Project, window, *where, exact=exact, names=want.names)


async def _under(look: Look, parent: UUID) -> tuple[Condition, ...]:
    if await look.maybe(Domain, parent) is not None:
        return eq("domain", parent), eq("parent", None)
    return (eq("parent", parent),)


async def _readable(look: Look, caller: Caller, domain: UUID | None) -> tuple[UUID, ...]:
    """The domains whose projects are listed. Raises Forbidden."""
    await authority.require_reads(look, caller, caller.domain or domain, "project.read")
    if caller.domain is None:
        return (domain,) if domain is not None else ()
    return tuple(key for key in await authority.below(look, caller.domain) if domain in (None, key))


async def of_user(
    cloud: Cloud, caller: Caller, user: UUID, want: ProjectFilter | None = None, window: Window = EVERYTHING
) -> Found[Project]:
    """The projects in which a user has a role: itself, through its groups, or inherited from above."""
    want = want or ProjectFilter()
    async with cloud.view() as look:
        held = await look.maybe(User, user)
        if caller.user != user:
            await authority.require_reads(look, caller, held.domain if held else None, "project.read")
        if held is None:
            raise NotFound("User", user.hex)
        keys = {target for scope, target in await places(look, user) if scope is Scope.PROJECT}
        where = equal(name=want.name, enabled=want.enabled, domain=want.domain)
        return await page(look, Project, window, eq("id", keys), *where, names=want.names)


async def update(
    cloud: Cloud, caller: Caller, key: UUID, want: UpdateProject, *, cascade: bool = False
) -> Project:
    """Being disabled ends the tokens for it at once. With `cascade` the projects below are enabled or disabled too;
    without it none of them may be enabled. Raises Forbidden, Conflict."""
    changes = given(want)
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "project.update")
        options.refuse_immutable_update("project", key, held.options, changes)
        if "name" in changes:
            changes["name"] = changes["name"].strip()
            if changes["name"] != held.name:
                await _free(tx, held.domain, changes["name"])
        if "tags" in changes:
            changes["tags"] = tagging.checked(changes["tags"])
        if "options" in changes:
            changes["options"] = options.merged(held.options, changes["options"])
        if "extra" in changes:
            changes["extra"] = held.extra | changes["extra"]
        if "enabled" in changes:
            await _switch(tx, held, changes["enabled"], cascade)
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        if changes.keys() & SHOWN:
            await changed(tx)
    return updated


async def _switch(tx: Tx, project: Project, on: bool, cascade: bool) -> None:
    """What must hold around a project that is enabled or disabled."""
    if on and not project.enabled:
        domain = await tx.get(Domain, project.domain)
        above = await ancestors(tx, project.id)
        if not domain.enabled or not all(one.enabled for one in above[1:]):
            raise Forbidden(f"Cannot enable project {project.id.hex} since it has disabled parents.")
    below = await subtree(tx, project.id) if cascade or (project.enabled and not on) else []
    if not on and not cascade and any(one.enabled for one in below):
        raise Forbidden(
            f"Cannot disable project {project.id.hex} since its subtree contains enabled projects."
        )
    if cascade:
        for one in below:
            await tx.put(msgspec.structs.replace(one, enabled=on))


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, cascade: bool = False) -> None:
    """Alone, or with all below it (which must be disabled). Raises Forbidden, and InUse that names what is still owned."""
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "project.delete")
        options.refuse_immutable_delete("project", key, held.options)
        below = await subtree(tx, key)
        if below and not cascade:
            raise Forbidden(
                f"Cannot delete the project {key.hex} since it is not a leaf in the hierarchy; delete those below first."
            )
        if any(one.enabled for one in below):
            raise Forbidden(f"Cannot delete project {key.hex} since its subtree contains enabled projects.")
        for project in (*reversed(below), held):
            if await tx.count(User, account=project.id):
                raise InUse(f"Project {project.name} is the account of users; delete those first.")
            await remove(tx, project)
        await changed(tx)


async def remove(tx: Tx, project: Project) -> None:
    """With its assignments and the keys that act in it. Raises InUse."""
    words = await leftovers.left(tx, project.id)
    if words:
        raise InUse(f"Project {project.name} still owns {', '.join(words)}; delete those first.")
    await leftovers.clear(tx, project.id)
    await departures.clear(tx, departures.PROJECT, project.id)
    for user in await tx.list(User, default_project=project.id):
        await tx.put(msgspec.structs.replace(user, default_project=None))
    await tx.remove(project)


async def _managed(tx: Tx, caller: Caller, key: UUID, verb: str) -> Project:
    """Raises Forbidden. As with users, a domain's manager has no power over an account of administrators, whom it would
    lock out by disabling that."""
    held = await tx.maybe(Project, key)
    await authority.require_manages(tx, caller, held.domain if held else None, verb)
    if held is None:
        raise NotFound("Project", key.hex)
    if held.kind is ProjectKind.ACCOUNT and not caller.admin:
        within = await authority.administrators(tx, await tx.list(User, account=key))
        if within or await authority.administers(tx, key):
            raise Forbidden(f"Account {held.name} is of administrators; only administrators may do {verb}.")
    return held
