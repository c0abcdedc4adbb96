"""Sets of hosts as whole numbers, a bit for each host's slot, and figures of hosts as bit planes.

A filter over ten thousand hosts is then a handful of operations on numbers of ten thousand bits, and so is the
search for the greatest figure; counting what a filter removes is free beside it.
"""

from collections.abc import Iterable, Iterator


def of_slots(slots: Iterable[int]) -> int:
    """The set of these slots."""
    marks = bytearray()
    for slot in slots:
        place = slot >> 3
        if place >= len(marks):
            marks.extend(bytes(place + 1 - len(marks) + len(marks) // 2))
        marks[place] |= 1 << (slot & 7)
    return int.from_bytes(marks, "little")


def slots_of(bits: int) -> Iterator[int]:
    """Ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def without(bits: int, others: int) -> int:
    return bits ^ (bits & others)


def one_of(bits: int, number: int) -> int:
    """A slot of a set that is not empty: the one at `number`, counted around."""
    left = number % bits.bit_count()
    base, width = 0, bits.bit_length()
    while width > 1:
        half = width // 2
        low = bits & ((1 << half) - 1)
        count = low.bit_count()
        if left < count:
            bits, width = low, half
        else:
            bits >>= half
            base, width, left = base + half, width - half, left - count
    return base


class Figures:
    """One figure (0 or more) of every slot: plane n holds bit n of each slot's figure. Slots never set have 0."""

    __slots__ = ("_planes",)

    def __init__(self) -> None:
        self._planes: list[int] = []

    def change(self, slot: int, old: int, new: int) -> None:
        """From the figure that it has to another; O(1) in the number of slots, but for copying the planes."""
        flips, mark = old ^ new, 1 << slot
        while len(self._planes) < flips.bit_length():
            self._planes.append(0)
        while flips:
            low = flips & -flips
            self._planes[low.bit_length() - 1] ^= mark
            flips ^= low

    def at_least(self, least: int, among: int) -> int:
        """Those of `among` whose figure is not smaller."""
        if least <= 0:
            return among
        if least.bit_length() > len(self._planes):
            return 0
        greater, equal = 0, among
        for place in range(len(self._planes) - 1, -1, -1):
            ones = equal & self._planes[place]
            if least >> place & 1:
                equal = ones
            else:
                greater |= ones
                equal ^= ones
        return greater | equal

    def greatest(self, among: int) -> tuple[int, int]:
        """The greatest figure of a set that is not empty, and those who have it."""
        value = 0
        for place in range(len(self._planes) - 1, -1, -1):
            ones = among & self._planes[place]
            if ones:
                among, value = ones, value | 1 << place
        return value, among

    def least(self, among: int) -> tuple[int, int]:
        """The smallest figure of a set that is not empty, and those who have it."""
        value = 0
        for place in range(len(self._planes) - 1, -1, -1):
            zeros = without(among, self._planes[place])
            if zeros:
                among = zeros
            else:
                value |= 1 << place
        return value, among


class Tagged:
    """Sets of slots by tag: a zone, a trait, a switch."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[object, int] = {}

    def __getitem__(self, tag: object) -> int:
        return self._sets.get(tag, 0)

    def toggle(self, slot: int, tags: Iterable[object]) -> None:
        """In where it was out, out where it was in."""
        mark = 1 << slot
        for tag in tags:
            left = self._sets.get(tag, 0) ^ mark
            if left:
                self._sets[tag] = left
            else:
                del self._sets[tag]
