"""Databases for the tests: an SQLite file, or a database of a PostgreSQL server that the session starts itself."""

import gc
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from structlog.typing import EventDict

from tests import schema
from tests.quick import MEMORY

POSTGRES_USER = "postgres"
START_SECONDS = 60


def pytest_configure() -> None:
    """A failed test shows warnings and errors; who wants more of the log captures it."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        [only_trouble, structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, plain]
    )


def only_trouble(logger: object, method: str, event: EventDict) -> EventDict:
    if method in ("debug", "info"):
        raise structlog.DropEvent
    return event


def pytest_collection_finish() -> None:
    """Modules and tests stay: the collector need not look through them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@dataclass(frozen=True)
class Postgres:
    """A running server, reached by a Unix socket only."""

    programs: Path
    sockets: Path
    free: list[str] = field(default_factory=list)
    """Empty databases that no test uses."""

    def url(self, database: str) -> str:
        return f"postgresql://{POSTGRES_USER}@/{database}?host={self.sockets}"

    def run(self, sql: str, database: str = "postgres") -> "subprocess.CompletedProcess[str]":
        command = [self.programs / "psql", "-XqAt", "-h", self.sockets, "-U", POSTGRES_USER, "-d", database]
        return subprocess.run([*command, "-c", sql], capture_output=True, text=True, check=False)

    def ask(self, sql: str, database: str = "postgres") -> str:
        answer = self.run(sql, database)
        assert answer.returncode == 0, f"{sql}: {answer.stderr}"
        return answer.stdout.strip()


def postgres_programs() -> Path | None:
    """The newest that Debian has installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    return found[0].parent if found else None


def unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ["setpriv"]
    return ["setpriv", f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--clear-groups"]


def wait_until_ready(postgres: Postgres, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while postgres.run("SELECT 1").returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    home = Path(tempfile.mkdtemp(prefix="pileus-postgres-", dir=MEMORY))
    server = None
    try:
        if os.geteuid() == 0:
            shutil.chown(home, POSTGRES_USER, POSTGRES_USER)
        data, log = home / "data", home / "log"
        make = [programs / "initdb", "-D", data, "-U", POSTGRES_USER, "-A", "trust", "-N"]
        subprocess.run(
            [*unprivileged(), *make, "-E", "UTF8", "--locale=C.UTF-8"],
            check=True,
            capture_output=True,
            cwd=home,
        )
        # The kernel ends the server also when this process is killed.
        start = [*unprivileged(), "--pdeathsig=INT", programs / "postgres", "-D", data, "-k", home]
        for setting in ("listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200"):
            start += ["-c", setting]
        with log.open("wb") as output:
            server = subprocess.Popen(start, stdout=output, stderr=output, cwd=home)
        started = Postgres(programs, home)
        wait_until_ready(started, server, log)
        yield started
    finally:
        if server is not None:
            server.send_signal(2)  # "fast": clients are cut off
            server.wait(START_SECONDS)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as started:
        yield started


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database of its own, made or emptied: making one takes ten times as long. `schema.create` fills it."""
    if not postgres.free:
        postgres.free.append(f"test_{uuid4().hex}")
        postgres.ask(f"CREATE DATABASE {postgres.free[-1]} TEMPLATE template0")
    name = postgres.free.pop()
    url = postgres.url(name)
    yield url
    others = f"FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    clean = f"SET client_min_messages = error; SELECT pg_terminate_backend(pid, 5000) {others}; {schema.park(url)}"
    cleaned = postgres.run(clean, name).returncode == 0
    if cleaned:  # else a test has changed its tables: nobody gets them again
        postgres.free.append(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'pileus.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, once of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
