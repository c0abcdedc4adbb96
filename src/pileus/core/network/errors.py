"""Refusals of the network core that a program must tell apart; each class is one reason."""

from uuid import UUID

from pileus.core.errors import Conflict, Exists, InUse, Invalid, NotFound


class NetworkInUse(InUse):
    def __init__(
        self, network: UUID, why: str = "There are one or more ports still in use on the network"
    ) -> None:
        super().__init__(f"Unable to complete operation on network {network}. {why}.")


class SubnetInUse(InUse):
    def __init__(self, subnet: UUID, why: str) -> None:
        super().__init__(f"Unable to complete operation on subnet {subnet}: {why}.")


class RouterInUse(InUse):
    def __init__(self, router: UUID, why: str) -> None:
        super().__init__(f"Router {router} {why}.")


class GroupInUse(InUse):
    def __init__(self, group: UUID, port: UUID) -> None:
        super().__init__(f"Security Group {group} in use: port {port} is in it; take it out first.")


class PortOwned(InUse):
    """The port belongs to a router, an address or the network itself and goes with that."""

    def __init__(self, port: UUID, why: str) -> None:
        super().__init__(f"Port {port} cannot be deleted directly via the port API: {why}.")


class PortInUse(InUse):
    def __init__(self, port: UUID, device: object) -> None:
        super().__init__(f"Port {port} is still in use by {device}.")


class InterfaceNeeded(InUse):
    """An address reaches its port through this interface."""

    def __init__(self, router: UUID, subnet: UUID) -> None:
        super().__init__(
            f"Router interface for subnet {subnet} on router {router} cannot be deleted, "
            "as it is required by one or more floating IPs or port forwardings."
        )


class InterfaceRouted(InUse):
    def __init__(self, router: UUID, subnet: UUID) -> None:
        super().__init__(
            f"Router interface for subnet {subnet} on router {router} cannot be deleted, "
            "as it is required by one or more routes."
        )


class GatewayNeeded(InUse):
    def __init__(self, router: UUID, network: UUID) -> None:
        super().__init__(
            f"Gateway cannot be updated for router {router}, since a gateway to external network {network} "
            "is required by one or more floating IPs."
        )


class InterfaceMissing(NotFound):
    def __init__(self, router: UUID, subnet: UUID | None = None, port: UUID | None = None) -> None:
        super().__init__(
            "Router interface", f"of router {router} for {'port' if port else 'subnet'} {port or subnet}"
        )


class AddressesExhausted(Conflict):
    def __init__(self, network: UUID) -> None:
        super().__init__(f"No more IP addresses available on network {network}.")


class AddressTaken(Exists):
    def __init__(self, address: str, subnet: UUID) -> None:
        super().__init__(f"IP address {address} already allocated in subnet {subnet}.")


class AddressOutside(Invalid):
    def __init__(self, address: str, where: str = "the specified subnet") -> None:
        super().__init__(f"IP address {address} is not a valid IP for {where}.")


class MacTaken(Exists):
    def __init__(self, mac: str, network: UUID) -> None:
        super().__init__(
            f"Unable to complete operation for network {network}. The mac address {mac} is in use."
        )


class PoolOutside(Invalid):
    def __init__(self, pool: str, cidr: str) -> None:
        super().__init__(f"The allocation pool {pool} spans beyond the subnet cidr {cidr}.")


class PoolsOverlap(Conflict):
    def __init__(self, cidr: str, one: str, other: str) -> None:
        super().__init__(f"Found overlapping allocation pools: {one} {other} for subnet {cidr}.")


class PoolMalformed(Invalid):
    def __init__(self, pool: str) -> None:
        super().__init__(f"The allocation pool {pool} is not valid.")


class GatewayInPool(Conflict):
    def __init__(self, gateway: str, pool: str) -> None:
        super().__init__(f"Gateway ip {gateway} conflicts with allocation pool {pool}.")


class GatewayInUse(InUse):
    """A router's interface holds the subnet's gateway address."""

    def __init__(self, gateway: str, port: UUID) -> None:
        super().__init__(f"Current gateway ip {gateway} already in use by port {port}. Unable to update.")


class NoGroupWithoutSecurity(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "Port security must be enabled and port must have an IP address in order to use security groups."
        )


class NoPairsWithoutSecurity(Conflict):
    def __init__(self) -> None:
        super().__init__("Port Security must be enabled in order to have allowed address pairs on a port.")


class GroupsWithoutSecurity(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "Port has security group associated. Cannot disable port security or IP address until security group is removed."
        )


class RuleExists(Exists):
    def __init__(self, rule: UUID) -> None:
        super().__init__(f"Security group rule already exists. Rule id is {rule}.")


class DefaultGroupExists(Exists):
    def __init__(self) -> None:
        super().__init__("Default security group already exists.")


class DefaultGroupRenamed(Conflict):
    def __init__(self) -> None:
        super().__init__("Updating default security group not allowed.")


class DefaultGroupRemoved(Conflict):
    def __init__(self) -> None:
        super().__init__("Insufficient rights for removing default security group.")


class AddressAssociated(Conflict):
    def __init__(self, address: str, port: UUID, fixed: str) -> None:
        super().__init__(
            f"Cannot associate floating IP {address} with port {port} using fixed IP {fixed}, "
            "as that fixed IP already has a floating IP on that external network."
        )


class Unroutable(NotFound):
    """No router with a gateway on the address's external network leads to the port's subnet."""

    def __init__(self, subnet: UUID, external: UUID, port: UUID) -> None:
        super().__init__("External network", external)
        self.public = (
            f"External network {external} is not reachable from subnet {subnet}. "
            f"Therefore, cannot associate Port {port} with a Floating IP."
        )


class AddressInUse(InUse):
    """The address has forwardings, or stands for a port, and cannot do the other as well."""


class SourceNat(Conflict):
    """The address is a network's own way out."""


class Ambiguous(Conflict):
    """Several networks would do; the caller must name one."""


class NotExternal(Invalid):
    def __init__(self, network: UUID) -> None:
        super().__init__(f"Network {network} is not a valid external network.")


class BadRouter(Invalid):
    """What was asked of a router contradicts its networks."""


class BadRoutes(Invalid):
    def __init__(self, why: str) -> None:
        super().__init__(f"Invalid format for routes: {why}.")


class Stale(Conflict):
    """Somebody changed the object since the caller read it."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"Constrained to {expected}, but current revision is different.")
