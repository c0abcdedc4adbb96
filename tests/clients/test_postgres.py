"""The same cloud on PostgreSQL: started, used, killed and started again."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cloud import PILEUS, free_port, run


@pytest.fixture
def state() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pileus-pg"))
    try:
        yield made
    finally:
        run([PILEUS, "down", "--state", made], check=False)
        shutil.rmtree(made, ignore_errors=True)


def test_a_cloud_on_postgresql_survives_a_kill(state: Path, postgres_url: str) -> None:
    up = [PILEUS, "up", "--detach", "--simulate", "2", "--state", state, "--port", str(free_port())]
    up += ["--set", f"database={postgres_url}"]
    assert "database brought to revision" in run(up)
    assert "server first is active" in run([PILEUS, "first-server", "--state", state])
    assert not (state / "pileus.db").exists()
    os.kill(json.loads((state / "running.json").read_text())["process"]["pid"], signal.SIGKILL)
    assert "database brought to revision" not in run(up)
    told = run([PILEUS, "status", "--state", state])
    assert "servers: 1" in told
    assert "NOT SOUND" not in told
