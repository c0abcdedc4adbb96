"""Tokens that a key-value store keeps: as good as sealed ones, and gone when they are revoked."""

from datetime import timedelta
from uuid import uuid4

import pytest

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity import users
from pileus.core.identity.authentication import login, token_store, tokens
from pileus.core.identity.authentication.login import ByPassword
from pileus.core.identity.authentication.tokens import Token, new_audit_id
from pileus.core.identity.authorization import access
from pileus.core.identity.domains import ROOT
from pileus.core.identity.named import Named
from pileus.drivers.keyvalue.fake import MemoryStore


def token(cloud: Cloud) -> Token:
    now = cloud.now()
    return Token(
        user=uuid4(),
        methods=("password",),
        audit=(new_audit_id(),),
        issued_at=now,
        expires_at=now + timedelta(hours=1),
    )


async def test_a_kept_token_is_short_and_says_what_it_was_told(cloud: Cloud) -> None:
    cloud.keyvalue = MemoryStore()
    given = token(cloud)
    text = await token_store.issue(cloud, given)
    assert len(text) < 64
    assert await token_store.find(cloud, text) == given


async def test_what_is_not_kept_or_guessed_is_refused(cloud: Cloud) -> None:
    cloud.keyvalue = MemoryStore()
    text = await token_store.issue(cloud, token(cloud))
    form, audit, secret = text.split(".")
    for wrong in (
        f"{form}.{audit}.{secret[:-1]}{'y' if secret[-1] == 'x' else 'x'}",
        f"{form}.{audit}.",
        f"{form}.{new_audit_id()}.{secret}",
        f"{form}.../../etc.{secret}",
        "pk",
        "pk..",
        "pk.é.é",
    ):
        with pytest.raises(Unauthenticated):
            await token_store.find(cloud, wrong)
    cloud.keyvalue = None
    with pytest.raises(Unauthenticated):
        await token_store.find(cloud, text)


async def test_who_reads_the_store_cannot_use_a_token(cloud: Cloud) -> None:
    store = MemoryStore()
    cloud.keyvalue = store
    text = await token_store.issue(cloud, token(cloud))
    assert text.rpartition(".")[2].encode() not in b"".join(value for value, _ in store._held.values())


async def test_tokens_of_before_stay_good(cloud: Cloud) -> None:
    given = token(cloud)
    sealed = tokens.of(cloud).issue(given)
    cloud.keyvalue = MemoryStore()
    assert await token_store.find(cloud, sealed) == given


async def test_a_log_in_is_kept_and_its_end_forgets_it(cloud: Cloud, admin: Caller) -> None:
    store = MemoryStore()
    cloud.keyvalue = store
    await users.create(cloud, admin, users.CreateUser(name="u", domain=ROOT, password="Secret-1"))
    proof = ByPassword(user=Named(name="u", domain=Named(id=ROOT)), password="Secret-1")
    issued = await login.authenticate(cloud, [proof])
    session = await access.present(cloud, issued.text)
    assert session.user.name == "u"
    await login.end(cloud, session.caller, session)
    assert store._held == {}
    with pytest.raises(Unauthenticated):
        await access.present(cloud, issued.text)
