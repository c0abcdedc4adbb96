"""Proving who one is: by password, token, application credential, or a signed request's key."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from pileus.core.caller import MANAGER, Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden, Invalid, NotFound, Unauthenticated
from pileus.core.identity import access, applications, authority, domains, users
from pileus.core.identity import secrets as vault
from pileus.core.identity.access import Session, enabled_domain, refuse_expired, resolve
from pileus.core.identity.changes import changed
from pileus.core.identity.credential_records import CLOUDSTACK, ApplicationCredential, Credential
from pileus.core.identity.holding import effective
from pileus.core.identity.records import Assignment, Domain, Project, Scope, User
from pileus.core.identity.tokens import NIL, Token, new_audit_id, refused
from pileus.core.identity.tokens import of as tokens_of


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Something by id, or by name (and, but for a domain, by the domain it is in)."""

    id: UUID | None = None
    name: str = ""
    domain: "Named | None" = None


class ByPassword(msgspec.Struct, frozen=True, kw_only=True):
    user: Named
    password: str


class ByToken(msgspec.Struct, frozen=True, kw_only=True):
    token: str


class ByApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """By id, or by name and user."""

    id: UUID | None = None
    name: str = ""
    user: Named | None = None
    secret: str


Proof = ByPassword | ByToken | ByApplicationCredential
METHOD = {ByPassword: "password", ByToken: "token", ByApplicationCredential: "application_credential"}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a token shall be good for: one place, or (`scope` None) nothing but further tokens."""

    scope: Scope | None = None
    target: Named | None = None


UNSCOPED = Wish()
SYSTEM = Wish(scope=Scope.SYSTEM)


class Issued(msgspec.Struct, frozen=True):
    text: str
    session: Session


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    user: User
    parent: Session | None = None
    credential: ApplicationCredential | None = None


async def authenticate(cloud: Cloud, proofs: Sequence[Proof], wish: Wish | None = None) -> Issued:
    """A new token. Without a wish: for the user's default project if there is one it may use, else for nothing.

    Raises Unauthenticated, with the same words for every cause.
    """
    if not proofs:
        raise Invalid("No authentication method is named; name one, such as password.")
    proven = await _all_proven(cloud, proofs)
    now = cloud.now()
    async with cloud.view() as look:
        scope, target = await _place(look, proven, wish)
        token = _token(cloud, proofs, proven, scope, target, now)
        session = await resolve(look, token)
        refuse_expired(session, now)
    return Issued(tokens_of(cloud).issue(token), session)


def _token(
    cloud: Cloud, proofs: Sequence[Proof], proven: Proven, scope: Scope | None, target: UUID, now: datetime
) -> Token:
    expires = now + timedelta(seconds=cloud.config.token_seconds)
    methods = [METHOD[type(proof)] for proof in proofs]
    audit: tuple[str, ...] = (new_audit_id(),)
    credential = proven.credential
    if proven.parent is not None:
        before = proven.parent.token
        expires = min(expires, before.expires_at)
        methods.extend(before.methods)
        audit = (*audit, before.audit[-1])
    if credential is not None and credential.expires_at is not None:
        expires = min(expires, credential.expires_at)
    return Token(
        user=proven.user.id,
        methods=tuple(dict.fromkeys(methods)),
        scope=scope,
        target=target,
        audit=audit,
        issued_at=now,
        expires_at=expires,
        application_credential=credential.id if credential else None,
    )


async def _all_proven(cloud: Cloud, proofs: Sequence[Proof]) -> Proven:
    """Every proof must hold, and be of one user."""
    found = [await _proven(cloud, proof) for proof in proofs]
    if len({one.user.id for one in found}) > 1:
        raise refused("proofs are of different users")
    return Proven(
        user=found[0].user,
        parent=next((one.parent for one in found if one.parent), None),
        credential=next((one.credential for one in found if one.credential), None),
    )


async def _proven(cloud: Cloud, proof: Proof) -> Proven:
    if isinstance(proof, ByPassword):
        return Proven(user=await by_password(cloud, proof))
    if isinstance(proof, ByToken):
        try:
            session = await access.present(cloud, proof.token)
        except Unauthenticated as error:
            raise NotFound("Token", "that was to be the proof", private=error.private) from None
        return Proven(user=session.user, parent=session, credential=session.application_credential)
    return await _by_application_credential(cloud, proof)


async def by_password(cloud: Cloud, proof: ByPassword) -> User:
    """The user whose password this is. Takes as long for users that do not exist. Raises Unauthenticated."""
    async with cloud.view() as look:
        user = await find_user(look, proof.user)
        domain = await look.maybe(Domain, user.domain) if user else None
    right = await vault.of(cloud).verify(user.password if user else "", proof.password)
    if user is None or domain is None or not (right and user.enabled and domain.enabled):
        raise refused("wrong password, or user or domain is unknown or disabled")
    if vault.of(cloud).outdated(user.password):
        await _renew_hash(cloud, user, proof.password)
    return user


async def _renew_hash(cloud: Cloud, user: User, password: str) -> None:
    """An imported or weaker hash becomes one of ours, now that the password is at hand."""
    hashed = await vault.of(cloud).hash(password)
    async with cloud.transaction() as tx:
        now = await tx.maybe(User, user.id)
        if now is not None and now.password == user.password:
            await tx.put(msgspec.structs.replace(now, password=hashed))


async def _by_application_credential(cloud: Cloud, proof: ByApplicationCredential) -> Proven:
    async with cloud.view() as look:
        credential = await _find_credential(look, proof)
        user = await look.maybe(User, credential.user) if credential else None
    right = await applications.verify(cloud, credential, proof.secret)
    if user is None or credential is None or not right:
        raise refused("application credential is unknown or its secret is wrong")
    return Proven(user=user, credential=credential)


async def _find_credential(look: Look, proof: ByApplicationCredential) -> ApplicationCredential | None:
    if proof.id is not None:
        return await look.maybe(ApplicationCredential, proof.id)
    user = await find_user(look, proof.user) if proof.user else None
    return await look.one(ApplicationCredential, user=user.id, name=proof.name) if user else None


async def find_domain(look: Look, named: Named | None) -> Domain | None:
    if named is None:
        return None
    return await look.maybe(Domain, named.id) if named.id else await domains.named(look, named.name)


async def find_user(look: Look, named: Named) -> User | None:
    if named.id is not None:
        return await look.maybe(User, named.id)
    domain = await find_domain(look, named.domain)
    return await look.one(User, domain=domain.id, name=named.name) if domain else None


async def find_project(look: Look, named: Named) -> Project | None:
    if named.id is not None:
        return await look.maybe(Project, named.id)
    domain = await find_domain(look, named.domain)
    return await look.one(Project, domain=domain.id, name=named.name) if domain else None


async def _place(look: Look, proven: Proven, wish: Wish | None) -> tuple[Scope | None, UUID]:
    if proven.credential is not None:
        return await _place_of_credential(look, proven.credential, proven.parent, wish)
    if wish is None:
        return await _default_place(look, proven)
    if wish.scope is None:
        return None, NIL
    if wish.scope is Scope.SYSTEM:
        return Scope.SYSTEM, NIL
    target: Project | Domain | None
    if wish.scope is Scope.PROJECT:
        target = await find_project(look, wish.target) if wish.target else None
    else:
        target = await find_domain(look, wish.target)
    if target is None:
        raise refused("scope is unknown")
    return wish.scope, target.id


async def _place_of_credential(
    look: Look, credential: ApplicationCredential, parent: Session | None, wish: Wish | None
) -> tuple[Scope, UUID]:
    """An application credential acts in its own project and nowhere else."""
    if wish is not None:
        named = wish.target if wish.scope is Scope.PROJECT else None
        project = await find_project(look, named) if named and parent else None
        if project is None or project.id != credential.project:
            raise refused("application credentials cannot request a scope")
    return Scope.PROJECT, credential.project


async def _default_place(look: Look, proven: Proven) -> tuple[Scope | None, UUID]:
    if proven.parent is not None or proven.user.default_project is None:
        return None, NIL
    project = await look.maybe(Project, proven.user.default_project)
    if project is None or not project.enabled:
        return None, NIL
    domain = await look.maybe(Domain, project.domain)
    held = await look.count(Assignment, actor=proven.user.id, scope=Scope.PROJECT, target=project.id)
    return (Scope.PROJECT, project.id) if held and domain and domain.enabled else (None, NIL)


async def end(cloud: Cloud, caller: Caller, session: Session) -> None:
    """Revoke one token: one's own, or anybody's for an administrator."""
    if caller.user != session.user.id:
        caller.require_admin("token.revoke")
    async with cloud.transaction(caller) as tx:
        await users.end_token(tx, session.user.id, session.token.audit[0])
        await changed(tx)


async def by_api_key(cloud: Cloud, key: str) -> tuple[User, str]:
    """Whose CloudStack key it is, and the secret with which the request is signed. Raises Unauthenticated."""
    async with cloud.view() as look:
        credential = await look.one(Credential, access=key)
        user = await look.maybe(User, credential.user) if credential else None
        if credential is None or credential.kind != CLOUDSTACK or user is None:
            raise refused("no such key")
        if not user.enabled:
            raise refused("user is disabled")
        await enabled_domain(look, user.domain)
    return user, vault.of(cloud).decrypt(credential.secret)


async def caller_of(cloud: Cloud, user: User, project: UUID | None = None) -> Caller:
    """The user as it acts in its account, or in a project that it is a member of.

    The manager of a domain also acts in the projects there and below; an administrator of the system acts
    anywhere. Raises Unauthenticated, Forbidden.
    """
    async with cloud.view() as look:
        await enabled_domain(look, user.domain)
        place = project or user.account or user.default_project
        held = await look.maybe(Project, place) if place else None
        if held is None or not held.enabled:
            raise refused("account or project is gone or disabled")
        await enabled_domain(look, held.domain)
        roles = await effective(look, user.id, Scope.PROJECT, held.id)
        roles = (*roles, *await effective(look, user.id, Scope.SYSTEM, NIL))
        managed, visible = await _managed(look, user)
        if managed is not None and held.id in visible:
            roles = (*roles, *await effective(look, user.id, Scope.DOMAIN, managed))
    if not roles:
        raise Forbidden(f"User {user.name} has no role in project {held.name}.")
    return Caller(
        user=user.id,
        user_name=user.name,
        user_domain=user.domain,
        project=held.id,
        project_domain=held.domain,
        domain=managed,
        roles=frozenset(role.name for role in roles),
        visible=visible if managed is not None else None,
    )


async def _managed(look: Look, user: User) -> tuple[UUID | None, frozenset[UUID]]:
    """The domain that the user manages (its own before others), and the projects there and below."""
    held = await look.list(Assignment, actor=user.id, scope=Scope.DOMAIN)
    for target in sorted({a.target for a in held}, key=lambda key: (key != user.domain, key)):
        roles = {role.name for role in await effective(look, user.id, Scope.DOMAIN, target)}
        if MANAGER in roles:
            inside = tuple(await authority.below(look, target))
            return target, frozenset(project.id for project in await look.list(Project, domain=inside))
    return None, frozenset()
