"""The loop whose time is virtual."""

import asyncio
import time

import pytest

from tests.simulation.timing import EPOCH, LONGEST_WORK, Stuck, VirtualLoop, run


def test_an_hour_passes_at_once_and_in_order() -> None:
    woken: list[tuple[float, float]] = []

    async def sleep(loop: VirtualLoop, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, loop.time()))

    async def main(loop: VirtualLoop) -> None:
        assert loop.now() == EPOCH
        await asyncio.gather(*(sleep(loop, seconds) for seconds in (3600.0, 0.5, 60.0)))

    run(1, main)
    assert [seconds for seconds, _ in woken] == [0.5, 60.0, 3600.0]
    assert [at for _, at in woken] == pytest.approx([0.5, 60.0, 3600.0])


def test_what_belongs_in_a_thread_takes_a_moment_and_keeps_its_outcome() -> None:
    def broken() -> None:
        raise ValueError("broken")

    async def main(loop: VirtualLoop) -> float:
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(ValueError, match="broken"):
            await asyncio.to_thread(broken)
        return loop.time()

    first, again = run(1, main), run(1, main)
    assert 0 < first < 2 * LONGEST_WORK
    assert first == again


def test_a_deadline_of_virtual_time_strikes() -> None:
    async def main(loop: VirtualLoop) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await asyncio.Event().wait()

    run(1, main)


def test_tasks_that_wait_for_each_other_are_found_out() -> None:
    async def main(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(Stuck):
        run(1, main)
    assert time.monotonic() - began < 60
