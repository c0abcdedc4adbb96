"""Redis and NATS, with their real servers: values, and what happens while a server is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pileus.drivers.errors import Unreachable
from pileus.drivers.keyvalue.nats import NatsStore
from pileus.drivers.keyvalue.redis import RedisStore
from tests.conformance.keyvalue import KEY, KeyValueConformance
from tests.integration import keyvalue_servers

KINDS: dict[str, Any] = {
    "redis": (keyvalue_servers.redis, lambda port: RedisStore(f"redis://127.0.0.1:{port}/1")),
    "nats": (keyvalue_servers.nats, lambda port: NatsStore(f"nats://127.0.0.1:{port}/cloud")),
}


@pytest.mark.parametrize("kind", KINDS)
class TestReal(KeyValueConformance):
    @pytest.fixture(autouse=True)
    async def opened(self, kind: str, tmp_path: Path) -> AsyncIterator[None]:
        serve, connect = KINDS[kind]
        with serve(tmp_path) as self.server:
            self.store = connect(self.server.port)
            yield
            await self.store.close()

    async def test_a_server_that_was_away_is_used_again_with_what_it_kept(self) -> None:
        await self.store.put(KEY, b"kept", 600)
        self.server.stop()
        with pytest.raises(Unreachable):
            await self.store.get(KEY)
        self.server.start()
        for _ in range(100):
            try:
                found = await self.store.get(KEY)
                break
            except Unreachable:
                continue
        assert found == b"kept"


async def test_nats_is_connected_to_once_whoever_comes_first_or_gives_up(tmp_path: Path) -> None:
    with keyvalue_servers.nats(tmp_path) as server:
        server.pause()
        store = NatsStore(f"nats://127.0.0.1:{server.port}/cloud")
        try:
            asked = [asyncio.create_task(store.get(KEY)) for _ in range(6)]
            await asyncio.wait(asked, timeout=0.1)
            for task in asked[:2]:
                task.cancel()
            server.resume()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert answers[2:] == [None] * 4
            assert server.connections() == 1
        finally:
            server.resume()
            await store.close()
