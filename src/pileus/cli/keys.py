"""`pileus keys`: the keys with which tokens are sealed."""

from pathlib import Path

from pileus.cli.http import Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect


def rotate(state: Path) -> int:
    try:
        answer = connect(state).post("console", "/keys/rotate", {})
    except Failed as error:
        complain(str(error))
        return 1
    held = answer["keys"]
    print(
        f"key {held['primary']} seals from now on; {len(held['numbers']) - 1} more are known, one of them for the next time"
    )
    return 0
