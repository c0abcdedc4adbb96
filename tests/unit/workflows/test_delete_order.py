"""The last transaction of a server's delete and a deploy lock what both change in one order."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from pileus.config import Config
from pileus.core.cloud import Cloud
from pileus.core.compute import deploy
from pileus.core.compute.records import Server, Size
from pileus.core.quota import Usage
from pileus.store import open_store
from pileus.workflows import server_delete
from tests import schema
from tests.blocked import DEADLINE, blocked


async def kept(cloud: Cloud) -> tuple[Size, Server]:
    """A server, charged, of a size with a tag."""
    shape: dict[str, Any] = {"vcpus": 1, "memory_mib": 64, "disk_gib": 1}
    keys = {name: cloud.new_id() for name in ("id", "user", "project")}
    now = cloud.now()
    async with cloud.transaction() as tx:
        size = await tx.add(
            Size(id=cloud.new_id(), ref="1", name="s", required_traits=("gpu",), created_at=now, **shape)
        )
        times = {"created_at": now, "updated_at": now}
        named = {"name": "s", "hostname": "s", "size": size.id, "host_tags": ("gpu",)}
        server = await tx.add(Server(**keys, **named, **times, **shape))
        await deploy.charge(tx, server.project, size, 1)
    return size, server


async def gone(cloud: Cloud, server: UUID) -> None:
    run: Any = SimpleNamespace(subject=server)
    async with cloud.transaction() as tx:
        await server_delete.gone(run, tx)


async def test_a_deploy_amid_a_delete_lets_both_end_and_is_counted(postgres_url: str, tmp_path: Path) -> None:
    await schema.create(postgres_url)
    store = await open_store(postgres_url)
    cloud = Cloud(Config(state=tmp_path / "state"), store)
    try:
        size, server = await kept(cloud)
        async with asyncio.timeout(DEADLINE):
            async with cloud.transaction() as tx:
                await tx.get(Size, size.id)
                going = asyncio.create_task(gone(cloud, server.id))
                await blocked(store)
                await deploy.charge(tx, server.project, size, 2)
            await going
        async with cloud.view() as look:
            used = {row.resource: row.used for row in await look.list(Usage)}
        assert used == {
            **{"servers": 2, "vcpus": 2, "memory_mib": 128},
            **{"servers@gpu": 2, "vcpus@gpu": 2, "memory_mib@gpu": 128},
        }
    finally:
        await store.close()
