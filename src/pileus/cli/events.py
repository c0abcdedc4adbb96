"""`pileus events`: what changed, a line an event."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pileus.cli.http import Api, Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect

LAST = 50
PAGE = 1000
PAUSE = 1.0
QUIET_SECONDS = 60.0
"""A stream gives a sign of life more often than this."""
WIDTH = 100
Event = dict[str, Any]


def run(state: Path, *, first: int | None, follow: bool, as_json: bool, **filters: Any) -> int:
    chosen = {name: str(value) for name, value in filters.items() if value}
    show = as_object if as_json else as_line
    place = str(-LAST) if first is None else str(first - 1)
    try:
        api = connect(state)
        more = True
        while more:
            query = urlencode({"after": place, "limit": PAGE, "follow": "false", **chosen})
            page = api.get("console", f"/events?{query}")
            place, more = str(page["next"]), page["more"]
            for event in page["events"]:
                show(event)
        if follow:
            for event in followed(api, state, place, chosen):
                show(event)
    except Failed as error:
        complain(str(error))
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


def followed(api: Api, state: Path, place: str, filters: dict[str, str]) -> Iterator[Event]:
    """For ever: a broken connection is made again, an ended session is begun anew. Raises Failed when refused."""
    while True:
        try:
            for behind, event in streamed(api, place, filters):
                place = behind
                if event is not None:
                    yield event
        except urllib.error.HTTPError as error:
            if error.code not in (401, 503):
                raise Failed(error.read().decode(errors="replace")[:500]) from error
        except (OSError, HTTPException):
            time.sleep(PAUSE)
        api = again(state)


def again(state: Path) -> Api:
    """The cloud as it is now, when it is back."""
    while True:
        try:
            return connect(state)
        except Failed:
            time.sleep(PAUSE)


def streamed(api: Api, after: str, filters: dict[str, str]) -> Iterator[tuple[str, Event | None]]:
    """The place after each block of one stream, and its event. Raises HTTPError, OSError."""
    headers = {"X-Auth-Token": api.token, "Accept": "text/event-stream"}
    request = urllib.request.Request(  # noqa: S310 (our own http address)
        f"{api.url}/console/events?{urlencode({'after': after, **filters})}", headers=headers
    )
    with urllib.request.urlopen(request, timeout=QUIET_SECONDS) as answer:  # noqa: S310
        block: dict[str, str] = {}
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
                continue
            event = json.loads(block["data"]) if "data" in block and block["event"] != "end" else None
            yield block.get("id", after), event
            block = {}


def as_object(event: Event) -> None:
    print(json.dumps(event), flush=True)


def as_line(event: Event) -> None:
    what = f"{event['kind']}.{event['action']}"
    line = f"{event['seq']:>8}  {event['at'][:19]}  {what:<24} {event['resource']}  {summary(event)}"
    print(line.rstrip(), flush=True)


def summary(event: Event) -> str:
    """What changed, short: of a new or removed thing its name."""
    change = event["change"]
    if event["action"] != "update":
        return str(change.get("name", ""))
    text = ", ".join(f"{name}: {brief(old)} -> {brief(new)}" for name, (old, new) in change.items())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def brief(value: Any) -> str:
    return "-" if value in (None, "", [], {}) else str(value)
