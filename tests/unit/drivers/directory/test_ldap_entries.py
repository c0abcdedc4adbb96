"""What the LDAP driver makes of entries, where slapd has nothing of the kind: Active Directory's peculiarities."""

from typing import Any
from uuid import UUID

import pytest

from pileus.drivers.directory.ldap import entries, searching
from pileus.drivers.directory.ldap.schemas import layout_of
from pileus.drivers.directory.protocol import Settings
from pileus.drivers.errors import Unreachable

GUID = UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a10")
ACTIVE = layout_of(Settings(schema="activedirectory", suffix="dc=ad", user_id_attribute="objectGUID"))
SID = bytes.fromhex("0105000000000005150000000102030004050600070809000a0b0000")
DN = "cn=alice,dc=ad"


class Ranged:
    """A connection to a server that gives at most two values at once."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values

    def search_ext(self, base: str, scope: int, filter: str, attributes: list[str], **more: Any) -> str:
        return attributes[0]

    def result3(self, asked: str) -> tuple[int, list[Any], int, list[Any]]:
        name, _, limits = asked.partition(";range=")
        start = int(limits.partition("-")[0])
        some = self.values[start : start + 2]
        last = "*" if start + 2 >= len(self.values) else str(start + 1)
        return 0, [(DN, {f"{name};range={start}-{last}": some}), (None, ["ldap://referral"])], 0, []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_values_in_ranges_are_read_to_their_end(count: int):
    every = [f"cn={number}".encode() for number in range(count)]
    connection = Ranged(every)
    first = "*" if count <= 2 else "1"
    found = {f"member;range=0-{first}": every[:2]} if every else {}
    assert searching.values(connection, DN, found, "member") == [value.decode() for value in every]


def test_ids_that_are_bytes_are_shown_as_uuids():
    found = {"objectguid": [GUID.bytes_le], "samaccountname": [b"alice"], "useraccountcontrol": [b"514"]}
    person = entries.person_of(ACTIVE, DN, found)
    assert person is not None
    assert (person.id, person.name, person.enabled) == (str(GUID), "alice", False)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("objectSid", SID, "S-1-5-21-197121-394500-591879-2826"),
        ("mS-DS-ConsistencyGuid", GUID.bytes_le, str(GUID)),
        ("objectGUID", b"short", "short"),
        ("thumbnail", b"\xff\xd8", "ffd8"),
    ],
)
def test_bytes_are_shown_as_texts(name: str, value: bytes, shown: str):
    assert entries.text_of(name, value) == shown


def test_a_new_entry_is_named_by_something_that_can_be_chosen():
    dn, made = entries.new_person(ACTIVE, "a,b", {"enabled": False})
    assert dn == "cn=a\\,b,dc=ad"
    assert "objectGUID" not in made
    assert (made["sAMAccountName"], made["userAccountControl"], made["cn"]) == ([b"a,b"], [b"514"], [b"a,b"])


@pytest.mark.parametrize(
    ("value", "enabled", "after"),
    [("512", False, "514"), ("66050", True, "66048"), ("junk", True, "0"), ("", True, "512")],
)
def test_of_a_mask_only_the_one_bit_changes(value: str, enabled: bool, after: str):
    assert entries.enabled_value(ACTIVE, enabled, value) == after


def test_passwords_are_written_as_active_directory_wants_them():
    assert ACTIVE.active_directory_password
    assert entries.active_directory_password("né") == b'"\0n\0\xe9\0"\0'


def test_an_entry_without_a_name_is_nobody():
    assert entries.person_of(ACTIVE, DN, {"objectguid": [GUID.bytes_le]}) is None


def test_names_are_the_same_however_they_are_spelt():
    assert entries.key_of("CN=Alice  B, OU=x") == entries.key_of("cn=alice b,ou=X")
    assert entries.key_of("cn=a\\,b,ou=x") != entries.key_of("cn=a,cn=b,ou=x")


async def test_a_closed_directory_is_not_asked():
    from pileus.drivers.directory.ldap import LdapDirectory

    made = LdapDirectory(Settings(url="ldap://127.0.0.1:1", suffix="dc=x"))
    await made.close()
    with pytest.raises(Unreachable):
        await made.find(name="alice")
