import base64
from datetime import UTC, datetime, timedelta

import pytest

from pileus.core.identity.authentication import codes

SECRET = b"12345678901234567890"
RFC = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
"""Of RFC 6238, appendix B (SHA-1, the last six digits)."""


@pytest.mark.parametrize("seconds", RFC)
def test_codes_are_those_of_the_standard(seconds):
    assert codes.code(SECRET, seconds // codes.STEP) == RFC[seconds]


@pytest.mark.parametrize(("steps", "good"), [(0, True), (-1, True), (-2, False), (1, False)])
def test_a_code_is_good_in_its_step_and_the_next(steps, good):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    step = codes.step_at(now + timedelta(seconds=steps * codes.STEP))
    found = codes.step_of(SECRET, codes.code(SECRET, step), now)
    assert found == (step if good else None)


def test_a_code_is_taken_once_and_then_only_younger_ones():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    step = codes.step_at(now)
    assert codes.step_of(SECRET, codes.code(SECRET, step), now, after=step) is None
    assert codes.step_of(SECRET, codes.code(SECRET, step - 1), now, after=step) is None
    assert codes.step_of(SECRET, codes.code(SECRET, step), now, after=step - 1) == step


def test_secrets_are_read_as_programs_write_them():
    text = base64.b32encode(SECRET).decode()
    for form in (text, text.rstrip("="), text.lower(), f" {text[:4]} {text[4:]}"):
        assert codes.secret_of(form) == SECRET
    assert codes.secret_of("not base32!") is None
