"""The store in memory."""

import pytest

from pileus.drivers.keyvalue.fake import MemoryStore
from tests.conformance.keyvalue import KeyValueConformance


class TestMemory(KeyValueConformance):
    @pytest.fixture(autouse=True)
    def opened(self) -> None:
        self.now = 0.0
        self.store = MemoryStore(lambda: self.now)

    async def later(self, seconds: float) -> None:
        self.now += seconds
