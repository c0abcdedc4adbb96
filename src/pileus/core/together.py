"""Several operations of the core in one transaction: all of what they write, or nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.operations import Operation


class Joined(Cloud):
    """The cloud as seen from inside a transaction: whoever opens one here takes part in it."""

    def __init__(self, tx: Tx) -> None:
        outer = tx.cloud
        super().__init__(outer.config, outer.store, now=outer.now, new_id=outer.new_id)
        self.tx = tx

    def choosing(self, id: UUID) -> "Joined":
        """The same, for an operation that makes one record: under an id that is chosen beforehand."""
        chosen = Joined(self.tx)
        chosen.new_id = lambda: id
        return chosen

    @asynccontextmanager
    async def view(self) -> AsyncIterator[Look]:
        yield self.tx

    @asynccontextmanager
    async def transaction(
        self, caller: Caller | None = None, operation: Operation | None = None
    ) -> AsyncIterator[Tx]:
        yield self.tx


@asynccontextmanager
async def together(cloud: Cloud, caller: Caller) -> AsyncIterator[Joined]:
    """Give what this yields to operations of the core in the cloud's place. Let their errors pass: an operation that
    failed half way is undone by the end of the transaction only."""
    async with cloud.transaction(caller) as tx:
        yield Joined(tx)
