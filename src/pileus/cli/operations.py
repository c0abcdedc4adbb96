"""`pileus operation`: look at long work, call it off, wake it."""

import shutil
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pileus.cli.http import Api, Failed, administrator
from pileus.cli.lifecycle import complain

COLUMNS = ("id", "workflow", "subject", "outcome", "created", "took")
TAIL = 8
"""Characters of an id that tell it from others: ids begin with their time."""


def connect(state: Path) -> Api:
    """The running cloud, as its first administrator. Raises Failed with what to do."""
    from pileus.app.running import found
    from pileus.cli.profiles import read

    running = found(state.absolute())
    if running is None:
        raise Failed(f"no cloud runs on {state.absolute()}; start it with `pileus up --state {state}`")
    try:
        return administrator(running.url, read(state))
    except PermissionError:
        raise Failed(f"{state}/credentials is readable by root only; run this as root") from None
    except (FileNotFoundError, KeyError):
        raise Failed(f"{state}/credentials has no password of the administrator; was it moved?") from None


def show_all(state: Path, **wanted: Any) -> int:
    asked = {name: str(value).lower() for name, value in wanted.items() if value not in (None, "", False)}
    query = f"?{urlencode(asked)}" if asked else ""
    return _asked(lambda: _print_list(connect(state).get("console", f"/operations{query}")))


def show(state: Path, operation: str) -> int:
    return _asked(lambda: _print_one(connect(state).get("console", f"/operations/{operation}")))


def cancel(state: Path, operation: str) -> int:
    return _asked(lambda: _print_one(connect(state).post("console", f"/operations/{operation}/cancel", None)))


def retry(state: Path, operation: str) -> int:
    return _asked(lambda: _print_one(connect(state).post("console", f"/operations/{operation}/retry", None)))


def _asked(call: Any) -> int:
    """Exit code: 1 after a refusal, whose words are repeated."""
    try:
        call()
    except Failed as error:
        complain(str(error))
        return 1
    return 0


def _print_list(answer: Any) -> None:
    rows = answer["operations"]
    if not rows:
        print("no operations")
        return
    table(
        COLUMNS,
        [
            [
                row["id"],
                row["workflow"],
                brief(row["subject"]),
                _state(row),
                _text(row["created_at"])[:19],
                _took(row),
            ]
            for row in rows
        ],
    )
    for row in rows:
        if row["outcome"] == "flagged":
            print(f"NEEDS A PERSON: {row['id']}: {row['why']}; {row['fault']}")
    if answer["next"]:
        print(f"there are more: --before {rows[-1]['sequence']}")


def _state(operation: Any) -> str:
    """With the step that it is at, while it is at one."""
    outcome: str = operation["outcome"]
    return outcome if operation["finished_at"] or not operation["step"] else f"{outcome}: {operation['step']}"


def _print_one(answer: Any) -> None:
    operation = answer["operation"]
    print(f"{operation['workflow']} of {operation['kind']} {operation['subject']}")
    facts = {
        "operation": operation["id"],
        "outcome": operation["outcome"] + (" (cancelled)" if operation["cancelled"] else ""),
        "fault": operation["fault"],
        "waits for": operation["why"],
        "next try": _text(operation["wake_at"]) if operation["why"] else "",
        "asked for": _text(operation["created_at"]),
        "took": _took(operation),
        "project": operation["project"],
        "request": operation["request"],
        "command": operation["command"],
        "trace": operation["trace"],
    }
    for name, fact in facts.items():
        if fact:
            print(f"  {name:<10} {wrapped(fact, 13)}")
    ended = operation["finished_at"] is not None
    taken = [each for each in operation["steps"] if not (ended and each["state"] == "ahead")]
    table(
        ("step", "state", "began", "ms", "tries", "remark"),
        [
            [
                step["name"],
                step["state"],
                _text(step["at"]),
                _text(step["ms"]),
                _text(step["tries"] or None),
                _remark(step, operation["fault"]),
            ]
            for each in taken
            for step in (each, *_undo(each))
        ],
    )
    left = [each["name"] for each in operation["steps"] if each not in taken]
    if left:
        print(f"  never begun: {', '.join(left)}")


def _remark(step: Any, told: str) -> str:
    text: str = step["fault"] or step["why"]
    return "the fault above" if text and text == told else text


def _undo(step: Any) -> list[Any]:
    if step["undo"] is None:
        return []
    return [
        {"name": "  undo", "state": "failing" if step["undo"]["fault"] else "done", "why": "", **step["undo"]}
    ]


def _took(operation: Any) -> str:
    """Until now, of one that has not ended."""
    began = datetime.fromisoformat(operation["created_at"])
    ended = operation["finished_at"]
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    seconds = (until - began).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _text(value: Any) -> str:
    """Times to the millisecond, without their zone: all are UTC."""
    if value is None:
        return "-"
    text = str(value)
    return text[:23].replace("T", " ") if text[4:5] == "-" and text[10:11] == "T" else text


def width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere, and everything is told in full."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def brief(key: str) -> str:
    """An id in a table: on a terminal its end."""
    return key if width() is None else f"…{key[-TAIL:]}"


def wrapped(text: str, indent: int) -> str:
    """A text that begins in a column, on as many lines as the terminal needs."""
    columns = width()
    if columns is None:
        return text
    return f"\n{' ' * indent}".join(textwrap.wrap(text, max(columns - indent, 30)) or [""])


def table(head: tuple[str, ...], rows: list[list[str]]) -> None:
    """Columns as wide as what is in them; the last one has no end."""
    lines = [[name.upper() for name in head], *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
