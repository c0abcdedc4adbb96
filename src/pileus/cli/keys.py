"""`pileus keys`: the keys with which tokens are sealed and stored secrets encrypted."""

import time
from pathlib import Path
from typing import Any

from pileus.cli.http import Api, Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect

PAUSE = 0.2
"""Seconds between two looks at the operation."""


def rotate(state: Path, *, wait: bool = True) -> int:
    """Exit code: 1 where the cloud refuses, or where something stored could not be encrypted anew."""
    try:
        api = connect(state)
        answer = api.post("console", "/keys/rotate", {})
        for name, does in (("tokens", "seals tokens"), ("secrets", "encrypts secrets")):
            held = answer["keys"][name]
            print(f"key {held['primary']} {does} from now on; {len(held['numbers']) - 2} older still open")
        operation = answer["operation"]
        print(f"what is stored is encrypted anew by operation {operation['id']}")
        return _ended(api, operation) if wait else 0
    except Failed as error:
        complain(str(error))
        return 1


def _ended(api: Api, operation: Any) -> int:
    """It goes on without us: who interrupts this ends only the waiting."""
    while operation["finished_at"] is None:
        time.sleep(PAUSE)
        operation = api.get("console", f"/operations/{operation['id']}")["operation"]
    if operation["outcome"] != "done":
        complain(operation["fault"])
        return 1
    print("done; older keys go by themselves when nothing needs them any more")
    return 0
