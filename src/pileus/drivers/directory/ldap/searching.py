"""Searches on one connection: in pages, without referrals, with values that come in ranges read to their end."""

from collections.abc import Iterator, Sequence

import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.ldap.entries import Attributes, folded, is_dn
from pileus.drivers.errors import Refused

PAGE = 500
MOST = 1_000_000
"""Entries of one search: more than any directory of people that is meant to be read whole."""

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
    if base and not is_dn(base):
        return []
    control = SimplePagedResultsControl(False, size=page or PAGE, cookie="")
    found: Found = []
    while True:
        try:
            asked = connection.search_ext(base, scope, filter, list(attributes), serverctrls=[control])
            _, entries, _, controls = connection.result3(asked)
        except ldap.NO_SUCH_OBJECT:
            return []
        found += [(dn, folded(values)) for dn, values in entries if dn is not None]
        cookies = [each.cookie for each in controls if each.controlType == control.controlType]
        if not cookies or not cookies[0]:
            return found
        if len(found) > MOST:
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
