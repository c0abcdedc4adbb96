"""Rules of security groups for who reads "no egress rule" as "everything may leave": the first one restricts."""

from collections.abc import Sequence
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import NotFound
from pileus.core.network import groups, rules
from pileus.core.network.records import SecurityGroup, SecurityRule
from pileus.core.network.rules import RuleWant
from pileus.core.network.sync import sync
from pileus.core.operations import Accepted
from pileus.core.together import together

EGRESS = "egress"


def unrestricted(rule: SecurityRule) -> bool:
    """Whether it lets everything of its IP version leave, as the rules do that a group begins with."""
    anywhere = rule.remote_cidr in (None, "0.0.0.0/0", "::/0") and rule.remote_group is None
    return rule.direction == EGRESS and rule.protocol is None and anywhere


async def permit(cloud: Cloud, caller: Caller, wants: Sequence[RuleWant], *, command: str = "") -> Accepted:
    """Add rules to one group, all or none; the resource is the group."""
    group = wants[0].group
    async with together(cloud, caller) as joined:
        if any(want.direction == EGRESS for want in wants):
            held = await groups.rules_of(joined.tx, group)
            open_ones = [rule for rule in held if unrestricted(rule)]
            if len(open_ones) == len([rule for rule in held if rule.direction == EGRESS]):
                for rule in open_ones:
                    await rules.delete(joined, caller, rule.id)
        await rules.create_all(joined, caller, wants)
        return await _accepted(joined.tx, group, command)


async def revoke(cloud: Cloud, caller: Caller, key: UUID, direction: str, *, command: str = "") -> Accepted:
    """Take a rule away; after the last egress rule everything may leave again. The resource is the group."""
    async with together(cloud, caller) as joined:
        rule = await rules.show(joined, caller, key)
        if rule.direction != direction:
            raise NotFound("SecurityRule", key)
        await rules.delete(joined, caller, key)
        group = await joined.tx.get(SecurityGroup, rule.group)
        left = await groups.rules_of(joined.tx, group.id)
        if direction == EGRESS and not any(other.direction == EGRESS for other in left):
            for ethertype in (4, 6):
                await groups.add_rule(joined.tx, group, direction=EGRESS, ethertype=ethertype)
        return await _accepted(joined.tx, group.id, command)


async def _accepted(tx: Tx, key: UUID, command: str) -> Accepted:
    group = await tx.get(SecurityGroup, key)
    return Accepted(group, await sync(tx, group, command=command, own=True))
