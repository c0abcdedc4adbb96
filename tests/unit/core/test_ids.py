"""Ids are UUIDs of version 7, and in the order of their making."""

import asyncio
from uuid import RFC_4122

from pileus.core import ids


def test_ids_are_of_version_7_distinct_and_grow_with_time() -> None:
    made = [ids.fresh() for _ in range(10_000)]
    assert {(key.version, key.variant) for key in made} == {(7, RFC_4122)}
    assert len(set(made)) == len(made)
    moments = [key.int >> 64 for key in made]
    assert moments == sorted(moments)


async def test_what_is_made_one_after_the_other_is_in_that_order() -> None:
    """However short the work between: rows of one transaction share their time, and are told apart by their ids."""
    made = []
    for _ in range(2000):
        made.append(ids.fresh())
        await asyncio.sleep(0)
    assert made == sorted(made)


def test_what_is_not_time_is_random() -> None:
    bits = [ids.fresh().int & ((1 << 62) - 1) for _ in range(2000)]
    for place in range(62):
        ones = sum(number >> place & 1 for number in bits)
        assert 800 < ones < 1200, f"bit {place} is set in {ones} of 2000"
