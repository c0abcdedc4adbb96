"""A forwarding and the firewall rule that was opened for it go together, whoever ends them."""

from uuid import UUID, uuid5

from pileus.core.cloud import Tx
from pileus.core.network.records import FirewallRule, PortForwarding


def rule_of(forwarding: UUID) -> UUID:
    """The id of the firewall rule that was made with a forwarding."""
    return uuid5(forwarding, "firewall rule")


async def drop(tx: Tx, forwarding: PortForwarding) -> None:
    """Remove both rows; the caller starts the router's sync."""
    await tx.remove(forwarding)
    rule = await tx.maybe(FirewallRule, rule_of(forwarding.id))
    if rule is not None:
        await tx.remove(rule)
