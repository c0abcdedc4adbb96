"""How long other requests wait while people log in by password: for tools/bench.py, or by hand on a running cloud."""

import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

AT_ONCE = 8
SECONDS = 6.0
PAUSE = 0.005


class Waits:
    """Milliseconds of a light request, and of logins, sorted."""

    def __init__(self, light: list[float], logins: list[float]) -> None:
        self.light, self.logins = sorted(light), sorted(logins)

    def __str__(self) -> str:
        late = self.light[int(len(self.light) * 0.99)]
        return f"p50 {self.light[len(self.light) // 2]:.1f} p99 {late:.1f} longest {self.light[-1]:.0f} ms"


def measure(url: str, token: str, user: str, password: str) -> Waits:
    """A light request again and again while so many others log in without a pause."""
    place = urlsplit(url).netloc
    who = {"name": user, "domain": {"id": "default"}, "password": password}
    identity = {"methods": ["password"], "password": {"user": who}}
    wanted = json.dumps({"auth": {"identity": identity}}).encode()
    end = threading.Event()
    logins: list[float] = []
    failed: list[str] = []

    def log_in() -> None:
        connection = http.client.HTTPConnection(place, timeout=60)
        while not end.is_set():
            began = time.perf_counter()
            try:
                status = asked(connection, "POST", "/identity/v3/auth/tokens", {}, wanted)
            except OSError as error:
                status = str(error)
            if status != 201:
                failed.append(str(status))
                return
            logins.append((time.perf_counter() - began) * 1000)

    threads = [threading.Thread(target=log_in) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    light: list[float] = []
    connection = http.client.HTTPConnection(place, timeout=60)
    try:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            began = time.perf_counter()
            asked(connection, "GET", "/identity/v3/auth/projects", {"X-Auth-Token": token}, None)
            light.append((time.perf_counter() - began) * 1000)
            time.sleep(PAUSE)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    if failed:
        raise AssertionError(f"a login failed: {failed[0]}")
    return Waits(light, logins)


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any
) -> int | str:
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    answer.read()
    return answer.status
