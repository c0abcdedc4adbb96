"""Several processes, and processes that are killed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pileus
import pileus.core.records
from pileus.store import REGISTRY, create_all, open_store

WORKER = Path(__file__).parent / "worker.py"
SECONDS = 60


def start(*arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(next(iter(pileus.__path__))).parent)}
    return subprocess.Popen(
        [sys.executable, WORKER, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("lines", [1, 40, 300])
async def test_what_was_reported_before_kill_9_is_there(store, prepared_url, records, lines):
    worker = start(prepared_url, "write")
    try:
        reported = [await asyncio.to_thread(worker.stdout.readline) for _ in range(lines)]
        worker.kill()
        rest = await asyncio.to_thread(worker.stdout.read)  # not communicate: it forgets what is buffered
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    # The last line may be cut, the ones before it were reported.
    whole = [line.strip() for line in (*reported, *rest.splitlines(keepends=True)) if line.endswith("\n")]
    assert len(whole) >= lines
    async with store.view() as view:
        kept = {row.id for row in await view.list(records.Counter)}
        pairs = await view.count(records.Grant)
    assert set(whole) <= kept
    assert pairs == len(kept), "both rows of a transaction, or none"


async def test_two_processes_that_read_and_write_back_lose_nothing(store, prepared_url, records):
    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="shared"))
    workers = [start(prepared_url, "count", "50") for _ in range(2)]
    try:
        codes = await asyncio.gather(*(asyncio.to_thread(worker.wait, SECONDS) for worker in workers))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdout.close()
    assert codes == [0, 0]
    async with store.view() as view:
        assert (await view.get(records.Counter, "shared")).count == 100


READ_AND_CLOSE = """
import asyncio, sys
from pileus.store import open_store

async def main() -> None:
    store = await open_store(sys.argv[1])
    async with store.view():
        pass
    await store.close()

asyncio.run(main())
"""


async def test_another_process_that_closes_the_database_takes_nothing_away(sqlite_url: str) -> None:
    """SQLite's locks are POSIX locks: a process loses them when it closes any descriptor of the file."""
    await create_all(sqlite_url, REGISTRY)
    store = await open_store(sqlite_url)
    try:
        async with store.view() as one, store.view() as two:
            assert one is not two
        for _ in range(2):
            subprocess.run([sys.executable, "-c", READ_AND_CLOSE, sqlite_url], check=True)
            assert Path(sqlite_url.removeprefix("sqlite:///") + "-wal").exists()
    finally:
        await store.close()
