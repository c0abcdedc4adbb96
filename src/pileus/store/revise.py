"""`python -m pileus.store.revise "message"`: write the migration that leads to the declared tables.

What it writes is a draft: read it, and add what moves existing rows.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
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
            process_revision_directives=drop_if_empty,
        )
        return Path(script.path) if script else None

    with tempfile.TemporaryDirectory() as scratch:
        return run_sqlite(f"sqlite:///{scratch}/scratch.db", draft)


def drop_if_empty(context: object, revision: object, directives: list[Any]) -> None:
    if directives[0].upgrade_ops.is_empty():
        directives.clear()


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
