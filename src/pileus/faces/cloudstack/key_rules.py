"""What a pair of API keys may call: what its rules allow of what its user may; and who may see or make such a pair."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authentication.credential_records import Credential, KeyRule
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy import account_roles, account_types, account_users
from pileus.core.identity.tenancy.rule_lists import decide, fits
from pileus.faces.cloudstack import default_rules, permissions
from pileus.faces.cloudstack.commands import COMMANDS, Call, Command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.params import Rows
from pileus.faces.cloudstack.permissions import Permissions
from pileus.faces.cloudstack.roles import permission_of

Allowed = Callable[[Command], bool]
MAX_DESCRIPTION = 255
MAX_RULES = 1000
"""Each is compared with every command."""


def read(rows: Rows) -> tuple[KeyRule, ...]:
    """As they are sent: rules[0].rule=list*&rules[0].permission=allow. Raises ApiError 431."""
    if len(rows) > MAX_RULES:
        raise ApiError(PARAMETER, f"A key pair has at most {MAX_RULES} rules; use wildcards.")
    found = []
    for row in rows:
        sent = {name.lower(): value for name, value in row.items()}
        rule, permission, text = (sent.get(name, "") for name in ("rule", "permission", "description"))
        if not rule:
            raise ApiError(PARAMETER, "Empty rule has been provided in the [rules] parameter.")
        if not permission:
            raise ApiError(
                PARAMETER,
                f"Rule [{rule[:100]}] has no permission associated with it, please specify if it is either "
                "[allow] or [deny].",
            )
        if len(text) > MAX_DESCRIPTION:
            raise ApiError(PARAMETER, f"Rule description cannot be longer than {MAX_DESCRIPTION} characters.")
        found.append(KeyRule(rule=rule, allow=permission_of(permission), description=text))
    return tuple(found)


async def of_roles(call: Call, look: Look, users: Sequence[User]) -> dict[UUID, Permissions]:
    """By user: what the role of its account allows."""
    types = await account_types.of_users(look, users)
    held = {user.id: user.account or user.default_project for user in users}
    accounts = {each.id: each for each in await look.list(Project, id=tuple({*held.values()} - {None}))}
    found = {}
    for user in users:
        type_, account = types[user.id], held[user.id]
        if account in accounts:
            role = await account_roles.of(look, accounts[account], type_)
        else:
            role = await account_roles.find(look, account_roles.DEFAULT[type_])
        found[user.id] = await permissions.of_role(call.cloud, look, role, type_)
    return found


def allowed(rules: Sequence[KeyRule], theirs: Permissions) -> Allowed:
    """What a pair of these rules lets its user call; without rules all that the user may."""
    if not rules:
        return theirs.allows
    return lambda command: theirs.allows(command) and decide(rules, command.name) is True


def narrow(call: Call) -> bool:
    """Whether the request is signed with a pair that has rules."""
    return call.pair is not None and bool(call.pair.rules)


def within(call: Call, theirs: Allowed) -> bool:
    """Whether the pair that the request is signed with allows all that another does."""
    return not narrow(call) or all(call.allowed(each) or not theirs(each) for each in COMMANDS.values())


async def refuse_more(call: Call, key: UUID, rules: Sequence[KeyRule]) -> None:
    """A new pair allows nothing that its user may not, nor what the pair by which it is made does not. Raises ApiError 431."""
    async with call.cloud.view() as look:
        user = await account_users.own_or_managed(look, call.caller, key, "credential.create")
        theirs = (await of_roles(call, look, [user]))[key]
    beyond = any(decide(rules, each.name) is True and not theirs.allows(each) for each in COMMANDS.values())
    if beyond or not within(call, allowed(rules, theirs)):
        raise ApiError(
            PARAMETER,
            "The key pair being created has a bigger set of permissions than the account "
            f"[{user.account or user.default_project}] that owns it. This is not allowed.",
        )


async def visible(call: Call, look: Look, pairs: Sequence[Credential]) -> list[Credential]:
    """Those that allow no more than the pair that the request is signed with: whoever sees one can use it."""
    if not narrow(call):
        return list(pairs)
    people = await look.list(User, id=tuple({pair.user for pair in pairs}))
    roles = await of_roles(call, look, people)
    seen = []
    for pair in pairs:
        await asyncio.sleep(0)
        if within(call, allowed(pair.rules, roles[pair.user])):
            seen.append(pair)
    return seen


async def refuse_hidden(call: Call, look: Look, pair: Credential) -> None:
    """Raises Forbidden."""
    if not await visible(call, look, [pair]):
        raise Forbidden("Could not complete request.")


def refuse_setting(call: Call) -> None:
    """Keys that are chosen elsewhere go into a pair that may have no rules. Raises Forbidden."""
    if narrow(call):
        raise Forbidden("A key pair with rules cannot set the keys of users; sign with one that has none.")


async def rules_of(call: Call, look: Look, pairs: Sequence[Credential]) -> Mapping[UUID, Sequence[KeyRule]]:
    """By pair, in order: its rules; of one without rules those of its user's role. Of rules that by now allow more than
    the role, what is left of them."""
    people = await look.list(User, id=tuple({pair.user for pair in pairs}))
    roles = await of_roles(call, look, people)
    found: dict[UUID, Sequence[KeyRule]] = {}
    for pair in pairs:
        await asyncio.sleep(0)  # of many pairs with many rules the whole list takes long, and others wait
        theirs = roles[pair.user]
        if not pair.rules:
            found[pair.id] = await _of_role(look, theirs)
        elif all(theirs.allows(each) or not decide(pair.rules, each.name) for each in COMMANDS.values()):
            found[pair.id] = pair.rules
        else:
            left = [each.name for each in COMMANDS.values() if allowed(pair.rules, theirs)(each)]
            found[pair.id] = [KeyRule(rule=name, allow=True) for name in sorted(left)]
    return found


async def _of_role(look: Look, theirs: Permissions) -> list[KeyRule]:
    """With what the role's type may call and no rule speaks of, which comes first."""
    role = theirs.role
    held = default_rules.of(role) if role.default else await account_roles.rules(look, role.id)
    rules = [KeyRule(rule=each.rule, allow=each.allow, description=each.description) for each in held]
    silent = [
        KeyRule(rule=each.name, allow=True)
        for each in COMMANDS.values()
        if each.allows(theirs.type) and not any(fits(rule.rule, each.name) for rule in rules)
    ]
    return silent + rules
