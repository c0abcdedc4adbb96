"""Microversions: which one a request asks for, what the answer says, and bodies that differ by version."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pileus.faces.wire.errors import WireError, WireKind

Version = tuple[int, int]
Span = Version | tuple[Version, Version]
"""From a version on, or from the first to the second, both included."""

UNVERSIONED: Version = (0, 0)
HEADER = "openstack-api-version"
NUMBER = re.compile(r"([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", re.ASCII)


def text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True)
class Versions:
    """The range one service speaks, without holes."""

    service_type: str
    minimum: Version
    maximum: Version
    legacy_header: str | None = None
    aliases: tuple[str, ...] = ()

    def wanted(self, headers: Mapping[str, str]) -> Version:
        """The version a request asks for; WireError when it is malformed or outside the range."""
        asked = self._asked(headers)
        if asked is None:
            return self.minimum
        if asked == "latest":
            return self.maximum
        match = NUMBER.fullmatch(asked)
        if match is None:
            raise WireError(
                WireKind.BAD_VERSION,
                f"API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum.",
                details=self._bounds(),
            )
        version = (int(match[1]), int(match[2]))
        if not self.minimum <= version <= self.maximum:
            raise WireError(
                WireKind.VERSION_RANGE,
                f"Version {asked} is not supported by the API. Minimum is {text(self.minimum)} "
                f"and maximum is {text(self.maximum)}.",
                details=self._bounds(),
            )
        return version

    def headers(self, version: Version | None) -> dict[str, str]:
        """What every answer carries; without a version where the request's was refused."""
        names = "OpenStack-API-Version"
        if self.legacy_header is not None:
            names = f"{names}, {self.legacy_header}"
        if version is None:
            return {"vary": names}
        answer = {"openstack-api-version": f"{self.service_type} {text(version)}", "vary": names}
        if self.legacy_header is not None:
            answer[self.legacy_header.lower()] = text(version)
        return answer

    def _asked(self, headers: Mapping[str, str]) -> str | None:
        line = headers.get(HEADER)
        if line is not None:
            for entry in line.split(","):
                service, _, number = entry.strip().partition(" ")
                if service.lower() == self.service_type or service.lower() in self.aliases:
                    return number.strip().lower()
        if self.legacy_header is not None:
            legacy = headers.get(self.legacy_header.lower())
            return None if legacy is None else legacy.strip().lower()
        return None

    def _bounds(self) -> dict[str, str]:
        return {"minimum": text(self.minimum), "maximum": text(self.maximum)}


class Versioned:
    """Variants of a declaration: each holds from its version on, until the next begins."""

    def __init__(self, variants: Mapping[Version, Any]) -> None:
        if not variants:
            raise ValueError("Versioned needs at least one variant")
        self.variants = dict(sorted(variants.items(), reverse=True))

    def at(self, version: Version) -> Any:
        """The newest variant not above the version; before the first one there is none."""
        for since, variant in self.variants.items():
            if since <= version:
                return variant
        return None


def within(span: Span, version: Version) -> bool:
    first, second = span
    if isinstance(first, tuple):
        return first <= version <= cast(Version, second)
    return cast(Version, span) <= version
