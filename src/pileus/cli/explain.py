"""`pileus explain`: why a server is where it is, or nowhere, and whether one more would fit."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from pileus.cli.http import Api, Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect, wrapped


def server(state: Path, key: str) -> int:
    try:
        api = connect(state)
        answer = api.get("console", f"/servers/{server_of(api, key)}/explain")
    except Failed as error:
        complain(str(error))
        return 1
    print("\n".join(told(answer)))
    return 0


def size(state: Path, key: str, zone: str) -> int:
    try:
        api = connect(state)
        asked = urlencode({"size": size_of(api, key), "zone": zone})
        answer = api.get("console", f"/placement/explain?{asked}")
    except Failed as error:
        complain(str(error))
        return 1
    print("\n".join(lines(answer["explanation"])))
    return 0


def server_of(api: Api, key: str) -> str:
    """The id of a server by its id or name, of any project. Raises Failed."""
    with suppress(ValueError):
        return str(UUID(key))
    query = urlencode({"all_tenants": "true", "name": f"^{re.escape(key)}$"})
    found = [each["id"] for each in api.get("compute", f"/v2.1/servers?{query}")["servers"]]
    if not found:
        raise Failed(f"there is no server {key}; `openstack server list --all-projects` shows all")
    if len(found) > 1:
        raise Failed(f"{len(found)} servers are called {key}; say which by its id: {', '.join(found[:10])}")
    return str(found[0])


def size_of(api: Api, key: str) -> str:
    """As the compute API knows it; a name stands for the size of that name."""
    known = api.get("compute", "/v2.1/flavors?is_public=None")["flavors"]
    return next((str(each["id"]) for each in known if each["name"] == key), key)


def told(answer: Any) -> list[str]:
    """Of a server."""
    held, decision = answer["server"], answer["decision"]
    state = "in error" if held["state"] == "error" else held["state"]
    found = [f"server {held['name']} ({held['id']}) is {state}"]
    found += [f"  {wrapped(held['fault'], 2)}"] if held["fault"] else []
    if decision is None:
        found.append("no decision is recorded: it was placed before decisions were kept, or not yet")
    else:
        found += ["", f"decided {decision['at'][:19].replace('T', ' ')}", *lines(decision)]
    found += [f"{len(answer['earlier'])} earlier decisions are kept"] if answer["earlier"] else []
    if answer["now"] is not None:
        now = lines(answer["now"])
        same = decision is not None and now == lines(decision)
        found += ["", "now it would meet the same"] if same else ["", "now it would meet", *now]
    return found


def lines(told: Any) -> list[str]:
    """One explanation."""
    asked = f"{told['asked']} ({told['strategy']})"
    found = [f"  asked     {wrapped(asked, 12)}"]
    winner = told["winner"]
    if winner is None:
        found.append(f"  result    no host of {told['considered']} fits")
    else:
        text = f"{winner['hostname'] or 'a host'}, {winner['why']} (score {winner['score']})"
        found.append(f"  result    {wrapped(text, 12)}")
    found += columns(("hosts", "why not"), [[str(each["hosts"]), each["text"]] for each in told["removed"]])
    if winner is None:
        found += columns(
            ("nearest", "what keeps it out", "note"),
            [[miss["hostname"] or "-", miss["lacks"], miss["note"] or ""] for miss in told["nearest"]],
        )
    found += columns(
        ("next best", "score", "why"),
        [[each["hostname"] or "-", str(each["score"]), each["why"]] for each in told["alternatives"]],
    )
    return [*found, *(f"  advice    {wrapped(f'It would fit {each}.', 12)}" for each in told["advice"])]


def columns(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """As wide as what is in them; nothing without rows."""
    whole = [[name.upper() for name in head], *rows] if rows else []
    widths = [max(len(line[place]) for line in whole) for place in range(len(head))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in whole
    ]
