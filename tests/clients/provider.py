"""A real OpenID provider on loopback, and a browser that logs in there: enough of one to fill in its forms."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, OpenerDirector, build_opener

import pytest

from tests.clients.cloud import free_port, until

OPENID = Path(__file__).parent / "openid"


@contextmanager
def openid_provider(redirect: str) -> Iterator[str]:
    """Its issuer; clients `opaque` and `signed` with secret `shh` may come back to the address given."""
    node = shutil.which("node")
    if node is None or not (OPENID / "node_modules").is_dir():
        pytest.fail("the OpenID provider is not installed: run tools/install test")
    port = free_port()
    started = subprocess.Popen(
        [node, OPENID / "provider.mjs", str(port), redirect],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert started.stdout is not None
        line = until("the provider says that it is ready", started.stdout.readline)
        assert line.strip() == "ready"
        yield f"http://127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait(10)
        assert started.stdout is not None
        started.stdout.close()


class Stay(HTTPRedirectHandler):
    """Redirections are looked at one by one."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


class Browser:
    """Follows redirections and fills in forms; cookies are kept."""

    def __init__(self) -> None:
        self.jar = CookieJar()
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar), Stay())

    def ask(self, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """Where a redirection goes to (empty: nowhere), and the page."""
        data = urlencode(form).encode() if form is not None else None
        try:
            with self._opener.open(url, data) as answer:
                return "", answer.read().decode()
        except HTTPError as error:
            with error:
                if error.code not in (301, 302, 303):
                    raise AssertionError(f"{url}: {error.code} {error.read().decode()[:500]}") from error
                return urljoin(url, error.headers["location"]), ""

    def log_in(self, url: str, name: str, stop: str) -> tuple[str, str]:
        """Go there, log in and agree; until an address that begins with `stop` is reached, or a page without a form of
        the provider. The address, and the page."""
        form: dict[str, str] | None = None
        for _ in range(20):
            if url.startswith(stop):
                return url, ""
            following, page = self.ask(url, form)
            form = None
            if following:
                url = following
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', page)
            prompt = re.search(r'name="prompt" value="([^"]+)"', page)
            if action is None or prompt is None:
                return url, page
            url = urljoin(url, unescape(action[1]))
            form = {"prompt": prompt[1], "login": name, "password": "secret"}
        raise AssertionError(f"the login ends nowhere: {url}")

    def fill_in(self, url: str, name: str) -> str:
        """Go there and answer every form as this user; the first page that has none."""
        form: dict[str, str] | None = None
        for _ in range(20):
            following, page = self.ask(url, form)
            form = None
            if following:
                url = following
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', page)
            if action is None:
                return page
            url = urljoin(url, unescape(action[1]))
            hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
            form = hidden | {"login": name, "password": "secret"}
        raise AssertionError(f"the forms end nowhere: {url}")
