"""Keys of stored secrets under a running cloud: an upgrade, rotations by the command, a kill, and keys that are lost."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from pileus.cli.operations import connect
from tests.clients.cloud import CLIENTS, PILEUS, SimulatedCloud, run, until


@pytest.fixture
def cloud() -> Iterator[SimulatedCloud]:
    if not (CLIENTS / "cs").exists():
        pytest.fail("the clients are not installed: run tools/install test")
    made = SimulatedCloud()
    try:
        made.up()
        yield made
    finally:
        made.remove()


def in_use(cloud: SimulatedCloud) -> set[str]:
    """Numbers of the keys of what is stored; empty of a text from the time of the single key."""
    with closing(sqlite3.connect(cloud.state / "pileus.db", timeout=30)) as rows:
        return {text.rpartition(".")[0] for (text,) in rows.execute("SELECT secret FROM credential")}


def as_it_was_with_a_single_key(cloud: SimulatedCloud) -> None:
    keys = cloud.state / "keys"
    (keys / "secrets" / "1").rename(keys / "secrets.key")
    shutil.rmtree(keys / "secrets")
    with closing(sqlite3.connect(cloud.state / "pileus.db", timeout=30)) as rows:
        rows.execute("UPDATE credential SET secret = substr(secret, 3)")
        rows.commit()
    assert in_use(cloud) == {""}


def rotate(cloud: SimulatedCloud, *options: str) -> str:
    return run([PILEUS, "keys", "rotate", "--state", cloud.state, *options])


def works(cloud: SimulatedCloud) -> bool:
    """A signed request, which needs the stored secret of the key."""
    return bool(cloud.cs("listZones")["zone"])


def test_stored_secrets_outlive_an_upgrade_rotations_and_a_kill(cloud: SimulatedCloud) -> None:
    cloud.down()
    as_it_was_with_a_single_key(cloud)
    cloud.up()
    assert works(cloud)
    told = rotate(cloud)
    assert "key 2 encrypts secrets from now on" in told
    assert "done" in told
    assert in_use(cloud) == {"2"}
    assert works(cloud)

    rotate(cloud, "--no-wait")
    cloud.kill()
    cloud.up()
    until("the renewal is finished after the kill", lambda: in_use(cloud) == {"3"})
    assert works(cloud)
    ended = connect(cloud.state).get("console", "/operations?workflow=secrets.renew")["operations"]
    until("both operations have ended", lambda: all(each["finished_at"] for each in ended) or None, 1)

    cloud.down()
    aside = cloud.state / "aside"
    (cloud.state / "keys").rename(aside)
    up = [
        str(PILEUS),
        "up",
        "--detach",
        "--simulate",
        "2",
        "--state",
        str(cloud.state),
        "--port",
        str(cloud.port),
    ]
    refused = subprocess.run(up, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 1
    assert "keys/secrets has no keys" in refused.stderr + refused.stdout
    assert "backup" in refused.stderr + refused.stdout
    shutil.rmtree(cloud.state / "keys", ignore_errors=True)
    aside.rename(cloud.state / "keys")
    cloud.up()
    assert works(cloud)


def test_what_cannot_be_read_is_told_by_the_command(cloud: SimulatedCloud) -> None:
    with closing(sqlite3.connect(cloud.state / "pileus.db", timeout=30)) as rows:
        rows.execute(
            "UPDATE credential SET secret = '9' || substr(secret, 2) WHERE user IN (SELECT id FROM user WHERE name = 'demo')"
        )
        rows.commit()
    done = subprocess.run(
        [str(PILEUS), "keys", "rotate", "--state", str(cloud.state)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "keys/secrets/9 in the state directory is missing" in done.stderr
    assert in_use(cloud) == {"2", "9"}
    assert works(cloud)
