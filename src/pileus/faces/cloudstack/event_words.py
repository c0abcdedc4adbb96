"""What the core's events are called here: type, state, and a sentence for people."""

from collections.abc import Mapping
from typing import Any

from pileus.core.events import HIDDEN, Event

STARTED, COMPLETED = "Started", "Completed"
INFO, WARN, ERROR = "INFO", "WARN", "ERROR"
TYPES: Mapping[tuple[str, str], str] = {
    ("server", "create"): "VM.CREATE",
    ("server", "update"): "VM.UPDATE",
    ("server", "delete"): "VM.EXPUNGE",
    ("volume", "create"): "VOLUME.CREATE",
    ("volume", "update"): "VOLUME.UPDATE",
    ("volume", "delete"): "VOLUME.DELETE",
    ("snapshot", "create"): "SNAPSHOT.CREATE",
    ("snapshot", "delete"): "SNAPSHOT.DELETE",
    ("image", "create"): "TEMPLATE.CREATE",
    ("image", "update"): "TEMPLATE.UPDATE",
    ("image", "delete"): "TEMPLATE.DELETE",
    ("network", "create"): "NETWORK.CREATE",
    ("network", "update"): "NETWORK.UPDATE",
    ("network", "delete"): "NETWORK.DELETE",
    ("port", "create"): "NIC.CREATE",
    ("port", "update"): "NIC.UPDATE",
    ("port", "delete"): "NIC.DELETE",
    ("address", "create"): "NET.IPASSIGN",
    ("address", "update"): "NET.IPUPDATE",
    ("address", "delete"): "NET.IPRELEASE",
    ("forwarding", "create"): "NET.RULEADD",
    ("forwarding", "update"): "NET.RULEMODIFY",
    ("forwarding", "delete"): "NET.RULEDELETE",
    ("firewall_rule", "create"): "FIREWALL.OPEN",
    ("firewall_rule", "delete"): "FIREWALL.CLOSE",
    ("security_group", "create"): "SG.CREATE",
    ("security_group", "update"): "SG.UPDATE",
    ("security_group", "delete"): "SG.DELETE",
    ("security_rule", "create"): "SG.AUTH.INGRESS",
    ("security_rule", "delete"): "SG.REVOKE.INGRESS",
    ("key_pair", "create"): "REGISTER.SSH.KEYPAIR",
    ("size", "create"): "SERVICE.OFFERING.CREATE",
    ("size", "update"): "SERVICE.OFFERING.EDIT",
    ("size", "delete"): "SERVICE.OFFERING.DELETE",
    ("server_group", "create"): "AG.CREATE",
    ("server_group", "delete"): "AG.DELETE",
    ("zone", "create"): "ZONE.CREATE",
    ("zone", "update"): "ZONE.EDIT",
    ("zone", "delete"): "ZONE.DELETE",
    ("pod", "create"): "POD.CREATE",
    ("pod", "update"): "POD.EDIT",
    ("pod", "delete"): "POD.DELETE",
    ("icon", "create"): "UPLOAD.RESOURCE.ICON",
    ("icon", "delete"): "DELETE.RESOURCE.ICON",
    ("volume_kind", "create"): "DISK.OFFERING.CREATE",
    ("volume_kind", "update"): "DISK.OFFERING.EDIT",
    ("volume_kind", "delete"): "DISK.OFFERING.DELETE",
    ("user", "create"): "USER.CREATE",
    ("user", "update"): "USER.UPDATE",
    ("user", "delete"): "USER.DELETE",
    ("project", "create"): "PROJECT.CREATE",
    ("project", "update"): "PROJECT.UPDATE",
    ("project", "delete"): "PROJECT.DELETE",
    ("account_role", "create"): "ROLE.CREATE",
    ("account_role", "update"): "ROLE.UPDATE",
    ("account_role", "delete"): "ROLE.DELETE",
    ("account_role_rule", "create"): "ROLE.PERMISSION.CREATE",
    ("account_role_rule", "update"): "ROLE.PERMISSION.UPDATE",
    ("account_role_rule", "delete"): "ROLE.PERMISSION.DELETE",
    ("project_role", "create"): "PROJECT.ROLE.CREATE",
    ("project_role", "update"): "PROJECT.ROLE.UPDATE",
    ("project_role", "delete"): "PROJECT.ROLE.DELETE",
    ("project_role_rule", "create"): "PROJECT.ROLE.PERMISSION.CREATE",
    ("project_role_rule", "update"): "PROJECT.ROLE.PERMISSION.UPDATE",
    ("project_role_rule", "delete"): "PROJECT.ROLE.PERMISSION.DELETE",
    ("project_invitation", "update"): "PROJECT.INVITATION.UPDATE",
    ("project_invitation", "delete"): "PROJECT.INVITATION.REMOVE",
    ("domain", "create"): "DOMAIN.CREATE",
    ("domain", "update"): "DOMAIN.UPDATE",
    ("domain", "delete"): "DOMAIN.DELETE",
}
STATES: Mapping[tuple[str, str], str] = {
    ("server", "building"): "VM.CREATE",
    ("server", "starting"): "VM.START",
    ("server", "stopping"): "VM.STOP",
    ("server", "rebooting"): "VM.REBOOT",
    ("server", "rebooting hard"): "VM.REBOOT",
    ("server", "pausing"): "VM.UPDATE",
    ("server", "unpausing"): "VM.UPDATE",
    ("server", "suspending"): "VM.UPDATE",
    ("server", "resuming"): "VM.UPDATE",
    ("server", "destroying"): "VM.DESTROY",
    ("server", "recovering"): "VM.RECOVER",
    ("server", "deleting"): "VM.EXPUNGE",
    ("volume", "creating"): "VOLUME.CREATE",
    ("volume", "attaching"): "VOLUME.ATTACH",
    ("volume", "detaching"): "VOLUME.DETACH",
    ("volume", "extending"): "VOLUME.RESIZE",
    ("volume", "uploading"): "VOLUME.EXTRACT",
    ("volume", "deleting"): "VOLUME.DELETE",
    ("snapshot", "creating"): "SNAPSHOT.CREATE",
    ("snapshot", "deleting"): "SNAPSHOT.DELETE",
    ("image", "saving"): "TEMPLATE.CREATE",
    ("image", "deleting"): "TEMPLATE.DELETE",
    ("network", "building"): "NETWORK.CREATE",
    ("network", "deleting"): "NETWORK.DELETE",
}
"""What is under way in a transitional state: its type when a change leads there, and when one leads away."""
MADE = {"create": "created", "delete": "deleted"}
INSIDE = frozenset({"operation", "fault", "fault_at"})
"""Fields that a sentence does not name."""
MOST_FIELDS = 8


def moved(event: Event) -> tuple[str, str] | None:
    """The states before and after, of an update that changed the state."""
    change = event.change.get("state")
    if event.action == "update" and isinstance(change, list) and len(change) == 2:
        return str(change[0]), str(change[1])
    return None


def type_of(event: Event) -> str:
    """Empty for what CloudStack has no word for."""
    states = moved(event)
    if states is not None:
        for state in reversed(states):
            if (event.kind, state) in STATES:
                return STATES[event.kind, state]
    return TYPES.get((event.kind, event.action), "")


def state_of(event: Event) -> str:
    """Started: what was asked for is under way, and an event with this one as its parent tells the end."""
    states = moved(event)
    after = states[1] if states is not None else event.change.get("state")
    under_way = event.action != "delete" and (event.kind, str(after)) in STATES
    return STARTED if under_way else COMPLETED


def tells(event: Event) -> bool:
    """Whether there is anything for people in it: that an operation has taken the object up is none."""
    return event.action != "update" or bool(event.change.keys() - {"operation"})


def sentence(event: Event, name: str = "", fault: str = "") -> str:
    """`Server web (id): active -> stopped`; without a name by the one that the event has."""
    own = event.change.get("name")
    name = name or (own if isinstance(own, str) else "")
    what = event.kind.replace("_", " ").capitalize()
    subject = f"{what} {name} ({event.subject})" if name else f"{what} {event.subject}"
    said = f"{subject}: {happened(event)}"
    return f"{said}. {fault}" if fault else said


def happened(event: Event) -> str:
    states = moved(event)
    if states is not None:
        return f"{states[0]} -> {states[1]}"
    if event.action != "update":
        return MADE[event.action]
    renamed = event.change.get("name")
    if isinstance(renamed, list) and len(renamed) == 2 and HIDDEN not in renamed:
        return f"renamed from {renamed[0]}"
    fields = sorted(name.replace("_", " ") for name in event.change.keys() - INSIDE)
    more = len(fields) - MOST_FIELDS
    named = ", ".join(fields[:MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")
    return f"{named} changed" if named else "changed"


def fault_in(event: Event) -> str:
    """What the object itself says went wrong."""
    change: Any = event.change.get("fault")
    return str(change[1]) if isinstance(change, list) and len(change) == 2 else ""


def known_types() -> set[str]:
    return {*TYPES.values(), *STATES.values()}
