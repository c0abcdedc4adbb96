"""The users of accounts: made in one, disabled, locked, moved to another of the same domain."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import users
from pileus.core.identity.authentication import revocations
from pileus.core.identity.authentication.credential_records import CLOUDSTACK, Credential
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Project, ProjectKind, User
from pileus.core.identity.tenancy import account_types, accounts
from pileus.core.identity.tenancy.accounts import NewUser
from pileus.core.together import together
from pileus.store import Condition, all_of, any_of, eq


async def create(cloud: Cloud, caller: Caller, account: UUID, want: NewUser) -> User:
    """A further user of the account, which may what the account may. Raises Exists, Forbidden, Conflict."""
    async with cloud.view() as look:
        await accounts.managed(look, caller, account, "user.create")
    hashed = await users.hash_chosen(cloud, want.password)
    async with cloud.transaction(caller) as tx:
        held = await accounts.managed(tx, caller, account, "user.create")
        await settle(tx, held)
        user = await users.add(tx, accounts.new_user(want, held), hashed)
        await changed(tx)
    return user


async def settle(tx: Tx, account: Project) -> None:
    """What only its users had been granted becomes the account's, so that others of it have it too."""
    await account_types.grant(tx, account, (await account_types.of_accounts(tx, [account]))[account.id])


async def update(cloud: Cloud, caller: Caller, key: UUID, want: users.UpdateUser) -> User:
    """Names, address and time zone, by the user itself or by who has power over it. Raises Exists, NotFound, Forbidden.

    Passwords and states have operations of their own.
    """
    changes = given(want)
    assert not changes.keys() & {"password", "enabled"}
    async with cloud.transaction(caller) as tx:
        held = await may_update(tx, caller, key, want)
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


async def may_update(look: Look, caller: Caller, key: UUID, want: users.UpdateUser) -> User:
    """What `update` would refuse is refused, and nothing is done. Gives the user as it is."""
    held = await own_or_managed(look, caller, key, "user.update")
    name = held.name if want.name is msgspec.UNSET else want.name
    if not name:
        raise Invalid("Username cannot be empty.")
    if name != held.name and await look.count(User, domain=held.domain, name=name):
        raise Exists(f"The user name {name} is taken in the domain; choose another.")
    return held


def belonging(accounts: Iterable[UUID]) -> Condition:
    """Users of the accounts: those made in them, and those without an account whose default project one is."""
    keys = tuple(accounts)
    return any_of(eq("account", keys), all_of(eq("account", None), eq("default_project", keys)))


async def take_keys(cloud: Cloud, caller: Caller, key: UUID, wanted: bool | None) -> User:
    """Whether requests signed with the user's keys are taken; None: as its account has it."""
    caller.require_admin("user.update of the access by keys")
    async with cloud.transaction(caller) as tx:
        updated = await tx.put(msgspec.structs.replace(await tx.get(User, key), api_access=wanted))
        await changed(tx)
    return updated


async def own_or_managed(look: Look, caller: Caller, key: UUID, verb: str) -> User:
    return await look.get(User, key) if key == caller.user else await managed(look, caller, key, verb)


async def managed(look: Look, caller: Caller, key: UUID, verb: str) -> User:
    """The user, when the caller has power over it. Raises NotFound (also for whom it may not see), Forbidden."""
    held = await look.maybe(User, key)
    if held is None or not await authority.manages(look, caller, held.domain):
        if held is not None and held.account is not None and held.account == caller.project:
            raise Forbidden(f"You are not allowed to do {verb} to user {held.name}.")
        raise NotFound("User", key)
    await authority.require_manages_user(look, caller, held, verb)
    await accounts.refuse_escalation(look, caller, (await account_types.of_users(look, [held]))[key])
    return held


async def disable(cloud: Cloud, caller: Caller, key: UUID) -> User:
    """It is out at once. May be repeated. Raises Conflict for the caller itself."""
    async with cloud.transaction(caller) as tx:
        held = await _other(tx, caller, key, "user.disable")
        updated = await tx.put(msgspec.structs.replace(held, enabled=False))
        await revocations.end_tokens(tx, key)
        await changed(tx)
    return updated


async def lock(cloud: Cloud, caller: Caller, key: UUID) -> User:
    """As disabled; the account is locked too when it has no other user that can log in. Raises Conflict."""
    async with cloud.transaction(caller) as tx:
        held = await _other(tx, caller, key, "user.lock")
        if not held.enabled:
            raise Conflict(f"Unable to lock user {held.name}, which is disabled.")
        updated = await tx.put(msgspec.structs.replace(held, locked=True))
        if held.account is not None and not await tx.count(
            User, account=held.account, enabled=True, locked=False
        ):
            account = await tx.get(Project, held.account)
            await accounts.refuse_last(tx, account)
            await tx.put(msgspec.structs.replace(account, locked=True))
        await revocations.end_tokens(tx, key)
        await changed(tx)
    return updated


async def enable(cloud: Cloud, caller: Caller, key: UUID) -> User:
    """Of one that was disabled or locked; its account is enabled with it. May be repeated."""
    async with together(cloud, caller) as joined:
        tx = joined.tx
        held = await managed(tx, caller, key, "user.enable")
        if held.account is not None:
            await accounts.enable(joined, caller, held.account)
        await users.update(joined, caller, key, users.UpdateUser(enabled=True))
        return await tx.put(msgspec.structs.replace(await tx.get(User, key), locked=False))


async def move(cloud: Cloud, caller: Caller, key: UUID, account: UUID) -> User:
    """To another account of its domain; its sessions end, and its key pairs act there from now on. May be repeated."""
    async with cloud.transaction(caller) as tx:
        held = await _other(tx, caller, key, "user.move")
        place = await accounts.managed(tx, caller, account, "user.move")
        if place.domain != held.domain:
            raise Invalid("A user cannot be moved to an account of another domain; make a new user there.")
        if held.account == account:
            return held
        await settle(tx, place)
        default = account if held.default_project in (None, held.account) else held.default_project
        updated = await tx.put(msgspec.structs.replace(held, account=account, default_project=default))
        for pair in await tx.list(Credential, user=key, kind=CLOUDSTACK):
            await tx.put(msgspec.structs.replace(pair, project=account))
        await revocations.end_tokens(tx, key)
        await changed(tx)
    return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its keys and assignments; the account keeps what it made. Raises Conflict for the caller itself."""
    async with cloud.transaction(caller) as tx:
        held = await _other(tx, caller, key, "user.delete")
        await users.remove(tx, held)
        await changed(tx)


async def _other(tx: Tx, caller: Caller, key: UUID, verb: str) -> User:
    held = await managed(tx, caller, key, verb)
    if key == caller.user:
        raise Conflict(f"You cannot do {verb} to yourself; ask another administrator.")
    if held.account is not None:
        await _refuse_last(tx, held)
    return held


async def _refuse_last(tx: Tx, user: User) -> None:
    """The last user of the last administrator's account stays."""
    assert user.account is not None
    others = await tx.list(User, account=user.account, enabled=True, locked=False)
    if [other.id for other in others] == [user.id]:
        account = await tx.maybe(Project, user.account)
        if account is not None and account.kind is ProjectKind.ACCOUNT:
            await accounts.refuse_last(tx, account)
