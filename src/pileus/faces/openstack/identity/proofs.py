"""The body of POST /v3/auth/tokens, and what it means in the core's words.

Methods of authentication are registered by name: another module of the face adds one by `@method(name, shape)`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid, Unauthenticated
from pileus.core.identity.authentication.login import (
    SYSTEM,
    UNSCOPED,
    ByApplicationCredential,
    ByCode,
    ByPassword,
    ByToken,
    Proof,
    Wish,
)
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.named import Named
from pileus.core.identity.records import Scope
from pileus.faces.openstack.identity.refs import filter_key
from pileus.faces.wire import Request

P = TypeVar("P")
Prove = Callable[[Request, Any], Awaitable[Proof]]
CLIENT = (
    " The server could not comply with the request since it is either malformed or otherwise incorrect."
    " The client is assumed to be in error."
)


@dataclass(frozen=True)
class Method:
    shape: Any
    prove: Prove


METHODS: dict[str, Method] = {}
"""By the name that stands in `identity.methods`."""


class UnknownMethod(Unauthenticated):
    """No method of this name is served."""

    def __init__(self) -> None:
        super().__init__("Attempted to authenticate with an unsupported method.")


def method(name: str, shape: type[P]) -> Callable[[Callable[[Request, P], Awaitable[Proof]]], Prove]:
    """Declare a method: `shape` is the struct of what stands under its name in `identity`; the function gives a Proof
    that the core verifies, or Vouched when it verified everything itself, and raises Unauthenticated."""

    def declare(prove: Callable[[Request, P], Awaitable[Proof]]) -> Prove:
        METHODS[name] = Method(shape, prove)
        return prove

    return declare


class DomainRef(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None
    name: str | None = None


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """A user or a project."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class PasswordUser(Ref, frozen=True, kw_only=True):
    password: str = ""


class PasswordProof(msgspec.Struct, frozen=True, kw_only=True):
    user: PasswordUser


class TokenProof(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class ApplicationProof(msgspec.Struct, frozen=True, kw_only=True):
    secret: str = ""
    id: str | None = None
    name: str | None = None
    user: Ref | None = None


class TotpUser(Ref, frozen=True, kw_only=True):
    passcode: str


class TotpProof(msgspec.Struct, frozen=True, kw_only=True):
    user: TotpUser


class SystemRef(msgspec.Struct, frozen=True, kw_only=True):
    all: bool = True


class TrustRef(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None


class ScopeRef(msgspec.Struct, frozen=True, kw_only=True):
    project: Ref | None = None
    domain: DomainRef | None = None
    system: SystemRef | None = None
    unscoped: dict[str, Any] | None = None
    trust: TrustRef | None = msgspec.field(default=None, name="OS-TRUST:trust")


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    identity: dict[str, Any]
    scope: ScopeRef | str | None = None


async def proofs(request: Request, identity: dict[str, Any]) -> list[Proof]:
    """In the order of the methods. Raises Unauthenticated for a method that is not served."""
    names = identity.get("methods")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid("Expecting to find methods in identity, as a list of names." + CLIENT)
    names = list(dict.fromkeys(names))
    if not names:
        raise refused("no method is named")
    for name in names:
        if name not in identity:
            raise Invalid(f"Expecting to find {name[:64]} in identity." + CLIENT)
    if not METHODS.keys() >= set(names):
        raise UnknownMethod
    shapes = [read(METHODS[name].shape, identity[name], f"identity.{name}") for name in names]
    return [await METHODS[name].prove(request, shape) for name, shape in zip(names, shapes, strict=True)]


def read(shape: Any, content: Any, place: str) -> Any:
    try:
        return msgspec.convert(content, shape)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input for field/attribute {place}: {error}.") from None


@method("password", PasswordProof)
async def by_password(request: Request, proof: PasswordProof) -> Proof:
    return ByPassword(user=named(proof.user, "user"), password=proof.user.password, source=request.client)


@method("token", TokenProof)
async def by_token(request: Request, proof: TokenProof) -> Proof:
    return ByToken(token=proof.id)


@method("totp", TotpProof)
async def by_totp(request: Request, proof: TotpProof) -> Proof:
    return ByCode(user=named(proof.user, "user"), code=proof.user.passcode, source=request.client)


@method("application_credential", ApplicationProof)
async def by_application_credential(request: Request, proof: ApplicationProof) -> Proof:
    if proof.id is None and proof.name is None:
        raise Invalid("Expecting to find name or ID in application credential." + CLIENT)
    if proof.id is None and proof.user is None:
        raise Invalid("Expecting to find user in application credential." + CLIENT)
    return ByApplicationCredential(
        id=filter_key(proof.id),
        name=proof.name or "",
        user=named(proof.user, "user") if proof.user and proof.id is None else None,
        secret=proof.secret,
    )


def wish(scope: ScopeRef | str | None) -> Wish | None:
    if scope is None:
        return None
    if scope == "unscoped":
        return UNSCOPED
    given = (
        [] if isinstance(scope, str) else [name for name in scope.__struct_fields__ if getattr(scope, name)]
    )
    if isinstance(scope, str) or (len(given) != 1 and scope.unscoped is None) or len(given) > 1:
        raise Invalid(
            "Expecting to find system, project, domain, OS-TRUST:trust or unscoped in scope." + CLIENT
        )
    if scope.project is not None:
        return Wish(scope=Scope.PROJECT, target=named(scope.project, "project"))
    if scope.domain is not None:
        return Wish(scope=Scope.DOMAIN, target=_domain(scope.domain))
    if scope.trust is not None:
        if not scope.trust.id:
            raise Invalid("Expecting to find trust_id in trust." + CLIENT)
        return Wish(trust=_key(scope.trust.id))
    return SYSTEM if scope.system is not None else UNSCOPED


def named(ref: Ref, what: str) -> Named:
    """As the core names a user or project. Raises Invalid."""
    if ref.id is not None and not ref.name:
        return Named(id=_key(ref.id))
    if not ref.name:
        raise Invalid(f"Invalid input for field {what}: id or name must be present.")
    if ref.domain is None:
        raise Invalid(f"Expecting to find domain in {what}." + CLIENT)
    return Named(name=ref.name, domain=_domain(ref.domain))


def _domain(ref: DomainRef) -> Named:
    if ref.id is None and ref.name is None:
        raise Invalid("Invalid input for field domain: id or name must be present.")
    return Named(id=_key(ref.id)) if ref.id is not None else Named(name=ref.name or "")


def _key(text: str) -> UUID:
    return cast(UUID, filter_key(text))
