"""The closed list of ways in which the core says no.

A kind exists only where a program must tell it apart; every face maps kinds to its own answers by one table.
"""

from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    EXISTS = "exists"
    CONFLICT = "conflict"
    IN_USE = "in use"
    QUOTA = "quota"
    NO_CAPACITY = "no capacity"
    TOO_LARGE = "too large"
    TOO_MANY = "too many"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"


class CoreError(Exception):
    """`public` may be shown to any caller; `private` goes to the log only."""

    kind: ClassVar[Kind]

    def __init__(self, public: str, *, private: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.private = private


class Invalid(CoreError):
    kind = Kind.INVALID


class Unauthenticated(CoreError):
    kind = Kind.UNAUTHENTICATED


class Forbidden(CoreError):
    kind = Kind.FORBIDDEN


class NotFound(CoreError):
    kind = Kind.NOT_FOUND

    def __init__(self, what: str, key: object, *, private: str = "") -> None:
        super().__init__(f"{what} {key} could not be found.", private=private)
        self.what, self.key = what, str(key)


class Exists(CoreError):
    kind = Kind.EXISTS


class Conflict(CoreError):
    """The object's state does not allow this now."""

    kind = Kind.CONFLICT


class InUse(CoreError):
    """Something else still needs the object."""

    kind = Kind.IN_USE


class QuotaExceeded(CoreError):
    """`of`: whose limit it is where it is not the project's (or user's) own, as in "domain lab"."""

    kind = Kind.QUOTA

    def __init__(self, resource: str, *, limit: int, used: int, wanted: int, of: str = "") -> None:
        named = resource.replace("@", " with the tag ", 1)
        what = f"{named} of {of}, with all below it," if of else named
        super().__init__(
            f"The quota of {what} is {limit}: {used} are used and {wanted} more were asked for. "
            f"Delete something, or let an administrator raise the quota{f' of {of}' if of else ''}."
        )
        self.resource, self.limit, self.used, self.wanted, self.of = resource, limit, used, wanted, of


class NoCapacity(CoreError):
    kind = Kind.NO_CAPACITY


class TooLarge(CoreError):
    kind = Kind.TOO_LARGE


class TooMany(CoreError):
    """Asked too often; later it is heard again."""

    kind = Kind.TOO_MANY


class Unsupported(CoreError):
    """Pileus does not do this (yet); the text says so plainly."""

    kind = Kind.UNSUPPORTED


class Unavailable(CoreError):
    """A platform below did not answer; asking again later may help."""

    kind = Kind.UNAVAILABLE
