"""Port forwardings of guarded addresses together with the firewall rules that let their traffic in."""

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.network import firewall, forwardings
from pileus.core.network.firewall import FirewallWant
from pileus.core.network.forwardings import ForwardingWant
from pileus.core.network.opened import rule_of
from pileus.core.network.records import FirewallRule, PortForwarding
from pileus.core.operations import Accepted
from pileus.core.together import Joined, together


async def create(
    cloud: Cloud, caller: Caller, want: ForwardingWant, *, sources: tuple[str, ...] = (), command: str = ""
) -> Accepted:
    """The forwarding and its firewall rule; ports that another rule opens already need none."""
    async with together(cloud, caller) as joined:
        made = await forwardings.create(joined, caller, want, command=command)
        forwarding: PortForwarding = made.resource
        rule = FirewallWant(
            address=forwarding.address,
            protocol=forwarding.protocol,
            port_min=forwarding.external_port,
            port_max=forwarding.external_port_end,
            sources=sources,
        )
        if not await _open(joined, rule):
            await firewall.create(joined.choosing(rule_of(forwarding.id)), caller, rule)
        return made


async def _open(joined: Joined, rule: FirewallWant) -> bool:
    """Whether a rule of these very words is there; `firewall.create` would refuse a second one."""
    for other in await joined.tx.list(FirewallRule, address=rule.address, protocol=rule.protocol):
        if (other.port_min, other.port_max, other.sources) == (rule.port_min, rule.port_max, rule.sources):
            return True
    return False
