"""The original's words for the core's states: (vm_state, task_state), status and power."""

from collections.abc import Mapping

from pileus.core.compute.records import State

S = State

STATES: Mapping[State, tuple[str, str | None]] = {
    S.BUILDING: ("building", "spawning"),
    S.ACTIVE: ("active", None),
    S.STOPPED: ("stopped", None),
    S.PAUSED: ("paused", None),
    S.SUSPENDED: ("suspended", None),
    S.ERROR: ("error", None),
    S.STARTING: ("stopped", "powering-on"),
    S.STOPPING: ("active", "powering-off"),
    S.REBOOTING: ("active", "reboot_started"),
    S.REBOOTING_HARD: ("active", "reboot_started_hard"),
    S.PAUSING: ("active", "pausing"),
    S.UNPAUSING: ("paused", "unpausing"),
    S.SUSPENDING: ("active", "suspending"),
    S.RESUMING: ("suspended", "resuming"),
    S.DESTROYING: ("active", "soft-deleting"),
    S.DESTROYED: ("soft-delete", None),
    S.RECOVERING: ("soft-delete", "restoring"),
    S.DELETING: ("active", "deleting"),
}

STATUS: Mapping[State, str] = {
    S.BUILDING: "BUILD",
    S.ACTIVE: "ACTIVE",
    S.STOPPED: "SHUTOFF",
    S.PAUSED: "PAUSED",
    S.SUSPENDED: "SUSPENDED",
    S.ERROR: "ERROR",
    S.STARTING: "SHUTOFF",
    S.STOPPING: "ACTIVE",
    S.REBOOTING: "REBOOT",
    S.REBOOTING_HARD: "HARD_REBOOT",
    S.PAUSING: "ACTIVE",
    S.UNPAUSING: "PAUSED",
    S.SUSPENDING: "ACTIVE",
    S.RESUMING: "SUSPENDED",
    S.DESTROYING: "ACTIVE",
    S.DESTROYED: "SOFT_DELETED",
    S.RECOVERING: "SOFT_DELETED",
    S.DELETING: "ACTIVE",
}

UNUSED = frozenset(
    [
        "DELETED",
        "MIGRATING",
        "PASSWORD",
        "REBUILD",
        "RESCUE",
        "RESIZE",
        "REVERT_RESIZE",
        "SHELVED",
        "SHELVED_OFFLOADED",
        "VERIFY_RESIZE",
    ]
)
"""Statuses that no server here has; to filter by one finds nothing."""

POWER: Mapping[State, int] = {
    S.BUILDING: 0,
    S.ACTIVE: 1,
    S.STOPPED: 4,
    S.PAUSED: 3,
    S.SUSPENDED: 4,
    S.ERROR: 0,
    S.STARTING: 4,
    S.STOPPING: 1,
    S.REBOOTING: 1,
    S.REBOOTING_HARD: 1,
    S.PAUSING: 1,
    S.UNPAUSING: 3,
    S.SUSPENDING: 1,
    S.RESUMING: 4,
    S.DESTROYING: 1,
    S.DESTROYED: 4,
    S.RECOVERING: 4,
    S.DELETING: 1,
}

PROGRESSING = frozenset({"ACTIVE", "BUILD"})


def attribute(state: State) -> str:
    """What keeps a server from an action: the task under way, or its state."""
    vm_state, task_state = STATES[state]
    return f"task_state {task_state}" if task_state else f"vm_state {vm_state}"


def states_of(status: str) -> tuple[State, ...]:
    return tuple(state for state, word in STATUS.items() if word == status)


def known_status(status: str) -> bool:
    return status in UNUSED or status in STATUS.values()


def with_vm_state(vm_state: str) -> tuple[State, ...]:
    return tuple(state for state, (word, _) in STATES.items() if word == vm_state)


def with_task_state(task_state: str) -> tuple[State, ...]:
    return tuple(state for state, (_, word) in STATES.items() if word == task_state)


def with_power(power: int) -> tuple[State, ...]:
    return tuple(state for state, number in POWER.items() if number == power)
