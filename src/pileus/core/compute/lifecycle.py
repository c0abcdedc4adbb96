"""The verbs that change a server's state, from start to expunge: checked, recorded and begun in one transaction."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute import hosts
from pileus.core.compute.records import TRANSITIONAL, Server, State
from pileus.core.compute.remembered import remember
from pileus.core.compute.states import VERBS, HostUnready, Locked, StateConflict, Verb, check
from pileus.core.errors import Invalid
from pileus.core.operations import LIVE, UNDISTURBED, Accepted, Operation
from pileus.store import not_in

SUPERSEDES = frozenset({Verb.REBOOT_HARD, Verb.DESTROY, Verb.DELETE})
"""These do not wait for what is under way: it unwinds first."""
ENDS = frozenset({Verb.DESTROY, Verb.DELETE})
"""Asked for twice, these are answered twice with the same operation."""
RESETTABLE = frozenset({State.ACTIVE, State.ERROR, State.STOPPED})


class Back(msgspec.Struct, frozen=True, kw_only=True):
    """What the server was before, and is again when the change fails."""

    before: State
    force: bool = False
    """Stop: at once, without asking the guest."""


async def change(
    cloud: Cloud, caller: Caller, key: UUID, verb: Verb, *, force: bool = False, command: str = ""
) -> Accepted:
    """Begin one verb. Raises NotFound, Locked, StateConflict."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, f"server.{verb.value.replace(' ', '_')}")
        return await begin(tx, caller, server, verb, force=force, command=command)


async def begin(
    tx: Tx, caller: Caller, server: Server, verb: Verb, *, force: bool = False, command: str = ""
) -> Accepted:
    """The same in a transaction that has the server already."""
    refuse_locked(caller, server)
    running = await deletion.under_way(tx, server)
    if running is not None and verb in ENDS and server.state is VERBS[verb].during:
        await deletion.wake(tx, running)
        return Accepted(server, running)
    before = steady(server)
    during = check(server, verb).during
    await hosts.refuse_wake(tx, server, verb)
    operation = await tx.start(
        f"server.{verb.value.replace(' ', '_')}",
        subject=server,
        want=Back(before=before, force=force),
        supersede=verb in SUPERSEDES,
        command=command or verb.value,
    )
    changed = await tx.put(replace(server, state=during, operation=operation.id, updated_at=tx.cloud.now()))
    return Accepted(changed, operation)


def steady(server: Server) -> State:
    """The state to which a failed change returns: of a server that is changing, what that change had begun with."""
    if server.state not in TRANSITIONAL:
        return server.state
    return State.ACTIVE if server.state is State.REBOOTING else State.ERROR


def refuse_locked(caller: Caller, server: Server) -> None:
    if server.locked and not caller.admin:
        raise Locked(server.id)


async def start(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    return await change(cloud, caller, key, Verb.START, command=command)


async def stop(
    cloud: Cloud, caller: Caller, key: UUID, *, force: bool = False, command: str = ""
) -> Accepted:
    """Ask the guest to power off, and pull the plug when it does not; `force`: pull it at once."""
    return await change(cloud, caller, key, Verb.STOP, force=force, command=command)


async def reboot(
    cloud: Cloud, caller: Caller, key: UUID, *, hard: bool = False, command: str = ""
) -> Accepted:
    return await change(
        cloud, caller, key, Verb.REBOOT_HARD if hard else Verb.REBOOT, command=command or "reboot"
    )


async def pause(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    return await change(cloud, caller, key, Verb.PAUSE, command=command)


async def unpause(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    return await change(cloud, caller, key, Verb.UNPAUSE, command=command)


async def suspend(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    return await change(cloud, caller, key, Verb.SUSPEND, command=command)


async def resume(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    return await change(cloud, caller, key, Verb.RESUME, command=command)


async def destroy(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """Stop it and keep it, recoverable, until it is expunged; what is under way is called off. A server that was never
    built is deleted instead, and one that is being deleted is gone soon."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.destroy")
        recoverable = server.state in VERBS[Verb.DESTROY].of and server.host is not None
        verb = Verb.DESTROY if recoverable else Verb.DELETE
        return await begin(tx, caller, server, verb, command=command or "destroy")


async def recover(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """A destroyed server is stopped again."""
    return await change(cloud, caller, key, Verb.RECOVER, command=command)


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """Accepted in every state; what is under way unwinds first."""
    return await change(cloud, caller, key, Verb.DELETE, command=command)


expunge = delete


async def fail(tx: Tx, key: UUID, operation: UUID, fault: str) -> None:
    """In error, if it is still there and this operation still holds it."""
    server, now = await tx.maybe(Server, key), tx.cloud.now()
    if server is not None and server.operation == operation:
        await tx.put(
            replace(server, state=State.ERROR, operation=None, fault=fault, fault_at=now, updated_at=now)
        )


async def reset_state(cloud: Cloud, caller: Caller, key: UUID, state: State) -> Server:
    """An administrator's word on what the server is; what is under way is called off."""
    caller.require_admin("server.reset_state")
    if state not in RESETTABLE:
        raise Invalid(f"A server's state can be reset to {', '.join(sorted(RESETTABLE))}, not to {state}.")
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.update")
        if state is not State.ERROR and server.host is None:
            raise HostUnready(server.id)
        if server.state is State.DELETING and server.operation is not None:
            raise StateConflict(server.id, "reset_state", server.state)
        now = cloud.now()
        reason = "It was cancelled, because its server's state was reset."
        stop_at = {"cancelled": True, "cancel_reason": reason, "wake_at": now}
        others = not_in("workflow", UNDISTURBED)
        await tx.rows.update_where(Operation, stop_at, others, key=key, outcome=tuple(LIVE))
        fault = server.fault if state is State.ERROR else ""
        return await tx.put(replace(server, state=state, operation=None, fault=fault, updated_at=now))


async def set_lock(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    locked: bool,
    *,
    facets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Server:
    """While locked, only administrators change the server; its project's members may unlock it."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.update")
        await remember(tx, key, facets or {})
        return await tx.put(replace(server, locked=locked, updated_at=cloud.now()))
