"""What other users of the machine see of a cloud that runs: none of its settings, which may hold passwords."""

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pileus.app import running
from pileus.cli import lifecycle
from pileus.config import Config

SECRET = "hunter2"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state=tmp_path / "state", database=f"postgresql://pileus:{SECRET}@127.0.0.1/pileus")


def test_the_note_is_for_the_user_who_started_it(config: Config) -> None:
    config.state.mkdir()
    running.note(config)
    (note,) = config.state.iterdir()
    assert SECRET in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600
    found = running.found(config.state)
    assert found is not None
    assert found.config == config


def test_no_setting_stands_in_the_command_line(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Child:
        def __init__(self, command: list[str], **how: Any) -> None:
            started.append((command, how))
            self.stdin, self.stdout = io.StringIO(), io.StringIO(f"{lifecycle.QUESTION}all APIs answer\n")

    monkeypatch.setattr(subprocess, "Popen", Child)
    assert lifecycle._detached(config) == 0
    ((command, _),) = started
    assert not any(SECRET in word for word in command)
