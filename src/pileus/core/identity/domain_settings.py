"""A domain's own configuration: where its users are kept, and how that directory is read."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Domain
from pileus.core.identity.services.catalogue_records import DomainSetting

Settings = dict[str, dict[str, Any]]
"""Options by group and name."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost",
        "user": None,
        "suffix": "cn=example,cn=com",
        "query_scope": "one",
        "page_size": 0,
        "alias_dereferencing": "default",
        "debug_level": None,
        "chase_referrals": None,
        "user_tree_dn": None,
        "user_filter": None,
        "user_objectclass": "inetOrgPerson",
        "user_id_attribute": "cn",
        "user_name_attribute": "sn",
        "user_mail_attribute": "mail",
        "user_description_attribute": "description",
        "user_pass_attribute": "userPassword",
        "user_enabled_attribute": "enabled",
        "user_enabled_invert": False,
        "user_enabled_mask": 0,
        "user_enabled_default": "True",
        "user_attribute_ignore": ["default_project_id"],
        "user_default_project_id_attribute": None,
        "user_enabled_emulation": False,
        "user_enabled_emulation_dn": None,
        "user_enabled_emulation_use_group_config": False,
        "user_additional_attribute_mapping": [],
        "group_tree_dn": None,
        "group_filter": None,
        "group_objectclass": "groupOfNames",
        "group_id_attribute": "cn",
        "group_name_attribute": "ou",
        "group_members_are_ids": False,
        "group_member_attribute": "member",
        "group_desc_attribute": "description",
        "group_attribute_ignore": [],
        "group_additional_attribute_mapping": [],
        "tls_cacertfile": None,
        "tls_cacertdir": None,
        "use_tls": False,
        "tls_req_cert": "demand",
        "use_pool": True,
        "pool_size": 10,
        "pool_retry_max": 3,
        "pool_retry_delay": 0.1,
        "pool_connection_timeout": -1,
        "pool_connection_lifetime": 600,
        "use_auth_pool": True,
        "auth_pool_size": 100,
        "auth_pool_connection_lifetime": 60,
    },
}
"""What a domain may set, and what holds where it does not."""
SENSITIVE: Mapping[str, frozenset[str]] = {"ldap": frozenset({"password"})}
"""What a domain may set besides, and nobody is shown."""


async def of(look: Look, domain: UUID) -> Settings:
    """What the domain sets itself, by group and option; without its secrets. Empty: nothing."""
    found: Settings = {}
    for held in await look.list(DomainSetting, domain=domain, sensitive=False, order=("group", "option")):
        found.setdefault(held.group, {})[held.option] = held.value
    return found


async def opened(cloud: Cloud, look: Look, domain: UUID) -> Settings:
    """As `of`, with the secrets decrypted, and put where another option's text names them (`%(password)s`).

    For those who connect to the directory; never to be shown. Raises Unavailable when the key is lost.
    """
    found = await of(look, domain)
    hidden: Settings = {}
    for held in await look.list(DomainSetting, domain=domain, sensitive=True):
        plain = msgspec.json.decode(vault.of(cloud).decrypt(held.value))
        hidden.setdefault(held.group, {})[held.option] = plain
    names = {f"%({option})s": str(value) for group in hidden.values() for option, value in group.items()}
    for options in found.values():
        for option, value in options.items():
            options[option] = _filled(value, names) if isinstance(value, str) else value
    for group, options in hidden.items():
        found.setdefault(group, {}).update(options)
    return found


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(name, value)
    return text


async def show(
    cloud: Cloud, caller: Caller, domain: UUID, group: str | None = None, option: str | None = None
) -> Settings:
    """What the domain sets, or the part of it that is named. Raises NotFound where it sets none of that."""
    known(group, option)
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "domain.config.read")
        await look.get(Domain, domain)
        found = part(await of(look, domain), group, option)
    if not found:
        raise missing(domain, group, option)
    return found


async def create(
    cloud: Cloud, caller: Caller, domain: UUID, want: Mapping[str, Any]
) -> tuple[Settings, bool]:
    """Set these, in place of all that was set before; and whether nothing was."""
    caller.require_admin("domain.config.create")
    settings = valid(want)
    async with cloud.transaction(caller) as tx:
        await tx.get(Domain, domain)
        before = await tx.list(DomainSetting, domain=domain)
        for held in before:
            await tx.remove(held)
        await _write(tx, domain, settings)
        await changed(tx)
        return await of(tx, domain), not before


async def update(
    cloud: Cloud,
    caller: Caller,
    domain: UUID,
    want: Mapping[str, Any],
    group: str | None = None,
    option: str | None = None,
) -> Settings:
    """Set these besides what is set already; a group or an option that is named must be set, and be all that is given.
    Returns the whole."""
    caller.require_admin("domain.config.update")
    settings = valid({group: want} if group is not None and option is not None else want)
    known(group, option)
    if group is not None:
        _require_only(settings, group, option)
    async with cloud.transaction(caller) as tx:
        await tx.get(Domain, domain)
        if group is not None:
            await _named(tx, domain, group, option)
        await _write(tx, domain, settings)
        await changed(tx)
        return await of(tx, domain)


async def delete(
    cloud: Cloud, caller: Caller, domain: UUID, group: str | None = None, option: str | None = None
) -> None:
    """Unset all, a group or an option. The whole may be unset again; a part that is not set is NotFound."""
    caller.require_admin("domain.config.delete")
    known(group, option)
    async with cloud.transaction(caller) as tx:
        await tx.get(Domain, domain)
        for held in await _named(tx, domain, group, option):
            await tx.remove(held)
        await changed(tx)


def default(caller: Caller, group: str | None = None, option: str | None = None) -> Settings:
    """What holds where a domain sets nothing."""
    if not authority.reads_everything(caller):
        raise Forbidden("You are not authorized to perform the requested action: domain.config.read.")
    known(group, option)
    if group is not None and option is not None and option not in DEFAULTS[group]:
        raise refused(f"Reading the default for option {option} in group {group} is not supported")
    return part({name: dict(options) for name, options in DEFAULTS.items()}, group, option)


def part(settings: Settings, group: str | None, option: str | None) -> Settings:
    """A group of it, or one option of a group; empty where that is not set."""
    if group is None:
        return settings
    options = settings.get(group, {})
    if option is None:
        return {group: options} if options else {}
    return {group: {option: options[option]}} if option in options else {}


def known(group: str | None, option: str | None) -> None:
    """Raises Forbidden for what no domain may set."""
    if group is None:
        return
    if group not in DEFAULTS:
        raise refused(f"Group {group[:64]} is not supported for domain specific configurations")
    if option is not None and option not in DEFAULTS[group] and option not in SENSITIVE.get(group, ()):
        raise refused(
            f"Option {option[:64]} in group {group} is not supported for domain specific configurations"
        )


def valid(want: Mapping[str, Any]) -> Settings:
    if not want:
        raise refused("No options specified")
    for group, options in want.items():
        if not options or not isinstance(options, dict):
            raise refused(f"The value of group {group[:64]} must be an object with options")
        for option in options:
            known(group, option)
    return dict(want)


def refused(reason: str) -> Forbidden:
    return Forbidden(f"Invalid domain specific configuration: {reason}.")


def missing(domain: UUID, group: str | None, option: str | None) -> NotFound:
    what = f"option {option} in group {group}" if option else f"group {group}" if group else "any options"
    return NotFound(f"{what} in domain configuration for domain", domain.hex)


def _require_only(settings: Settings, group: str, option: str | None) -> None:
    if len(settings) != 1 or (option is not None and len(settings.get(group, ())) != 1):
        what = f"option {option} in group {group}" if option else f"group {group}"
        raise refused(f"To update {what}, give that and nothing else")
    if group not in settings:
        raise refused(f"Group {group} is to be updated, but group {next(iter(settings))} was given")
    if option is not None and option not in settings[group]:
        other = next(iter(settings[group]))
        raise refused(f"Option {option} in group {group} is to be updated, but option {other} was given")


async def _named(tx: Tx, domain: UUID, group: str | None, option: str | None) -> list[DomainSetting]:
    """The rows of a part. Raises NotFound for a group or an option that is not set."""
    equals = {name: value for name, value in (("group", group), ("option", option)) if value is not None}
    found = await tx.list(DomainSetting, domain=domain, **equals)
    if group is not None and not found:
        raise missing(domain, group, option)
    return found


async def _write(tx: Tx, domain: UUID, settings: Settings) -> None:
    for group, option, value in _flat(settings):
        sensitive = option in SENSITIVE.get(group, ())
        kept = vault.of(tx.cloud).encrypt(msgspec.json.encode(value).decode()) if sensitive else value
        held = await tx.maybe(DomainSetting, domain, group, option)
        if held is not None:
            await tx.put(replace(held, value=kept))
        else:
            await tx.add(
                DomainSetting(domain=domain, group=group, option=option, value=kept, sensitive=sensitive)
            )


def _flat(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    for group, options in settings.items():
        for option, value in options.items():
            yield group, option, value
