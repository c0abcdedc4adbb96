"""Pages of accounts that the cloud serves itself, for people who have none yet or cannot log in."""

from pathlib import Path

from pileus.faces.wire import Kernel, Request, Response

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}
REGISTER = "/console/register"
PAGES = {REGISTER: "register.html", "/console/reset": "reset.html"}


def mount(kernel: Kernel) -> None:
    for path, name in PAGES.items():
        kernel.mount(path, Page(STATIC / name))


class Page:
    """Tokens of letters stand behind the `#` of its address, which browsers send nowhere."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def __call__(self, request: Request) -> Response:
        return Response(200, self._file.read_bytes(), HEADERS, "text/html; charset=utf-8")


def address(request: Request, path: str) -> str:
    """As letters name it: as configured, whatever host a request names."""
    return f"{request.cloud.config.url.rstrip('/')}{path}"
