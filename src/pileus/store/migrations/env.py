"""Run by alembic for every command; `pileus.store.migrating` hands over the connection, in a transaction."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from pileus.store.columns import TEXT, UUID_TEXT


def by_name(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """The types of two dialects have names in the template."""
    if kind == "type" and item in (TEXT, UUID_TEXT):
        return "TEXT" if item is TEXT else "UUID"
    return False


attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
    render_item=by_name,
)
context.run_migrations()
