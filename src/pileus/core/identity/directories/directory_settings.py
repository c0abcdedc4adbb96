"""Where a domain's users are kept: its own configuration (by the API or a file), or the servers that CloudStack's
commands name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Unavailable
from pileus.core.identity import domain_settings
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.changes import change_count
from pileus.core.identity.directories import directory
from pileus.core.identity.directories.directory import Binding, Options
from pileus.core.identity.records import Domain
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink, DirectoryServer

GROUP = "ldap"
LEGACY = "cloudstack.ldap"
"""The group of settings, of no domain, that CloudStack's ldapConfig writes over those of the configuration."""
FOLDER = "domains"
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
TLS_PORT = 636
WANT = {"openldap": "uid", "microsoftad": "sAMAccountName"}
"""The attribute with the name of a user, by CloudStack's word for the kind of directory."""


async def of(cloud: Cloud, domain: UUID) -> Binding | None:
    """How users of the domain are kept in a directory; None: they are not. Raises Unavailable for a file that cannot
    be read, naming it."""
    held = directory.of(cloud).known
    async with cloud.view() as look:
        record = await look.maybe(Domain, domain)
        if record is None:
            return None
        path = file_of(cloud, record)
        stamp = (await change_count(look), path, path.stat().st_mtime_ns if path else 0)
        known = held.get(domain)
        if known is None or known[0] != stamp:
            known = held[domain] = (stamp, await _read(cloud, look, domain, path))
    return known[1]


async def _read(cloud: Cloud, look: Look, domain: UUID, path: Path | None) -> Binding | None:
    links = tuple(await look.list(DirectoryLink, domain=domain, order=("created_at",)))
    groups = await domain_settings.opened(cloud, look, domain)
    filed = read(path) if path else {}
    driver = {**filed.get("identity", {}), **groups.get("identity", {})}.get("driver")
    own = {**filed.get(GROUP, {}), **groups.get(GROUP, {})}
    if driver == GROUP:
        return Binding(domain=domain, options=own, whole=True, links=links)
    servers = await look.list(DirectoryServer, domain=domain, order=("created_at",))
    servers = servers or await look.list(DirectoryServer, domain=None, order=("created_at",))
    if not servers:
        return None
    options = {**from_servers(await settings(cloud, look), servers), **own}
    return Binding(domain=domain, options=options, whole=False, links=links)


def file_of(cloud: Cloud, domain: Domain) -> Path | None:
    """`<state>/domains/<id or name>.toml`, where there is one."""
    folder = cloud.config.state / FOLDER
    names = [domain.id.hex, *([domain.name] if PLAIN.fullmatch(domain.name) else [])]
    return next((path for name in names if (path := folder / f"{name}.toml").is_file()), None)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Options by group. Raises Unavailable."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise Unavailable(
            "The configuration of this domain cannot be read; its administrator must correct the file.",
            private=f"{path}: {error}",
        ) from error


async def settings(cloud: Cloud, look: Look) -> Mapping[str, Any]:
    """How CloudStack's servers are read: the configuration's `ldap`, and above it what ldapConfig has set."""
    legacy = (await domain_settings.opened(cloud, look, NIL)).get(LEGACY, {})
    password = secret(cloud.config.ldap.bind_password_file) if "bind_password" not in legacy else ""
    return {**msgspec.structs.asdict(cloud.config.ldap), "bind_password": password, **legacy}


def secret(path: str) -> str:
    """What the file holds. Raises Unavailable."""
    try:
        return Path(path).read_text().strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            "The password of the directory cannot be read; the administrator must correct the file.",
            private=f"{path}: {error}",
        ) from error


def from_servers(given: Mapping[str, Any], servers: list[DirectoryServer]) -> Options:
    """In Keystone's names. Whose base is not set, nothing is found below."""
    name = given["username_attribute"] or WANT[given["provider"]]
    active, base = given["provider"] == "microsoftad", given["basedn"]
    filters = [given["query_filter"]]
    if given["search_group_principle"]:
        filters.append(f"(memberOf={in_filter(given['search_group_principle'])})")
    filters = [text if text.startswith("(") else f"({text})" for text in filters if text]
    options = {
        "schema": "activedirectory" if active else "openldap",
        "url": ",".join(address(server, bool(given["ssl"])) for server in servers),
        "user": given["bind_principal"],
        "password": given["bind_password"],
        "suffix": base,
        "user_tree_dn": base,
        "group_tree_dn": base,
        "query_scope": "sub",
        "page_size": given["request_page_size"],
        "connection_timeout": max(1, given["read_timeout"] // 1000) if given["read_timeout"] else -1,
        "tls_cacertfile": given["truststore"],
        "user_id_attribute": None if active else name,
        "user_name_attribute": name,
        "user_mail_attribute": given["email_attribute"],
        "user_first_name_attribute": given["firstname_attribute"],
        "user_last_name_attribute": given["lastname_attribute"],
        "user_objectclass": given["user_object"] or None,
        "user_filter": f"(&{''.join(filters)})" if len(filters) > 1 else "".join(filters),
        "group_name_attribute": "cn",
        "group_objectclass": given["group_object"] or ("group" if active else "groupOfUniqueNames"),
        "group_member_attribute": given["group_user_uniquemember"]
        or ("member" if active else "uniqueMember"),
        "group_ad_nesting": given["nested_groups_enable"],
    }
    return {option: value for option, value in options.items() if value is not None}


def in_filter(text: str) -> str:
    """As a value in a filter of LDAP (RFC 4515)."""
    return "".join(f"\\{ord(letter):02x}" if letter in "\\()*\0" else letter for letter in text)


def address(server: DirectoryServer, tls: bool) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'ldaps' if tls or server.port == TLS_PORT else 'ldap'}://{host}:{server.port}"
