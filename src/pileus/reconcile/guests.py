"""What the difference between a server's record and its guest means. Nothing here asks or changes anything."""

from collections.abc import Collection, Iterator, Mapping
from uuid import UUID

from msgspec.structs import replace

from pileus.core.compute.records import Server, State
from pileus.drivers.hypervisor.protocol import Held, Power
from pileus.reconcile.reactions import Drift

SHOWN = frozenset({State.ACTIVE, State.STOPPED, State.PAUSED, State.SUSPENDED})
"""States that follow the guest. The others tell more than a platform can, or are an operation's."""
RUNNING = frozenset({Power.ON, Power.PAUSED})

SEEN: Mapping[Power, tuple[State, Drift]] = {
    Power.ON: (State.ACTIVE, Drift.GUEST_STARTED),
    Power.OFF: (State.STOPPED, Drift.GUEST_STOPPED),
    Power.PAUSED: (State.PAUSED, Drift.GUEST_PAUSED),
    Power.SUSPENDED: (State.SUSPENDED, Drift.GUEST_SUSPENDED),
    Power.CRASHED: (State.ERROR, Drift.GUEST_CRASHED),
}


def judge(server: Server, power: Power | None) -> Drift | None:
    """None where the record is right, or tells more than the platform can. `power` None: there is no guest."""
    if server.state not in SHOWN:
        return None
    if server.state is State.STOPPED and power in (None, Power.CRASHED):
        return None
    if power is None:
        return Drift.GUEST_LOST
    state, drift = SEEN[power]
    return None if state is server.state else drift


def followed(server: Server, drift: Drift) -> Server:
    """The server as the platform has it."""
    if drift is Drift.GUEST_LOST:
        return replace(
            server, state=State.STOPPED, fault="Its guest was gone from the host; start makes it again."
        )
    if drift is Drift.GUEST_CRASHED:
        return replace(server, state=State.ERROR, fault="Its guest crashed; reboot it hard.")
    state = next(state for state, seen in SEEN.values() if seen is drift)
    gone = server.state is State.SUSPENDED and state is State.STOPPED
    return replace(server, state=state, fault="Its saved memory was gone from the host." if gone else "")


def devices(
    server: Server, held: Held, volumes: Collection[UUID], ports: Collection[UUID]
) -> Iterator[tuple[Drift, frozenset[UUID]]]:
    """What a running guest lacks of its recorded volumes and ports, and what it has besides. What is off gets its
    devices when it is started. The config drive goes by the server's id."""
    if held.power not in RUNNING or server.state not in SHOWN:
        return
    found = (
        (Drift.DISK_UNPLUGGED, frozenset(volumes) - held.disks),
        (Drift.DISK_STRANGE, held.disks - frozenset(volumes) - {server.id}),
        (Drift.NIC_UNPLUGGED, frozenset(ports) - held.nics),
        (Drift.NIC_STRANGE, held.nics - frozenset(ports)),
    )
    yield from ((drift, ids) for drift, ids in found if ids)


__all__ = ["RUNNING", "SHOWN", "devices", "followed", "judge"]
