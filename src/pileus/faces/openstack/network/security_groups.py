"""/v2.0/security-groups and /v2.0/security-group-rules."""

from typing import Any
from uuid import UUID

from pileus.core.errors import NotFound
from pileus.core.network import groups, rules
from pileus.core.network.groups import GroupChange, GroupWant
from pileus.core.network.records import SecurityGroup, SecurityRule
from pileus.core.network.rules import RuleInvalid, RuleWant
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network.attributes import Attribute, Unfit, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, stamps
from pileus.faces.wire.request import Request

ETHERTYPES = {"ipv4": 4, "ipv6": 6}
ETHERTYPE = {4: "IPv4", 6: "IPv6"}


def protocol(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Unfit(f"'{value}' is not a protocol's name or number")
    return str(value)


def port(value: Any) -> int:
    try:
        number: int = read.integer(-1, 65535)(value)
    except Unfit:
        raise RuleInvalid("port value", f"Invalid value for port {str(value)[:40]}.") from None
    return number


def remote_group(value: Any) -> UUID:
    """No group has a name that is no UUID."""
    try:
        return read.uuid(value)
    except Unfit:
        raise NotFound("SecurityGroup", str(value)[:255]) from None


def group_view(group: SecurityGroup, held: list[SecurityRule]) -> Shown:
    return {
        **stamps(group),
        "shared": False,
        "security_group_rules": [rule_view(rule) for rule in held],
    }


def rule_view(rule: SecurityRule) -> Shown:
    shown = {
        **stamps(rule),
        "security_group_id": str(rule.group),
        "direction": rule.direction,
        "ethertype": ETHERTYPE[rule.ethertype],
        "protocol": rule.protocol,
        "port_range_min": rule.port_min,
        "port_range_max": rule.port_max,
        "remote_ip_prefix": rule.remote_cidr,
        "normalized_cidr": rule.remote_cidr,
        "remote_group_id": str(rule.remote_group) if rule.remote_group else None,
        "remote_address_group_id": None,
    }
    del shown["name"], shown["tags"]
    return shown


async def create_groups(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    wants = [build(GroupWant, item) for item in items]
    return [group_view(*made) for made in await groups.create_all(request.cloud, request.caller, wants)]


async def list_groups(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    found = await groups.list_(request.cloud, request.caller, **conditions)
    return [group_view(*one) for one in found]


async def show_group(request: Request, key: UUID) -> Shown:
    return group_view(*await groups.show(request.cloud, request.caller, key))


async def update_group(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    change = build(GroupChange, fields)
    return group_view(*await groups.update(request.cloud, request.caller, key, change, revision=revision))


async def delete_group(request: Request, key: UUID, revision: int | None) -> None:
    await groups.delete(request.cloud, request.caller, key, revision=revision)


GROUPS = declare(
    Collection(
        one="security_group",
        many="security_groups",
        what="SecurityGroup",
        path="security-groups",
        attributes=(Attribute("name", read.text(), "name", required=True), read.DESCRIPTION),
        readonly=("security_group_rules", "shared"),
        create=create_groups,
        list=list_groups,
        show=show_group,
        update=update_group,
        delete=delete_group,
        pushed=COMMON,
    )
)

RULE_ATTRIBUTES = (
    read.DESCRIPTION,
    Attribute("security_group_id", read.uuid, "group", required=True),
    Attribute(
        "direction", read.one_of({"ingress": "ingress", "egress": "egress"}), "direction", required=True
    ),
    Attribute("ethertype", read.one_of(ETHERTYPES), "ethertype"),
    Attribute("protocol", protocol, "protocol"),
    Attribute("port_range_min", read.nullable(port), "port_min"),
    Attribute("port_range_max", read.nullable(port), "port_max"),
    Attribute("remote_ip_prefix", read.nullable(read.cidr), "remote_cidr"),
    Attribute("remote_group_id", read.nullable(remote_group), "remote_group"),
)


async def create_rules(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    wants = [build(RuleWant, {k: v for k, v in item.items() if k != "project"}) for item in items]
    return [rule_view(rule) for rule in await rules.create_all(request.cloud, request.caller, wants)]


async def list_rules(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    await groups.ensure_default(request.cloud, request.caller)
    return [rule_view(rule) for rule in await rules.list_(request.cloud, request.caller, **conditions)]


async def show_rule(request: Request, key: UUID) -> Shown:
    return rule_view(await rules.show(request.cloud, request.caller, key))


async def delete_rule(request: Request, key: UUID, revision: int | None) -> None:
    await rules.delete(request.cloud, request.caller, key)


RULES = declare(
    Collection(
        one="security_group_rule",
        many="security_group_rules",
        what="SecurityRule",
        path="security-group-rules",
        attributes=RULE_ATTRIBUTES,
        readonly=("normalized_cidr", "remote_address_group_id"),
        create=create_rules,
        list=list_rules,
        show=show_rule,
        delete=delete_rule,
        pushed={
            **{name: COMMON[name] for name in ("id", "project_id", "tenant_id")},
            "security_group_id": ("group", UUID),
            "direction": ("direction", str),
        },
        tags=False,
    )
)
