"""From a token to the one who holds it, as the records stand now.

What a token resolved to is remembered until identity changes: every such change counts up one number in the
store, and each request compares it, so a disabled user or a removed role acts at once, in every process.
"""

import hashlib
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.identity.changes import change_count
from pileus.core.identity.credential_records import ApplicationCredential
from pileus.core.identity.holding import effective
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import (
    Domain,
    Project,
    Revocation,
    Role,
    Scope,
    User,
)
from pileus.core.identity.tokens import Token, refused
from pileus.core.identity.tokens import of as tokens_of

REMEMBERED = 20_000


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A token and everything it stands for."""

    token: Token
    caller: Caller
    user: User
    user_domain: Domain
    project: Project | None = None
    project_domain: Domain | None = None
    domain: Domain | None = None
    roles: tuple[Role, ...] = ()
    application_credential: ApplicationCredential | None = None


class Memory:
    """Sessions by the hash of their token, with the count of changes at which they were true."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, tuple[int, Session]] = OrderedDict()

    def recall(self, key: bytes, change: int) -> Session | None:
        held = self._held.get(key)
        return held[1] if held is not None and held[0] == change else None

    def keep(self, key: bytes, change: int, session: Session) -> None:
        self._held[key] = (change, session)
        self._held.move_to_end(key)
        if len(self._held) > REMEMBERED:
            self._held.popitem(last=False)


memory = per_cloud(lambda cloud: Memory())


async def present(cloud: Cloud, text: str, *, allow_expired: bool = False) -> Session:
    """Who holds the token. Raises Unauthenticated when it is not good now."""
    key = hashlib.sha256(text.encode()).digest()
    now = cloud.now()
    async with cloud.view() as look:
        change = await change_count(look)
        session = memory(cloud).recall(key, change)
        if session is None:
            session = await resolve(look, tokens_of(cloud).open(text))
            memory(cloud).keep(key, change, session)
    if not allow_expired:
        refuse_expired(session, now)
    return session


def refuse_expired(session: Session, now: datetime) -> None:
    if session.token.expires_at <= now:
        raise refused("token expired")
    credential = session.application_credential
    if credential is not None and credential.expires_at is not None and credential.expires_at <= now:
        raise refused("application credential expired")


async def resolve(look: Look, token: Token) -> Session:
    """Everything the token stands for. Raises Unauthenticated when part of it is gone, disabled or revoked."""
    user = await look.maybe(User, token.user)
    if user is None or not user.enabled:
        raise refused("user is gone or disabled")
    user_domain = await enabled_domain(look, user.domain)
    for revocation in await look.list(Revocation, user=user.id):
        if revokes(revocation, token):
            raise refused("token was revoked")
    project = project_domain = domain = None
    if token.scope is Scope.PROJECT:
        project = await look.maybe(Project, token.target)
        if project is None or not project.enabled:
            raise refused("project is gone or disabled")
        project_domain = await enabled_domain(look, project.domain)
    elif token.scope is Scope.DOMAIN:
        domain = await enabled_domain(look, token.target)
    credential = await _credential(look, token)
    roles = await effective(look, user.id, token.scope, token.target, credential) if token.scope else ()
    if token.scope and not roles:
        raise refused("user has no role there any more")
    caller = Caller(
        user=user.id,
        user_name=user.name,
        user_domain=user.domain,
        project=project.id if project else None,
        project_domain=project.domain if project else None,
        domain=domain.id if domain else None,
        system=token.scope is Scope.SYSTEM,
        roles=frozenset(role.name for role in roles),
    )
    return Session(
        token=token,
        caller=caller,
        user=user,
        user_domain=user_domain,
        project=project,
        project_domain=project_domain,
        domain=domain,
        roles=roles,
        application_credential=credential,
    )


async def enabled_domain(look: Look, key: UUID) -> Domain:
    domain = await look.maybe(Domain, key)
    if domain is None or not domain.enabled:
        raise refused("domain is gone or disabled")
    return domain


def revokes(revocation: Revocation, token: Token) -> bool:
    if revocation.audit:
        return revocation.audit == token.audit[0]
    return revocation.before is not None and token.issued_at <= revocation.before


async def _credential(look: Look, token: Token) -> ApplicationCredential | None:
    if token.application_credential is None:
        return None
    credential = await look.maybe(ApplicationCredential, token.application_credential)
    if credential is None:
        raise refused("application credential is gone")
    return credential
