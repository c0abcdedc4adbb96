"""Searches in pages, against a connection that answers what a test says."""

from typing import Any

import ldap
import pytest
from ldap.controls import SimplePagedResultsControl

from pileus.drivers.directory.ldap.searching import search
from pileus.drivers.errors import Refused

BASE = "ou=Users,dc=example,dc=org"


class Connection:
    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def search_ext(self, *_: object, **__: object) -> int:
        return 1

    def result3(self, _: int) -> tuple[int, list[tuple[str, dict[str, list[bytes]]]], int, list[Any]]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        name, cookie = answer
        control = SimplePagedResultsControl(False, size=1, cookie=cookie)
        return 1, [(f"cn={name},{BASE}", {"CN": [name.encode()]})], 1, [control]


def found(*answers: Any) -> list[str]:
    connection: Any = Connection(*answers)
    return [dn for dn, _ in search(connection, BASE, ldap.SCOPE_SUBTREE, "(cn=*)", ["cn"])]


def test_pages_are_read_to_the_last() -> None:
    assert found(("a", b"1"), ("b", b"2"), ("c", b"")) == [f"cn={name},{BASE}" for name in "abc"]


def test_a_place_that_is_not_there_holds_nothing() -> None:
    assert found(ldap.NO_SUCH_OBJECT()) == []


def test_a_place_that_goes_away_while_it_is_read_is_no_short_list() -> None:
    with pytest.raises(Refused, match="went away"):
        found(("a", b"1"), ldap.NO_SUCH_OBJECT())
