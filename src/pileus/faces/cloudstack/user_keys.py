"""API keys of users: the pair that each may have, and further ones with names, dates and rules."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.errors import NotFound
from pileus.core.identity.authentication import api_keys, credentials
from pileus.core.identity.authentication.api_keys import NewPair
from pileus.core.identity.authentication.credential_records import CLOUDSTACK, Credential, KeyRule
from pileus.core.identity.authentication.credentials import KeyPair
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy import account_types, account_users
from pileus.core.listing import page
from pileus.faces.cloudstack import key_rules, owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, Shown, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, Rows, param
from pileus.faces.cloudstack.users import role_fields
from pileus.store import any_of, eq, like, literal


class OnUser(Params):
    user: UUID = param("id", "the user")


class RegisterKeys(OnUser):
    name: str = param(
        "name", "the name of a further pair; without one the user's own is replaced", default=""
    )
    description: str = param("description", "what the further pair is for", default="", length=1024)
    starts_at: datetime | None = param("startdate", "from when the further pair is good", default=None)
    ends_at: datetime | None = param("enddate", "until when the further pair is good", default=None)
    rules: Rows = param(
        "rules",
        "what the further pair may call, in order, as rules[0].rule=list*&rules[0].permission=allow; "
        "all that its user may, when there are none",
        default=(),
    )


class ListKeys(Listing):
    user: UUID | None = param("userid", "list those of a user; the caller's by default", default=None)
    id: UUID | None = param("keypairid", "list one pair", default=None)
    key: str = param("apikeyfilter", "list the pair with this API key", default="")
    permissions: bool = param("showpermissions", "show the rules of each pair", default=False)
    all: bool = param("listall", "list those of all users that the caller has power over", default=False)


class OnPair(Params):
    id: UUID = param("keypairid", "the pair")


@command("registerUserKeys", params=RegisterKeys)
async def register(call: Call, params: RegisterKeys) -> Shown:
    """Makes a pair of API keys: the user's own in place of all before, or a further one with a name, dates or rules."""
    rules = key_rules.read(params.rules)
    further = params.name or params.description or params.starts_at or params.ends_at or rules
    if further or key_rules.narrow(call):
        await key_rules.refuse_more(call, params.user, rules)
    if not further:
        pair = await credentials.renew(call.cloud, call.caller, params.user)
        return Shown(plain(pair))
    want = NewPair(
        name=params.name or f"{params.user} - API key pair",
        rules=rules,
        description=params.description,
        starts_at=params.starts_at,
        ends_at=params.ends_at,
    )
    return Shown(plain(await api_keys.create(call.cloud, call.caller, params.user, want)))


def plain(pair: KeyPair) -> dict[str, Any]:
    return {"apikey": pair.credential.access, "secretkey": pair.secret}


@command("getUserKeys", params=OnUser)
async def keys(call: Call, params: OnUser) -> Shown:
    """Shows the API keys of a user."""
    pair, taken = await api_keys.show(call.cloud, call.caller, params.user)
    if call.pair is not None and call.pair.user == params.user:
        pair = api_keys.opened(call.cloud, call.pair)
    elif pair is not None:
        async with call.cloud.view() as look:
            pair = pair if await key_rules.visible(call, look, [pair.credential]) else None
    return Shown({**(plain(pair) if pair else {}), "apikeyaccess": taken})


@command("listUserKeys", params=ListKeys, key="userapikey")
async def listing(call: Call, params: ListKeys) -> Listed[Any]:
    """Lists pairs of API keys."""
    async with call.cloud.view() as look:
        if params.id is not None or params.key:
            found = await api_keys.find(look, call.caller, id=params.id, key=params.key)
            await key_rules.refuse_hidden(call, look, found)
            return Listed(await pairs_shown(call, look, [found], params.permissions), 1)
        where = [eq("user", await holders(call, look, params))]
        if params.keyword:
            text = f"%{literal(params.keyword)}%"
            where.append(any_of(like("name", text), like("description", text)))
        skip, limit = window(params)
        shown = await page(look, Credential, *where, skip=skip, limit=limit, kind=CLOUDSTACK)
        seen = await key_rules.visible(call, look, shown.items)
        return Listed(await pairs_shown(call, look, seen, params.permissions), shown.total)


async def holders(call: Call, look: Look, params: ListKeys) -> tuple[UUID, ...]:
    """Users whose pairs are listed."""
    if params.user is not None:
        user = await account_users.own_or_managed(look, call.caller, params.user, "credential.read")
        return (user.id,)
    if not params.all:
        return (call.caller.user,)
    place = call.caller.domain
    if place is None and not call.admin:
        return (call.caller.user,)
    within = {} if call.admin or place is None else {"domain": tuple(await authority.below(look, place))}
    people = await look.list(User, **within)
    types = await account_types.of_users(look, people)
    if call.admin:
        return tuple(types)
    own, above = types.get(call.caller.user), await authority.administrators(look, people)
    return tuple(
        key
        for key, type in types.items()
        if own and key not in above and not account_types.stronger(type, own)
    )


async def pairs_shown(
    call: Call, look: Look, found: Sequence[Credential], permissions: bool
) -> list[dict[str, Any]]:
    people = {user.id: user for user in await look.list(User, id=tuple({each.user for each in found}))}
    held = {user.id: user.account or user.default_project for user in people.values()}
    accounts = {
        project.id: project for project in await look.list(Project, id=tuple({*held.values()} - {None}))
    }
    of = {user: accounts[key] for user, key in held.items() if key in accounts}
    roles = await role_fields(look, of, await account_types.of_users(look, [*people.values()]))
    places = await owners.domains_shown(look, {user.domain for user in people.values()})
    rules = await key_rules.rules_of(call, look, found) if permissions else {}
    made = []
    for each in found:
        user = people[each.user]
        account = of.get(user.id)
        expired = each.ends_at is not None and each.ends_at <= call.cloud.now()
        role = {**roles[user.id], "accounttype": roles[user.id]["roletype"]}
        made.append(
            {
                "id": each.id,
                "name": each.name or "default",
                "description": each.description or None,
                **plain(api_keys.opened(call.cloud, each)),
                "userid": user.id,
                "username": user.name,
                "startdate": each.starts_at,
                "enddate": each.ends_at,
                "created": each.created_at,
                "accountid": account.id if account else None,
                "accountname": account.name if account else None,
                "state": "EXPIRED" if expired else "ENABLED",
                "permissions": [rule_shown(rule) for rule in rules[each.id]] if permissions else None,
                **role,
                **places[user.domain],
            }
        )
    return made


@command("deleteUserKeys", params=OnPair)
async def delete(call: Call, params: OnPair) -> Done:
    """Deletes a pair of API keys: requests signed with it are refused from now on."""
    await api_keys.delete(call.cloud, call.caller, params.id)
    return Done(subject=params.id, kind="credential")


@command("listUserKeyRules", params=OnPair, key="keypermission")
async def rules(call: Call, params: OnPair) -> Listed[Any]:
    """Lists what a pair may call, in order: its rules, or of a pair without rules those of its user's role."""
    async with call.cloud.view() as look:
        try:
            pair = await api_keys.find(look, call.caller, id=params.id)
        except NotFound as error:
            raise ApiError(PARAMETER, "Could not complete request.") from error
        await key_rules.refuse_hidden(call, look, pair)
        shown = [rule_shown(rule) for rule in (await key_rules.rules_of(call, look, [pair]))[pair.id]]
    return Listed(shown, len(shown))


def rule_shown(rule: KeyRule) -> dict[str, Any]:
    found = {"rule": rule.rule, "permission": "allow" if rule.allow else "deny"}
    return found | ({"description": rule.description} if rule.description else {})
