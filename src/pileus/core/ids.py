"""Ids of records: UUIDs of version 7 (RFC 9562, 5.7), which begin with the time.

What is made together lies together in the database's indexes, so a new row costs the same however many there are;
with random ids each of its index entries is on a page of its own. 74 bits are random: nobody guesses them.
"""

import os
import time
from uuid import UUID

VERSION, VARIANT = 7 << 76, 2 << 62
RANDOM_A, RANDOM_B = 0xFFF << 64, (1 << 62) - 1


def fresh() -> UUID:
    """A new id."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    return UUID(int=milliseconds << 80 | VERSION | random & RANDOM_A | VARIANT | random & RANDOM_B)
