"""Proving who one is, and the token that comes of it: by password, code, token, application credential, or by
whatever another module verified itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from pileus.core.caller import MANAGER, Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden, Invalid, NotFound, Unauthenticated
from pileus.core.identity.authentication import passwords, receipts, revocations, second_factor, token_store
from pileus.core.identity.authentication.credential_records import ApplicationCredential
from pileus.core.identity.authentication.tokens import METHODS, NIL, Token, new_audit_id, refused
from pileus.core.identity.authorization import access, authority
from pileus.core.identity.authorization.access import (
    Session,
    enabled_domain,
    enabled_user,
    refuse_expired,
    resolve,
)
from pileus.core.identity.authorization.holding import actors, effective
from pileus.core.identity.authorization.homes import home
from pileus.core.identity.changes import changed
from pileus.core.identity.delegation import applications, trusts
from pileus.core.identity.named import Named as Named
from pileus.core.identity.named import find_domain, find_project, find_user, user_of
from pileus.core.identity.records import Assignment, Domain, Project, Scope, Trust, User


class ByPassword(msgspec.Struct, frozen=True, kw_only=True):
    """`source`: the address that it came from."""

    user: Named
    password: str
    source: str = ""


class ByCode(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code, or the pin of a second factor."""

    user: Named
    code: str
    source: str = ""


class ByToken(msgspec.Struct, frozen=True, kw_only=True):
    token: str


class ByApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """By id, or by name and user."""

    id: UUID | None = None
    name: str = ""
    user: Named | None = None
    secret: str


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has been verified, and what a token of this may do.

    `methods` are those by which it was done (names of `tokens.METHODS`). Of a federated login: its provider,
    protocol and groups. The token acts for no more than the access token, the application credential, the trust and
    the roles that are named (roles None: all), and only in `project` when that is named, whatever was wished for.
    """

    user: User
    methods: tuple[str, ...]
    provider: str = ""
    protocol: str = ""
    groups: tuple[UUID, ...] = ()
    access_token: UUID | None = None
    application_credential: UUID | None = None
    trust: UUID | None = None
    roles: tuple[UUID, ...] | None = None
    project: UUID | None = None
    expires_at: datetime | None = None
    thumbprint: str = ""
    chain: str = ""
    """Audit id of the first token of the chain, for a token got by another."""


Proof = ByPassword | ByCode | ByToken | ByApplicationCredential | Vouched


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a token shall be good for: one place, what a trust hands on, or (all empty) nothing but further tokens."""

    scope: Scope | None = None
    target: Named | None = None
    trust: UUID | None = None


UNSCOPED = Wish()
SYSTEM = Wish(scope=Scope.SYSTEM)


class Issued(msgspec.Struct, frozen=True):
    text: str
    session: Session


async def authenticate(
    cloud: Cloud,
    proofs: Sequence[Proof],
    wish: Wish | None = None,
    *,
    receipt: str = "",
    methods: Iterable[str] = METHODS,
) -> Issued:
    """A new token. Without a wish: for the user's default project if there is one it may use, else for nothing.

    `receipt`: of methods that were shown before; `methods`: those that can be asked of users whose rules combine
    several. Raises Unauthenticated, with the same words for every cause, receipts.MoreProof, and
    second_factor.SetupMissing.
    """
    if not proofs:
        raise Invalid("No authentication method is named; name one, such as password.")
    # Codes come last: none is used up beside a wrong password.
    ordered = sorted(proofs, key=lambda proof: isinstance(proof, ByCode))
    vouched = together([await _verified(cloud, proof, wish) for proof in ordered])
    shown = set(vouched.methods)
    if receipt:
        shown |= receipts.shown_before(cloud, receipt, vouched.user)
    due = await second_factor.required(cloud, vouched.user, set(vouched.methods), shown, _source(proofs))
    if wanted := receipts.wanted(vouched.user, methods, due):
        async with cloud.view() as look:
            user, domain = await enabled_user(look, vouched.user.id)
        receipts.require(cloud, user, domain, shown, wanted)
    return await issue(
        cloud, msgspec.structs.replace(vouched, methods=tuple(sorted(shown, key=METHODS.index))), wish
    )


def _source(proofs: Sequence[Proof]) -> str:
    return next((proof.source for proof in proofs if isinstance(proof, ByPassword | ByCode)), "")


async def issue(cloud: Cloud, vouched: Vouched, wish: Wish | None = None) -> Issued:
    """A token for somebody whom the caller of this has verified. Raises Unauthenticated when it could not be used."""
    now = cloud.now()
    async with cloud.view() as look:
        trust = await _trust(look, vouched, wish, now)
        scope, target = await _place(look, vouched, wish, trust)
        token = await _token(cloud, look, vouched, (scope, target), trust, now)
        session = await resolve(look, token)
        refuse_expired(session, now)
    if trust is not None and trust.remaining_uses is not None:
        await trusts.use(cloud, trust.id)
    return Issued(await token_store.issue(cloud, token), session)


async def _token(
    cloud: Cloud,
    look: Look,
    vouched: Vouched,
    place: tuple[Scope | None, UUID],
    trust: Trust | None,
    now: datetime,
) -> Token:
    """It ends with the first of all by which it was got."""
    ends = [now + timedelta(seconds=cloud.config.token_seconds)]
    if vouched.application_credential is not None:
        credential = await look.maybe(ApplicationCredential, vouched.application_credential)
        ends.extend([credential.expires_at] if credential and credential.expires_at else [])
    if trust is not None and trust.expires_at is not None:
        ends.append(trust.expires_at)
    if vouched.expires_at is not None:
        ends.append(vouched.expires_at)
    return Token(
        user=vouched.user.id,
        methods=vouched.methods,
        scope=place[0],
        target=place[1],
        audit=(new_audit_id(), vouched.chain) if vouched.chain else (new_audit_id(),),
        issued_at=now,
        expires_at=min(ends),
        application_credential=vouched.application_credential,
        trust=trust.id if trust else None,
        provider=vouched.provider,
        protocol=vouched.protocol,
        groups=vouched.groups,
        access_token=vouched.access_token,
        thumbprint=vouched.thumbprint,
        roles=vouched.roles or (),
    )


def together(found: Sequence[Vouched]) -> Vouched:
    """Everything that was shown at once. Raises Unauthenticated when it does not fit: several users, or places."""
    whole = found[0]
    for other in found[1:]:
        if other.user.id != whole.user.id:
            raise refused("proofs are of different users")
        changes: dict[str, object] = {"methods": tuple(dict.fromkeys((*whole.methods, *other.methods)))}
        for name in ("provider", "protocol", "groups", "access_token", "application_credential", "trust",
                     "roles", "project", "thumbprint", "chain"):  # fmt: skip
            one, two = getattr(whole, name), getattr(other, name)
            if one and two and one != two:
                raise refused(f"proofs disagree about {name}")
            changes[name] = one or two
        ends = [end for end in (whole.expires_at, other.expires_at) if end is not None]
        whole = msgspec.structs.replace(whole, expires_at=min(ends, default=None), **changes)
    return whole


async def _verified(cloud: Cloud, proof: Proof, wish: Wish | None) -> Vouched:
    if isinstance(proof, Vouched):
        return proof
    if isinstance(proof, ByPassword):
        return Vouched(user=await by_password(cloud, proof), methods=("password",))
    if isinstance(proof, ByCode):
        named = await user_of(cloud, proof.user)
        user = await second_factor.check(cloud, named, proof.code, proof.source)
        return Vouched(user=user, methods=("totp",))
    if isinstance(proof, ByToken):
        return await _by_token(cloud, proof, wish)
    if wish is not None:
        raise refused("application credentials cannot request a scope")
    return await _by_application_credential(cloud, proof)


async def by_password(cloud: Cloud, proof: ByPassword) -> User:
    """The user whose password this is. Takes as long for users that do not exist. Raises Unauthenticated."""
    return await passwords.check(cloud, proof.user, proof.password, proof.source)


NO_MORE = "You are not authorized to perform the requested action: "


class BadToken(NotFound):
    """A token that was to prove something is not good."""

    def __init__(self, private: str) -> None:
        super().__init__("Token", "in the request", private=private)
        self.public = "Failed to validate token"


async def _by_token(cloud: Cloud, proof: ByToken, wish: Wish | None) -> Vouched:
    """What was handed on does not beget tokens that reach further. The end of the first token stays the end."""
    try:
        session = await access.present(cloud, proof.token)
    except Unauthenticated as error:
        raise BadToken(error.private) from None
    token = session.token
    if token.access_token is not None:
        raise Forbidden(
            NO_MORE + "Using OAuth-scoped token to create another token. "
            "Create a new OAuth-scoped token instead."
        )
    if session.trust is not None:
        raise Forbidden(
            NO_MORE + "Using trust-scoped token to create another token. "
            "Create a new trust-scoped token instead."
        )
    if token.scope is Scope.SYSTEM and wish is not None and wish.scope in (Scope.PROJECT, Scope.DOMAIN):
        raise Forbidden(
            NO_MORE + "Using a system-scoped token to create a project-scoped or domain-scoped token "
            "is not allowed."
        )
    if session.delegated:
        raise Forbidden(NO_MORE + "Using a delegated token to create another token is not allowed.")
    return Vouched(
        user=session.user,
        methods=("token", *token.methods),
        provider=token.provider,
        protocol=token.protocol,
        groups=token.groups,
        roles=token.roles or None,
        thumbprint=token.thumbprint,
        expires_at=token.expires_at,
        chain=token.audit[-1],
    )


async def _by_application_credential(cloud: Cloud, proof: ByApplicationCredential) -> Vouched:
    async with cloud.view() as look:
        credential = await _find_credential(look, proof)
        user = await look.maybe(User, credential.user) if credential else None
    right = await applications.verify(cloud, credential, proof.secret)
    if user is None or credential is None or not right:
        raise refused("application credential is unknown or its secret is wrong")
    return Vouched(
        user=user,
        methods=("application_credential",),
        application_credential=credential.id,
        project=credential.project,
    )


async def _find_credential(look: Look, proof: ByApplicationCredential) -> ApplicationCredential | None:
    if proof.id is not None:
        return await look.maybe(ApplicationCredential, proof.id)
    user = await find_user(look, proof.user) if proof.user else None
    return await look.one(ApplicationCredential, user=user.id, name=proof.name) if user else None


async def _trust(look: Look, vouched: Vouched, wish: Wish | None, now: datetime) -> Trust | None:
    """The trust by which the token shall act. Raises Unauthenticated unless the user is its trustee."""
    key = vouched.trust or (wish.trust if wish else None)
    if key is None:
        return None
    trust = await look.maybe(Trust, key)
    if trust is None or not trusts.usable(trust, now):
        raise refused("trust is unknown, or used up, or has expired")
    if trust.trustee != vouched.user.id:
        raise Forbidden(NO_MORE + "User is not a trustee.")
    return trust


async def _place(
    look: Look, vouched: Vouched, wish: Wish | None, trust: Trust | None
) -> tuple[Scope | None, UUID]:
    if trust is not None:
        return (Scope.PROJECT, trust.project) if trust.project else (None, NIL)
    if vouched.project is not None:
        return Scope.PROJECT, vouched.project
    if wish is None:
        return (None, NIL) if vouched.provider else await _default_place(look, vouched.user)
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


async def _default_place(look: Look, user: User) -> tuple[Scope | None, UUID]:
    project = await look.maybe(Project, user.default_project) if user.default_project else None
    if project is None or not project.enabled:
        return None, NIL
    domain = await look.maybe(Domain, project.domain)
    if domain is None or not domain.enabled:
        return None, NIL
    held = await effective(look, user.id, Scope.PROJECT, project.id)
    return (Scope.PROJECT, project.id) if held else (None, NIL)


async def end(cloud: Cloud, caller: Caller, session: Session, *, descendants: bool = True) -> None:
    """Revoke one token, and those that were got by it: one's own, or anybody's for an administrator."""
    if caller.user != session.user.id:
        caller.require_admin("token.revoke")
    token = session.token
    async with cloud.transaction(caller) as tx:
        await revocations.end_token(tx, token.user, token.audit[0], descendants=descendants)
        await changed(tx)
    await token_store.forget(cloud, token.audit[0])


async def caller_of(cloud: Cloud, user: User, project: UUID | None = None) -> Caller:
    """The user as it acts in its account, or in a project that it is a member of.

    The manager of a domain also acts in the projects there and below; an administrator of the system acts
    anywhere. Raises Unauthenticated, Forbidden.
    """
    async with cloud.view() as look:
        await enabled_domain(look, user.domain)
        place = project or await home(look, user)
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
        locked=held.locked,
        domain=managed,
        roles=frozenset(role.name for role in roles),
        visible=visible if managed is not None else None,
    )


async def _managed(look: Look, user: User) -> tuple[UUID | None, frozenset[UUID]]:
    """The domain that the user manages (its own before others), and the projects there and below."""
    held = await look.list(Assignment, actor=await actors(look, user.id), scope=Scope.DOMAIN)
    for target in sorted({a.target for a in held}, key=lambda key: (key != user.domain, key)):
        roles = {role.name for role in await effective(look, user.id, Scope.DOMAIN, target)}
        if MANAGER in roles:
            inside = tuple(await authority.below(look, target))
            return target, frozenset(project.id for project in await look.list(Project, domain=inside))
    return None, frozenset()
