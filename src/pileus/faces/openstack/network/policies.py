"""Neutron's rules by their names, with its defaults. The core keeps projects apart; what these say can only narrow."""

from collections.abc import Iterable

ADMIN = "role:admin"
MEMBER = "role:member or role:admin"
READER = "role:reader or role:member or role:admin or role:service"
NET_OWNER = "role:admin or (role:member and tenant_id:%(network:tenant_id)s)"

PLAIN = ("network", "subnet", "port", "router", "floatingip", "security_group")


def of(verbs: Iterable[str], resource: str, attributes: Iterable[str], rule: str) -> dict[str, str]:
    return {f"{verb}_{resource}:{name}": rule for verb in verbs for name in attributes}


WRITE = ("create", "update")
EVERY = ("create", "get", "update")
PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
BINDING = ("binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details")

POLICIES: dict[str, str] = {
    **{f"{verb}_{name}": MEMBER for name in PLAIN for verb in ("create", "update", "delete")},
    **{f"get_{name}": READER for name in (*PLAIN, "security_group_rule", "floatingip_port_forwarding")},
    **{f"{verb}_security_group_rule": MEMBER for verb in ("create", "delete")},
    **{f"{verb}_floatingip_port_forwarding": MEMBER for verb in ("create", "update", "delete")},
    **{f"{verb}_router_interface": MEMBER for verb in ("add", "remove")},
    **{f"{verb}_extraroutes": MEMBER for verb in ("add", "remove")},
    **{f"{verb}_tags": MEMBER for verb in (*WRITE, "delete")},
    "get_tags": READER,
    **of(WRITE, "network", ("shared", "router:external", "is_default"), ADMIN),
    **of(WRITE, "network", ("port_security_enabled",), MEMBER),
    **of(EVERY, "network", PROVIDER, ADMIN),
    **of(EVERY, "port", BINDING, ADMIN),
    **of(WRITE, "port", ("binding:vnic_type",), MEMBER),
    **of(WRITE, "port", ("mac_address", "port_security_enabled", "allowed_address_pairs"), NET_OWNER),
    **of(WRITE, "router", ("distributed", "ha"), ADMIN),
    **of(
        WRITE,
        "router",
        ("external_gateway_info:enable_snat", "external_gateway_info:external_fixed_ips"),
        ADMIN,
    ),
    **of(("get",), "router", ("distributed", "ha"), ADMIN),
    **of(("create",), "floatingip", ("floating_ip_address",), ADMIN),
    "get_quota": READER,
    "update_quota": ADMIN,
    "delete_quota": ADMIN,
    "get_quotas": ADMIN,
    "get_network_ip_availability": ADMIN,
    "get_availability_zone": READER,
}
