"""Answers in JSON and XML: what is None is left out, dates and ids become text, and roles hide fields."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID
from xml.sax.saxutils import escape

from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.wire import Response
from pileus.faces.wire.response import encode

JSON_TYPE, XML_TYPE = "application/json; charset=UTF-8", "text/xml; charset=UTF-8"
XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
OWNER = frozenset({"account", "accountid", "domainid", "domain", "domainpath", "projectid", "project"})
"""Fields that are added of every owner and shown where the response has them."""


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def plain(value: Any) -> Any:
    """As both forms write it."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return moment(value)
    return value.value if isinstance(value, Enum) else value


def fields(shown: Mapping[str, Any], response: str, role: str) -> dict[str, Any]:
    """An object without what the role may not see and without owner's fields that this response lacks."""
    known = CATALOGUE.fields(response)
    hidden = {name for name, field in known.items() if field.authorized and role not in field.authorized}
    if known:
        hidden |= OWNER - known.keys()
    return {name: value for name, value in shown.items() if name not in hidden}


def answer(
    status: int,
    envelope: str,
    content: Mapping[str, Any],
    *,
    json: bool,
    headers: Mapping[str, Any] | None = None,
) -> Response:
    written = plain(content)
    if json:
        return Response(status, encode({envelope: written}), headers or {}, JSON_TYPE)
    return Response(status, xml(envelope, written).encode(), headers or {}, XML_TYPE)


def xml(envelope: str, content: Mapping[str, Any]) -> str:
    inside = "".join(element(name, value) for name, value in content.items())
    opening = f'{envelope} cloud-stack-version="{CATALOGUE.version}"'
    return f'<?xml version="1.0" encoding="UTF-8"?><{opening}>{inside}</{envelope}>'


def element(name: str, value: Any) -> str:
    """A list is its element repeated."""
    tag = name if XML_NAME.fullmatch(name) else "_" + re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if isinstance(value, list):
        return "".join(element(name, each) for each in value)
    if isinstance(value, dict):
        return f"<{tag}>{''.join(element(key, each) for key, each in value.items())}</{tag}>"
    return f"<{tag}>{text(value)}</{tag}>"


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(NOT_IN_XML.sub("", str(value)))
