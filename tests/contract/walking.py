"""Requests that must fail, and how a failure must look."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from pileus.faces.openstack.network.collection import Collection
from pileus.faces.wire.service import Operation, Service
from pileus.faces.wire.versions import Version, text
from tests.asgi import Client, Reply
from tests.contract import samples
from tests.contract.world import Owned, World

PARAMETER = re.compile(r"\{([^}:]*)(:path)?\}")
REFUSED = frozenset({400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 501})
FAULTS = frozenset({"compute", "compute-root", "volume", "volume-root"})
SHOWN = 40


def version_of(service: Service, operation: Operation) -> Version:
    """The newest in which the operation exists."""
    if service.versions is None:
        return (0, 0)
    return min(service.versions.maximum, operation.until or service.versions.maximum)


def headers_of(service: Service, operation: Operation) -> dict[str, str]:
    if service.versions is None:
        return {}
    asked = text(version_of(service, operation))
    return {"openstack-api-version": f"{service.versions.service_type} {asked}"}


def parameters(operation: Operation) -> Iterator[tuple[str, str]]:
    """(kind or "", placeholder) of each parameter of the path."""
    before = ""
    for part in operation.path.strip("/").split("/"):
        if PARAMETER.fullmatch(part):
            yield samples.KINDS.get(before, ""), part
            continue
        before = part


class Everything(dict[str, str]):
    """One value under every name."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return self.value

    def get(self, name: str, default: object = None) -> str:
        return self.value


def word(before: str, name: str, known: Mapping[str, str]) -> str:
    kind = samples.KINDS.get(before, "")
    if kind in known or isinstance(known, Everything):
        return known[kind]
    if before in samples.WORDS:
        return samples.WORDS[before]
    return known.get(name, "00000000-0000-4000-8000-000000000001")


def path_of(service: Service, operation: Operation, *known: Mapping[str, str]) -> str:
    """The path with its parameters filled, each from the mapping at its place (the last one for the rest)."""
    filled, before, number = [], "", 0
    for part in operation.path.strip("/").split("/"):
        match = PARAMETER.fullmatch(part)
        if match is None:
            before = part
            filled.append(part)
            continue
        filled.append(quote(word(before, match[1], known[min(number, len(known) - 1)]), safe="%"))
        number += 1
    return (service.prefix.rstrip("/") + "/" + "/".join(filled)).rstrip("/") or "/"


@cache
def collections() -> dict[str, Collection]:
    """Neutron's, by path."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("pileus.faces.openstack.network."):
            for value in vars(module).values():
                if isinstance(value, Collection):
                    found[f"/v2.0/{value.path}"] = value
    return found


@dataclass
class Walk:
    """One service under one kind of badness: sends, judges, and keeps every failure."""

    world: World
    service: Service
    failures: list[str] = field(default_factory=list)
    sent: int = 0

    async def send(
        self,
        who: Client,
        operation: Operation,
        path: str,
        *,
        what: str,
        body: Any = msgspec.UNSET,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        statuses: frozenset[int] = REFUSED,
        unchanged: bool = True,
    ) -> Reply | None:
        self.sent += 1
        sent = {**headers_of(self.service, operation), **(headers or {})}
        if data is not None and operation.media and "content-type" not in sent:
            sent["content-type"] = sorted(operation.media)[0]
        if operation.media and operation.body is None:
            sent.setdefault("content-type", sorted(operation.media)[0])
        if body is not msgspec.UNSET:
            data = msgspec.json.encode(body)
            if operation.media:
                sent["content-type"] = sorted(operation.media)[-1]
        where = f"{operation.key} [{what}]"
        try:
            reply = await who.request(operation.method, path, data=data, headers=sent)
        except Exception as error:
            self.failures.append(f"{where}: the request broke: {error!r}")
            return None
        if reply.status not in statuses:
            self.failures.append(f"{where}: {reply.status} {reply.body[:200]!r}")
        elif reply.status >= 400 and operation.method != "HEAD":
            self.failures += [f"{where}: {fault}" for fault in faults(self.service.name, reply)]
        changes = self.world.database.changes()
        if changes and (unchanged or reply.status >= 400):
            self.failures.append(f"{where}: {reply.status}, and changed {'; '.join(changes)[:300]}")
        return reply

    def takes(self, operation: Operation, body: Any) -> bool:
        """Whether the declaration has nothing against a body."""
        envelope, shape = samples.resolved(operation.body, version_of(self.service, operation))
        key = operation.action or envelope
        if shape is None:
            return isinstance(body, dict) and list(body) == [key]
        if key is None:
            return samples.fits(body, shape) and not samples.open_ended(shape)
        return isinstance(body, dict) and list(body) == [key] and samples.fits(body[key], shape)

    def reveals(self, operation: Operation, reply: Reply, foreign: Owned, path: str) -> None:
        """A refusal may say the id that was sent, and nothing else of the object."""
        for kind, value in foreign.ids.items():
            if value not in path and value in reply.text:
                self.failures.append(
                    f"{operation.key}: the refusal shows another's {kind}: {reply.text[:200]}"
                )

    def skip_or_finish(self) -> None:
        """A service may have no operation of the sort."""
        if not self.sent:
            pytest.skip("no operation of this sort")
        self.finish()

    def finish(self) -> None:
        assert self.sent, "nothing was sent"
        if self.failures:
            shown = "\n".join(self.failures[:SHOWN])
            raise AssertionError(f"{len(self.failures)} of {self.sent} requests went wrong:\n{shown}")


def faults(service: str, reply: Reply) -> Iterator[str]:
    """What is not as the service words refusals."""
    kind = reply.headers.get("content-type", "")
    if "x-openstack-request-id" not in reply.headers:
        yield "without a request id"
    if service == "image" and reply.status != 401:
        if not kind.startswith("text/html") or f"<title>{reply.status} " not in reply.text:
            yield f"not in Glance's form: {kind} {reply.text[:120]}"
        return
    if not kind.startswith("application/json"):
        yield f"content type {kind!r}"
        return
    try:
        said = reply.json()
    except msgspec.DecodeError:
        yield f"not JSON: {reply.body[:100]!r}"
        return
    if not worded(service, reply.status, said):
        yield f"not in the form of {service}: {reply.body[:200]!r}"


def worded(service: str, status: int, said: Any) -> bool:
    match said:
        case {"error": {"code": code, "title": str(), "message": str()}}:
            return bool(code == status and (status == 401 or service == "identity"))
        case {"error": str(), "error_description": str()}:
            return service == "identity"
        case {"error": {"code": code, "message": str()}}:
            return bool(service == "console" and code == status)
        case {"NeutronError": {"type": str(), "message": str(), "detail": str()}}:
            return service == "network"
        case {"errors": [{"status": code, "title": str(), "detail": str()}]}:
            return bool(service == "placement" and code == status)
        case {**only} if len(only) == 1 and service in FAULTS:
            inner = next(iter(only.values()))
            return isinstance(inner, dict) and inner.get("code") == status and bool(inner.get("message"))
    return False
