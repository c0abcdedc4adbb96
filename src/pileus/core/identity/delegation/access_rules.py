"""Access rules: the requests to which application credentials can be bound."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity.authentication.credential_records import AccessRule, ApplicationCredential
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import User

PART = re.compile(r"\{[^}]*\}|\*\*|\*|[^{}*]+|[{}]")


class WantedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One that exists (`id`), or what it is to allow: `service` by its type in the catalogue."""

    id: UUID | None = None
    service: str = ""
    path: str = ""
    method: str = ""


async def ensure(tx: Tx, user: UUID, wanted: Sequence[WantedRule]) -> tuple[UUID, ...]:
    """The user's rules that say this, made where there are none. Raises NotFound."""
    found = []
    for want in wanted:
        if want.id is not None:
            found.append((await _of_user(tx, user, want.id)).id)
            continue
        same = {"service": want.service, "path": want.path, "method": want.method}
        rule = await tx.one(AccessRule, user=user, **same)
        if rule is None:
            rule = AccessRule(id=tx.cloud.new_id(), user=user, created_at=tx.cloud.now(), **same)
            await tx.add(rule)
        found.append(rule.id)
    return tuple(dict.fromkeys(found))


async def show(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> AccessRule:
    async with cloud.view() as look:
        await _require_reads(look, caller, user)
        return await _of_user(look, user, key)


async def list_all(cloud: Cloud, caller: Caller, user: UUID, **equals: Any) -> list[AccessRule]:
    """`equals`: service, path, method."""
    async with cloud.view() as look:
        await _require_reads(look, caller, user)
        return await look.list(AccessRule, user=user, order=("created_at",), **equals)


async def delete(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> None:
    """Raises Forbidden while an application credential is bound to it."""
    async with cloud.transaction(caller) as tx:
        if caller.user != user:
            caller.require_admin("access_rule.delete")
        rule = await _of_user(tx, user, key)
        for credential in await tx.list(ApplicationCredential, user=user):
            if key in (credential.access_rules or ()):
                raise Forbidden("May not delete access rule in use")
        await tx.remove(rule)


async def of(cloud: Cloud, credentials: Iterable[ApplicationCredential]) -> dict[UUID, AccessRule]:
    """The rules that they are bound to, by id."""
    wanted = {rule for credential in credentials for rule in credential.access_rules or ()}
    if not wanted:
        return {}
    async with cloud.view() as look:
        return {rule.id: rule for rule in await look.list(AccessRule, id=tuple(wanted))}


def allow(rules: Iterable[AccessRule], services: Iterable[str], method: str, paths: Sequence[str]) -> bool:
    """Whether a request fits one of the rules. `services`: the types by which the service is known; `paths`: the ways
    in which the request's path can be written."""
    known = set(services)
    return any(
        rule.service in known
        and rule.method == method
        and any(pattern(rule.path).fullmatch(path) for path in paths)
        for rule in rules
    )


@lru_cache(maxsize=4096)
def pattern(path: str) -> re.Pattern[str]:
    """`*` and `{name}` stand for one part or a piece of one, `**` for anything."""
    wild = {"*": "[^/]+", "**": ".*"}
    pieces = (
        wild.get(piece) or ("[^/]+" if piece.startswith("{") and len(piece) > 1 else re.escape(piece))
        for piece in PART.findall(path)
    )
    return re.compile("".join(pieces))


async def _require_reads(look: Look, caller: Caller, user: UUID) -> None:
    if caller.user != user:
        owner = await look.maybe(User, user)
        await authority.require_reads(look, caller, owner.domain if owner else None, "access_rule.read")


async def _of_user(look: Look, user: UUID, key: UUID) -> AccessRule:
    held = await look.maybe(AccessRule, key)
    if held is None or held.user != user:
        raise NotFound("Access Rule", key.hex)
    return held
