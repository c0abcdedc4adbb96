"""Users, projects and domains as logins name them: by id, or by name and the domain they are in."""

from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Look
from pileus.core.identity import domains
from pileus.core.identity.records import Domain, Project, User


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Something by id, or by name (and, but for a domain, by the domain it is in)."""

    id: UUID | None = None
    name: str = ""
    domain: "Named | None" = None


async def find_domain(look: Look, named: Named | None) -> Domain | None:
    if named is None:
        return None
    return await look.maybe(Domain, named.id) if named.id else await domains.named(look, named.name)


async def find_user(look: Look, named: Named) -> User | None:
    if named.id is not None:
        return await look.maybe(User, named.id)
    domain = await find_domain(look, named.domain)
    return await look.one(User, domain=domain.id, name=named.name) if domain else None


async def user_of(cloud: Cloud, named: Named) -> User | None:
    async with cloud.view() as look:
        return await find_user(look, named)


async def find_project(look: Look, named: Named) -> Project | None:
    if named.id is not None:
        return await look.maybe(Project, named.id)
    domain = await find_domain(look, named.domain)
    return await look.one(Project, domain=domain.id, name=named.name) if domain else None
