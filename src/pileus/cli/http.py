"""A few calls of the OpenStack APIs with nothing but the standard library."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

TIMEOUT = 120.0


class Failed(Exception):
    """A call was refused; the text has the server's words."""


def words(text: str) -> str:
    """The message of an error of any of our APIs; empty where there is none."""
    try:
        answer = json.loads(text)
        held = answer if "message" in answer else next(iter(answer.values()))
        return str(held["message"])
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration):
        return ""


def administrator(url: str, known: Mapping[str, str]) -> "Api":
    """As the first administrator, by what the first start left: an application credential, of which no second factor is
    asked; the password where there is none, or none any more. Raises Failed, KeyError."""
    if "admin_command_id" in known:
        held = {"id": known["admin_command_id"], "secret": known["admin_command_secret"]}
        identity = {"methods": ["application_credential"], "application_credential": held}
        with suppress(Failed):
            return Api(url, identity)
    return by_password(url, "admin", known["admin_password"])


def by_password(url: str, user: str, password: str) -> "Api":
    """As one of the first users, in its own project. Raises Failed."""
    who = {"name": user, "domain": {"id": "default"}, "password": password}
    return Api(url, {"methods": ["password"], "password": {"user": who}})


class Api:
    """One cloud at `url`, as whom `identity` proves to Keystone, in its own project."""

    def __init__(self, url: str, identity: Mapping[str, Any]) -> None:
        self.url = url
        self.token = ""
        headers, answer = self._call(
            "POST", f"{url}/identity/v3/auth/tokens", {"auth": {"identity": identity}}
        )
        self.token = headers["X-Subject-Token"]
        self.project: str = answer["token"]["project"]["id"]

    def get(self, service: str, path: str) -> Any:
        return self.send(service, "GET", path, None)

    def post(self, service: str, path: str, body: Any) -> Any:
        return self.send(service, "POST", path, body)

    def send(self, service: str, method: str, path: str, body: Any, kind: str = "application/json") -> Any:
        return self._call(method, f"{self.url}/{service}{path}", body, kind)[1]

    def _call(self, method: str, url: str, body: Any, kind: str = "application/json") -> tuple[Any, Any]:
        """Headers and decoded body. Raises Failed."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"X-Auth-Token": self.token, "Content-Type": kind, "Accept": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (our own http address)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                content = answer.read()
                return answer.headers, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise Failed(words(text) or f"{method} {url}: {error.code} {text[:500]}") from error
        except OSError as error:
            raise Failed(f"{method} {url}: {error}") from error
