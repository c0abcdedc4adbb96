"""The body of POST /v3/auth/tokens, and what it means in the core's words."""

from typing import Any, cast
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid
from pileus.core.identity.login import (
    SYSTEM,
    UNSCOPED,
    ByApplicationCredential,
    ByPassword,
    ByToken,
    Named,
    Proof,
    Wish,
)
from pileus.core.identity.records import Scope
from pileus.core.identity.tokens import refused
from pileus.faces.openstack.identity.refs import filter_key


class DomainRef(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None
    name: str | None = None


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """A user or a project."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class PasswordUser(Ref, frozen=True, kw_only=True):
    password: str


class PasswordProof(msgspec.Struct, frozen=True, kw_only=True):
    user: PasswordUser


class TokenProof(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class ApplicationProof(msgspec.Struct, frozen=True, kw_only=True):
    secret: str
    id: str | None = None
    name: str | None = None
    user: Ref | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    methods: tuple[str, ...]
    password: PasswordProof | None = None
    token: TokenProof | None = None
    application_credential: ApplicationProof | None = None


class SystemRef(msgspec.Struct, frozen=True, kw_only=True):
    all: bool


class ScopeRef(msgspec.Struct, frozen=True, kw_only=True):
    project: Ref | None = None
    domain: DomainRef | None = None
    system: SystemRef | None = None
    unscoped: dict[str, Any] | None = None
    trust: Any = msgspec.field(default=None, name="OS-TRUST:trust")


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    identity: Identity
    scope: ScopeRef | str | None = None


def proofs(identity: Identity) -> list[Proof]:
    """In the order of the methods. Raises Unauthenticated for a method that is not supported."""
    if not identity.methods:
        raise Invalid("Expecting to find a method in identity.methods; name one, such as password.")
    found: list[Proof] = []
    for method in dict.fromkeys(identity.methods):
        if method not in ("password", "token", "application_credential"):
            raise refused(f"unsupported method {method[:40]}")
        if getattr(identity, method) is None:
            raise Invalid(f"Expecting to find {method} in identity, because it is among the methods.")
        found.append(_proof(identity, method))
    return found


def _proof(identity: Identity, method: str) -> Proof:
    if method == "password":
        user = cast(PasswordProof, identity.password).user
        return ByPassword(user=_named(user, "user"), password=user.password)
    if method == "token":
        return ByToken(token=cast(TokenProof, identity.token).id)
    given = cast(ApplicationProof, identity.application_credential)
    if given.id is None and (given.name is None or given.user is None):
        raise Invalid("Expecting to find id, or name and user, in application_credential.")
    return ByApplicationCredential(
        id=filter_key(given.id),
        name=given.name or "",
        user=_named(given.user, "user") if given.user else None,
        secret=given.secret,
    )


def wish(scope: ScopeRef | str | None) -> Wish | None:
    if scope is None:
        return None
    if isinstance(scope, str):
        if scope != "unscoped":
            raise Invalid(f"The scope {scope[:40]!r} is unknown; use project, domain, system or unscoped.")
        return UNSCOPED
    named = [name for name in scope.__struct_fields__ if getattr(scope, name) is not None]
    if len(named) != 1:
        raise Invalid("A scope is exactly one of project, domain, system and unscoped.")
    if scope.project is not None:
        return Wish(scope=Scope.PROJECT, target=_named(scope.project, "project"))
    if scope.domain is not None:
        return Wish(scope=Scope.DOMAIN, target=_domain(scope.domain))
    if scope.trust is not None:
        raise refused("trusts are not supported")
    if scope.system is not None and not scope.system.all:
        raise Invalid("The scope system must be {'all': true}.")
    return SYSTEM if scope.system is not None else UNSCOPED


def _named(ref: Ref, what: str) -> Named:
    if ref.id is not None:
        return Named(id=_key(ref.id))
    if ref.name is None:
        raise Invalid(f"Expecting to find id or name in {what}.")
    if ref.domain is None:
        raise Invalid(f"Expecting to find domain in {what}, because it is named by name.")
    return Named(name=ref.name, domain=_domain(ref.domain))


def _domain(ref: DomainRef) -> Named:
    if ref.id is None and ref.name is None:
        raise Invalid("Expecting to find id or name in domain.")
    return Named(id=_key(ref.id)) if ref.id is not None else Named(name=ref.name or "")


def _key(text: str) -> UUID:
    return cast(UUID, filter_key(text))
