"""What a request to an operation looks like: from its declaration, and from a table where the declaration is open."""

import types
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import FieldInfo

from pileus.core.errors import CoreError
from pileus.faces.openstack.network.attributes import Attribute
from pileus.faces.openstack.network.collection import Collection
from pileus.faces.wire.service import Operation
from pileus.faces.wire.versions import Version, Versioned

Path = tuple[str | int, ...]
KINDS: Mapping[str, str] = {
    "servers": "server",
    "os-interface": "interface",
    "os-volume_attachments": "attached",
    "os-instance-actions": "action",
    "os-keypairs": "key_pair",
    "os-quota-sets": "project",
    "quotas": "project",
    "networks": "network",
    "network-ip-availabilities": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "floatingips": "floating_ip",
    "port_forwardings": "forwarding",
    "security-groups": "security_group",
    "security-group-rules": "security_rule",
    "images": "image",
    "volumes": "volume",
    "snapshots": "snapshot",
    "attachments": "attachment",
    "projects": "project",
    "users": "user",
    "application_credentials": "application_credential",
    "OS-EC2": "ec2",
    "access_rules": "access_rule",
    "trusts": "trust",
    "groups": "group",
    "credentials": "credential",
    "allocations": "server",
    "os-volume-transfer": "transfer",
    "volume-transfers": "transfer",
    "operations": "operation",
    "alerts": "alert",
    "webhooks": "webhook",
    "webhook-deliveries": "delivery",
    "os-server-groups": "server_group",
    "limits": "unified_limit",
    "registered_limits": "registered_limit",
}
"""What a path's parameter names, by the segment before it."""
WORDS: Mapping[str, str] = {
    "flavors": "1",
    "os-extra_specs": "spec",
    "extra_specs": "spec",
    "metadata": "item",
    "tags": "tag",
    "ips": "net",
    "domains": "default",
    "regions": "RegionOne",
    "extensions": "none",
    "inventories": "VCPU",
    "resource_classes": "VCPU",
    "traits": "COMPUTE_NODE",
    "os-quota-class-sets": "default",
    "os-services": "enable",
    "os-aggregates": "1",
    "identity_providers": "idp",
    "identity-providers": "idp",
    "protocols": "openid",
    "mappings": "rules",
    "service_providers": "sky",
    "websso": "openid",
}
"""The parameters that name what belongs to nobody."""
FIELDS: Mapping[str, str] = {
    "imageRef": "image",
    "image_id": "image",
    "network_id": "network",
    "net_id": "network",
    "subnet_id": "subnet",
    "port_id": "port",
    "internal_port_id": "port",
    "security_group_id": "security_group",
    "remote_group_id": "security_group",
    "security_groups": "security_group",
    "volume_id": "volume",
    "volumeId": "volume",
    "source_volid": "volume",
    "snapshot_id": "snapshot",
    "server_id": "server",
    "instance_uuid": "server",
    "router_id": "router",
    "key_name": "key_pair",
}
"""What a body's field names, by the field."""
VALUES: Mapping[str, Any] = {
    "flavorRef": "1",
    "ip_version": 4,
    "cidr": "10.99.0.0/24",
    "direction": "ingress",
    "protocol": "tcp",
    "internal_port": 80,
    "external_port": 8080,
    "size": 2,
    "new_size": 3,
    "domain_id": "default",
    "public_key": "ssh-rsa AAAA",
    "type": "SOFT",
    "networks": "none",
    "state": "active",
    "auth_url": "https://sky.example/auth",
    "sp_url": "https://sky.example/ecp",
    "mapping_id": "rules",
    "issuer": "https://idp.example",
}


def undeclared(known: Mapping[str, str]) -> dict[str, Any]:
    """Good bodies of the operations that declare none, by key."""
    rule = {"security_group_id": known["security_group"], "direction": "egress", "protocol": "udp"}
    forwarding = {
        "protocol": "udp",
        "internal_port_id": known["port"],
        "internal_port": 1,
        "external_port": 9,
    }
    network, subnet = known["network"], known["subnet"]
    interface, routes = {"subnet_id": subnet}, {"router": {"routes": []}}
    made = {
        "POST /v2.0/subnets": {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.98.0.0/24"}},
        "POST /v2.0/floatingips": {"floatingip": {"floating_network_id": known["external"]}},
        "POST /v2.0/floatingips/{id}/port_forwardings": {"port_forwarding": forwarding},
        "PUT /v2.0/floatingips/{id}/port_forwardings/{forwarding}": {"port_forwarding": {"description": "d"}},
        "PUT /v2.0/floatingips/{id}": {"floatingip": {"description": "d"}},
        "POST /v2.0/networks": {"network": {"name": "n"}},
        "POST /v2.0/ports": {"port": {"network_id": network}},
        "PUT /v2.0/quotas/{project}": {"quota": {"network": 5}},
        "POST /v2.0/routers": {"router": {"name": "r"}},
        "PUT /v2.0/routers/{id}/add_router_interface": interface,
        "PUT /v2.0/routers/{id}/remove_router_interface": interface,
        "PUT /v2.0/routers/{id}/add_extraroutes": routes,
        "PUT /v2.0/routers/{id}/remove_extraroutes": routes,
        "POST /v2.0/security-groups": {"security_group": {"name": "g"}},
        "POST /v2.0/security-group-rules": {"security_group_rule": rule},
        "POST /v2/images": {"name": "i", "disk_format": "raw", "container_format": "bare"},
        "PATCH /v2/images/{image}": [{"op": "replace", "path": "/name", "value": "n"}],
        "PUT /v3/domains/{domain}/config": {"config": {"ldap": {"url": "ldap://x"}}},
        "PATCH /v3/domains/{domain}/config": {"config": {"ldap": {"url": "ldap://x"}}},
        "PATCH /v3/domains/{domain}/config/{group}": {"config": {"ldap": {"url": "ldap://x"}}},
        "PATCH /v3/domains/{domain}/config/{group}/{option}": {"config": {"url": "ldap://x"}},
    }
    for many, one in NETWORK_RESOURCES.items():
        made[f"PUT /v2.0/{many}/{{id}}"] = made.get(f"PUT /v2.0/{many}/{{id}}", {one: {"name": "n"}})
        made[f"PUT /v2.0/{many}/{{id}}/tags"] = {"tags": ["a"]}
    return made


NETWORK_RESOURCES: Mapping[str, str] = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "floatingips": "floatingip",
    "security-groups": "security_group",
}
RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]
PARTICULAR: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "POST /servers/{server}/os-volume_attachments": lambda known: {
        "volumeAttachment": {"volumeId": known.get("volume", str(uuid4()))}
    },
    "POST /servers/{server}/os-interface": lambda known: {
        "interfaceAttachment": {"net_id": known["network"]}
    },
    "PUT /os-services/{key}": lambda known: {"status": "enabled"},
    "POST /v3/registered_limits": lambda known: {
        "registered_limits": [{"service_id": known["service"], "resource_name": "doors", "default_limit": 1}]
    },
    "POST /v3/limits": lambda known: {
        "limits": [
            {
                "service_id": known["service"],
                "resource_name": "servers",
                "resource_limit": 1,
                "project_id": known["project"],
            }
        ]
    },
    "POST /servers": lambda known: {
        "server": {"name": "s", "flavorRef": "1", "imageRef": known["image"], "networks": "none"}
    },
    "POST /os-keypairs": lambda known: {"keypair": {"name": "k", "public_key": "ssh-rsa A", "type": "ssh"}},
    "POST /servers/{server}/remote-consoles": lambda known: {
        "remote_console": {"protocol": "vnc", "type": "novnc"}
    },
    "POST /flavors": lambda known: {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1}},
    "POST /servers/{server}/action lock": lambda known: {"lock": {}},
    "POST /servers/{server}/action os-getVNCConsole": lambda known: {"os-getVNCConsole": {"type": "novnc"}},
    "PUT /servers/{server}/metadata/{item}": lambda known: {"meta": {"item": "v"}},
    "PUT /volumes/{volume}/metadata/{key}": lambda known: {"meta": {"item": "v"}},
    "PUT /snapshots/{snapshot}/metadata/{key}": lambda known: {"meta": {"item": "v"}},
    "PUT /volumes/{volume}": lambda known: {"volume": {"name": "n"}},
    "POST /volumes/{volume}/action os-volume_upload_image": lambda known: {
        "os-volume_upload_image": {"image_name": "n", "disk_format": "qcow2"}
    },
    "PUT /snapshots/{snapshot}": lambda known: {"snapshot": {"name": "n"}},
    "POST /servers/{server}/action removeSecurityGroup": lambda known: {
        "removeSecurityGroup": {"name": "web"}
    },
    "POST /servers/{server}/action addSecurityGroup": lambda known: {"addSecurityGroup": {"name": "web"}},
    "POST /v3/OS-TRUST/trusts": lambda known: {
        "trust": {
            "trustor_user_id": known["user"],
            "trustee_user_id": known["user"],
            "impersonation": False,
        }
    },
    "POST /v3/credentials": lambda known: {
        "credential": {"type": "cert", "blob": "x", "user_id": known["user"]}
    },
    "PUT /v3/OS-FEDERATION/mappings/{mapping}": lambda known: {"mapping": {"rules": RULES}},
    "PATCH /v3/OS-FEDERATION/mappings/{mapping}": lambda known: {"mapping": {"rules": RULES}},
    "PUT /identity-providers/{provider}/settings": lambda known: {
        "settings": {"openid": {"issuer": "https://idp.example", "client": "pileus"}}
    },
    "POST /simulation/faults": lambda known: {
        "host": "images",
        "fault": "slow",
        "factor": 1.0,
        "lasts": 0.001,
    },
}
"""Bodies whose values depend on each other."""


def resolved(declared: Any, version: Version) -> tuple[str | None, Any]:
    """(envelope, type) of a declared body at a version; (None, None) where there is none."""
    if isinstance(declared, Versioned):
        return resolved(declared.at(version), version)
    envelope, shape = declared if isinstance(declared, tuple) else (None, declared)
    if isinstance(shape, Versioned):
        shape = shape.at(version)
    return envelope, shape


def body(operation: Operation, version: Version, known: Mapping[str, str]) -> Any:
    """A good body; UNSET where there is none."""
    envelope, shape = resolved(operation.body, version)
    if shape is None:
        return {operation.action: None} if operation.action else msgspec.UNSET
    if operation.key in PARTICULAR:
        return PARTICULAR[operation.key](known)
    if operation.action is None and open_ended(shape):
        return undeclared(known)[operation.key]
    inner = sample(shape, known)
    key = operation.action or envelope
    return inner if key is None else {key: inner}


def open_ended(shape: Any) -> bool:
    return shape is Any or shape == dict[str, Any] or get_origin(shape) is list


def sample(kind: Any, known: Mapping[str, str], name: str = "") -> Any:
    """A value that the declaration takes."""
    for value in candidates(name, known):
        if fits(value, kind):
            return value
    kind = stripped(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {
            field.encode_name: sample(field.type, known, field.encode_name)
            for field in fields(kind)
            if field.required
        }
    for part in alternatives(kind):
        inner = stripped(part)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct | Enum):
            return sample(inner, known)
        if get_origin(inner) is Literal:
            return get_args(inner)[0]
        if get_origin(inner) in (list, tuple) and get_args(inner):
            value = [sample(get_args(inner)[0], known, name)]
            if fits(value, part):
                return value
    for value in PLAIN:
        if fits(value, kind):
            return value
    raise AssertionError(f"no value fits {name}: {kind}; add one to VALUES or PARTICULAR")


PLAIN: tuple[Any, ...] = (
    "x",
    "1",
    1,
    True,
    {},
    [],
    1.5,
    str(UUID(int=1)),
    "2030-01-01T00:00:00Z",
    "1970-01-01",
    None,
)


def candidates(name: str, known: Mapping[str, str]) -> Iterator[Any]:
    if name in FIELDS and FIELDS[name] in known:
        yield known[FIELDS[name]]
    if name in VALUES:
        yield VALUES[name]


@cache
def fields(kind: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    return msgspec.structs.fields(kind)


@cache
def decoder(kind: Any) -> "msgspec.json.Decoder[Any] | None":
    """None of what no JSON can be."""
    try:
        return msgspec.json.Decoder(kind)
    except TypeError:
        return None


def fits(value: Any, kind: Any) -> bool:
    reader = decoder(kind)
    if reader is None:
        return False
    try:
        reader.decode(msgspec.json.encode(value))
    except (msgspec.ValidationError, TypeError):
        return False
    return True


def stripped(kind: Any) -> Any:
    return stripped(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def alternatives(kind: Any) -> tuple[Any, ...]:
    if get_origin(stripped(kind)) in (Union, types.UnionType):
        return tuple(part for part in get_args(stripped(kind)) if part not in (type(None), msgspec.UnsetType))
    return (kind,)


JSON: tuple[Any, ...] = (None, True, -1, 1.5, "\u00e9 x", [], [[]], {}, {"x": {"x": 1}})


def wrong(kind: Any) -> list[Any]:
    """JSON of the kinds that the declaration refuses."""
    return [value for value in JSON if not fits(value, kind)]


def parts(
    kind: Any, known: Mapping[str, str], at: Path = (), depth: int = 0
) -> Iterator[tuple[Path, Any, Any]]:
    """Everything that is declared below: (place, declaration, the value around which it stands: for nested structs)."""
    for part in alternatives(kind):
        inner = stripped(part)
        if depth > 4 or (isinstance(inner, type) and issubclass(inner, Enum)) or get_origin(inner) is Literal:
            continue
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            for field in fields(inner):
                yield (*at, field.encode_name), field.type, inner
                yield from parts(field.type, known, (*at, field.encode_name), depth + 1)
        elif get_origin(inner) in (list, tuple) and get_args(inner):
            yield (*at, 0), get_args(inner)[0], inner
            yield from parts(get_args(inner)[0], known, (*at, 0), depth + 1)


def put(value: Any, at: Path, new: Any, kind: Any, known: Mapping[str, str]) -> Any:
    """The value with something else at a place; what is missing on the way is made as declared."""
    if not at:
        return new
    key = at[0]
    if isinstance(key, int):
        inner = next(part for part in map(stripped, alternatives(kind)) if get_origin(part) in (list, tuple))
        of = get_args(inner)[0]
        below = value[0] if isinstance(value, list) and value else blank(of, known, at[1:])
        return [put(below, at[1:], new, of, known)]
    inner = next(
        part
        for part in map(stripped, alternatives(kind))
        if isinstance(part, type) and issubclass(part, msgspec.Struct)
        if key in {field.encode_name for field in fields(part)}
    )
    of = next(field.type for field in fields(inner) if field.encode_name == key)
    around = value if isinstance(value, dict) else sample(inner, known)
    return {**around, key: put(around.get(key), at[1:], new, of, known)}


def blank(kind: Any, known: Mapping[str, str], rest: Path) -> Any:
    return sample(kind, known) if rest else None


def without(value: Any, at: Path) -> Any:
    """Without what stands at a place."""
    key, rest = at[0], at[1:]
    if rest:
        return {**value, key: without(value[key], rest)}
    return {name: each for name, each in value.items() if name != key}


def leaves(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*at, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from leaves(each, (*at, number))


def at_place(value: Any, at: Path, new: Any) -> Any:
    """A JSON value with something else at a place that it has."""
    if not at:
        return new
    if isinstance(value, list):
        return [at_place(each, at[1:], new) if number == at[0] else each for number, each in enumerate(value)]
    return {**value, at[0]: at_place(value.get(at[0]), at[1:], new)}


def attributes(operation: Operation, collections: Mapping[str, Collection]) -> tuple[str, list[Attribute]]:
    """Of Neutron's collections, whose bodies are declared in a way of their own: envelope and attributes."""
    path = operation.path.removesuffix("/{id}")
    found = collections.get(path)
    if operation.service != "network" or found is None or operation.method not in ("POST", "PUT"):
        return "", []
    verb = "create" if operation.method == "POST" else "update"
    return found.one, [attribute for attribute in found.attributes if getattr(attribute, verb)]


def refused(attribute: Attribute) -> list[Any]:
    found = []
    for value in JSON:
        if attribute.default == value:
            continue
        try:
            attribute.read(value)
        except (ValueError, CoreError):
            found.append(value)
    return found
