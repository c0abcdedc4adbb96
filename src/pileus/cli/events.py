"""`pileus events`: what changed, a line an event."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pileus.cli.http import Api, Failed, words
from pileus.cli.lifecycle import complain
from pileus.cli.operations import brief as short
from pileus.cli.operations import connect, width

LAST = 50
PAGE = 1000
PAUSE = 1.0
QUIET_SECONDS = 60.0
"""A stream gives a sign of life more often than this."""
WIDTH = 100
"""Of what changed, where the output is no terminal."""
FIRST = ("name", "state", "fault", "power")
SILENT = frozenset({"generation", "operation", "open_as", "updated_at", "checksum", "sha512"})
"""What a line leaves out: it follows from the rest, or says nothing to a person. `--json` has it."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
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
                text = error.read().decode(errors="replace")
                raise Failed(words(text) or text[:500]) from error
        except (OSError, HTTPException):
            complain("the connection to the cloud broke; going on when it answers again")
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
    at = event["at"][:19].replace("T", " ")
    head = f"{event['seq']:>6}  {at}  {what:<21}  {short(event['resource'])}  "
    columns = width()
    left = WIDTH if columns is None else max(columns - len(head), 20)
    text = summary(event)
    print((head + (text if len(text) <= left else f"{text[: left - 1]}…")).rstrip(), flush=True)


def summary(event: Event) -> str:
    """What changed, short, what matters first: of a new or removed thing what it is called."""
    change = event["change"]
    if event["action"] != "update":
        called = ("text", "name", "hostname", "address")
        return str(next((change[field] for field in called if change.get(field)), ""))
    names = sorted(change.keys() - SILENT, key=lambda name: (name not in FIRST, name.endswith("_at"), name))
    if len(names) > 1:
        names = [name for name in names if not name.endswith("_at")] or names
    return ", ".join(f"{name}: {brief(change[name][0])} -> {brief(change[name][1])}" for name in names)


def brief(value: Any) -> str:
    """Nothing is a dash, a time is without its fraction."""
    text = "-" if value in (None, "", [], {}) else str(value)
    return text[:19].replace("T", " ") if TIME.match(text) else text
