"""From a token to the one who holds it, as the records stand now.

What a token resolved to is remembered until identity changes: every such change counts up one number in the
store, and each request compares it, so a disabled user or a removed role acts at once, in every process.
"""

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authentication import token_store
from pileus.core.identity.authentication.credential_records import (
    AccessRule,
    AccessToken,
    ApplicationCredential,
)
from pileus.core.identity.authentication.tokens import WEB_SESSION, Token, refused
from pileus.core.identity.authorization import holding
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.changes import change_count
from pileus.core.identity.delegation import delegation
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Domain, Project, Revocation, Role, Scope, Trust, User

REMEMBERED = 20_000
EXPIRED_WINDOW = timedelta(days=2)
"""How long after its end a token may still be asked about by those who ask for expired ones."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A token and everything it stands for. `user` is who acts: of an impersonating trust, the trustor."""

    token: Token
    caller: Caller
    user: User
    user_domain: Domain
    project: Project | None = None
    project_domain: Domain | None = None
    domain: Domain | None = None
    roles: tuple[Role, ...] = ()
    application_credential: ApplicationCredential | None = None
    access_rules: tuple[AccessRule, ...] | None = None
    """Requests to which the token is bound; None: to none."""
    trust: Trust | None = None
    access_token: AccessToken | None = None

    @property
    def delegated(self) -> bool:
        """Whether it acts by something handed on (a credential of a program, a trust, a signature)."""
        return self.trust is not None or delegation.by_delegate(self.token)


class Memory:
    """Sessions by the hash of their token, with the count of changes at which they were true."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, tuple[int, Session]] = OrderedDict()

    async def recall(self, cloud: Cloud, key: bytes) -> Session | None:
        """Only if it is as true as ever; for a token that was never seen the database is not asked."""
        held = self._held.get(key)
        if held is None:
            return None
        async with cloud.view() as look:
            return held[1] if held[0] == await change_count(look) else None

    def keep(self, key: bytes, change: int, session: Session) -> None:
        self._held[key] = (change, session)
        self._held.move_to_end(key)
        if len(self._held) > REMEMBERED:
            self._held.popitem(last=False)


memory = per_cloud(lambda cloud: Memory())


async def present(
    cloud: Cloud, text: str, *, allow_expired: bool = False, bound: bool = False, web: bool = False
) -> Session:
    """Who holds the token; with `allow_expired` also within two days after its end. Raises Unauthenticated when it
    is not good now. Only who says `bound` is given tokens with access rules, and then sees to it that the request
    fits them; only who says `web`, sessions of a web interface, and then sees to their second factor."""
    key = hashlib.sha256(text.encode()).digest()
    now = cloud.now()
    session = await memory(cloud).recall(cloud, key)
    if session is None:
        session = await _looked_up(cloud, key, await token_store.find(cloud, text))
    refuse_expired(session, now - EXPIRED_WINDOW if allow_expired else now)
    if session.access_rules is not None and not bound:
        raise refused("token is bound to requests of another API")
    if WEB_SESSION in session.token.methods and not web:
        raise refused("token is a session of a web interface, which is good there alone")
    return session


async def _looked_up(cloud: Cloud, key: bytes, token: Token) -> Session:
    """What the token stands for now, which is remembered."""
    async with cloud.view() as look:
        change = await change_count(look)
        try:
            session = await resolve(look, token)
        except Forbidden as error:
            raise refused(error.public) from None
    memory(cloud).keep(key, change, session)
    return session


def refuse_expired(session: Session, now: datetime) -> None:
    if session.token.expires_at <= now:
        raise refused("token expired")
    credential, trust = session.application_credential, session.trust
    if credential is not None and credential.expires_at is not None and credential.expires_at <= now:
        raise refused("application credential expired")
    if trust is not None and trust.expires_at is not None and trust.expires_at <= now:
        raise refused("trust expired")


async def resolve(look: Look, token: Token) -> Session:
    """Everything the token stands for. Raises Unauthenticated when part of it is gone, disabled or revoked, and
    Forbidden when what was handed on is."""
    holder, holder_domain = await enabled_user(look, token.user)
    trust = await delegation.live(look, token.trust) if token.trust else None
    user, user_domain = holder, holder_domain
    if trust is not None and trust.impersonation:
        user, user_domain = await enabled_user(look, trust.trustor)
    await refuse_revoked(look, token, {holder.id, trust.trustor} if trust else {holder.id})
    if token.provider:
        vouching = await look.maybe(IdentityProvider, token.provider)
        if vouching is None or not vouching.enabled:
            raise refused("identity provider is gone or disabled")
    project, project_domain, domain = await _place(look, token, user_domain)
    credential = await _credential(look, token)
    access_token = await _access_token(look, token)
    lent = access_token.roles if access_token is not None else token.roles or None
    limits = (credential.roles if credential else None, lent)
    roles = await _roles(look, token, holder, project, trust, limits) if token.scope else ()
    return Session(
        token=token,
        caller=_caller(token, user, project, roles),
        user=user,
        user_domain=user_domain,
        project=project,
        project_domain=project_domain,
        domain=domain,
        roles=roles,
        application_credential=credential,
        access_rules=await _rules(look, credential),
        trust=trust,
        access_token=access_token,
    )


def _caller(token: Token, user: User, project: Project | None, roles: tuple[Role, ...]) -> Caller:
    return Caller(
        user=user.id,
        user_name=user.name,
        user_domain=user.domain,
        project=project.id if project else None,
        project_domain=project.domain if project else None,
        domain=token.target if token.scope is Scope.DOMAIN else None,
        system=token.scope is Scope.SYSTEM,
        locked=project is not None and project.locked,
        roles=frozenset(role.name for role in roles),
    )


async def _place(
    look: Look, token: Token, own: Domain
) -> tuple[Project | None, Domain | None, Domain | None]:
    """The project with its domain, or the domain, for which the token is. `own`: the user's domain, known to be good."""
    if token.scope is Scope.PROJECT:
        project = await look.maybe(Project, token.target)
        if project is None or not project.enabled:
            raise refused("project is gone or disabled")
        return project, own if project.domain == own.id else await enabled_domain(look, project.domain), None
    if token.scope is Scope.DOMAIN:
        return None, None, own if token.target == own.id else await enabled_domain(look, token.target)
    return None, None, None


async def _roles(
    look: Look,
    token: Token,
    holder: User,
    project: Project | None,
    trust: Trust | None,
    limits: tuple[tuple[UUID, ...] | None, tuple[UUID, ...] | None],
) -> tuple[Role, ...]:
    """By name; no more than the limits (as they stand, and with what they imply). Raises Unauthenticated for none,
    Forbidden where a trust hands on what its trustor has lost."""
    assert token.scope is not None
    known = {role.id: role for role in await look.list(Role)}
    if trust is not None:
        held = await delegation.roles(look, trust, known)
    else:
        acting = await holding.actors(look, holder.id, token.groups, known=holder)
        granted = await holding.granted(look, acting, token.scope, token.target, project=project)
        held = closure(known, granted)
    exactly, lent = limits
    if exactly is not None:
        held &= set(exactly)
    if lent is not None:
        held &= closure(known, lent)
    roles = holding.shown(known, held)
    if not roles:
        raise refused("user has no role there")
    return roles


async def enabled_user(look: Look, key: UUID) -> tuple[User, Domain]:
    """With its domain. Raises Unauthenticated; so it does when the account whose user it is has been disabled."""
    user = await look.maybe(User, key)
    if user is None or not user.enabled or user.locked:
        raise refused("user is gone, disabled or locked")
    if user.account is not None:
        account = await look.maybe(Project, user.account)
        if account is None or not account.enabled:
            raise refused("account is gone or disabled")
    return user, await enabled_domain(look, user.domain)


async def enabled_domain(look: Look, key: UUID) -> Domain:
    domain = await look.maybe(Domain, key)
    if domain is None or not domain.enabled:
        raise refused("domain is gone or disabled")
    return domain


async def refuse_revoked(look: Look, token: Token, users: set[UUID]) -> None:
    for revocation in await look.list(Revocation, user=tuple(users)):
        if revokes(revocation, token):
            raise refused("token was revoked")


def revokes(revocation: Revocation, token: Token) -> bool:
    if revocation.audit or revocation.chain:
        by_chain = len(token.audit) > 1 and revocation.chain == token.audit[-1]
        return revocation.audit == token.audit[0] or by_chain
    return revocation.before is not None and token.issued_at <= revocation.before


async def _credential(look: Look, token: Token) -> ApplicationCredential | None:
    if token.application_credential is None:
        return None
    credential = await look.maybe(ApplicationCredential, token.application_credential)
    if credential is None:
        raise refused("application credential is gone")
    return credential


async def _rules(look: Look, credential: ApplicationCredential | None) -> tuple[AccessRule, ...] | None:
    if credential is None or credential.access_rules is None:
        return None
    found = await look.list(AccessRule, id=credential.access_rules) if credential.access_rules else []
    return tuple(found)


async def _access_token(look: Look, token: Token) -> AccessToken | None:
    if token.access_token is None:
        return None
    found = await look.maybe(AccessToken, token.access_token)
    if found is None:
        raise refused("access token is gone")
    return found
