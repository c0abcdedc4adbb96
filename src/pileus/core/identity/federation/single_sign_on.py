"""Which users may come in by a SAML identity provider that an account's administrator has named for them."""

from typing import Any
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid, NotFound
from pileus.core.identity.authorization import authority
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.records import User
from pileus.core.identity.tenancy.tenancy_records import SingleSignOn


async def authorize(cloud: Cloud, caller: Caller, user: UUID, entity: str, *, enable: bool) -> SingleSignOn:
    """Repeating is fine. Raises Invalid when it is to be enabled for no provider."""
    if enable and not entity:
        raise Invalid("A user is let in by one identity provider; name its entity id.")
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(User, user)
        await authority.require_manages_user(tx, caller, held, "user.update")
        if held is None:
            raise NotFound("User", user)
        before = await tx.maybe(SingleSignOn, user)
        now = SingleSignOn(user=user, entity=entity or (before.entity if before else ""), enabled=enable)
        return await (tx.put(now) if before else tx.add(now))


async def list_all(
    cloud: Cloud, caller: Caller, user: UUID | None = None
) -> list[tuple[User, SingleSignOn | None]]:
    """Of the users that the caller manages."""
    async with cloud.view() as look:
        equals: dict[str, Any] = {} if user is None else {"id": user}
        if not caller.admin:
            domains = await authority.below(look, caller.domain) if caller.domain else []
            equals |= {"domain": tuple(domains)}
        users = await look.list(User, order=("created_at",), **equals)
        held = {each.user: each for each in await look.list(SingleSignOn)}
    return [(each, held.get(each.id)) for each in users]


async def admitted(cloud: Cloud, name: str, entity: str) -> list[User]:
    """The enabled users of this name, of whatever domain, whom the provider may let in."""
    async with cloud.view() as look:
        users = await look.list(User, name=name, enabled=True, order=("created_at",))
        held = await look.list(SingleSignOn, user=tuple(user.id for user in users)) if users else []
    open_to = {each.user for each in held if each.enabled and each.entity == entity}
    return [user for user in users if user.id in open_to]


async def entity_of(cloud: Cloud, user: UUID) -> str:
    """By which provider the user may come in; empty: by none."""
    async with cloud.view() as look:
        held = await look.maybe(SingleSignOn, user)
    return held.entity if held is not None and held.enabled else ""


async def providers(cloud: Cloud) -> list[IdentityProvider]:
    """Those whose SAML metadata is known."""
    async with cloud.view() as look:
        found = await look.list(IdentityProvider, enabled=True, order=("created_at",))
    return [each for each in found if each.settings.get("metadata")]
