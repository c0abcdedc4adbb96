"""Trusts: a user lets another act with some of its roles in a project, and that one may hand it on."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.authorization import authority, holding
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.changes import changed
from pileus.core.identity.delegation import delegation
from pileus.core.identity.records import Project, Role, Scope, Trust, User

MOST_REDELEGATIONS = 3
NO = "You are not authorized to perform the requested action: "


class CreateTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Roles by id or by name. `by`: the trust with whose token this is asked, which is then handed on.

    `redelegations`: how often it may be handed on (None: as often as possible), where `redelegable`.
    """

    trustor: UUID
    trustee: UUID
    project: UUID | None = None
    roles: tuple[UUID | str, ...] = ()
    impersonation: bool
    expires_at: datetime | None = None
    remaining_uses: int | None = None
    redelegable: bool = False
    redelegations: int | None = None
    by: UUID | None = None
    extra: dict[str, Any] = {}


class TrustFilter(msgspec.Struct, frozen=True, kw_only=True):
    trustor: UUID | None = None
    trustee: UUID | None = None


def usable(trust: Trust, now: datetime) -> bool:
    """Whether tokens can be got by it. (One whose uses are spent still carries those that it gave.)"""
    return not expired(trust, now) and (trust.remaining_uses is None or trust.remaining_uses > 0)


def expired(trust: Trust, now: datetime) -> bool:
    return trust.expires_at is not None and trust.expires_at <= now


async def create(cloud: Cloud, caller: Caller, want: CreateTrust) -> Trust:
    """By the trustor alone. Raises Forbidden, Invalid, and NotFound for a role that the trustor has not there."""
    if want.project is not None and not want.roles:
        raise Forbidden(f"{NO}At least one role should be specified.")
    if caller.user != want.trustor:
        raise Forbidden(f"{NO}The authenticated user should match the trustor.")
    now = cloud.now()
    if want.expires_at is not None and want.expires_at <= now:
        raise Invalid("The 'expires_at' must not be before now.")
    async with cloud.transaction(caller) as tx:
        if await tx.maybe(User, want.trustee) is None:
            raise NotFound("User", want.trustee.hex)
        known = {role.id: role for role in await tx.list(Role)}
        roles = tuple(dict.fromkeys(_role(known, role) for role in want.roles))
        await _require_held(tx, want, roles, known)
        trust = Trust(
            id=cloud.new_id(),
            trustor=want.trustor,
            trustee=want.trustee,
            project=want.project,
            roles=roles,
            impersonation=want.impersonation,
            expires_at=want.expires_at,
            remaining_uses=want.remaining_uses,
            redelegations=_redelegations(want),
            extra=want.extra,
            created_at=now,
        )
        if want.by is not None:
            trust = await _handed_on(tx, trust, want)
        await _refuse_double(tx, trust)
        return await tx.add(trust)


def _redelegations(want: CreateTrust) -> int:
    if not want.redelegable or want.redelegations == 0:
        if want.remaining_uses is not None and want.remaining_uses <= 0:
            raise Invalid("remaining_uses must be a positive integer or null.")
        return 0
    if want.redelegations is not None and want.redelegations > MOST_REDELEGATIONS:
        raise Forbidden(
            f"Requested redelegation depth of {want.redelegations} is greater than allowed {MOST_REDELEGATIONS}"
        )
    if want.remaining_uses is not None:
        raise Invalid("remaining_uses must not be set if redelegation is allowed")
    return want.redelegations or MOST_REDELEGATIONS


def _role(known: dict[UUID, Role], wanted: UUID | str) -> UUID:
    if isinstance(wanted, UUID):
        if wanted not in known:
            raise NotFound("role", wanted.hex)
        return wanted
    found = [role.id for role in known.values() if role.name == wanted and role.domain is None]
    if not found:
        raise NotFound("role", wanted[:64])
    return found[0]


async def _require_held(
    look: Look, want: CreateTrust, roles: Iterable[UUID], known: dict[UUID, Role]
) -> None:
    """Raises NotFound for a role that the trustor has not, implied and inherited ones included."""
    held: set[UUID] = set()
    if want.project is not None:
        if await look.maybe(Project, want.project) is None:
            raise NotFound("project", want.project.hex)
        acting = await holding.actors(look, want.trustor)
        held = closure(known, await holding.granted(look, acting, Scope.PROJECT, want.project))
    for role in roles:
        if role not in held:
            raise NotFound("role", role.hex)


async def _handed_on(tx: Tx, trust: Trust, want: CreateTrust) -> Trust:
    """The trust as it comes of another: it can only narrow what every one before it gives. Raises Forbidden."""
    assert want.by is not None
    source = await delegation.live(tx, want.by)
    left = source.redelegations - 1
    if want.redelegable and want.redelegations and want.redelegations != left:
        raise Forbidden(
            'Modifying "redelegation_count" upon redelegation is forbidden. Omitting this parameter is advised.'
        )
    for before in await delegation.pedigree(tx, source):
        trust = _within(before, trust)
    return msgspec.structs.replace(
        trust, redelegated_from=source.id, redelegations=left if trust.redelegations else 0
    )


def _within(before: Trust, trust: Trust) -> Trust:
    if not 0 < before.redelegations <= MOST_REDELEGATIONS:
        raise Forbidden(
            f"Remaining redelegation depth of {before.redelegations} out of allowed range of "
            f"[0..{MOST_REDELEGATIONS}]"
        )
    if trust.remaining_uses is not None:
        raise Forbidden(
            f'Field "remaining_uses" is set to {trust.remaining_uses} while it must not be set in order to '
            "redelegate a trust"
        )
    if trust.expires_at is None:
        trust = msgspec.structs.replace(trust, expires_at=before.expires_at)
    elif before.expires_at is not None and before.expires_at < trust.expires_at:
        raise Forbidden("Requested expiration time is more than redelegated trust can provide")
    if not set(trust.roles) <= set(before.roles):
        raise Forbidden("Some of requested roles are not in redelegated trust")
    if before.project != trust.project:
        raise Forbidden("A trust can be handed on only for the project that it is for.")
    if trust.impersonation and not before.impersonation:
        raise Forbidden(
            "Impersonation is not allowed because redelegated trust does not specify impersonation. "
            f"Redelegated trust id: {before.id.hex}"
        )
    return trust


async def _refuse_double(tx: Tx, trust: Trust) -> None:
    """Two that end at the same moment and say the same are a mistake of a client that repeats itself."""
    if trust.expires_at is None:
        return
    alike = {
        name: getattr(trust, name)
        for name in ("trustor", "trustee", "project", "impersonation", "expires_at")
    }
    if await tx.count(Trust, **alike):
        raise Exists("Conflict occurred attempting to store trust - Duplicate entry.")


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Trust:
    """For those of the trust, and who reads everything. Raises NotFound also for one that is spent or has ended."""
    async with cloud.view() as look:
        trust = await _known(look, key, cloud.now())
    if caller.user not in (trust.trustor, trust.trustee) and not authority.reads_everything(caller):
        raise Forbidden(f"{NO}trust.read.")
    return trust


async def find(cloud: Cloud, key: UUID) -> Trust:
    """For rules that are held against it. Raises NotFound also for one that is spent or has ended."""
    async with cloud.view() as look:
        return await _known(look, key, cloud.now())


async def list_all(cloud: Cloud, caller: Caller, want: TrustFilter) -> list[Trust]:
    equals = {name: value for name, value in msgspec.structs.asdict(want).items() if value is not None}
    if caller.user not in equals.values() and not authority.reads_everything(caller):
        raise Forbidden(f"{NO}trust.read.")
    async with cloud.view() as look:
        return await look.list(Trust, order=("created_at",), **equals)


async def roles_of(cloud: Cloud, trust: Trust) -> list[Role]:
    """In the order in which they were named; those that are gone are left out."""
    async with cloud.view() as look:
        known = {role.id: role for role in await look.list(Role, id=trust.roles)} if trust.roles else {}
    return [known[role] for role in trust.roles if role in known]


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With all that was handed on of it; tokens that it gave end."""
    async with cloud.transaction(caller) as tx:
        trust = await _known(tx, key, cloud.now())
        if caller.user != trust.trustor:
            caller.require_admin("trust.delete")
        await remove(tx, [trust])
        await changed(tx)


async def remove(tx: Tx, trusts: Sequence[Trust]) -> None:
    """With all that was handed on of them."""
    level = list(trusts)
    while level:
        for trust in level:
            await tx.remove(trust)
        level = await tx.list(Trust, redelegated_from=tuple(trust.id for trust in level))


async def use(cloud: Cloud, key: UUID) -> None:
    """Count a token that it gives. Raises Forbidden when none is left by now."""
    async with cloud.transaction() as tx:
        trust = await tx.maybe(Trust, key)
        if trust is None or not usable(trust, cloud.now()):
            raise Forbidden(f"No remaining uses for trust: {key.hex}.")
        if trust.remaining_uses is not None:
            await tx.put(msgspec.structs.replace(trust, remaining_uses=trust.remaining_uses - 1))


async def _known(look: Look, key: UUID, now: datetime) -> Trust:
    trust = await look.maybe(Trust, key)
    if trust is None or not usable(trust, now):
        raise NotFound("trust", key.hex)
    return trust
