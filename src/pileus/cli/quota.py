"""`pileus quota verify`: what projects, users and domains are charged, held against a recount of the records."""

from pathlib import Path

from pileus.cli.http import Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect

DIFFERENT = 2


def verify(state: Path, *, repair: bool) -> int:
    """Exit code: 0 when nothing differs (any more), 2 when something does, 1 when the cloud could not be asked."""
    try:
        told = connect(state).post("console", "/quota/verify", {"verify": {"repair": repair}})
    except Failed as error:
        complain(str(error))
        return 1
    for one in told["differences"]:
        print(one["text"] + (" - corrected" if repair else ""))
    if not told["differences"]:
        print("Every use is what the records say.")
    elif not repair:
        complain("run again with --repair to correct what is recorded")
        return DIFFERENT
    return 0
