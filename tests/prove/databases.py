"""Each case's records in PostgreSQL: a database for each process that works on cases, filled anew for every case."""

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import asyncpg

from pileus.store import REGISTRY, create_all, open_store
from tests.conftest import Postgres
from tests.prove.rows import Row
from tests.prove.scene import DATABASE

Contents = Mapping[str, bytes]
"""Rows by table, as PostgreSQL copies them."""
FIRST = 1_000_000_000
"""What a database counts from; the rows that are copied have lower numbers."""
EMPTY = "; ".join(f'DELETE FROM "{layout.name}"' for layout in REGISTRY)


class Databases:
    def __init__(self, postgres: Postgres, number: int) -> None:
        self._postgres = postgres
        self._contents: dict[int, Contents] = {}
        postgres.ask("CREATE DATABASE loading")
        asyncio.run(create_all(postgres.url("loading"), REGISTRY))
        postgres.ask("CREATE DATABASE empty TEMPLATE loading")
        asyncio.run(self._count())
        for each in range(number):
            postgres.ask(f"CREATE DATABASE case_{each} TEMPLATE empty")

    async def _count(self) -> None:
        connection = await asyncpg.connect(self._postgres.url("empty"))
        try:
            for layout in REGISTRY:
                if layout.auto is not None:
                    sequence = f"pg_get_serial_sequence('{layout.name}', '{layout.auto}')"
                    await connection.execute(f"SELECT setval({sequence}, {FIRST})")
        finally:
            await connection.close()

    def load(self, rows: Mapping[int, Row]) -> None:
        """Take the rows' records over from their files."""
        for number, row in rows.items():
            self._contents[number] = asyncio.run(self._loaded(row))

    async def _loaded(self, row: Row) -> Contents:
        source = await open_store(f"sqlite:///{row.directory / DATABASE}")
        target = await open_store(self._postgres.url("loading"))
        try:
            async with source.view() as view, target.transaction() as tx:
                for layout in REGISTRY:
                    for record in await view.list(layout.cls):
                        await tx.insert(record)
        finally:
            await source.close()
            await target.close()
        connection = await asyncpg.connect(self._postgres.url("loading"))
        try:
            found = {layout.name: await copied(connection, layout.name) for layout in REGISTRY}
            await connection.execute(EMPTY)
        finally:
            await connection.close()
        return {table: content for table, (content, number) in found.items() if number}

    def filled(self, place: int, row: int) -> str:
        """The URL of a process's database, which holds the row's records and nothing else."""
        url = self._postgres.url(f"case_{place}")
        asyncio.run(fill(url, self._contents[row]))
        return url


async def copied(connection: Any, table: str) -> tuple[bytes, int]:
    content = io.BytesIO()
    status: str = await connection.copy_from_table(table, output=content, format="binary")
    return content.getvalue(), int(status.split()[1])


async def fill(url: str, contents: Contents) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(EMPTY)
            for table, content in contents.items():
                await connection.copy_to_table(table, source=io.BytesIO(content), format="binary")
    finally:
        await connection.close()
