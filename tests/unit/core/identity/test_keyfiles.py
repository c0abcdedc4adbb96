"""Repositories of keys: nothing is lost, however many processes rotate and wherever one is killed."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pileus.core.identity.authentication.keyfiles import Repository

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "keys" / "some")


def contents(keys: Repository) -> set[bytes]:
    while True:
        with suppress(FileNotFoundError):  # another one has just renamed the staged one
            return {(keys.directory / str(number)).read_bytes() for number in keys.numbers()}


def test_rotations_of_many_processes_at_once_lose_no_key(keys: Repository) -> None:
    def rotate(_: int) -> None:
        mine = Repository(keys.directory)
        for _ in range(5):
            before = contents(mine)
            mine.rotate(NOW)
            assert before <= contents(mine)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(rotate, range(4)))
    assert keys.numbers() == tuple(range(22))
    assert len(contents(keys)) == 22


def test_every_process_knows_a_key_before_anyone_seals_with_it(keys: Repository) -> None:
    other = Repository(keys.directory)
    staged = other.find(0)
    keys.rotate(NOW)
    number, primary = keys.primary()
    assert staged is not None
    assert staged.decrypt(primary.encrypt(b"x")) == b"x"
    assert other.primary()[0] == number == 2


def test_a_change_within_the_same_timestamp_is_seen(keys: Repository) -> None:
    other = Repository(keys.directory)
    at = keys.directory.stat().st_mtime_ns
    keys.rotate(NOW)
    os.utime(keys.directory, ns=(at, at))
    assert other.primary()[0] == 2


@pytest.mark.parametrize("killed", ["after the renaming", "before the renaming", "while a file was written"])
def test_a_rotation_that_was_killed_leaves_a_repository_that_rotates(keys: Repository, killed: str) -> None:
    if killed == "after the renaming":
        (keys.directory / "0").rename(keys.directory / "2")
    elif killed == "before the renaming":
        os.utime(keys.directory / "0", (0, 0))
    else:
        (keys.directory / ".0.draft").write_bytes(b"half")
    before = contents(keys)
    assert Repository(keys.directory).find(1) is not None
    keys.rotate(NOW)
    assert before <= contents(keys)
    assert 0 in keys.numbers()


def test_only_keys_that_have_rested_go_and_never_the_primary_or_the_staged_one(keys: Repository) -> None:
    for hours in range(3):
        keys.rotate(NOW + timedelta(hours=hours))
    later = NOW + timedelta(hours=2)
    assert keys.retire(keys.numbers(), later, 7200) == ()
    assert keys.retire([2, 4, 0, 99], later, 3599) == (2,)
    assert keys.retire([1], later, 3599) == (1,)
    assert keys.retire(keys.numbers(), later + timedelta(days=9), 0) == (3,)
    assert keys.numbers() == (0, 4)
    assert keys.find(1) is None


def test_a_process_whose_key_was_dropped_goes_on_with_the_others(keys: Repository) -> None:
    other = Repository(keys.directory)
    keys.rotate(NOW)
    keys.retire([1], NOW + timedelta(days=1), 0)
    assert other.primary()[0] == 2
