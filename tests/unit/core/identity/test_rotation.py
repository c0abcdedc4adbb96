"""Stored secrets and their keys: every column is renewed, wherever the work is ended, and no key goes too early."""

import ast
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

import pileus
from pileus.config import Config
from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Unavailable
from pileus.core.events import Event
from pileus.core.identity.authentication import encrypted, rotation, tokens
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import Credential
from pileus.core.identity.authentication.encrypted import COLUMNS, Column
from pileus.core.identity.changes import change_count
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain
from pileus.core.identity.services.catalogue_records import DomainSetting
from pileus.core.mail import Mail
from pileus.core.operations import Operation
from pileus.store import Record, open_store
from tests import schema
from tests.unit.core.identity.conftest import Clock

AT = datetime(2030, 1, 1, tzinfo=UTC)
ROWS = 3

# What is encrypted, and where it goes

STORED: dict[str, set[str]] = {
    "app/bootstrap.py:_account": {"credential.secret"},
    "core/compute/deploy.py:record": {"server.admin_password"},
    "core/identity/authentication/api_keys.py:create": {"credential.secret"},
    "core/identity/authentication/api_keys.py:put": {"credential.secret"},
    "core/identity/authentication/credentials.py:_parts": {"credential.secret"},
    "core/identity/authentication/credentials.py:create": {"credential.secret"},
    "core/identity/authentication/credentials.py:renew": {"credential.secret"},
    "core/identity/authentication/encrypted.py:_again": {str(column) for column in COLUMNS},
    "core/identity/authentication/second_factor.py:set_up": {"second_factor.secret"},
    "core/identity/delegation/oauth.py:ask": {"oauth_request_token.secret"},
    "core/identity/delegation/oauth.py:authorize": {"oauth_request_token.verifier"},
    "core/identity/delegation/oauth.py:create_consumer": {"oauth_consumer.secret"},
    "core/identity/delegation/oauth.py:exchange": {"oauth_access_token.secret"},
    "core/identity/directories/directory_servers.py:_set": {"domain_setting.value"},
    "core/identity/domain_settings.py:_write": {"domain_setting.value"},
    "core/identity/federation/login_providers.py:register": {"login_provider.secret"},
    "core/identity/federation/login_providers.py:update": {"login_provider.secret"},
    "core/identity/federation/providers.py:connect": {"identity_provider.secrets"},
    "core/mail.py:post": {"mail.secret"},
    "core/webhooks.py:hidden": {"webhook.secret"},
}
"""By module and function: the columns into which goes what it encrypts."""
CARRIED = {
    "workflows/federated_login.py:seal": "a cookie, good for minutes",
    "workflows/outside_login.py:sealed_name": "a cookie of a session",
}
"""What a browser brings back; none of it may outlast `rotation.KEPT_SECONDS` and the life of a token."""
OTHERS = {
    "core/identity/authentication/secrets.py:encrypt": "the vault itself",
    "core/identity/authentication/tokens.py:seal": "tokens, by their own keys",
}


def callers() -> Iterator[str]:
    """Every function in the source that calls a method `encrypt`, or hands that of a vault on."""
    root = Path(pileus.__file__).parent
    for path in sorted(path for path in root.rglob("*.py") if ".encrypt" in path.read_text()):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                map(encrypts, ast.walk(function))
            ):
                yield f"{path.relative_to(root)}:{function.name}"


def encrypts(node: ast.AST) -> bool:
    method = node.func if isinstance(node, ast.Call) else node
    if not isinstance(method, ast.Attribute) or method.attr != "encrypt":
        return False
    return isinstance(node, ast.Call) or isinstance(method.value, ast.Call)


def test_everything_that_encrypts_says_in_which_column_it_ends() -> None:
    """A new caller of `encrypt` is to be written down above, and its column in `encrypted.COLUMNS`."""
    assert sorted({*STORED, *CARRIED, *OTHERS}) == sorted(set(callers()))


def test_the_columns_that_are_renewed_are_those_into_which_is_encrypted() -> None:
    written = set().union(*(columns for place, columns in STORED.items() if "encrypted.py" not in place))
    assert {str(column) for column in COLUMNS} == written


def test_what_the_records_call_encrypted_is_renewed() -> None:
    """By their docstrings, so that a column is missed by neither list."""
    root = Path(pileus.__file__).parent / "core"
    told = set()
    for path in (path for path in root.rglob("*.py") if "encrypted" in path.read_text().lower()):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(each, ast.Call) and getattr(each.func, "id", "") == "table"
                for each in node.decorator_list
            ):
                text = " ".join(
                    each.value
                    for each in ast.walk(node)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                )
                if re.search("encrypted", text, re.IGNORECASE):
                    told.add(node.name)
    assert told <= {column.record.__name__ for column in COLUMNS}


# A cloud with something in every column


RECORDS = tuple(dict.fromkeys(column.record for column in COLUMNS))


def row(cls: type[Record], number: int, hidden: Callable[[str], str]) -> Record:
    """With nothing but what the record cannot do without."""
    values: dict[str, Any] = {}
    for column in COLUMNS:
        if column.record is cls:
            values |= {**column.where, column.name: hidden(f"{column}/{number}")}
    for field in msgspec.structs.fields(cls):
        if field.name not in values and field.required:
            values[field.name] = filler(field.type, f"{field.name}{number}")
    return cls(**values)


def filler(type_: Any, text: str) -> Any:
    known = {UUID: uuid4(), datetime: AT, str: text, int: 1, bool: True, float: 1.0}
    if type_ in known:
        return known[type_]
    if isinstance(type_, type) and issubclass(type_, Enum):
        return next(iter(type_))
    return () if str(type_).startswith("tuple") else {}


@asynccontextmanager
async def opened(url: str, state: Path, clock: Clock) -> AsyncIterator[Cloud]:
    store = await open_store(url)
    try:
        yield Cloud(Config(state=state), store, now=clock)
    finally:
        await store.close()


@pytest.fixture
async def filled(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Cloud]:
    await schema.create(database_url)
    async with opened(database_url, tmp_path / "state", clock) as cloud:
        async with cloud.transaction() as tx:
            await tx.add(Domain(id=ROOT, name="Default", created_at=AT))
        await fill(cloud)
        yield cloud


async def fill(cloud: Cloud) -> None:
    text = vault.of(cloud).encrypt
    async with cloud.transaction() as tx:
        for cls in RECORDS:
            for number in range(ROWS):
                await tx.rows.insert(row(cls, number, text))
            if cls is not DomainSetting:
                await tx.rows.insert(row(cls, ROWS, lambda _: ""))


async def texts(cloud: Cloud) -> list[str]:
    found = []
    for column in COLUMNS:
        async with cloud.view() as look:
            rows = await look.list(column.record, **column.where)
        found += [text for each in rows if (text := getattr(each, column.name))]
    return found


async def plain(cloud: Cloud) -> list[str]:
    return sorted(vault.of(cloud).decrypt(text) for text in await texts(cloud))


async def numbers(cloud: Cloud) -> set[int]:
    return {vault.key_number(text) for text in await texts(cloud)}


def held(cloud: Cloud) -> tuple[int, ...]:
    return vault.of(cloud).keys.numbers()


@pytest.mark.usefixtures("clock")
async def test_a_rotation_renews_every_column_and_changes_nothing_else(
    filled: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypted, "PAGE", 2)  # so that tables have several pages
    monkeypatch.setattr(encrypted, "TOGETHER", 1)
    before = await plain(filled)
    assert len(before) == ROWS * len(COLUMNS)
    async with filled.view() as look:
        events = await look.count(Event)
        rows = {cls: await look.list(cls) for cls in RECORDS}
    made = await rotation.rotate(filled, system())
    assert (made.tokens[-1], made.secrets) == (2, (0, 1, 2))
    renewal = await encrypted.renew(filled)
    assert (renewal.renewed, renewal.older, renewal.unreadable) == (len(before), {1: len(before)}, {})
    assert await plain(filled) == before
    assert await numbers(filled) == {2}
    assert (await encrypted.renew(filled)).renewed == 0
    async with filled.view() as look:
        assert await look.count(Event) == events
        for cls, earlier in rows.items():
            same = {column.name: None for column in COLUMNS if column.record is cls}
            later = await look.list(cls)
            assert [msgspec.structs.replace(each, **same) for each in later] == [
                msgspec.structs.replace(each, **same) for each in earlier
            ]


class Killed(Exception):
    pass


@pytest.mark.parametrize("writes", range(0, len(COLUMNS) * 2, 5))
async def test_wherever_it_is_ended_everything_is_readable_and_the_next_run_finishes(
    filled: Cloud, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    before, left = await plain(filled), writes
    replace = encrypted._replace

    async def killed(cloud: Cloud, column: Column, some: Any) -> int:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return await replace(cloud, column, some)

    await rotation.rotate(filled, system())
    with monkeypatch.context() as patch:
        patch.setattr(encrypted, "TOGETHER", 2)
        patch.setattr(encrypted, "_replace", killed)
        with pytest.raises(Killed):
            await encrypted.renew(filled)
    assert await plain(filled) == before
    assert await numbers(filled) == ({1, 2} if writes else {1})
    await rotation.rotate(filled, system())  # by somebody who does not know of it
    await encrypted.renew(filled)
    assert await plain(filled) == before
    assert await numbers(filled) == {3}


async def test_what_was_changed_or_removed_meanwhile_is_not_touched(
    filled: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, seen = encrypted._again, []

    def meanwhile(cloud: Cloud, column: Column, some: Record, unreadable: Any) -> Any:
        seen.append(some)
        return again(cloud, column, some, unreadable)

    await rotation.rotate(filled, system())
    replace = encrypted._replace

    async def late(cloud: Cloud, column: Column, some: Any) -> int:
        if column.record is Credential:
            async with cloud.transaction() as tx:
                changed, removed, _ = [each for each in seen if isinstance(each, Credential)]
                secret = vault.of(cloud).encrypt("chosen now")
                await tx.rows.update(msgspec.structs.replace(changed, secret=secret))
                await tx.rows.delete(Credential, removed.id)
            assert await replace(cloud, column, some) == 1
            return 1
        return await replace(cloud, column, some)

    monkeypatch.setattr(encrypted, "_again", meanwhile)
    monkeypatch.setattr(encrypted, "_replace", late)
    await encrypted.renew(filled)
    async with filled.view() as look:
        secrets = [each.secret for each in await look.list(Credential) if each.secret]
    assert "chosen now" in {vault.of(filled).decrypt(each) for each in secrets}
    assert len(secrets) == ROWS - 1


async def test_an_old_key_goes_when_nothing_needs_it_any_more(filled: Cloud, clock: Clock) -> None:
    before = await plain(filled)
    assert await rotation.retire(filled) == ()
    await rotation.rotate(filled, system())
    assert await rotation.retire(filled) == (), "this look still found texts of it"
    assert await numbers(filled) == {2}, "renewed also where the operation never ran"
    assert await rotation.retire(filled) == (), "a browser may still bring back what was encrypted with it"
    clock.move(rotation.KEPT_SECONDS + 1)
    async with filled.view() as look:
        remembered = await change_count(look)
    assert await rotation.retire(filled) == (1,)
    async with filled.view() as look:
        assert await change_count(look) > remembered, "what processes remember may hold texts of it"
    assert held(filled) == (0, 2)
    assert await plain(filled) == before


async def test_a_key_outlives_the_tokens_of_its_time(filled: Cloud, clock: Clock) -> None:
    filled.config = msgspec.structs.replace(filled.config, token_seconds=7200)
    await rotation.rotate(filled, system())
    await encrypted.renew(filled)
    clock.move(7200)
    assert await rotation.retire(filled) == ()
    clock.move(1)
    assert await rotation.retire(filled) == (1,)


async def test_a_key_stays_while_a_text_that_came_late_needs_it(filled: Cloud, clock: Clock) -> None:
    late = vault.of(filled).encrypt("late")
    await rotation.rotate(filled, system())
    await encrypted.renew(filled)
    clock.move(rotation.KEPT_SECONDS + 1)
    async with filled.transaction() as tx:
        await tx.rows.insert(Mail(id=uuid4(), secret=late, created_at=AT))
    assert await rotation.retire(filled) == ()
    assert "late" in await plain(filled)
    assert await rotation.retire(filled) == (1,)


async def test_what_cannot_be_read_stays_and_stops_nothing(filled: Cloud, clock: Clock) -> None:
    async with filled.transaction() as tx:
        for text in ("1.gAAAAAdamaged", "9.gAAAAAunknown"):
            await tx.rows.insert(Mail(id=uuid4(), secret=text, created_at=AT))
    await rotation.rotate(filled, system())
    renewal = await encrypted.renew(filled)
    assert renewal.renewed == ROWS * len(COLUMNS)
    reasons = " ".join(renewal.unreadable)
    assert "keys/secrets/9" in reasons
    assert "is missing" in reasons
    assert "keys/secrets/1" in reasons
    clock.move(rotation.KEPT_SECONDS + 1)
    assert await rotation.retire(filled) == ()
    assert held(filled) == (0, 1, 2)


async def test_two_clouds_on_one_directory_see_each_others_keys(
    filled: Cloud, database_url: str, clock: Clock
) -> None:
    async with opened(database_url, filled.config.state, clock) as other:
        assert vault.of(other) is not vault.of(filled)
        before, token = await plain(other), tokens.of(filled).seal(b"x")
        for number in range(2, 5):
            await rotation.rotate(filled, system())
            assert vault.key_number(vault.of(other).encrypt("x")) == number
            await encrypted.renew(other if number % 2 else filled)
            assert await plain(filled) == await plain(other) == before
            assert tokens.of(other).unseal(token) == b"x"
            clock.move(rotation.KEPT_SECONDS + 1)
            assert await rotation.retire(other) == (number - 1,)
            assert vault.of(filled).encrypt("x").startswith(f"{number}.")


async def test_a_rotation_is_long_work_of_the_cloud_in_a_queue_of_its_own(filled: Cloud) -> None:
    first, second = [(await rotation.rotate(filled, system())).operation for _ in range(2)]
    assert first.key == second.key != first.subject == ROOT
    async with filled.view() as look:
        assert await look.count(Operation, workflow=rotation.RENEW) == 2


async def test_only_administrators_rotate(filled: Cloud) -> None:
    with pytest.raises(Forbidden):
        await rotation.rotate(filled, Caller(user=uuid4(), project=uuid4(), roles=frozenset({"member"})))
    assert held(filled) == (0, 1)


async def test_a_database_without_its_keys_names_the_key_that_is_missing(
    filled: Cloud, database_url: str, tmp_path: Path, clock: Clock
) -> None:
    await rotation.rotate(filled, system())
    await encrypted.renew(filled)
    async with opened(database_url, tmp_path / "elsewhere", clock) as moved:
        with pytest.raises(Unavailable, match=r"keys/secrets/2 .*is missing.* backup"):
            await plain(moved)
