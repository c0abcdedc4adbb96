"""Security groups and their rules. A group without egress rules lets everything out, and shows none then."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict, Exists, Invalid, NotFound
from pileus.core.listing import Page, owned
from pileus.core.network import groups, permits
from pileus.core.network.groups import GroupChange, GroupWant
from pileus.core.network.permits import unrestricted
from pileus.core.network.records import Port, PortUse, SecurityGroup, SecurityRule
from pileus.core.network.rules import ICMP, RuleWant
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.conflicts import conflicts
from pileus.faces.cloudstack.errors import missing
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, Placed, Rows, TaggedListing, param
from pileus.faces.cloudstack.places import NOWHERE
from pileus.store import Condition, eq, like, literal

INGRESS, EGRESS = "ingress", "egress"
EVERY = -1
"""ICMP type or code that means all."""


class CreateGroup(Placed):
    name: str = param("name", "the name")
    description: str = param("description", "what it is for", default="")


class ListGroups(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("securitygroupname", "list by name", default="")
    server: UUID | None = param("virtualmachineid", "list those of a virtual machine", default=None)


class UpdateGroup(Params):
    group: UUID = param("id", "the security group")
    name: str | None = param("name", "the new name", default=None)


class DeleteGroup(Placed):
    group: UUID | None = param("id", "the security group", default=None)
    name: str = param("name", "instead of id: its name", default="")


class Authorize(Placed):
    group: UUID | None = param("securitygroupid", "the security group", default=None)
    name: str = param("securitygroupname", "instead of securitygroupid: its name", default="")
    protocol: str = param("protocol", "tcp, udp, icmp, all, or a number", default="tcp")
    first: int | None = param("startport", "first port; all when left out", default=None)
    last: int | None = param("endport", "last port", default=None)
    icmp_type: int | None = param("icmptype", "ICMP type; -1: all", default=None)
    icmp_code: int | None = param("icmpcode", "ICMP code; -1: all", default=None)
    cidrs: tuple[str, ...] = param("cidrlist", "the other side's addresses", default=())
    others: Rows = param(
        "usersecuritygrouplist", "the other side's groups: account and group of each", default=()
    )


class Revoke(Params):
    rule: UUID = param("id", "the rule")


@view(SecurityGroup, "securitygroup", "SecurityGroup")
async def shown(call: Call, look: Look, found: Sequence[SecurityGroup]) -> list[dict[str, Any]]:
    keys = tuple(group.id for group in found)
    holders = await owners.shown(look, (group.project for group in found))
    rules = await look.list(SecurityRule, group=keys, order=("created_at", "id"))
    remotes = await remote_groups(look, rules)
    machines = await machines_of(look, found)
    made: list[dict[str, Any]] = []
    for group in found:
        mine = [rule for rule in rules if rule.group == group.id]
        out = [rule for rule in mine if rule.direction == EGRESS]
        restricted = [] if all(map(unrestricted, out)) else out
        members = machines.get(group.id, [])
        made.append(
            {
                "id": group.id,
                "name": group.name,
                "description": group.description,
                "ingressrule": [rule_shown(rule, remotes) for rule in mine if rule.direction == INGRESS],
                "egressrule": [rule_shown(rule, remotes) for rule in restricted],
                "virtualmachinecount": len(members),
                "virtualmachineids": members,
                "tags": [],
                **holders.get(group.project, {}),
            }
        )
    return made


async def remote_groups(look: Look, rules: Iterable[SecurityRule]) -> dict[UUID, dict[str, Any]]:
    """Name and owner of the groups that rules name."""
    wanted = tuple({rule.remote_group for rule in rules if rule.remote_group})
    held = await look.list(SecurityGroup, id=wanted) if wanted else []
    holders = await owners.shown(look, (group.project for group in held))
    return {
        group.id: {
            "securitygroupname": group.name,
            "account": holders.get(group.project, {}).get("account"),
        }
        for group in held
    }


async def machines_of(look: Look, found: Sequence[SecurityGroup]) -> dict[UUID, list[UUID]]:
    projects = tuple({group.project for group in found})
    members: dict[UUID, list[UUID]] = {}
    for port in await look.list(Port, project=projects, use=PortUse.SERVER, order=("created_at", "id")):
        for key in port.groups:
            held = members.setdefault(key, [])
            if port.device is not None and port.device not in held:
                held.append(port.device)
    return members


def rule_shown(rule: SecurityRule, remotes: dict[UUID, dict[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {"ruleid": rule.id, "protocol": rule.protocol or "all", "tags": []}
    if rule.protocol in ICMP:
        seen |= {
            "icmptype": EVERY if rule.port_min is None else rule.port_min,
            "icmpcode": EVERY if rule.port_max is None else rule.port_max,
        }
    elif rule.protocol is not None:
        seen |= {"startport": rule.port_min, "endport": rule.port_max}
    if rule.remote_group is not None:
        return seen | remotes.get(rule.remote_group, {})
    return seen | {"cidr": rule.remote_cidr or ("0.0.0.0/0" if rule.ethertype == 4 else "::/0")}


@command("createSecurityGroup", params=CreateGroup)
async def create(call: Call, params: CreateGroup) -> SecurityGroup:
    """Creates a security group: nothing enters by it, everything leaves."""
    caller = await owners.acting(call, params)
    async with call.cloud.view() as look:
        if await look.one(SecurityGroup, project=caller.home, name=params.name) is not None:
            raise Exists(
                f"Unable to create security group, a group with name {params.name} already exists; choose another."
            )
    want = GroupWant(name=params.name, description=params.description, project=caller.home)
    return (await groups.create(call.cloud, caller, want))[0]


@command("listSecurityGroups", params=ListGroups)
async def listing(call: Call, params: ListGroups) -> Listed[SecurityGroup]:
    """Lists security groups."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        scope = await owners.scope(call, look, params)
        keys = await wanted(call, look, params)
    if keys is None:
        await groups.ensure_default(call.cloud, call.caller)
    async with call.cloud.view() as look:
        where: list[Condition] = [eq("id", tuple(keys) or (NOWHERE,))] if keys is not None else []
        if params.name:
            where.append(eq("name", params.name))
        if params.keyword:
            where.append(like("name", f"%{literal(params.keyword)}%"))
        found: Page[SecurityGroup] = Page([], 0)
        if not params.tags:
            found = await owned(
                look,
                call.caller,
                SecurityGroup,
                *where,
                *scope.where,
                projects=scope.projects,
                order=("created_at", "id"),
                skip=skip,
                limit=limit,
            )
    return Listed(found.items, found.total)


async def wanted(call: Call, look: Look, params: ListGroups) -> set[UUID] | None:
    """The ids that the list is narrowed to. Raises NotFound."""
    keys: set[UUID] | None = None
    if params.id is not None:
        group = await call.caller.find(look.rows, SecurityGroup, params.id, "security_group.read")
        keys = {group.id}
    if params.server is not None:
        server = await call.caller.find(look.rows, Server, params.server, "server.read")
        ports = await look.list(Port, device=server.id, use=PortUse.SERVER)
        inside = {key for port in ports for key in port.groups}
        keys = inside if keys is None else keys & inside
    return keys


@command("updateSecurityGroup", params=UpdateGroup)
async def update(call: Call, params: UpdateGroup) -> SecurityGroup:
    """Changes a security group's name."""
    change = GroupChange() if params.name is None else GroupChange(name=params.name)
    return (await groups.update(call.cloud, call.caller, params.group, change))[0]


@command("deleteSecurityGroup", params=DeleteGroup)
async def delete(call: Call, params: DeleteGroup) -> None:
    """Deletes a security group that no machine is in."""
    group = await meant(call, params, params.group, params.name, "id")
    if group.default:
        raise Conflict("The default security group belongs to the account and cannot be deleted.")
    await groups.delete(call.cloud, call.caller, group.id)


async def meant(call: Call, params: Placed, key: UUID | None, name: str, parameter: str) -> SecurityGroup:
    """By id, or by its name in the account or project that the parameters name."""
    if key is not None:
        async with call.cloud.view() as look:
            return await call.caller.find(look.rows, SecurityGroup, key, "security_group.read")
    if not name:
        raise missing(call.name, parameter)
    caller = await owners.acting(call, params)
    async with call.cloud.view() as look:
        found = await look.list(SecurityGroup, project=caller.home, name=name)
    if not found:
        raise NotFound("SecurityGroup", name)
    if len(found) > 1:
        raise Invalid(
            f"{len(found)} security groups are called {name}; name the one that is meant by its id."
        )
    return found[0]


@command("authorizeSecurityGroupIngress", params=Authorize)
async def authorize_ingress(call: Call, params: Authorize) -> Accepted:
    """Lets traffic reach the machines of a security group."""
    return await authorize(call, params, INGRESS)


@command("authorizeSecurityGroupEgress", params=Authorize)
async def authorize_egress(call: Call, params: Authorize) -> Accepted:
    """Lets traffic leave the machines of a security group; the first such rule forbids all else."""
    return await authorize(call, params, EGRESS)


async def authorize(call: Call, params: Authorize, direction: str) -> Accepted:
    group = await meant(call, params, params.group, params.name, "securitygroupid")
    if not params.cidrs and not params.others:
        raise Invalid("At least one CIDR (cidrlist) or one security group (usersecuritygrouplist) is needed.")
    shape = shape_of(params)
    wants = [
        RuleWant(
            group=group.id, direction=direction, ethertype=6 if ":" in cidr else 4, remote_cidr=cidr, **shape
        )
        for cidr in params.cidrs
    ]
    for row in params.others:
        remote = await remote_group(call, row)
        wants.append(RuleWant(group=group.id, direction=direction, remote_group=remote.id, **shape))
    with conflicts():
        return await permits.permit(call.cloud, call.caller, wants, command=call.name)


def shape_of(params: Authorize) -> dict[str, Any]:
    """Protocol and ports; for ICMP these are type and code."""
    protocol = params.protocol.lower()
    if protocol in ICMP:
        if params.first is not None or params.last is not None:
            raise Invalid("Ports mean nothing for ICMP; say icmptype and icmpcode.")
        kind, code = params.icmp_type, params.icmp_code
        if kind in (None, EVERY):
            return {"protocol": protocol}
        return {"protocol": protocol, "port_min": kind, "port_max": None if code == EVERY else code}
    if params.icmp_type is not None or params.icmp_code is not None:
        raise Invalid(f"icmptype and icmpcode go with protocol icmp, not with {params.protocol}.")
    if protocol == "all":
        return {"protocol": None}
    last = params.last if params.last is not None else params.first
    return {"protocol": protocol, "port_min": params.first, "port_max": last}


async def remote_group(call: Call, row: dict[str, str]) -> SecurityGroup:
    """By account and name, in the caller's domain."""
    folded = {name.lower(): value for name, value in row.items()}
    name, account = folded.get("group", ""), folded.get("account", "")
    if not name or not account:
        raise Invalid(
            "usersecuritygrouplist needs account and group of each: usersecuritygrouplist[0].account=..."
        )
    place = Placed(account=account, domain=call.user.domain)
    caller = await owners.acting(call, place)
    async with call.cloud.view() as look:
        found = await look.one(SecurityGroup, project=caller.home, name=name)
    if found is None:
        raise NotFound("SecurityGroup", f"{name} of account {account}")
    return found


@command("revokeSecurityGroupIngress", params=Revoke)
async def revoke_ingress(call: Call, params: Revoke) -> Accepted:
    """Takes an ingress rule away."""
    return await permits.revoke(call.cloud, call.caller, params.rule, INGRESS, command=call.name)


@command("revokeSecurityGroupEgress", params=Revoke)
async def revoke_egress(call: Call, params: Revoke) -> Accepted:
    """Takes an egress rule away; after the last one everything may leave."""
    return await permits.revoke(call.cloud, call.caller, params.rule, EGRESS, command=call.name)
