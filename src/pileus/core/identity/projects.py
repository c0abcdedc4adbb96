"""Projects, which own resources, in a tree inside their domain. A CloudStack account is one of
the kind ACCOUNT.

Deleting a project that still owns resources is refused by naming them. Keystone, which cannot know them, deletes
and leaves them behind without an owner.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Forbidden, InUse, Invalid, NotFound
from pileus.core.identity import authority, departures, leftovers
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Assignment, Domain, Project, ProjectKind, Scope, User

DEEPEST = 5
"""Projects above one another, the domain counted, as Keystone's default has it."""
MAX_TAGS = 80


class CreateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID
    parent: UUID | None = None
    kind: ProjectKind = ProjectKind.PROJECT
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()


class UpdateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


class ProjectFilter(msgspec.Struct, frozen=True, kw_only=True):
    domain: UUID | None = None
    name: str | None = None
    enabled: bool | None = None
    parent: UUID | None = None
    kind: ProjectKind | None = None


async def create(cloud: Cloud, caller: Caller, want: CreateProject) -> Project:
    async with cloud.transaction(caller) as tx:
        await authority.require_manages(tx, caller, want.domain, "project.create")
        await tx.get(Domain, want.domain)
        if want.parent is not None:
            await _fits(tx, want.parent, want.domain)
        return await tx.add(
            Project(
                id=cloud.new_id(),
                domain=want.domain,
                name=want.name,
                kind=want.kind,
                parent=want.parent,
                description=want.description,
                enabled=want.enabled,
                tags=tags(want.tags),
                created_at=cloud.now(),
            )
        )


async def _fits(look: Look, parent: UUID, domain: UUID) -> None:
    above = await ancestors(look, parent)
    if not above:
        raise NotFound("Project", parent)
    if above[0].domain != domain:
        raise Invalid(f"Project {parent.hex} is in another domain; a project's parent is in its own domain.")
    if len(above) + 2 > DEEPEST:
        raise Forbidden(f"Projects cannot be nested deeper than {DEEPEST} levels, the domain counted.")


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
    """Those below the project."""
    found: list[Project] = []
    level = await look.list(Project, parent=key)
    while level:
        found.extend(level)
        level = await look.list(Project, parent=tuple(project.id for project in level))
    return found


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
    equals = {name: value for name, value in msgspec.structs.asdict(want).items() if value is not None}
    async with cloud.view() as look:
        if not authority.reads_everything(caller):
            equals["domain"] = await _readable(look, caller, want.domain)
        return await look.list(Project, order=("created_at",), **equals)


async def _readable(look: Look, caller: Caller, domain: UUID | None) -> tuple[UUID, ...]:
    """The domains whose projects are listed. Raises Forbidden."""
    if domain is not None or caller.domain is None:
        await authority.require_reads(look, caller, domain, "project.read")
        return (domain,) if domain is not None else ()
    await authority.require_reads(look, caller, caller.domain, "project.read")
    return tuple(await authority.below(look, caller.domain))


async def of_user(cloud: Cloud, caller: Caller, user: UUID) -> list[Project]:
    """The projects in which a user has a role."""
    async with cloud.view() as look:
        held = await look.maybe(User, user)
        if caller.user != user:
            await authority.require_reads(look, caller, held.domain if held else None, "project.read")
        if held is None:
            raise NotFound("User", user.hex)
        targets = {a.target for a in await look.list(Assignment, actor=user, scope=Scope.PROJECT)}
        return await look.list(Project, id=tuple(targets), order=("created_at",)) if targets else []


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateProject) -> Project:
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "project.update")
        changes = given(want)
        if "tags" in changes:
            changes["tags"] = tags(changes["tags"])
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Raises InUse that names what the project still owns."""
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "project.delete")
        if await tx.count(Project, parent=key):
            raise Conflict(f"Project {held.name} has projects below it; delete those first.")
        if await tx.count(User, account=key):
            raise InUse(f"Project {held.name} is the account of users; delete those first.")
        await remove(tx, held)
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
    held = await tx.maybe(Project, key)
    await authority.require_manages(tx, caller, held.domain if held else None, verb)
    if held is None:
        raise NotFound("Project", key.hex)
    return held


def tags(wanted: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted. Raises Invalid."""
    found = tuple(sorted(set(wanted)))
    if len(found) > MAX_TAGS:
        raise Invalid(f"A project has at most {MAX_TAGS} tags; {len(found)} were given.")
    for tag in found:
        if not 1 <= len(tag) <= 255 or "/" in tag or "," in tag:
            raise Invalid(
                f"The tag {tag[:40]!r} is not valid; a tag has 1 to 255 characters without '/' and ','."
            )
    return found
