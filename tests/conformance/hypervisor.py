"""What every hypervisor driver must do. The simulator runs it always, libvirt with real QEMU."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.protocol import Disk, Guest, Hypervisor, Nic, Power

PATIENCE = 60.0

# What each call leads to in each power state. The calls of a column that keep its state are made one after
# the other on one guest, in this order: what disturbs the guest comes last.
RESULTS = """
                     on         off        paused     suspended  crashed
define               on         off        paused     suspended  crashed
start                on         on         refused    on         on
pause                paused     refused    paused     refused    refused
resume               on         refused    on         refused    refused
suspend              suspended  refused    suspended  suspended  refused
disks                on         off        paused     suspended  crashed
nics                 on         off        paused     suspended  crashed
console_log          on         off        paused     suspended  crashed
screen               on         refused    paused     refused    refused
resize_disk          on         refused    paused     refused    refused
snapshot_disk        on         refused    paused     refused    refused
delete_disk_snapshot on         refused    paused     refused    refused
attach_disk          on         off        paused     refused    crashed
attach_nic           on         off        paused     refused    crashed
detach_disk          on         off        refused    refused    crashed
detach_nic           on         off        refused    refused    crashed
detach_absent        on         off        paused     suspended  crashed
kill                 off        off        off        off        crashed
stop                 off        off        refused    suspended  crashed
reset                on         refused    paused     refused    refused
reboot               on         refused    refused    refused    refused
undefine             gone       gone       gone       gone       gone
"""

QUIET, MISSING = "quiet", "missing"
ON_A_MISSING_GUEST = {
    "start": MISSING,
    "stop": QUIET,
    "kill": QUIET,
    "reboot": MISSING,
    "reset": MISSING,
    "pause": MISSING,
    "resume": MISSING,
    "suspend": MISSING,
    "undefine": QUIET,
    "disks": MISSING,
    "nics": MISSING,
    "console_log": MISSING,
    "screen": MISSING,
    "resize_disk": MISSING,
    "snapshot_disk": MISSING,
    "delete_disk_snapshot": MISSING,
    "attach_disk": MISSING,
    "attach_nic": MISSING,
    "detach_disk": QUIET,
    "detach_nic": QUIET,
    "detach_absent": QUIET,
}

REPEATED = """
define start attach_disk attach_nic resize_disk snapshot_disk delete_disk_snapshot screen console_log
detach_disk detach_nic pause resume suspend start pause kill define undefine
"""

Call = Callable[[], Awaitable[object]]


class Bench:
    """A hypervisor with what tests need around it: disks that exist, and guests that get up."""

    def __init__(self, hypervisor: Hypervisor, directory: Path) -> None:
        self.hypervisor = hypervisor
        self.directory = directory

    async def disk(self, device: str) -> Disk:
        volume = uuid4()
        return Disk(volume=volume, path=str(self.directory / f"{volume}.qcow2"), device=device)

    async def guest(self) -> Guest:
        nic = self.nic()
        disks = (await self.disk("vda"), await self.disk("vdb"))
        return Guest(id=uuid4(), name="web 1", vcpus=1, memory_mib=128, disks=disks, nics=(nic,))

    def nic(self) -> Nic:
        port = uuid4()
        return Nic(port=port, mac="02:00:00:" + ":".join(port.hex[n : n + 2] for n in (0, 2, 4)))

    async def until_up(self, guest: UUID) -> None:
        """Wait until the guest reacts to its power button."""

    async def crash(self, guest: UUID) -> None:
        raise NotImplementedError

    async def put(self, guest: Guest, power: Power) -> None:
        """Define the guest and bring it into a state."""
        await self.hypervisor.define(guest)
        if power is Power.OFF:
            return
        await self.hypervisor.start(guest.id)
        if power is Power.ON:
            await self.until_up(guest.id)
        elif power is Power.PAUSED:
            await self.hypervisor.pause(guest.id)
        elif power is Power.SUSPENDED:
            await self.hypervisor.suspend(guest.id)
        elif power is Power.CRASHED:
            await self.crash(guest.id)
        assert await self.becomes(guest.id, power)

    async def becomes(self, guest: UUID, power: Power | None) -> bool:
        return await until(lambda: self._is(guest, power))

    async def _is(self, guest: UUID, power: Power | None) -> bool:
        return await self.hypervisor.power(guest) is power


async def until(reached: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await reached():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def results() -> Mapping[Power, Mapping[str, str]]:
    head, *rows = RESULTS.strip().splitlines()
    table = {row.split()[0]: row.split()[1:] for row in rows}
    return {
        Power(name): {call: cells[column] for call, cells in table.items()}
        for column, name in enumerate(head.split())
    }


def calls(bench: Bench, guest: Guest, disk: Disk, nic: Nic) -> Mapping[str, Call]:
    """Every call of the protocol on one guest; `disk` and `nic` are to be attached."""
    hypervisor, key, snapshot = bench.hypervisor, guest.id, uuid4()
    root, data = (one.volume for one in guest.disks)
    return {
        "define": lambda: hypervisor.define(guest),
        "start": lambda: hypervisor.start(key),
        "stop": lambda: hypervisor.stop(key, force=False),
        "kill": lambda: hypervisor.stop(key, force=True),
        "reboot": lambda: hypervisor.reboot(key, force=False),
        "reset": lambda: hypervisor.reboot(key, force=True),
        "pause": lambda: hypervisor.pause(key),
        "resume": lambda: hypervisor.resume(key),
        "suspend": lambda: hypervisor.suspend(key),
        "undefine": lambda: hypervisor.undefine(key),
        "disks": lambda: hypervisor.disks(key),
        "nics": lambda: hypervisor.nics(key),
        "console_log": lambda: hypervisor.console_log(key),
        "screen": lambda: hypervisor.screen(key),
        "resize_disk": lambda: hypervisor.resize_disk(key, root, 2),
        "snapshot_disk": lambda: hypervisor.snapshot_disk(key, root, snapshot),
        "delete_disk_snapshot": lambda: hypervisor.delete_disk_snapshot(key, root, snapshot),
        "attach_disk": lambda: hypervisor.attach_disk(key, disk),
        "attach_nic": lambda: hypervisor.attach_nic(key, nic),
        "detach_disk": lambda: hypervisor.detach_disk(key, data),
        "detach_nic": lambda: hypervisor.detach_nic(key, guest.nics[0].port),
        "detach_absent": lambda: hypervisor.detach_disk(key, uuid4()),
    }


class HypervisorConformance:
    """A subclass brings the fixture `bench`."""

    @pytest.mark.parametrize("power", list(Power))
    async def test_every_call_in_every_state_ends_as_the_table_says(self, bench: Bench, power: Power) -> None:
        column = results()[power]
        guest = await bench.guest()
        made = calls(bench, guest, await bench.disk("vdc"), bench.nic())
        await bench.put(guest, power)
        for call, expected in column.items():
            if expected == "refused":
                with pytest.raises(Refused):
                    await made[call]()
                    pytest.fail(f"{call} of a guest that is {power} was not refused")
            elif expected == power:
                await made[call]()
            else:
                continue
            assert await bench.becomes(guest.id, power), f"{call} changed a guest that was {power}"
        await bench.hypervisor.undefine(guest.id)

    @pytest.mark.parametrize(
        ("power", "call", "expected"),
        [
            (power, call, expected)
            for power, column in results().items()
            for call, expected in column.items()
            if expected not in (power, "refused")
        ],
    )
    async def test_a_call_that_changes_the_state_reaches_it(
        self, bench: Bench, power: Power, call: str, expected: str
    ) -> None:
        guest = await bench.guest()
        await bench.put(guest, power)
        await calls(bench, guest, await bench.disk("vdc"), bench.nic())[call]()
        assert await bench.becomes(guest.id, None if expected == "gone" else Power(expected))
        await bench.hypervisor.undefine(guest.id)

    @pytest.mark.parametrize("call", sorted(ON_A_MISSING_GUEST))
    async def test_every_call_on_a_missing_guest(self, bench: Bench, call: str) -> None:
        guest = await bench.guest()
        made = calls(bench, guest, await bench.disk("vdc"), bench.nic())[call]
        if ON_A_MISSING_GUEST[call] == MISSING:
            with pytest.raises(Missing, match=str(guest.id)):
                await made()
        else:
            await made()
        assert await bench.hypervisor.power(guest.id) is None
        assert guest.id not in await bench.hypervisor.guests()

    async def test_the_tables_know_every_call(self, bench: Bench) -> None:
        guest = await bench.guest()
        known = set(calls(bench, guest, await bench.disk("vdc"), bench.nic()))
        assert all(set(column) == known for column in results().values())
        assert set(ON_A_MISSING_GUEST) == known - {"define"}

    async def test_every_call_may_be_repeated(self, bench: Bench) -> None:
        hypervisor, guest = bench.hypervisor, await bench.guest()
        made = calls(bench, guest, await bench.disk("vdc"), bench.nic())

        async def seen() -> object:
            power = await hypervisor.power(guest.id)
            if power is None:
                return None
            return power, await hypervisor.disks(guest.id), await hypervisor.nics(guest.id)

        for call in REPEATED.split():
            await made[call]()
            if call == "start":
                await bench.until_up(guest.id)
            once = await seen()
            await made[call]()
            assert await seen() == once, f"the second {call} changed something"
        assert once is None

    async def test_devices_come_and_go_while_the_guest_runs(self, bench: Bench) -> None:
        hypervisor, guest = bench.hypervisor, await bench.guest()
        disk, nic = await bench.disk("vdc"), bench.nic()
        volumes, ports = {one.volume for one in guest.disks}, {one.port for one in guest.nics}
        await bench.put(guest, Power.ON)
        await hypervisor.attach_disk(guest.id, disk)
        await hypervisor.attach_nic(guest.id, nic)
        assert await hypervisor.disks(guest.id) == volumes | {disk.volume}
        assert await hypervisor.nics(guest.id) == ports | {nic.port}
        await hypervisor.detach_disk(guest.id, guest.disks[1].volume)
        await hypervisor.detach_nic(guest.id, guest.nics[0].port)
        await hypervisor.stop(guest.id, force=True)
        assert await hypervisor.disks(guest.id) == {guest.disks[0].volume, disk.volume}
        assert await hypervisor.nics(guest.id) == {nic.port}
        await hypervisor.undefine(guest.id)

    async def test_two_disks_cannot_have_one_place(self, bench: Bench) -> None:
        guest = await bench.guest()
        await bench.hypervisor.define(guest)
        with pytest.raises(Refused, match=str(guest.id)):
            await bench.hypervisor.attach_disk(guest.id, await bench.disk("vdb"))
        await bench.hypervisor.undefine(guest.id)

    async def test_a_volume_that_the_guest_does_not_hold_is_missing(self, bench: Bench) -> None:
        guest = await bench.guest()
        await bench.put(guest, Power.PAUSED)
        for call in (
            bench.hypervisor.resize_disk(guest.id, uuid4(), 2),
            bench.hypervisor.snapshot_disk(guest.id, uuid4(), uuid4()),
            bench.hypervisor.delete_disk_snapshot(guest.id, uuid4(), uuid4()),
        ):
            with pytest.raises(Missing):
                await call
        await bench.hypervisor.undefine(guest.id)

    async def test_an_undefined_guest_leaves_no_console_log_behind(self, bench: Bench) -> None:
        guest = await bench.guest()
        await bench.put(guest, Power.ON)
        assert await bench.hypervisor.console_log(guest.id)
        assert len(await bench.hypervisor.console_log(guest.id, max_bytes=10)) == 10
        await bench.hypervisor.undefine(guest.id)
        await bench.hypervisor.define(guest)
        assert await bench.hypervisor.console_log(guest.id) == b""
        await bench.hypervisor.undefine(guest.id)

    async def test_a_definition_is_replaced_only_while_the_guest_is_off(self, bench: Bench) -> None:
        hypervisor, guest = bench.hypervisor, await bench.guest()
        smaller = msgspec.structs.replace(guest, disks=guest.disks[:1])
        await hypervisor.define(guest)
        await hypervisor.define(smaller)
        assert await hypervisor.disks(guest.id) == {guest.disks[0].volume}
        await hypervisor.start(guest.id)
        await hypervisor.define(guest)
        assert await hypervisor.disks(guest.id) == {guest.disks[0].volume}
        await hypervisor.undefine(guest.id)

    async def test_the_screen_speaks_rfb(self, bench: Bench) -> None:
        guest = await bench.guest()
        await bench.put(guest, Power.PAUSED)
        screen = await bench.hypervisor.screen(guest.id)
        if screen.socket:
            reader, writer = await asyncio.open_unix_connection(screen.socket)
        else:
            reader, writer = await asyncio.open_connection(screen.address, screen.port)
        assert await reader.readexactly(12) == b"RFB 003.008\n"
        writer.close()
        await bench.hypervisor.undefine(guest.id)

    @pytest.mark.parametrize("power", [power for power in Power if power is not Power.ON])
    async def test_a_survey_tells_of_every_guest_what_the_single_calls_tell(
        self, bench: Bench, power: Power
    ) -> None:
        hypervisor, guest = bench.hypervisor, await bench.guest()
        await bench.put(guest, power)
        await hypervisor.claim(guest.id)
        seen = (await hypervisor.survey()).guests[guest.id]
        assert (seen.power, seen.marked) == (power, True)
        assert seen.disks == await hypervisor.disks(guest.id)
        assert seen.nics == await hypervisor.nics(guest.id)
        await hypervisor.undefine(guest.id)
        assert guest.id not in (await hypervisor.survey()).guests

    async def test_only_what_is_there_can_be_claimed(self, bench: Bench) -> None:
        with pytest.raises(Missing):
            await bench.hypervisor.claim(uuid4())

    async def test_the_host_says_what_it_is(self, bench: Bench) -> None:
        facts = await bench.hypervisor.facts()
        assert facts.hostname
        assert facts.vcpus > 0
        assert facts.memory_mib > 0
        assert facts.hypervisor == bench.hypervisor.capabilities.hypervisor
        assert facts.acceleration in ("kvm", "tcg", "none")
