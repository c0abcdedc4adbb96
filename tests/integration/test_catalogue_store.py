"""The catalogue in a real Redis and a real NATS: shared, bounded, and from the database while the store is away."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import pileus.core.records  # noqa: F401 - every table
from pileus.app import keyvalue
from pileus.config import Config
from pileus.core import mark
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity.services import catalogue, catalogue_store, offers
from pileus.store import open_store
from tests import schema
from tests.integration import keyvalue_servers

KINDS: dict[str, Any] = {
    "redis": (keyvalue_servers.redis, "redis://127.0.0.1:{}/1"),
    "nats": (keyvalue_servers.nats, "nats://127.0.0.1:{}/cloud"),
}
TRIES = 200


class Processes:
    """Several handles of one cloud, each with its own connection to the store."""

    def __init__(self, server: keyvalue_servers.Server, clouds: list[Cloud]) -> None:
        self.server, self.clouds = server, clouds
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def change(self, kind: str) -> None:
        await catalogue.create_service(self.clouds[0], system(), catalogue.CreateService(type=kind))

    async def see(self, process: int) -> list[str]:
        found = await offers.catalogue(self.clouds[process])
        return [offered.service.type for offered in found.everything]


@pytest.fixture(params=KINDS)
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    serve, url = KINDS[request.param]
    (tmp_path / "store").mkdir()
    database = f"sqlite:///{tmp_path / 'pileus.db'}"
    await schema.create(database)
    store = await open_store(database)
    await mark.identify(store)
    with serve(tmp_path / "store") as server:
        config = Config(state=tmp_path / "state", catalogue_store=url.format(server.port))
        made = Processes(server, [])
        made.clouds = [Cloud(config, store, now=lambda: made.now()) for _ in range(3)]
        opened = [each for cloud in made.clouds for each in keyvalue.attach(cloud)]
        try:
            yield made
        finally:
            for each in opened:
                await each.close()
            await store.close()


async def test_what_one_process_wrote_the_others_read(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await processes.change("first")
    assert await processes.see(0) == ["first"]

    async def never(look: object, change: int) -> None:
        pytest.fail("the catalogue was read from the database")

    with monkeypatch.context() as patch:
        patch.setattr(offers, "_read", never)
        assert [await processes.see(each) for each in (1, 2)] == [["first"]] * 2
    await processes.change("second")
    assert [await processes.see(each) for each in (2, 1, 0)] == [["first", "second"]] * 3


async def test_while_the_server_is_away_every_process_reads_the_database_and_then_shares_again(
    processes: Processes,
) -> None:
    await processes.change("a")
    assert await processes.see(0) == ["a"]
    processes.server.stop()
    with capture_logs() as logs:
        for number in range(3):
            await processes.change(f"b{number}")
            assert [len(await processes.see(each)) for each in (0, 1)] == [2 + number] * 2
        assert [entry["event"] for entry in logs] == [
            "the store of the catalogue is away; the database is read"
        ] * 2, "once for each process"
        processes.server.start()
        for number in range(TRIES):
            processes.ahead += catalogue_store.PAUSE
            await processes.change(f"c{number}")
            assert len(await processes.see(0)) == 5 + number
            if logs[-1]["event"] == "the store of the catalogue is back":
                break
    assert logs[-1]["event"] == "the store of the catalogue is back"
    assert await processes.see(2) == await processes.see(0)
