"""Every kind of field comes back as it went in, on both databases."""

from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.store import Record, Registry, Unreadable, Unstorable, open_store, table
from pileus.store.records import layout_of
from tests import schema

REGISTRY = Registry()


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 9


class Rule(msgspec.Struct, frozen=True):
    port: int
    source: IPv4Network | None = None


@table("sample", registry=REGISTRY)
class Sample(Record):
    id: UUID
    uuid: UUID | None = None
    text: str = ""
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    word: Literal["a", "b"] = "a"
    number: int = 0
    flag: bool = False
    ratio: float = 0.0
    moment: datetime | None = None
    v4: IPv4Address | None = None
    v6: IPv6Address | None = None
    address: IPv4Address | IPv6Address | None = None
    network: IPv4Network | IPv6Network | None = None
    raw: bytes = b""
    tags: tuple[str, ...] = ()
    details: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    rule: Rule | None = None
    mixed: int | str = 0
    anything: Any = None


MOMENT = datetime(1969, 7, 20, 20, 17, 40, 999999, tzinfo=UTC)
VALUES = [
    ("uuid", uuid4()),
    ("text", "naïve ☃ 'quoted' \" \\ %_ \n"),
    ("text", ""),
    ("colour", Colour.BLUE),
    ("level", Level.HIGH),
    ("word", "b"),
    ("number", -(2**63)),
    ("number", 2**63 - 1),
    ("flag", True),
    ("flag", False),
    ("ratio", 0.1 + 0.2),
    ("ratio", -1e300),
    ("moment", MOMENT),
    ("moment", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("moment", datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ("v4", IPv4Address("192.0.2.1")),
    ("v6", IPv6Address("2001:db8::1")),
    ("address", IPv6Address("2001:db8::2")),
    ("address", IPv4Address("192.0.2.2")),
    ("network", IPv4Network("198.51.100.0/24")),
    ("network", IPv6Network("2001:db8::/32")),
    ("raw", bytes(range(256))),
    ("tags", ("b", "a", "")),
    ("details", {"b": "1", "a": "☃"}),
    ("rules", (Rule(22, IPv4Network("0.0.0.0/0")), Rule(80))),
    ("rule", Rule(443)),
    ("mixed", "text"),
    ("mixed", 7),
    ("anything", {"list": [1, None, "x"]}),
]


@pytest.fixture
async def store(database_url):
    await schema.create(database_url, REGISTRY)
    opened = await open_store(database_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize(("field", "value"), VALUES)
async def test_a_value_comes_back(store, field, value):
    sample = Sample(id=uuid4(), **{field: value})
    async with store.transaction() as tx:
        await tx.insert(sample)
    async with store.view() as view:
        found = await view.get(Sample, sample.id)
        same = await view.list(Sample, **{field: (value,)})
    assert found == sample
    assert isinstance(getattr(found, field), type(value))
    assert same == [sample]


async def test_every_nullable_field_holds_none(store):
    sample = Sample(id=uuid4())
    async with store.transaction() as tx:
        await tx.insert(sample)
    nullable = [name for name, column in layout_of(Sample).columns.items() if column.nullable]
    assert len(nullable) >= 7
    async with store.view() as view:
        assert await view.get(Sample, sample.id) == sample
        for name in nullable:
            assert await view.count(Sample, **{name: None}) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", 2**63),
        ("moment", datetime(2030, 1, 1)),
        ("text", None),
        ("text", "\ud800"),
        ("anything", object()),
    ],
)
async def test_what_does_not_fit_is_refused(store, field, value):
    with pytest.raises(Unstorable):
        async with store.transaction() as tx:
            await tx.insert(Sample(id=uuid4(), **{field: value}))
    async with store.view() as view:
        assert await view.count(Sample) == 0


async def test_a_row_that_the_program_does_not_know_is_named(store):
    async with store.transaction() as tx:
        await tx.insert(Sample(id=uuid4(), text="x"))
        await tx.update_where(Sample, {"colour": "green"})
    async with store.view() as view:
        with pytest.raises(Unreadable, match=r"sample\.colour: 'green'"):
            await view.list(Sample)


def test_declarations_that_cannot_work_are_refused():
    class Thing(Record):
        id: UUID
        name: str | None = None

    with pytest.raises(ValueError, match="has no field 'colour'"):
        table("thing", indexes=(("colour",),), registry=Registry())(Thing)
    with pytest.raises(ValueError, match="cannot be null"):
        table("thing", key=("name",), registry=Registry())(Thing)
    with pytest.raises(ValueError, match="declared by Sample already"):
        table("sample", registry=REGISTRY)(Thing)
    with pytest.raises(TypeError, match="has no table"):
        layout_of(Thing)


def test_a_record_is_frozen_and_takes_its_fields_in_any_order():
    @table("mixed", registry=Registry())
    class Mixed(Record):
        first: int = 1
        id: UUID

    made = Mixed(id=uuid4())
    with pytest.raises(AttributeError):
        made.first = 2


def test_an_interface_address_is_one_column():
    @table("port", registry=Registry())
    class Port(Record):
        id: UUID
        at: type(ip_interface("192.0.2.1/24"))

    kind = layout_of(Port).columns["at"].kind
    assert kind.decode["sqlite"](kind.encode["sqlite"](ip_interface("192.0.2.1/24"))) == ip_interface(
        "192.0.2.1/24"
    )
