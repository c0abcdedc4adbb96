"""Searches on one connection: in pages, without referrals, with values that come in ranges read to their end."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.ldap.entries import Attributes, folded, is_dn
from pileus.drivers.errors import Refused

PAGE = 500
MOST = 1_000_000
"""Entries of one search: more than any directory of people that is meant to be read whole."""

AT_ONCE = 100
"""Entries that are asked for before the first has come."""
NOT_HERE = (ldap.NO_SUCH_OBJECT, ldap.REFERRAL)
"""What is not there, and what another server has: of another domain of a forest, as groups may name it."""

Found = list[tuple[str, Attributes]]


def search(
    connection: LDAPObject,
    base: str,
    scope: int,
    filter: str,
    attributes: Sequence[str],
    *,
    page: int = 0,
) -> Found:
    """A base that is not there holds nothing. Raises ldap.LDAPError, Refused."""
    return [entry for some in pages(connection, base, scope, filter, attributes, page=page) for entry in some]


def pages(
    connection: LDAPObject,
    base: str,
    scope: int,
    filter: str,
    attributes: Sequence[str],
    *,
    page: int = 0,
) -> Iterator[Found]:
    """As `search`, so that not all is held at once as it came: it is many objects, and the interpreter stands still for
    as long as it takes to look through them for garbage."""
    if base and not is_dn(base):
        return
    control = SimplePagedResultsControl(False, size=page or PAGE, cookie="")
    count = 0
    while True:
        try:
            asked = connection.search_ext(base, scope, filter, list(attributes), serverctrls=[control])
            _, entries, _, controls = connection.result3(asked)
        except NOT_HERE as error:
            if count:
                raise Refused(f"{base} went away while it was read") from error
            return
        yield [(dn, folded(values)) for dn, values in entries if dn is not None]
        count += len(entries)
        cookies = [each.cookie for each in controls if each.controlType == control.controlType]
        if not cookies or not cookies[0]:
            return
        if count > MOST:
            raise Refused(
                f"LDAP gives more than {MOST} entries below {base}: name a narrower tree or a filter"
            )
        control.cookie = cookies[0]


def one(
    connection: LDAPObject, dn: str, filter: str, attributes: Sequence[str]
) -> tuple[str, Attributes] | None:
    """The entry at a name, where it fits the filter."""
    found = search(connection, dn, ldap.SCOPE_BASE, filter, attributes) if dn else []
    return found[0] if found else None


def many(connection: LDAPObject, names: Iterable[str], filter: str, attributes: Sequence[str]) -> Found:
    """The entries at these names that fit the filter, without a wait for each."""
    found: Found = []
    waiting: deque[int] = deque()
    left = iter([name for name in names if is_dn(name)])
    while True:
        for name in islice(left, AT_ONCE - len(waiting)):
            waiting.append(connection.search_ext(name, ldap.SCOPE_BASE, filter, list(attributes)))
        if not waiting:
            return found
        try:
            _, entries, _, _ = connection.result3(waiting.popleft())
        except (*NOT_HERE, ldap.INSUFFICIENT_ACCESS):
            continue
        found += [(dn, folded(values)) for dn, values in entries if dn is not None]


def values(connection: LDAPObject, dn: str, found: Attributes, attribute: str) -> list[str]:
    """All of an attribute's. Active Directory gives long ones in ranges, as in `member;range=0-1499`."""
    gathered = list(found.get(attribute.lower(), ()))
    for start, some in ranges(found, attribute):
        gathered += some
        while start is not None:
            asked = f"{attribute};range={start}-*"
            next_one = one(connection, dn, "(objectClass=*)", [asked])
            parts = list(ranges(next_one[1], attribute)) if next_one else []
            start = parts[0][0] if parts else None
            gathered += parts[0][1] if parts else []
    return [value.decode(errors="replace") for value in gathered]


def ranges(found: Attributes, attribute: str) -> Iterator[tuple[int | None, list[bytes]]]:
    """(where to go on, the values so far)."""
    for name, some in found.items():
        if name.startswith(f"{attribute.lower()};range="):
            last = name.rpartition("-")[2]
            yield (int(last) + 1 if last.isdigit() else None), some
