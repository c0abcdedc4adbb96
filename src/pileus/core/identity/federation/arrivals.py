"""Somebody comes in whom a provider has vouched for: the user is found or made, with its groups, projects and roles."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID, uuid5

import msgspec

from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Invalid
from pileus.core.identity import domain_limits, domains
from pileus.core.identity.authentication.login import Vouched
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.changes import changed
from pileus.core.identity.domains import ROOT
from pileus.core.identity.federation import evaluation, identities, protocols, providers
from pileus.core.identity.federation.attributes import check_issuer
from pileus.core.identity.federation.evaluation import Attributes, Mapped
from pileus.core.identity.federation.federation_records import (
    FederatedIdentity,
    IdentityProvider,
    Mapping,
    Protocol,
)
from pileus.core.identity.federation.identities import Name
from pileus.core.identity.federation.rules import DomainRule, ProjectRule
from pileus.core.identity.records import (
    Actor,
    Assignment,
    Domain,
    Group,
    Membership,
    Project,
    Role,
    Scope,
    Source,
    User,
)

METHODS = frozenset({"openid", "saml2", "mapped"})
SYNCED = "3.0"
LONGEST_NAME = 255


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """An enabled provider and one of its protocols, through which somebody wants to come in."""

    provider: IdentityProvider
    protocol: Protocol


async def door(cloud: Cloud, provider: str, protocol: str) -> Door:
    """Raises NotFound, Forbidden."""
    async with cloud.view() as look:
        held = await providers.enabled(look, provider)
        return Door(provider=held, protocol=await protocols.known(look, provider, protocol))


async def doors(cloud: Cloud, protocol: str) -> list[Door]:
    """Every one of a protocol, of enabled providers."""
    async with cloud.view() as look:
        found = await look.list(Protocol, id=protocol, order=("provider",))
        held = {each.id: each for each in await look.list(IdentityProvider, enabled=True)}
    return [Door(provider=held[each.provider], protocol=each) for each in found if each.provider in held]


async def admit(cloud: Cloud, at: Door, issuer: str, said: Attributes) -> Vouched:
    """The user that the mapping makes of what the provider says, for `login.issue`. Raises Unauthenticated, Forbidden.

    May be repeated: the same subject is the same user. Groups named by the mapping come with the token, and as
    memberships for as long as the provider's authorization lasts; projects and roles are made and kept.
    """
    check_issuer(at.provider, at.protocol, issuer, said)
    async with cloud.view() as look:
        mapping = await look.maybe(Mapping, at.protocol.mapping)
        if mapping is None:
            raise refused(f"mapping {at.protocol.mapping} is gone")
        mapped = evaluated(mapping, said)
        groups = await _groups(look, mapped)
        local = await _local(look, mapped)
    method = at.protocol.id if at.protocol.id in METHODS else "mapped"
    if local is not None:
        return Vouched(user=local, methods=(method,))
    for last in (False, True):
        try:
            user = await _settle(cloud, at, mapped, mapping.schema_version, groups, said)
            break
        except Exists:  # another first login of the same user was quicker
            if last:
                raise
    return Vouched(
        user=user, methods=(method,), provider=at.provider.id, protocol=at.protocol.id, groups=groups
    )


def evaluated(mapping: Mapping, said: Attributes) -> Mapped:
    try:
        return evaluation.evaluate(mapping.rules, mapping.schema_version, said)
    except Invalid as error:
        raise refused(f"mapping {mapping.id}: {error.public}") from error


async def _groups(look: Look, mapped: Mapped) -> tuple[UUID, ...]:
    found: list[UUID] = []
    for text in mapped.group_ids:
        group = await look.maybe(Group, key) if (key := _uuid(text)) else None
        if group is None:
            raise refused(f"the mapping names group {text[:64]}, which does not exist")
        found.append(group.id)
    for named in mapped.groups:
        domain = await _domain(look, named.domain)
        group = await look.one(Group, domain=domain, name=named.name) if domain else None
        found.extend([group.id] if group else [])
    return tuple(dict.fromkeys(found))


async def _local(look: Look, mapped: Mapped) -> User | None:
    """The user that the mapping says is one of ours; None for one who is known by the provider alone."""
    named = mapped.user
    if named.type != "local":
        return None
    key = _uuid(named.id) if named.id else None
    domain = await _domain(look, named.domain) if not named.id else None
    found = await look.maybe(User, key) if key else None
    if found is None and domain is not None:
        found = await look.one(User, domain=domain, name=named.name)
    if found is None:
        raise refused("the mapping names a local user who does not exist")
    return found


async def _settle(
    cloud: Cloud, at: Door, mapped: Mapped, version: str, groups: Sequence[UUID], said: Attributes
) -> User:
    """The user with everything that the mapping gives it, in one transaction. Who changes nothing by coming in again
    makes nobody forget anything."""
    async with cloud.transaction() as tx:
        user, change = await _user(tx, at, mapped, said)
        minutes = at.provider.authorization_minutes
        change |= await _memberships(tx, user, groups, minutes)
        change |= await _projects(tx, at, user, mapped.projects, version)
        if change:
            await changed(tx)
    return user


async def _user(tx: Tx, at: Door, mapped: Mapped, said: Attributes) -> tuple[User, bool]:
    named = mapped.user
    name = (named.name or named.id or next(iter(said.get("REMOTE_USER", ())), ""))[:LONGEST_NAME]
    if not name:
        raise refused("the mapping names neither a user's name nor its id")
    key = Name(provider=at.provider.id, protocol=at.protocol.id, subject=quote(named.id or name))
    identity = await tx.one(FederatedIdentity, **msgspec.structs.asdict(key))
    if identity is not None:
        user = await tx.get(User, identity.user)
        if user.source is not Source.FEDERATED:
            return user, False
        fresh = msgspec.structs.replace(user, email=named.email or user.email)
        if identity.display_name != name:
            fresh = msgspec.structs.replace(fresh, name=await _free_name(tx, user.domain, name, user.id, at))
            await tx.put(msgspec.structs.replace(identity, display_name=name))
        return await tx.put(fresh), fresh != user
    domain = await _domain(tx, named.domain) if named.domain else at.provider.domain
    if domain is None:
        raise refused("the mapping names a domain that does not exist")
    made = uuid5(ROOT, f"federated/{key.provider}/{key.protocol}/{key.subject}")
    user = await tx.add(
        User(
            id=made,
            domain=domain,
            name=await _free_name(tx, domain, name, made, at),
            email=named.email,
            source=Source.FEDERATED,
            external=key.subject,
            created_at=tx.cloud.now(),
        )
    )
    await identities.add(tx, user, key, name)
    return user, True


async def _free_name(tx: Tx, domain: UUID, name: str, user: UUID, at: Door) -> str:
    """Names are unique in a domain, and a provider must not take over those that others have there."""
    beside = f" ({at.provider.id})"
    for tried in (name, f"{name[: LONGEST_NAME - len(beside)]}{beside}"):
        other = await tx.one(User, domain=domain, name=tried)
        if other is None or other.id == user:
            return tried
    return f"{name[:200]} ({user.hex})"


async def _memberships(tx: Tx, user: User, groups: Sequence[UUID], minutes: int | None) -> bool:
    """Those that came with a login end unless renewed; those that were given stay as they are."""
    held = {each.group: each for each in await tx.list(Membership, user=user.id)}
    change = False
    until = tx.cloud.now() + timedelta(minutes=minutes) if minutes else None
    for group, membership in held.items():
        if membership.expires_at is None:
            continue
        if until is not None and group in groups:
            await tx.put(msgspec.structs.replace(membership, expires_at=until))
        else:
            await tx.remove(membership)
            change = True
    for group in groups if until is not None else ():
        if group not in held:
            membership = Membership(
                id=tx.cloud.new_id(), group=group, user=user.id, expires_at=until, created_at=tx.cloud.now()
            )
            await tx.add(membership)
            change = True
    return change


async def _projects(tx: Tx, at: Door, user: User, wanted: Sequence[ProjectRule], version: str) -> bool:
    """Roles in projects, which are made when they are not there; all roles must exist before anything is made."""
    roles = {role.name: role for role in await tx.list(Role, domain=None)}
    roles |= {role.name: role for role in await tx.list(Role, domain=user.domain)}
    for project in wanted:
        for named in project.roles:
            if named.name not in roles:
                raise refused(f"the mapping gives role {named.name}, which does not exist")
    given: set[tuple[UUID, UUID]] = set()
    for project in wanted:
        target = await _project(tx, at, project)
        given |= {(target.id, roles[named.name].id) for named in project.roles}
    if not given and version != SYNCED:
        return False
    equals = {"actor": user.id, "scope": Scope.PROJECT, "inherited": False}
    held = {(each.target, each.role): each for each in await tx.list(Assignment, **equals)}
    for target_id, role in sorted(given - held.keys()):
        await tx.add(
            Assignment(
                id=tx.cloud.new_id(),
                actor=user.id,
                actor_kind=Actor.USER,
                role=role,
                scope=Scope.PROJECT,
                target=target_id,
                created_at=tx.cloud.now(),
            )
        )
    gone = held.keys() - given if version == SYNCED else set()
    for place in sorted(gone):
        await tx.remove(held[place])
    return bool(gone or given - held.keys())


async def _project(tx: Tx, at: Door, wanted: ProjectRule) -> Project:
    domain = await _domain(tx, wanted.domain) if wanted.domain else at.provider.domain
    if domain is None:
        raise refused("the mapping names a domain that does not exist")
    held = await tx.one(Project, domain=domain, name=wanted.name)
    if held is not None:
        return held
    await domain_limits.room_for_project(tx, domain)
    return await tx.add(
        Project(id=tx.cloud.new_id(), domain=domain, name=wanted.name[:64], created_at=tx.cloud.now())
    )


async def _domain(look: Look, named: DomainRule | None) -> UUID | None:
    if named is None:
        return None
    if named.id == "default":
        return ROOT
    if named.id:
        key = _uuid(named.id)
        found = await look.maybe(Domain, key) if key else None
    else:
        found = await domains.named(look, named.name)
    return found.id if found else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
