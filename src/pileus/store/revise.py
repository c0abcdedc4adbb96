"""`python -m pileus.store.revise "message"`: write the migration that leads to the declared tables.

What it writes is a draft: read it, and add what moves existing rows.
"""

import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.operations.ops import AddColumnOp, ModifyTableOps
from alembic.script import ScriptDirectory

from pileus.store.migrating import MIGRATIONS, configuration, run_sqlite, upgrade
from pileus.store.records import REGISTRY, Registry

RECORDS = "pileus.core.records"
"""Imports every module that declares a record; named here as text, for the store knows nothing above it."""


def revise(message: str, scripts: Path = MIGRATIONS, registry: Registry = REGISTRY) -> Path | None:
    """The file written; None when the migrations make the declared tables already."""

    def draft(connection: sa.Connection) -> Path | None:
        upgrade(connection, scripts)
        config = configuration(connection, scripts, registry)
        count = len(list(ScriptDirectory.from_config(config).walk_revisions()))
        script: Any = command.revision(
            config,
            message,
            autogenerate=True,
            rev_id=f"{count + 1:04}",
            process_revision_directives=partial(complete, registry),
        )
        return Path(script.path) if script else None

    with tempfile.TemporaryDirectory() as scratch:
        return run_sqlite(f"sqlite:///{scratch}/scratch.db", draft)


def complete(registry: Registry, context: object, revision: object, directives: list[Any]) -> None:
    """Nothing to change: no file. A column that must not be null gets the field's default in the rows that exist."""
    operations = directives[0].upgrade_ops
    if operations.is_empty():
        directives.clear()
        return
    for change in operations.ops:
        if isinstance(change, ModifyTableOps):
            for added in change.ops:
                if isinstance(added, AddColumnOp) and not added.column.nullable:
                    added.column.server_default = stored_default(registry, added.table_name, added.column)


def stored_default(registry: Registry, table: str, column: sa.Column[Any]) -> sa.DefaultClause | None:
    """The field's default as a row holds it; None where the field has none, so that the draft must be completed."""
    layout = registry.layouts[table]
    field = next(each for each in msgspec.structs.fields(layout.cls) if each.name == column.name)
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return None
    stored = layout.encode(column.name, value, "postgresql")
    if isinstance(stored, bool):
        return sa.DefaultClause(sa.text(str(stored).lower()))
    return sa.DefaultClause(stored if isinstance(stored, str) else sa.text(str(stored)))


def main() -> int:
    if len(sys.argv) != 2:
        print('usage: python -m pileus.store.revise "what changes"', file=sys.stderr)
        return 2
    importlib.import_module(RECORDS)
    written = revise(sys.argv[1])
    print(written or "the migrations already make the declared tables; nothing was written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
