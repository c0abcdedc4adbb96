"""Ids are UUIDs of version 7, and in the order of their making."""

from uuid import RFC_4122

from pileus.core import ids


def test_ids_are_of_version_7_distinct_and_grow_with_time() -> None:
    made = [ids.fresh() for _ in range(10_000)]
    assert {(key.version, key.variant) for key in made} == {(7, RFC_4122)}
    assert len(set(made)) == len(made)
    moments = [key.int >> 80 for key in made]
    assert moments == sorted(moments)


def test_what_is_not_time_is_random() -> None:
    bits = [ids.fresh().int & ((1 << 76) - 1) for _ in range(2000)]
    for place in [*range(62), *range(64, 76)]:
        ones = sum(number >> place & 1 for number in bits)
        assert 800 < ones < 1200, f"bit {place} is set in {ones} of 2000"
