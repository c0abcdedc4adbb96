"""Compares what the platforms hold with what is recorded, again and again."""

import asyncio

import structlog

from pileus.core.errors import CoreError
from pileus.drivers.errors import DriverError
from pileus.reconcile.network import NetworkReconciler
from pileus.reconcile.servers import ServerReconciler
from pileus.store.errors import Conflicted, Disconnected
from pileus.workflows.site import Site

log = structlog.get_logger()


class Reconciler:
    """Each part looks once and returns what it repaired; a part whose platform is away is tried again next time."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.parts = (NetworkReconciler(site), ServerReconciler(site))
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="reconciler")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for part in self.parts:
                await self._look(part)
            await asyncio.sleep(self.site.cloud.config.reconcile_seconds)

    async def _look(self, part: NetworkReconciler | ServerReconciler) -> None:
        try:
            for repaired in await part.look():
                log.info("repaired", part=type(part).__name__, what=repaired)
        except (CoreError, DriverError, Conflicted, Disconnected) as error:
            log.warning("reconcile", part=type(part).__name__, error=str(error))
        except Exception:
            log.exception("reconciler broke", part=type(part).__name__)
