"""The caller behind a CloudStack key or session: its account, and what else it may act on."""

from uuid import UUID

import msgspec

from pileus.core.caller import MEMBER, READER, Caller
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import login
from pileus.core.identity.authorization.holding import effective, places
from pileus.core.identity.records import Project, Scope, User
from pileus.store import any_of, eq


async def caller_of(cloud: Cloud, user: User, project: UUID | None = None) -> Caller:
    """As login's, and it also acts on what is in the projects in which the user may do at least as much.
    Raises Unauthenticated, Forbidden."""
    caller = await login.caller_of(cloud, user, project)
    if caller.admin:
        return caller
    reach = set(caller.visible or ())
    needed = MEMBER if MEMBER in caller.roles else READER
    async with cloud.view() as look:
        for scope, target in await places(look, user.id):
            if scope is not Scope.PROJECT or target in reach or target == caller.project:
                continue
            roles = await effective(look, user.id, Scope.PROJECT, target)
            if any(role.name == needed for role in roles):
                reach.add(target)
        if not reach:
            return caller
        held = await look.list(Project, any_of(eq("enabled", False), eq("locked", True)), id=tuple(reach))
    asleep = frozenset(project.id for project in held)
    return msgspec.structs.replace(caller, visible=frozenset(reach), asleep=asleep)
