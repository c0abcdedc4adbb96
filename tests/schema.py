"""The product's schema in a new SQLite file, made once a session and copied: most tests want a database of their own."""

import shutil
import tempfile
from pathlib import Path

from pileus.core import records  # noqa: F401 (declares every table)
from pileus.store import REGISTRY, create_all

_template: list[Path] = []
_keep: list["tempfile.TemporaryDirectory[str]"] = []


async def create(url: str) -> None:
    """As `create_all` for every record; PostgreSQL's are made one by one."""
    if not url.startswith("sqlite:///"):
        await create_all(url, REGISTRY)
        return
    if not _template:
        _keep.append(tempfile.TemporaryDirectory(prefix="pileus-schema-"))
        path = Path(_keep[0].name) / "schema.db"
        await create_all(f"sqlite:///{path}", REGISTRY)
        _template.append(path)
    shutil.copyfile(_template[0], url.removeprefix("sqlite:///"))
