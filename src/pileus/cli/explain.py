"""`pileus explain`: why a server is where it is, or nowhere, and whether one more would fit."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pileus.cli.http import Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect


def server(state: Path, key: str) -> int:
    try:
        answer = connect(state).get("console", f"/servers/{key}/explain")
    except Failed as error:
        complain(str(error))
        return 1
    print("\n".join(told(answer)))
    return 0


def size(state: Path, key: str, zone: str) -> int:
    try:
        answer = connect(state).get("console", f"/placement/explain?{urlencode({'size': key, 'zone': zone})}")
    except Failed as error:
        complain(str(error))
        return 1
    print("\n".join(lines(answer["explanation"])))
    return 0


def told(answer: Any) -> list[str]:
    """Of a server."""
    held, decision = answer["server"], answer["decision"]
    found = [f"server {held['name']} ({held['id']}) is {held['state']}"]
    found += [f"  {held['fault']}"] if held["fault"] else []
    if decision is None:
        found.append("no decision is recorded: it was placed before decisions were kept, or not yet")
    else:
        found += ["", f"decided {decision['at'][:19].replace('T', ' ')}", *lines(decision)]
    found += [f"{len(answer['earlier'])} earlier decisions are kept"] if answer["earlier"] else []
    if answer["now"] is not None:
        found += ["", "now it would meet", *lines(answer["now"])]
    return found


def lines(told: Any) -> list[str]:
    """One explanation."""
    found = [f"  asked     {told['asked']} ({told['strategy']})"]
    winner = told["winner"]
    if winner is None:
        found.append(f"  result    no host of {told['considered']} fits")
    else:
        found.append(
            f"  result    {winner['hostname'] or 'a host'}, {winner['why']} (score {winner['score']})"
        )
    found += columns(("hosts", "why not"), [[str(each["hosts"]), each["text"]] for each in told["removed"]])
    found += columns(
        ("nearest", "what keeps it out", "note"),
        [[miss["hostname"] or "-", miss["lacks"], miss["note"] or ""] for miss in told["nearest"]],
    )
    found += columns(
        ("next best", "score", "why"),
        [[each["hostname"] or "-", str(each["score"]), each["why"]] for each in told["alternatives"]],
    )
    return [*found, *(f"  advice    It would fit {each}." for each in told["advice"])]


def columns(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """As wide as what is in them; nothing without rows."""
    whole = [[name.upper() for name in head], *rows] if rows else []
    widths = [max(len(line[place]) for line in whole) for place in range(len(head))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in whole
    ]
