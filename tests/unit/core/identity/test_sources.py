"""What counts as one source of logins, registrations and letters."""

import pytest

from pileus.core.identity.authentication import failures


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:1:2:3", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::7", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_host_has_one_source_however_many_addresses_it_takes(address: str, source: str) -> None:
    assert failures.source_of(address) == source
    assert failures.of_source(address) == (f"source:{source}",)


def test_an_unknown_address_is_no_source() -> None:
    assert failures.of_source("") == ()
