"""The product's own migrations lead to the schema that its records declare."""

from pileus.core import records  # noqa: F401 (declares every table)
from pileus.store import drift, migrate


async def test_migrations_lead_to_what_the_records_declare(database_url: str) -> None:
    assert await migrate(database_url)
    assert await drift(database_url) == []
    assert await migrate(database_url) == []
