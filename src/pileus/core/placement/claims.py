"""A server's share of a host: the claim and the host's counters change in one transaction, and never disagree."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.cloud import Look, Tx
from pileus.core.compute.records import Host
from pileus.core.placement.inventory import Need, known, room
from pileus.core.placement.records import Claim


class Full(Exception):
    """The host cannot take it (any more); another one may."""


async def claim(tx: Tx, consumer: UUID, need: Need, host: UUID, *, project: UUID, user: UUID) -> Host:
    """Take the share; the consumer's present claim on the host is kept. Raises Full."""
    held = await tx.maybe(Host, host)
    if held is None:
        known(tx.cloud).forget(host)
        raise Full(f"host {host} is gone")
    present = await tx.maybe(Claim, consumer)
    if present is not None and present.host == host:
        return held
    if present is not None:
        await release(tx, consumer)
    if not room(held).fits(need):
        # Read under lock, so it is what is committed.
        known(tx.cloud).see(held)
        raise Full(f"host {held.hostname} has no room")
    await tx.add(
        Claim(
            id=consumer,
            host=host,
            project=project,
            user=user,
            vcpus=need.vcpus,
            memory_mib=need.memory_mib,
            disk_gib=need.disk_gib,
        )
    )
    return await _count(tx, held, need, 1)


async def release(tx: Tx, consumer: UUID) -> None:
    """Give the share back; without a claim there is nothing to do."""
    present = await tx.maybe(Claim, consumer)
    if present is None:
        return
    await tx.remove(present)
    host = await tx.maybe(Host, present.host)
    if host is not None:
        need = Need(vcpus=present.vcpus, memory_mib=present.memory_mib, disk_gib=present.disk_gib)
        await _count(tx, host, need, -1)


async def _count(tx: Tx, host: Host, need: Need, sign: int) -> Host:
    """Counters are no news of the host: no event is written."""
    counted = replace(
        host,
        vcpus_used=host.vcpus_used + sign * need.vcpus,
        memory_mib_used=host.memory_mib_used + sign * need.memory_mib,
        disk_gib_used=host.disk_gib_used + sign * need.disk_gib,
        servers=host.servers + sign,
        generation=host.generation + 1,
    )
    await tx.rows.update(counted)
    inventory = known(tx.cloud)
    tx.rows.after_commit(lambda: inventory.see(counted))
    return counted


async def differences(look: Look) -> list[str]:
    """Hosts whose counters are not the sum of their claims: always none."""
    sums: dict[UUID, tuple[int, int, int, int]] = {}
    for each in await look.list(Claim):
        vcpus, memory, disk, servers = sums.get(each.host, (0, 0, 0, 0))
        sums[each.host] = (vcpus + each.vcpus, memory + each.memory_mib, disk + each.disk_gib, servers + 1)
    wrong = []
    for host in await look.list(Host):
        kept = (host.vcpus_used, host.memory_mib_used, host.disk_gib_used, host.servers)
        counted = sums.pop(host.id, (0, 0, 0, 0))
        if kept != counted:
            wrong.append(
                f"host {host.hostname} counts (vcpus, memory, disk, servers) {kept}, its claims sum to {counted}"
            )
    return wrong + [f"claims on host {host}, which does not exist" for host in sums]
