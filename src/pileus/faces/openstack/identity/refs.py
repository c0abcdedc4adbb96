"""How Keystone names things: ids of 32 hex digits, the domain called `default`, links, and lists with links."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID, uuid5

from msgspec import Meta

from pileus.core.errors import NotFound
from pileus.core.identity.domains import ROOT
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request

DEFAULT = "default"
"""Keystone's id of its first domain, which clients have in their settings."""
MAXIMUM = 1000
"""Of items in a page, as Keystone has it."""

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
ShortName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]


Description = Annotated[str, Meta(max_length=255)]
"""Of domains and roles; others have no limit."""
IdText = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[a-zA-Z0-9-]+\Z")]
"""An id as Keystone checks its form; whether it names anything is another matter."""


def domain_id(key: UUID) -> str:
    return DEFAULT if key == ROOT else key.hex


def domain_key(text: str) -> UUID:
    """The domain meant by an id as clients send it. Raises NotFound."""
    return ROOT if text == DEFAULT else known_key(text, "Domain")


def known_key(text: str, what: str) -> UUID:
    """An id in a body; one of another form names nothing. Raises NotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(what, text[:64]) from None


def filter_key(text: str | None) -> UUID | None:
    """An id to filter by; one of another form matches nothing."""
    if text is None:
        return None
    if text == DEFAULT:
        return ROOT
    try:
        return UUID(text)
    except ValueError:
        return uuid5(ROOT, text)


def on(text: str | None) -> bool:
    """A flag in a query: there, and not said to be off."""
    return text is not None and text.lower() not in ("0", "false", "no", "off")


def url(request: Request, *parts: str) -> str:
    return "/".join((f"{public_url(request)}/identity/v3", *parts))


def self_link(request: Request, *parts: str) -> dict[str, str]:
    return {"self": url(request, *parts)}


def here(request: Request) -> str:
    """The address of a list, with its query."""
    query = request.query_string.decode("latin-1")
    return f"{public_url(request)}{request.path}{'?' + query if query else ''}"


def listed(request: Request, name: str, shown: Sequence[Any]) -> dict[str, Any]:
    return {name: shown, "links": {"self": here(request), "previous": None, "next": None}}


def target(**values: UUID | None) -> dict[str, str]:
    """What a rule is held against: `user__domain_id` becomes `target.user.domain_id`. What is not there is left out,
    for a rule must not find that nothing equals nothing. The user is there also as the `user_id` of the path."""
    found = {
        f"target.{name.replace('__', '.')}": value.hex for name, value in values.items() if value is not None
    }
    if "target.user.id" in found:
        found["user_id"] = found["target.user.id"]
    return found
