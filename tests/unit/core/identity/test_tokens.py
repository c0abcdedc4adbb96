import stat
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication.tokens import ACTIVE_KEYS, Token, Tokens, new_audit_id
from pileus.core.identity.records import Scope


def token(**more):
    at = datetime(2030, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)
    fields = {"user": uuid4(), "methods": ("password",), "audit": (new_audit_id(),)}
    return Token(**fields | {"issued_at": at, "expires_at": at} | more)


FORMS = [
    token(),
    token(scope=Scope.PROJECT, target=uuid4(), methods=("password", "token")),
    token(scope=Scope.DOMAIN, target=uuid4(), audit=(new_audit_id(), new_audit_id())),
    token(scope=Scope.SYSTEM, methods=("application_credential",), application_credential=uuid4()),
    token(user=UUID(int=0)),
]


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens")


@pytest.mark.parametrize("given", FORMS)
def test_a_token_says_what_it_was_told(tokens, given):
    text = tokens.issue(given)
    assert tokens.open(text) == given
    assert len(text) < 255
    assert "=" not in text


def test_a_token_that_was_touched_is_refused(tokens):
    text = tokens.issue(token())
    for at in range(0, len(text), 7):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(Unauthenticated):
            tokens.open(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "x", "gAAAAA", "ä" * 40, "x" * 5000, "\n", "a b", "%00"])
def test_what_is_no_token_is_refused(tokens, text):
    with pytest.raises(Unauthenticated):
        tokens.open(text)


def test_a_token_of_another_cloud_is_refused(tokens, tmp_path):
    with pytest.raises(Unauthenticated):
        Tokens(tmp_path / "other").open(tokens.issue(token()))


def test_tokens_outlive_rotations_until_their_key_is_forgotten(tokens):
    text = tokens.issue(token())
    for _ in range(ACTIVE_KEYS - 1):
        tokens.open(text)
        tokens.rotate(datetime.now(UTC), 0)
    with pytest.raises(Unauthenticated):
        tokens.open(text)


def test_the_repository_keeps_a_bounded_number_of_keys_for_nobody_else(tokens):
    for _ in range(5):
        tokens.rotate(datetime.now(UTC), 0)
    files = sorted(tokens.directory.iterdir(), key=lambda path: int(path.name))
    assert [path.name for path in files] == ["0", "5", "6"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_two_processes_open_each_others_tokens_through_rotations(tokens):
    other = Tokens(tokens.directory)
    for _ in range(4):
        assert other.open(tokens.issue(token()))
        assert tokens.open(other.issue(token()))
        tokens.rotate(datetime.now(UTC), 0)


def test_keys_are_rotated_when_a_day_or_the_life_of_a_token_has_passed(tokens):
    text, now = tokens.issue(token()), datetime.now(UTC)
    assert not tokens.rotate_when_due(now + timedelta(hours=23), 3600)
    assert not tokens.rotate_when_due(now + timedelta(hours=47), 48 * 3600)
    assert tokens.rotate_when_due(now + timedelta(hours=25), 3600)
    assert tokens.open(text)


def test_no_rotation_ends_a_token_before_its_time(tokens):
    given, now = token(), datetime.now(UTC)
    text = tokens.issue(given)
    for _ in range(6):
        tokens.rotate(now, 3600)
        assert tokens.open(text) == given
    tokens.rotate(now + timedelta(seconds=3601), 3600)
    tokens.rotate(now + timedelta(seconds=7300), 3600)
    with pytest.raises(Unauthenticated):
        tokens.open(text)
