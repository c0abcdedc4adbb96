"""A trie over path segments: a look-up costs the depth of the path, whatever the number of routes."""

from collections.abc import Iterator
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from pileus.core.errors import Invalid

T = TypeVar("T")


class Node(Generic[T]):
    """One segment: fixed continuations, one for any segment, one for all that is left."""

    __slots__ = ("leaf", "literals", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, Node[T]] = {}
        self.parameter: Node[T] | None = None
        self.rest: Node[T] | None = None
        self.leaf: T | None = None

    def grow(self, template: str) -> "Node[T]":
        """The node of a template such as `/servers/{server}/tags` or `/{bucket}/{name:path}`."""
        node, names = self, split(template)
        if any(name.endswith(":path}") for name in names[:-1]):
            raise ValueError(f"{template}: nothing may follow a :path parameter")
        for name in names:
            node = node._step(name)
        return node

    def _step(self, segment: str) -> "Node[T]":
        if not segment.startswith("{"):
            return self.literals.setdefault(segment, Node())
        if segment.endswith(":path}"):
            self.rest = self.rest or Node()
            return self.rest
        self.parameter = self.parameter or Node()
        return self.parameter

    def find(self, segments: tuple[str, ...]) -> tuple[T, tuple[str, ...]] | None:
        """The leaf of a path and the values of its parameters; fixed segments win over parameters.

        A trailing slash belongs to the value of a :path parameter and means nothing elsewhere.
        """
        found = self._find(segments, 0, ())
        if found is None and segments and not segments[-1]:
            return self._find(segments[:-1], 0, ())
        return found

    def _find(
        self, segments: tuple[str, ...], at: int, values: tuple[str, ...]
    ) -> tuple[T, tuple[str, ...]] | None:
        if at == len(segments):
            return None if self.leaf is None else (self.leaf, values)
        segment = segments[at]
        child = self.literals.get(segment)
        if child is not None:
            found = child._find(segments, at + 1, values)
            if found is not None:
                return found
        if self.parameter is not None and segment:
            found = self.parameter._find(segments, at + 1, (*values, segment))
            if found is not None:
                return found
        if self.rest is not None and self.rest.leaf is not None:
            left = "/".join(segments[at:])
            if left:
                return self.rest.leaf, (*values, left)
        return None

    def leaves(self) -> Iterator[T]:
        if self.leaf is not None:
            yield self.leaf
        for child in (*self.literals.values(), self.parameter, self.rest):
            if child is not None:
                yield from child.leaves()


def split(path: str) -> list[str]:
    """Segments of a template or prefix; slashes at the ends do not count."""
    stripped = path.strip("/")
    return stripped.split("/") if stripped else []


def parameters(template: str) -> list[str]:
    """The names of a template's parameters, in order."""
    return [part[1:-1].removesuffix(":path") for part in split(template) if part.startswith("{")]


def pieces(raw: bytes) -> list[str]:
    """The segments of a path as it came: enough to tell whose words answer a path that cannot be decoded."""
    return raw.decode("latin-1").removeprefix("/").split("/")


def segments(raw: bytes) -> list[str]:
    """The segments of a path as it came, decoded one by one, so that %2F stays inside its segment.

    Invalid for bytes that are not UTF-8 and for NULs; a last empty segment (trailing slash) is kept.
    """
    text = raw.decode("latin-1")
    parts = text[1:].split("/") if text.startswith("/") else text.split("/")
    if "%" not in text and text.isascii():
        return parts
    try:
        decoded = [unquote_to_bytes(part.encode("latin-1")).decode("utf-8") for part in parts]
    except UnicodeDecodeError:
        raise Invalid("The path is not UTF-8; encode it as UTF-8 and then as %XX.") from None
    if any("\0" in part for part in decoded):
        raise Invalid("The path holds a NUL character; remove it.")
    return decoded


class Prefixes(Generic[T]):
    """What serves a path: the longest registered prefix, compared segment by segment."""

    def __init__(self) -> None:
        self._root: Node[T] = Node()

    def add(self, prefix: str, target: T) -> None:
        node = self._root.grow(prefix)
        if node.leaf is not None:
            raise ValueError(f"the path /{prefix.strip('/')} is served twice")
        node.leaf = target

    def longest(self, parts: list[str]) -> tuple[T, int] | None:
        """The target and the number of segments that its prefix took."""
        node, best = self._root, None
        if node.leaf is not None:
            best = (node.leaf, 0)
        for depth, part in enumerate(parts, 1):
            child = node.literals.get(part)
            if child is None:
                break
            node = child
            if node.leaf is not None:
                best = (node.leaf, depth)
        return best
