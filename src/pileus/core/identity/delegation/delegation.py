"""What a trust hands on: whether it still holds, and which roles it gives."""

from collections.abc import Mapping
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authentication.tokens import Token, refused
from pileus.core.identity.authorization import holding
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.records import Domain, Role, Scope, Trust, User

PRIMARY = frozenset({"external", "mapped", "openid", "password", "saml2", "staticpin", "token", "totp"})
"""Methods by which one proves oneself; every other one acts by something that was handed on."""
DEEPEST = 16
"""Trusts handed on from one another; a guard against a chain that is none."""


def by_delegate(token: Token) -> bool:
    """Whether the token was got by a secret that its user handed on (to a program, or for signing)."""
    return not PRIMARY.issuperset(token.methods)


async def pedigree(look: Look, trust: Trust) -> list[Trust]:
    """The trust and those from which it was handed on, the first one last. Raises Unauthenticated when one is gone."""
    found = [trust]
    while found[-1].redelegated_from is not None and len(found) < DEEPEST:
        parent = await look.maybe(Trust, found[-1].redelegated_from)
        if parent is None:
            raise refused("a trust from which this was handed on is gone")
        found.append(parent)
    return found


async def live(look: Look, key: UUID) -> Trust:
    """The trust, when all who hand on by it may still do so. Raises Unauthenticated."""
    trust = await look.maybe(Trust, key)
    if trust is None:
        raise refused("trust is gone")
    for link in await pedigree(look, trust):
        user = await look.maybe(User, link.trustor)
        domain = await look.maybe(Domain, user.domain) if user else None
        if user is None or domain is None or not (user.enabled and domain.enabled) or user.locked:
            raise refused("a trustor is gone or disabled")
    return trust


async def roles(look: Look, trust: Trust, known: Mapping[UUID, Role]) -> set[UUID]:
    """What it gives, implied roles included. Raises Forbidden when the first trustor has lost any of it."""
    given = closure(known, trust.roles)
    first = (await pedigree(look, trust))[-1]
    if trust.project is None:
        return set()
    acting = await holding.actors(look, first.trustor)
    held = closure(known, await holding.granted(look, acting, Scope.PROJECT, trust.project))
    if not given or not given <= held:
        raise Forbidden(
            "You are not authorized to perform the requested action: Trustee has no delegated roles."
        )
    return given
