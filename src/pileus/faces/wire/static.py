"""Files of a directory, safely: the dashboard and its assets."""

import asyncio
import hashlib
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pileus.faces.wire.errors import ErrorForm, PlainErrors, WireError, WireKind
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response, Stream

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HASHED = re.compile(r"[.-](?=[A-Za-z0-9_-]*[0-9A-Z_])[A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
"""Names that a bundler makes from the content; such files never change."""
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
TEXTUAL = re.compile(r"text/|application/(javascript|json|manifest\+json|xml)|image/svg\+xml")


@dataclass(frozen=True)
class File:
    """A file's content as it was when its time and size were these."""

    stamp: tuple[int, int]
    content: bytes
    etag: str


class Directory:
    """Serves GET and HEAD below one directory; nothing outside it, whatever the path or link says."""

    errors: ErrorForm = PlainErrors()

    def __init__(self, directory: Path, *, fallback: str | None = None, policy: str | None = None) -> None:
        self._directory = directory.resolve()
        self._fallback = fallback
        self._policy = policy or CSP
        self._files: dict[Path, File] = {}

    async def answer(self, request: Request) -> Response | Stream:
        if request.method not in ("GET", "HEAD"):
            raise WireError(
                WireKind.BAD_METHOD, "Files can only be read: GET or HEAD.", headers={"allow": "GET, HEAD"}
            )
        path = self._locate(request.tail)
        if path is None and self._fallback is not None and navigates(request):
            path = self._locate((self._fallback,))
        if path is None:
            raise WireError(WireKind.NO_ROUTE, f"There is no file {request.path[:200]}.")
        encoding, chosen = self._encoded(path, request.headers.get("accept-encoding", ""))
        file = await self._read(chosen)
        return self._reply(request, path, encoding, file)

    def decorate(self, request: Request) -> Mapping[str, str]:
        return {
            "content-security-policy": self._policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "x-frame-options": "DENY",
        }

    def _locate(self, tail: tuple[str, ...]) -> Path | None:
        """The file that segments name; None for what does not exist or leaves the directory."""
        names = tail[:-1] if tail and not tail[-1] else tail
        if any(
            not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name for name in names
        ):
            return None
        try:
            path = self._directory.joinpath(*names).resolve()
            if path.is_dir():
                path = (path / "index.html").resolve()
            inside = path.is_relative_to(self._directory) and path.is_file()
        except OSError:
            return None
        return path if inside else None

    def _encoded(self, path: Path, accepted: str) -> tuple[str | None, Path]:
        """The compressed sibling that the client takes, where there is one."""
        offers = {
            part.partition(";")[0].strip()
            for part in accepted.split(",")
            if "q=0" not in part.replace("q=0.", "")
        }
        for name, suffix in ENCODINGS:
            sibling = path.with_name(path.name + suffix)
            if name in offers and sibling.is_file() and not sibling.is_symlink():
                return name, sibling
        return None, path

    async def _read(self, path: Path) -> File:
        status = os.stat(path)
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._files.get(path)
        if known is None or known.stamp != stamp:
            content = await asyncio.to_thread(path.read_bytes)
            known = File(stamp, content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
            self._files[path] = known
        return known

    def _reply(self, request: Request, path: Path, encoding: str | None, file: File) -> Response:
        immutable = HASHED.search(path.name) is not None
        headers = {
            "etag": file.etag,
            "cache-control": "public, max-age=31536000, immutable" if immutable else "no-cache",
            "vary": "Accept-Encoding",
        }
        if encoding is not None:
            headers["content-encoding"] = encoding
        known = {
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        }
        if file.etag in known or "*" in known:
            return Response(304, None, headers)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if TEXTUAL.match(kind):
            kind = f"{kind}; charset=utf-8"
        return Response(200, file.content, headers, kind)


def navigates(request: Request) -> bool:
    """Whether a browser asks for a page rather than for a file of one."""
    return "text/html" in request.headers.get("accept", "") or "." not in (request.tail or ("",))[-1]
