"""Compares what the platforms hold with what is recorded, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from pileus.core import alerts, deliveries, stream
from pileus.core.errors import CoreError
from pileus.core.identity import groups
from pileus.core.identity.authentication import rotation, tokens
from pileus.core.identity.directories import directory_refresh
from pileus.drivers.errors import DriverError
from pileus.reconcile import network, pools, servers, soundness
from pileus.store import StoreError
from pileus.workflows import disks, image_upload
from pileus.workflows.site import Site

log = structlog.get_logger()

Look = Callable[[], Awaitable[Any]]
HOUR = 3600.0
MINUTE = 60.0
SOUND = 60.0
REST = 4.0
"""Times as long as a look took, its part rests at least."""


async def rotate_keys(site: Site) -> None:
    cloud = site.cloud
    if tokens.of(cloud).rotate_when_due(cloud.now(), cloud.config.token_seconds):
        log.info("token keys rotated")


class Loop:
    """Each part looks once and repairs what it finds; a part whose platform is away is tried again next time."""

    def __init__(self, site: Site) -> None:
        pause, nets = site.cloud.config.reconcile_seconds, network.Reconciler(site)
        self._parts: dict[str, tuple[float, Look]] = {
            "network": (pause, nets.once),
            "ports": (min(1.0, pause), nets.rise),
            "servers": (pause, servers.Servers(site).look),
            "pools": (pause, pools.Pools(site).look),
            "soundness": (max(pause, min(SOUND, 6 * pause)), partial(soundness.look, site)),
            "silent uploads": (pause, partial(image_upload.requeue_silent, site)),
            "retained volumes": (6 * pause, partial(disks.sweep_retained, site)),
            "old deliveries": (HOUR, partial(deliveries.prune, site.cloud)),
            "old alerts": (HOUR, partial(alerts.forget_old, site.cloud)),
            "old events": (HOUR, partial(stream.prune, site.cloud)),
            "directories": (MINUTE, partial(directory_refresh.refresh_all, site.cloud)),
            "ended memberships": (MINUTE, partial(groups.expire, site.cloud)),
            "token keys": (HOUR, partial(rotate_keys, site)),
            "keys of secrets": (HOUR, partial(rotation.retire, site.cloud)),
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._run(name, pause, look), name=f"reconcile {name}")
            for name, (pause, look) in self._parts.items()
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, name: str, pause: float, look: Look) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await look()
            except (CoreError, DriverError, StoreError) as error:
                log.warning("reconcile", part=name, error=str(error))
            except Exception:
                log.exception("reconciler broke", part=name)
            # In a large cloud the looks come more rarely, not one upon the other.
            await asyncio.sleep(max(pause, REST * (loop.time() - began)))
