"""`pileus registrations`: who asked for an account, and the operator's word on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pileus.cli.http import Api, Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import brief, connect, table

COLUMNS = ("id", "name", "e-mail", "person", "organisation", "state", "asked")
FIRST_DOMAIN = "default"
"""Its id in Keystone's API."""
INVITED = ("id", "e-mail", "state", "good until")


def show_all(state: Path, wanted: str) -> int:
    """`wanted`: a state, or empty for all."""

    def call() -> None:
        query = f"?state={quote(wanted)}" if wanted else ""
        rows = connect(state).get("console", f"/registrations{query}")["registrations"]
        if not rows:
            print(f"no registrations{f' are {wanted}' if wanted else ''}")
            return
        table(COLUMNS, [_row(each) for each in rows])

    return _asked(call)


def _row(held: Any) -> list[str]:
    person = f"{held['first_name']} {held['last_name']}".strip()
    told = f"{held['state']}: {held['reason']}" if held["reason"] else held["state"]
    cells = (held["name"], held["email"], person, held["organisation"], told)
    return [brief(held["id"]), *(plain(cell) or "-" for cell in cells), _time(held["created_at"])]


def approve(state: Path, registration: str, name: str) -> int:
    def call() -> None:
        api = connect(state)
        held = found(api, registration)
        path = f"/registrations/{held['id']}/approve"
        made = api.post("console", path, {"name": name})["registration"]
        print(f"account {plain(made['name'])} is made; a letter to {plain(made['email'])} says so")

    return _asked(call)


def refuse(state: Path, registration: str, reason: str) -> int:
    def call() -> None:
        api = connect(state)
        held = found(api, registration)
        api.post("console", f"/registrations/{held['id']}/refuse", {"reason": reason})
        print(f"{plain(held['name'])} is refused; a letter to {plain(held['email'])} gives the reason")

    return _asked(call)


def invite(state: Path, email: str, domain: str) -> int:
    def call() -> None:
        api = connect(state)
        place = domain_id(api, domain) if domain else FIRST_DOMAIN
        body = {"email": email} | ({"domain": place} if place != FIRST_DOMAIN else {})
        made = api.post("console", "/invitations", body)["invitation"]
        print(f"a letter with the invitation goes to {made['email']}; good until {_time(made['expires_at'])}")

    return _asked(call)


def invitations(state: Path) -> int:
    def call() -> None:
        rows = connect(state).get("console", "/invitations")["invitations"]
        if not rows:
            print("nobody is invited")
            return
        cells = [
            [
                brief(each["id"]),
                plain(each["email"]),
                "used" if each["used"] else "open",
                _time(each["expires_at"]),
            ]
            for each in rows
        ]
        table(INVITED, cells)

    return _asked(call)


def found(api: Api, wanted: str) -> Any:
    """The one that waits, by id, by the end of an id, by name or by address. Raises Failed."""
    rows = api.get("console", "/registrations?state=waiting")["registrations"]
    end = wanted.lstrip("…")
    fits = [each for each in rows if wanted in (each["name"], each["email"])]
    fits = fits or [each for each in rows if end and each["id"].endswith(end)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise Failed(f"{len(fits)} registrations that wait fit {wanted!r}; name one by its id")
    raise Failed(f"no registration that waits fits {wanted!r}; see `pileus registrations list`")


def domain_id(api: Api, wanted: str) -> str:
    """By id or name. Raises Failed."""
    rows = api.get("identity", "/v3/domains")["domains"]
    for each in rows:
        if wanted in (each["id"], each["name"]):
            return str(each["id"])
    raise Failed(f"no domain has the id or name {wanted!r}")


def plain(text: str) -> str:
    """What a visitor wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _time(text: str) -> str:
    return text[:16].replace("T", " ")


def _asked(call: Callable[[], None]) -> int:
    """Exit code: 1 after a refusal, whose words are repeated."""
    try:
        call()
    except Failed as error:
        complain(str(error))
        return 1
    return 0
