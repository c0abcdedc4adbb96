"""Who may see and change the icon of an object: who may see, and change, the object."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core import icons
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import Server, Zone
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.icons import Icon
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Domain, Project, ProjectKind, User
from pileus.core.identity.tenancy import account_users, accounts
from pileus.core.image import images
from pileus.core.network import visible

READ, UPDATE = "read", "update"
Check = Callable[[Look, Caller, UUID, str], Awaitable[Any]]
"""Raises NotFound for what the caller may not see, Forbidden for what it may only see."""


async def _server(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    await caller.find(look.rows, Server, key, f"server.{verb}")


async def _image(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    await images.find(look, caller, key, f"image.{verb}")


async def _network(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    if verb == READ:
        await visible.network(look, caller, key)
    else:
        await visible.owned_network(look, caller, key, "network.update")


async def _account(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    held = await look.maybe(Project, key)
    if held is None or held.kind is not ProjectKind.ACCOUNT:
        raise NotFound("Account", key)
    if key == caller.project:
        caller.require(f"account.{verb}", project=key)
    elif verb == UPDATE or not await authority.reads(look, caller, held.domain):
        await accounts.managed(look, caller, key, f"account.{verb}")


async def _project(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    held = await look.maybe(Project, key)
    if held is None or held.kind is ProjectKind.ACCOUNT or not caller.sees(key):
        raise NotFound("Project", key)
    caller.require(f"project.{verb}", project=key)


async def _user(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    held = await look.maybe(User, key)
    together = held is not None and held.account is not None and held.account == caller.project
    readable = verb == READ and held is not None and await authority.reads(look, caller, held.domain)
    if not together and not readable:
        await account_users.own_or_managed(look, caller, key, f"user.{verb}")


async def _domain(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    own = key in (caller.user_domain, caller.domain)
    if await look.maybe(Domain, key) is None or not (own or await authority.reads(look, caller, key)):
        raise NotFound("Domain", key)
    if verb == UPDATE:
        await authority.require_manages(look, caller, key, "domain.update")


async def _zone(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    await look.get(Zone, key)
    if verb == UPDATE:
        caller.require_admin("zone.update")


async def _os_category(look: Look, caller: Caller, key: UUID, verb: str) -> None:
    """The list is the face's, which knows whether there is one."""
    if verb == UPDATE:
        caller.require_admin("os_category.update")


KINDS: Mapping[str, Check] = {
    "server": _server,
    "image": _image,
    "network": _network,
    "account": _account,
    "project": _project,
    "user": _user,
    "domain": _domain,
    "zone": _zone,
    "os_category": _os_category,
}


async def keep(cloud: Cloud, caller: Caller, kind: str, keys: Sequence[UUID], blob: bytes) -> None:
    """Give some objects of a kind an icon, in place of the one before: all of them or none. Raises Invalid, NotFound,
    Forbidden. May be repeated."""
    icons.checked(blob)
    async with cloud.transaction(caller) as tx:
        for key in dict.fromkeys(keys):
            await KINDS[kind](tx, caller, key, UPDATE)
            await icons.forget(tx, key)
            await tx.add(Icon(id=key, kind=kind, blob=blob, created_at=cloud.now()))


async def drop(cloud: Cloud, caller: Caller, kind: str, keys: Sequence[UUID]) -> None:
    """Take the icons away: all of them or none. Raises Invalid where there are none, NotFound, Forbidden."""
    async with cloud.transaction(caller) as tx:
        held = [icon for icon in (await icons.of(tx, keys)).values() if icon.kind == kind]
        for icon in held:
            await KINDS[kind](tx, caller, icon.id, UPDATE)
            await tx.remove(icon)
        if not held:
            raise Invalid("Failed to delete resource image: none of these has one.")


async def shown(cloud: Cloud, caller: Caller, kind: str, keys: Sequence[UUID]) -> list[Icon]:
    """Of those objects that the caller may see and that have one."""
    async with cloud.view() as look:
        held = await icons.of(look, keys)
        return [
            held[key]
            for key in dict.fromkeys(keys)
            if key in held and held[key].kind == kind and await _sees(look, caller, kind, key)
        ]


async def _sees(look: Look, caller: Caller, kind: str, key: UUID) -> bool:
    try:
        await KINDS[kind](look, caller, key, READ)
    except (NotFound, Forbidden):
        return False
    return True
