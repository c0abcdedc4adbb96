"""Key files: mode 0600, written whole or not at all, and never over another process's."""

import os
from pathlib import Path
from uuid import uuid4

from cryptography.fernet import Fernet


def read_or_make(path: Path) -> bytes:
    """The key in the file; a fresh one is put there first when there is none."""
    if not path.exists():
        put(path, Fernet.generate_key())
    return path.read_bytes().strip()


def put(path: Path, key: bytes) -> None:
    """Write a new file; one that another process put there first stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
