"""LDAP as CloudStack has it: servers, links of domains and accounts, and users that are imported."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.errors import Exists, Invalid
from pileus.core.identity.authorization import authority
from pileus.core.identity.directories import directory_links, directory_servers
from pileus.core.identity.directories.directory import Entry, Part
from pileus.core.identity.directories.directory_links import Adopt
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, Project, Source, User
from pileus.core.identity.tenancy import domain_tree
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink, DirectoryServer, RoleType
from pileus.faces.cloudstack.accounts import accounts_shown
from pileus.faces.cloudstack.commands import Bare, Call, Listed, Shown, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, param
from pileus.faces.cloudstack.users import ACCOUNT_TYPES, SOURCES, type_named

UNAVAILABLE = 534
DN = 4096
"""Characters of a distinguished name."""
EVERYBODY, NOT_HERE, NOT_ANYWHERE, COMING = "nofilter", "localdomain", "anydomain", "potentialimport"


class AddServer(Params):
    host: str = param("hostname", "name or address of the LDAP server")
    port: int = param("port", "its port")
    domain: UUID | None = param("domainid", "the domain whose users are there; all by default", default=None)


class DeleteServer(Params):
    id: UUID | None = param("id", "the LDAP configuration; or hostname", default=None)
    host: str = param("hostname", "name or address of the LDAP server; or id", default="")
    port: int | None = param("port", "its port", default=None)
    domain: UUID | None = param("domainid", "the domain of the configuration", default=None)


class ListServers(Listing):
    id: UUID | None = param("id", "list by id; all else is passed over then", default=None)
    host: str = param("hostname", "list by name or address", default="")
    port: int | None = param("port", "list by port", default=None)
    domain: UUID | None = param("domainid", "list those of a domain", default=None)
    all: bool = param("listall", "list those of all domains", default=False)


class ListPeople(Listing):
    type: str = param(
        "listtype", "all, new (not users yet) or existing; userfilter says it better", default="all"
    )
    filter: str = param(
        "userfilter", "NoFilter, LocalDomain, AnyDomain or PotentialImport: whom to leave out", default=""
    )
    domain: UUID | None = param("domainid", "the domain whose directory is read", default=None)


class SearchPeople(Listing):
    query: str = param("query", "part of a user's name")


class ImportPeople(Listing):
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    role: UUID | None = param("roleid", "the role of the account", default=None)
    account: str = param("account", "the account; one of the user's name by default", default="")
    domain: UUID | None = param("domainid", "the domain to import into", default=None)
    timezone: str = param("timezone", "the user's time zone", default="")
    details: dict[str, str] = param("accountdetails", "details of the account", default={})
    group: str = param("group", "import only those in the group of this name", default="")


class CreateAccount(Params):
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    role: UUID | None = param("roleid", "the role of the account", default=None)
    account: str = param("account", "the account; one of the user's name by default", default="")
    domain: UUID | None = param("domainid", "the domain to import into", default=None)
    timezone: str = param("timezone", "the user's time zone", default="")
    details: dict[str, str] = param("accountdetails", "details of the account", default={})
    username: str = param("username", "the user's name in the directory")
    network_domain: str = param("networkdomain", "DNS suffix of the account's networks", default="")
    account_id: UUID | None = param(
        "accountid", "the id of the account, where an external system chose it", default=None
    )


class LinkDomain(Params):
    domain: UUID = param("domainid", "the domain to link")
    kind: str = param("type", "GROUP or OU")
    name: str = param("ldapdomain", "distinguished name of the group or unit", default="", length=DN)
    old_name: str = param("name", "the same, as it was called before", default="", length=DN)
    admin: str = param("admin", "a user there who becomes administrator of the domain", default="")
    type: int = param("accounttype", "of accounts that come by it: 0: users, 2: of domain administrators")


class LinkAccount(Params):
    domain: UUID = param("domainid", "the domain of the account")
    kind: str = param("type", "GROUP or OU", default="GROUP")
    name: str = param("ldapdomain", "distinguished name of the group or unit", length=DN)
    account: str = param("account", "the account, which is made where there is none")
    admin: str = param("admin", "a user there who becomes administrator of the domain", default="")
    type: int | None = param("accounttype", "0: users, 2: of domain administrators", default=None)
    role: UUID | None = param("roleid", "the role of the account", default=None)


class OnDomain(Params):
    domain: UUID = param("domainid", "the domain")


class Configure(Params):
    all: bool = param("listall", "show what is configured, and change nothing", default=False)
    host: str = param("hostname", "name or address of the LDAP server", default="")
    port: int | None = param("port", "its port", default=None)
    tls: bool = param("ssl", "whether it speaks TLS from the first byte", default=False)
    base: str = param("searchbase", "below which people are found", default="", length=DN)
    filter: str = param("queryfilter", "what people must match", default="", length=DN)
    user: str = param("binddn", "who reads the directory", default="", length=DN)
    password: str = param("bindpass", "and the password", default="", length=4096)
    truststore: str = param("truststore", "a PEM file of who may sign the server's certificate", default="")


async def servers_shown(call: Call, look: Look, servers: Sequence[DirectoryServer]) -> list[dict[str, Any]]:
    return [
        {"id": each.id, "hostname": each.host, "port": each.port, "domainid": each.domain} for each in servers
    ]


@command("addLdapConfiguration", params=AddServer, view=servers_shown, key="LdapAddConfiguration")
async def add_server(call: Call, params: AddServer) -> DirectoryServer:
    """Adds an LDAP server, once it answers."""
    return await directory_servers.add(
        call.cloud, call.caller, params.host, params.port or 389, params.domain
    )


@command("deleteLdapConfiguration", params=DeleteServer, view=servers_shown, key="LdapDeleteConfiguration")
async def delete_server(call: Call, params: DeleteServer) -> DirectoryServer:
    """Removes an LDAP server."""
    found = await directory_servers.find(
        call.cloud, call.caller, params.id, params.host, params.port, params.domain
    )
    await directory_servers.remove(call.cloud, call.caller, found)
    return found


@command("listLdapConfigurations", params=ListServers, view=servers_shown, key="LdapConfiguration")
async def list_servers(call: Call, params: ListServers) -> Listed[DirectoryServer]:
    """Lists LDAP servers: those of no domain, of a domain, or all."""
    if params.id is not None:
        found = await directory_servers.list_all(call.cloud, call.caller, id=params.id)
    else:
        found = await directory_servers.list_all(
            call.cloud,
            call.caller,
            domain=params.domain,
            every=params.all,
            host=params.host,
            port=params.port,
        )
    found = [each for each in found if params.keyword in each.host]
    skip, limit = window(params)
    return Listed(found[skip : skip + limit], len(found))


def shown(entry: Entry, source: Source | None = None) -> dict[str, Any]:
    return {
        "username": entry.name,
        "firstname": entry.first_name or None,
        "lastname": entry.last_name or None,
        "email": entry.email or None,
        "principal": entry.dn,
        "domain": units(entry.dn),
        "conflictingusersource": SOURCES[source] if source else None,
    }


def units(dn: str) -> str:
    """The organisational units above an entry, the nearest first."""
    return ",".join(re.findall(r"(?i)(?<=,)\s*ou=((?:\\.|[^,\\])*)", dn))


def place(call: Call, domain: UUID | None) -> UUID:
    return domain or (ROOT if call.admin else call.user.domain)


@command("listLdapUsers", params=ListPeople)
async def list_people(call: Call, params: ListPeople) -> Listed[Any]:
    """Lists users of the directory."""
    wanted = params.filter.lower() or {"all": EVERYBODY, "existing": ""}.get(
        params.type.lower(), NOT_ANYWHERE
    )
    if wanted not in ("", EVERYBODY, NOT_HERE, NOT_ANYWHERE, COMING):
        raise invalid(
            call.name, "userfilter", params.filter, "NoFilter, LocalDomain, AnyDomain or PotentialImport."
        )
    domain = place(call, params.domain)
    found = await directory_links.people(call.cloud, call.caller, domain, like=params.keyword)
    if wanted == COMING:
        found = await directory_links.coming(call.cloud, call.caller, domain)
    here, anywhere = await known(call, domain, [entry.name for entry in found])
    users = anywhere if wanted == NOT_ANYWHERE else here
    seen = [
        shown(entry, users.get(entry.name))
        for entry in found
        if wanted in (EVERYBODY, COMING)
        or (wanted == "" and users.get(entry.name) is Source.LDAP)
        or (wanted in (NOT_HERE, NOT_ANYWHERE) and users.get(entry.name) is not Source.LDAP)
    ]
    return cut(seen, params)


async def known(
    call: Call, domain: UUID, names: Sequence[str]
) -> tuple[Mapping[str, Source], Mapping[str, Source]]:
    """Where the users of these names are kept: of those in the domain, and of all that the caller may see."""
    if not names:
        return {}, {}
    async with call.cloud.view() as look:
        mine = await authority.below(look, call.user.domain)
        users = await look.list(User, name=tuple(names), domain=tuple({*mine, domain}))
    here = {user.name: user.source for user in users if user.domain == domain}
    everywhere: dict[str, Source] = {}
    for user in users:
        if everywhere.get(user.name) is not Source.LDAP:
            everywhere[user.name] = user.source
    return here, everywhere


@command("searchLdap", params=SearchPeople)
async def search_people(call: Call, params: SearchPeople) -> Listed[Any]:
    """Searches the directory for users by a part of their name."""
    found = await directory_links.people(call.cloud, call.caller, ROOT, like=params.query)
    return cut([shown(entry) for entry in found if params.keyword in entry.name], params)


@command("importLdapUsers", params=ImportPeople)
async def import_people(call: Call, params: ImportPeople) -> Listed[Any]:
    """Imports users of the directory: all of them, or those in a group."""
    type = typed(call, params)
    part: Part | None = ("NAME", params.group) if params.group else None
    source = place(call, params.domain)
    async with call.cloud.view() as look:
        first = Adopt(domain=source, account=params.account, type=type, role=params.role)
        await directory_links.power(look, call.caller, first)
    found = await directory_links.people(call.cloud, call.caller, source, part, params.keyword)
    added = []
    for entry in found:
        domain = params.domain or await domain_for(call, params.group or units(entry.dn))
        want = Adopt(
            domain=domain,
            account=params.account or entry.name,
            type=type,
            role=params.role,
            timezone=params.timezone,
            details=params.details,
        )
        try:
            await directory_links.adopt(call.cloud, call.caller, entry, want)
        except (Exists, Invalid):
            continue  # as CloudStack: who cannot be imported is not among those who were
        added.append(shown(entry))
    return cut(added, params)


def typed(call: Call, params: ImportPeople | CreateAccount) -> RoleType | None:
    if params.type is None and params.role is None:
        raise ApiError(PARAMETER, "Both account type and role ID are not provided")
    return type_named(call, params.type) if params.type is not None else None


async def domain_for(call: Call, name: str) -> UUID:
    """A domain under ROOT, named by a group or by units; ROOT where they say nothing."""
    plain = re.sub(r"\W", "", name)[:190]
    if not plain:
        return ROOT
    async with call.cloud.view() as look:
        held = await look.one(Domain, parent=ROOT, name=plain)
    if held is not None:
        return held.id
    made = await domain_tree.create(
        call.cloud, call.caller, domain_tree.CreateDomain(name=plain, parent=ROOT)
    )
    return made.id


@command("ldapCreateAccount", params=CreateAccount, view=accounts_shown)
async def create_account(call: Call, params: CreateAccount) -> Project:
    """Imports one user of the directory, with an account."""
    type, domain = typed(call, params), params.domain or ROOT
    entry = await directory_links.person(call.cloud, call.caller, domain, params.username)
    if entry is None:
        raise ApiError(UNAVAILABLE, f"No LDAP user exists with the username of {params.username}")
    for value, word in (
        (entry.email, "email address"),
        (entry.first_name, "firstname"),
        (entry.last_name, "lastname"),
    ):
        if not value:
            raise ApiError(UNAVAILABLE, f"{params.username} has no {word} set within LDAP")
    want = Adopt(
        domain=domain,
        account=params.account or entry.name,
        type=type,
        role=params.role,
        timezone=params.timezone,
        network_domain=params.network_domain,
        details=params.details,
        account_id=params.account_id,
    )
    account, _ = await directory_links.adopt(call.cloud, call.caller, entry, want)
    return account


def link_shown(link: DirectoryLink, admin: UUID | None) -> Shown:
    return Shown(
        {
            "domainid": link.domain,
            "type": link.kind,
            "ldapdomain": link.name,
            "name": link.name,
            "accounttype": ACCOUNT_TYPES[link.role],
            "accountid": admin,
        }
    )


async def administrator(call: Call, link: DirectoryLink, name: str) -> UUID | None:
    """The account of the person there who is to administer the domain; None where it cannot be made, as CloudStack."""
    if not name:
        return None
    found = await directory_links.people(call.cloud, call.caller, link.domain, (link.kind, link.name), name)
    want = Adopt(domain=link.domain, account=name, type=RoleType.DOMAIN_ADMIN)
    for entry in found:
        if entry.name == name:
            account, _ = await directory_links.adopt(call.cloud, call.caller, entry, want)
            return account.id
    return None


@command("linkDomainToLdap", params=LinkDomain)
async def link_domain(call: Call, params: LinkDomain) -> Shown:
    """Lets the users of an LDAP group or unit into a domain, each into an account of its own."""
    link = await directory_links.link_domain(
        call.cloud,
        call.caller,
        params.domain,
        params.kind,
        params.name or params.old_name,
        type_named(call, params.type),
    )
    return link_shown(link, await administrator(call, link, params.admin))


@command("unlinkDomainFromLdap", params=OnDomain)
async def unlink_domain(call: Call, params: OnDomain) -> Bare:
    """Undoes the link of a domain to an LDAP group or unit."""
    done = await directory_links.unlink_domain(call.cloud, call.caller, params.domain)
    said = "Domain unlinked from LDAP successfully" if done else "Failed to unlink domain from LDAP"
    return Bare({"success": done, "displaytext": said})


@command("linkAccountToLdap", params=LinkAccount, key="linkAccountToLdap")
async def link_account(call: Call, params: LinkAccount) -> Shown:
    """Lets the users of an LDAP group or unit into one account."""
    if params.type is None and params.role is None:
        raise ApiError(PARAMETER, "Either account type or role ID must be given")
    want = Adopt(
        domain=params.domain,
        account=params.account,
        type=type_named(call, params.type) if params.type is not None else None,
        role=params.role,
    )
    link, account = await directory_links.link_account(
        call.cloud, call.caller, want, params.kind, params.name
    )
    admin = await administrator(call, link, params.admin)
    return link_shown(link, admin or account.id)


@command("ldapConfig", params=Configure, ignored=("truststorepass",))
async def configure(call: Call, params: Configure) -> Listed[Any] | Shown:
    """Sets how LDAP servers are read, and adds one; or shows it. Deprecated: use addLdapConfiguration."""
    if params.all:
        given = await directory_servers.shown(call.cloud, call.caller)
        servers = await directory_servers.list_all(call.cloud, call.caller)
        return Listed([legacy(each.host, each.port, given) for each in servers], len(servers))
    if not params.host or params.port is None:
        raise ApiError(PARAMETER, "You need to provide hostname, port to configure your LDAP server")
    given = {
        "ssl": params.tls,
        "basedn": params.base,
        "query_filter": params.filter,
        "bind_principal": params.user,
        "bind_password": params.password,
        "truststore": params.truststore,
    }
    await directory_servers.add(call.cloud, call.caller, params.host, params.port, None, given)
    return Shown(legacy(params.host, params.port, given))


def legacy(host: str, port: int, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hostname": host,
        "port": str(port),
        "ssl": "true" if given["ssl"] else "false",
        "searchbase": given["basedn"] or None,
        "queryfilter": given["query_filter"] or None,
        "binddn": given["bind_principal"] or None,
    }


@command("ldapRemove", key="ldapremove")
async def remove_servers(call: Call, params: Params) -> Shown:
    """Removes all LDAP servers that are of no domain. Deprecated: use deleteLdapConfiguration."""
    await directory_servers.remove_shared(call.cloud, call.caller)
    return Shown({})
