"""Domains: the tree of them, with paths and levels."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pileus.core.cloud import Look
from pileus.core.identity import domains
from pileus.core.identity.records import Domain
from pileus.core.identity.tenancy import domain_tree
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import limits, owners
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import UUID_TEXT, Listing, Params, param

DETAIL_WORDS = frozenset({"all", "resource", "min"})


class CreateDomain(Params):
    name: str = param("name", "the name of the domain")
    parent: UUID | None = param("parentdomainid", "the domain above it; ROOT by default", default=None)
    network_domain: str = param("networkdomain", "the DNS suffix of networks in it", default="")
    id: str = param("domainid", "the id, where an external system chose it", default="")


class UpdateDomain(Params):
    id: UUID = param("id", "the domain")
    name: str | None = param("name", "another name", default=None)
    network_domain: str | None = param("networkdomain", "the DNS suffix of networks in it", default=None)


class DeleteDomain(Params):
    id: UUID = param("id", "the domain")
    cleanup: bool = param("cleanup", "true: all in it goes along; false: it must be empty", default=False)


class MoveDomain(Params):
    id: UUID = param("domainid", "the domain to move")
    parent: UUID = param("parentdomainid", "the domain to be above it")


class ListDomains(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    level: int | None = param("level", "list those so far below ROOT", default=None)
    details: tuple[str, ...] = param("details", "what to show: all, resource or min", default=())
    all: bool = param("listall", "list all that the caller may see", default=False)
    icon: bool = param("showicon", "show the icon of each", default=False)
    tag: str = param("tag", "of the limits by tags show those by this one", default="")


class ListChildren(Listing):
    id: UUID | None = param(
        "id", "the domain whose children are listed; the caller's by default", default=None
    )
    name: str = param("name", "list by a part of the name", default="")
    recursive: bool = param("isrecursive", "all below it, not only the next level", default=False)
    all: bool = param("listall", "as if isrecursive had not been said", default=False)
    icon: bool = param("showicon", "show the icon of each", default=False)


class Tree:
    """All domains, of which there are few, as the lists need them."""

    def __init__(self, known: Sequence[Domain]) -> None:
        self.known = {domain.id: domain for domain in known}
        self.children: dict[UUID | None, list[Domain]] = {}
        for domain in known:
            self.children.setdefault(domain.parent, []).append(domain)

    def name(self, domain: Domain) -> str:
        return owners.domain_name(domain.id, domain.name)

    def line(self, domain: Domain) -> list[Domain]:
        """From the root to the domain."""
        found: list[Domain] = []
        at: Domain | None = domain
        while at is not None and at not in found:
            found.append(at)
            at = self.known.get(at.parent) if at.parent else None
        return found[::-1]

    def path(self, domain: Domain) -> str:
        return "/".join(map(self.name, self.line(domain)))

    def level(self, domain: Domain) -> int:
        return len(self.line(domain)) - 1

    def below(self, key: UUID) -> list[Domain]:
        """Without the domain itself."""
        found: list[Domain] = []
        waiting = list(self.children.get(key, []))
        while waiting:
            domain = waiting.pop(0)
            found.append(domain)
            waiting += self.children.get(domain.id, [])
        return found


async def tree(look: Look) -> Tree:
    return Tree(await look.list(Domain, order=("created_at",)))


@view(Domain, "domain", "Domain")
async def domains_shown(call: Call, look: Look, found: Sequence[Domain]) -> list[dict[str, Any]]:
    known = await tree(look)
    numbers = await used(call, look, found)
    return [{**shown(known, domain), **numbers.get(domain.id, {})} for domain in found]


async def used(call: Call, look: Look, found: Sequence[Domain]) -> dict[UUID, dict[str, Any]]:
    """Limits and counts by domain, unless the caller wants the least."""
    return {} if least(call) else await limits.fields_of_domains(call, look, [domain.id for domain in found])


def least(call: Call) -> bool:
    """Whether the caller wants no limits and counts."""
    return "min" in call.sent.get("details", "").split(",")


def shown(known: Tree, domain: Domain) -> dict[str, Any]:
    above = known.known.get(domain.parent) if domain.parent else None
    return {
        "id": domain.id,
        "name": known.name(domain),
        "path": known.path(domain),
        "level": known.level(domain),
        "haschild": bool(known.children.get(domain.id)),
        "parentdomainid": domain.parent,
        "parentdomainname": known.name(above) if above else None,
        "networkdomain": domain.network_domain or None,
        "state": "Active" if domain.enabled else "Inactive",
        "created": domain.created_at,
    }


@command("createDomain", params=CreateDomain)
async def create(call: Call, params: CreateDomain) -> Domain:
    """Creates a domain below another."""
    if params.id and not UUID_TEXT.fullmatch(params.id):
        raise ApiError(PARAMETER, "domainid is the id of the new domain, a UUID; leave it out to get one.")
    want = domain_tree.CreateDomain(
        name=params.name,
        parent=params.parent or domains.ROOT,
        network_domain=params.network_domain,
        id=UUID(params.id) if params.id else None,
    )
    return await domain_tree.create(call.cloud, call.caller, want)


@command("updateDomain", params=UpdateDomain)
async def update(call: Call, params: UpdateDomain) -> Domain:
    """Changes the name or the network domain of a domain."""
    want = domain_tree.UpdateDomain(
        name=params.name or UNSET,
        network_domain=UNSET if params.network_domain is None else params.network_domain,
    )
    return await domain_tree.update(call.cloud, call.caller, params.id, want)


@command("deleteDomain", params=DeleteDomain)
async def delete(call: Call, params: DeleteDomain) -> Accepted:
    """Deletes a domain; with cleanup, with everything in it."""
    return await domain_tree.delete(
        call.cloud, call.caller, params.id, cleanup=params.cleanup, command=call.name
    )


@command("moveDomain", params=MoveDomain)
async def move(call: Call, params: MoveDomain) -> Domain:
    """Moves a domain, with all below it, under another."""
    return await domain_tree.move(call.cloud, call.caller, params.id, params.parent)


@command("listDomains", params=ListDomains)
async def listing(call: Call, params: ListDomains) -> Listed[Domain]:
    """Lists domains: the caller's, or with listall also those below it."""
    if not DETAIL_WORDS.issuperset(params.details):
        raise ApiError(
            PARAMETER, "The details parameter contains a non permitted value; write all, resource or min."
        )
    async with call.cloud.view() as look:
        known = await tree(look)
    own = known.known[_top(call)]
    reach = {domain.id: domain for domain in [own, *known.below(own.id)]}
    found = list(reach.values()) if call.admin or params.all else [own]
    if params.id is not None:
        if params.id not in reach:
            raise invalid_id(call.name, "id", str(params.id))
        found = [reach[params.id]]
    kept = [
        domain
        for domain in found
        if params.name.lower() in ("", known.name(domain).lower())
        and params.level in (None, known.level(domain))
        and params.keyword.lower() in known.name(domain).lower()
    ]
    return await _page(call, known, kept, params)


def _top(call: Call) -> UUID:
    """The domain at and below which the caller sees all."""
    return domains.ROOT if call.admin else call.caller.domain or call.user.domain


async def _page(call: Call, known: Tree, kept: Sequence[Domain], params: Listing) -> Listed[Any]:
    skip, limit = window(params)
    here = sorted(kept, key=lambda domain: (domain.created_at, domain.id))[skip : skip + limit]
    async with call.cloud.view() as look:
        numbers = await used(call, look, here)
    return Listed([{**shown(known, domain), **numbers.get(domain.id, {})} for domain in here], len(kept))


@command("listDomainChildren", params=ListChildren)
async def children(call: Call, params: ListChildren) -> Listed[Domain]:
    """Lists the domains below one."""
    async with call.cloud.view() as look:
        known = await tree(look)
    top = _top(call)
    at = params.id or call.user.domain
    if at != top and at not in {domain.id for domain in known.below(top)}:
        raise invalid_id(call.name, "id", str(at))
    deep = params.recursive and not params.all
    found = known.below(at) if deep else known.children.get(at, [])
    kept = [
        domain
        for domain in found
        if params.name.lower() in domain.name.lower() and params.keyword.lower() in domain.name.lower()
    ]
    return await _page(call, known, kept, params)
