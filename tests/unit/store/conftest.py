"""Records that only these tests know, and a store that has their tables."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from pileus.store import Record, Registry, Store, open_store, table
from tests import schema

REGISTRY = Registry()


class State(StrEnum):
    ACTIVE = "active"
    STOPPED = "stopped"


@table("server", indexes=(("project",),), unique=(("network", "address"),), registry=REGISTRY)
class Server(Record):
    id: UUID
    project: UUID
    name: str = "web"
    state: State = State.ACTIVE
    memory: int = 512
    ready: bool = True
    load: float = 0.5
    at: datetime | None = None
    network: UUID | None = None
    address: IPv4Address | IPv6Address | None = None
    key: bytes = b""
    tags: tuple[str, ...] = ()
    details: dict[str, str] = {}


@table("event", key=("seq",), auto="seq", registry=REGISTRY)
class Event(Record):
    seq: int = 0
    subject: UUID
    text: str = ""


@table("grant", key=("user", "role"), registry=REGISTRY)
class Grant(Record):
    user: str
    role: str


@table("counter", registry=REGISTRY)
class Counter(Record):
    id: str
    count: int = 0
    note: str | None = None


@pytest.fixture
def records() -> Any:
    return SimpleNamespace(
        State=State, Server=Server, Event=Event, Grant=Grant, Counter=Counter, REGISTRY=REGISTRY, NOON=NOON
    )


NOON = datetime(2030, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def prepared_url(database_url: str) -> str:
    await schema.create(database_url, REGISTRY)
    return database_url


@pytest.fixture
async def store(prepared_url: str) -> AsyncIterator[Store]:
    opened = await open_store(prepared_url)
    yield opened
    await opened.close()
