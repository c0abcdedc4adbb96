"""Refusals as Neutron words them: `{"NeutronError": {"type", "message", "detail"}}`, the type being what clients map."""

from collections.abc import Mapping

from pileus.core.errors import CoreError, Kind, NotFound, QuotaExceeded
from pileus.core.network import errors as core
from pileus.core.network.forwardings import ForwardingExists
from pileus.core.network.rules import RuleInvalid
from pileus.faces.openstack.wire import Errors
from pileus.faces.wire.errors import WireError, WireKind
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response

Words = tuple[int, str]

KINDS: Mapping[Kind, Words] = {
    Kind.INVALID: (400, "HTTPBadRequest"),
    Kind.UNAUTHENTICATED: (401, "HTTPUnauthorized"),
    Kind.FORBIDDEN: (403, "PolicyNotAuthorized"),
    Kind.NOT_FOUND: (404, "HTTPNotFound"),
    Kind.EXISTS: (409, "Conflict"),
    Kind.CONFLICT: (409, "Conflict"),
    Kind.IN_USE: (409, "InUse"),
    Kind.QUOTA: (409, "OverQuota"),
    Kind.NO_CAPACITY: (409, "IpAddressGenerationFailure"),
    Kind.TOO_LARGE: (413, "HTTPRequestEntityTooLarge"),
    Kind.TOO_MANY: (429, "TooManyRequests"),
    Kind.UNSUPPORTED: (400, "BadRequest"),
    Kind.UNAVAILABLE: (503, "ServiceUnavailable"),
}

CLASSES: Mapping[type[CoreError], Words] = {
    core.NetworkInUse: (409, "NetworkInUse"),
    core.SubnetInUse: (409, "SubnetInUse"),
    core.RouterInUse: (409, "RouterInUse"),
    core.GroupInUse: (409, "SecurityGroupInUse"),
    core.PortOwned: (409, "ServicePortInUse"),
    core.PortInUse: (409, "PortInUse"),
    core.InterfaceNeeded: (409, "RouterInterfaceInUseByFloatingIP"),
    core.InterfaceRouted: (409, "RouterInterfaceInUseByRoute"),
    core.GatewayNeeded: (409, "RouterExternalGatewayInUseByFloatingIp"),
    core.InterfaceMissing: (404, "RouterInterfaceNotFound"),
    core.AddressesExhausted: (409, "IpAddressGenerationFailure"),
    core.AddressTaken: (409, "IpAddressAlreadyAllocated"),
    core.AddressOutside: (400, "InvalidIpForSubnet"),
    core.MacTaken: (409, "MacAddressInUse"),
    core.PoolOutside: (400, "OutOfBoundsAllocationPool"),
    core.PoolsOverlap: (409, "OverlappingAllocationPools"),
    core.PoolMalformed: (400, "InvalidAllocationPool"),
    core.GatewayInPool: (409, "GatewayConflictWithAllocationPools"),
    core.GatewayInUse: (409, "GatewayIpInUse"),
    core.NoGroupWithoutSecurity: (400, "PortSecurityAndIPRequiredForSecurityGroups"),
    core.GroupsWithoutSecurity: (409, "PortSecurityPortHasSecurityGroup"),
    core.NoPairsWithoutSecurity: (409, "AddressPairAndPortSecurityRequired"),
    core.RuleExists: (409, "SecurityGroupRuleExists"),
    core.DefaultGroupExists: (409, "SecurityGroupDefaultAlreadyExists"),
    core.DefaultGroupRenamed: (409, "SecurityGroupCannotUpdateDefault"),
    core.DefaultGroupRemoved: (409, "SecurityGroupCannotRemoveDefault"),
    core.AddressAssociated: (409, "FloatingIPPortAlreadyAssociated"),
    core.Unroutable: (404, "ExternalGatewayForFloatingIPNotFound"),
    core.AddressInUse: (409, "FipInUseByPortForwarding"),
    core.NotExternal: (400, "BadRequest"),
    core.BadRouter: (400, "BadRequest"),
    core.BadRoutes: (400, "InvalidRoutes"),
    core.Stale: (412, "RevisionNumberConstraintFailed"),
    ForwardingExists: (400, "BadRequest"),
}

MISSING: Mapping[str, tuple[str, str]] = {
    "Network": ("NetworkNotFound", "Network {} could not be found."),
    "Subnet": ("SubnetNotFound", "Subnet {} could not be found."),
    "Port": ("PortNotFound", "Port {} could not be found."),
    "Router": ("RouterNotFound", "Router {} could not be found"),
    "Address": ("FloatingIPNotFound", "Floating IP {} could not be found"),
    "PortForwarding": ("PortForwardingNotFound", "Port Forwarding {} could not be found."),
    "SecurityGroup": ("SecurityGroupNotFound", "Security group {} does not exist"),
    "SecurityRule": ("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
    "Tag": ("TagNotFound", "Tag {} could not be found."),
    "Extension": ("ExtensionNotFound", "Extension with alias {} does not exist"),
}
"""Type and message by what the core did not find."""

RULES: Mapping[str, Words] = {
    "protocol": (400, "SecurityGroupRuleInvalidProtocol"),
    "ethertype protocol": (400, "SecurityGroupEthertypeConflictWithProtocol"),
    "ethertype cidr": (400, "SecurityGroupRuleParameterConflict"),
    "two remotes": (400, "SecurityGroupMultipleRemoteEntities"),
    "ports without protocol": (400, "SecurityGroupProtocolRequiredWithPorts"),
    "protocol without ports": (400, "SecurityGroupInvalidProtocolForPort"),
    "icmp value": (400, "SecurityGroupInvalidIcmpValue"),
    "icmp code alone": (400, "SecurityGroupMissingIcmpType"),
    "port value": (400, "SecurityGroupInvalidPortValue"),
    "port range": (400, "SecurityGroupInvalidPortRange"),
}

WIRE: Mapping[WireKind, str] = {
    WireKind.NO_ROUTE: "HTTPNotFound",
    WireKind.BAD_METHOD: "HTTPMethodNotAllowed",
    WireKind.INTERNAL: "HTTPInternalServerError",
}

RESOURCES: Mapping[str, str] = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "addresses": "floatingip",
    "security_groups": "security_group",
    "security_rules": "security_group_rule",
}
"""Quota names: the core's and Neutron's."""


class NeutronErrors(Errors):
    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        if isinstance(error, WireError):
            return answer(code, WIRE.get(error.kind, "HTTPBadRequest"), error.public)
        if isinstance(error, QuotaExceeded):
            name = RESOURCES.get(error.resource, error.resource)
            more = f" {error.public}" if error.of else ""
            return answer(409, "OverQuota", f"Quota exceeded for resources: ['{name}'].{more}")
        status, type_ = words(error)
        if type(error) is NotFound and error.what in MISSING:
            type_, text = MISSING[error.what]
            return answer(404, type_, text.format(error.key))
        return answer(status, type_, error.public)


def words(error: CoreError) -> Words:
    if isinstance(error, RuleInvalid):
        return RULES[error.reason]
    for cls in type(error).__mro__:
        if cls in CLASSES:
            return CLASSES[cls]
    return KINDS[error.kind]


def answer(status: int, type_: str, message: str) -> Response:
    return Response(status, {"NeutronError": {"type": type_, "message": message, "detail": ""}})
