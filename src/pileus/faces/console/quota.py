"""Whether what was charged is what the records say, for those who run the cloud."""

from typing import Any

import msgspec

from pileus.core import uses
from pileus.core.uses import Difference
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request


class Verify(msgspec.Struct, frozen=True, kw_only=True):
    """`repair`: set what is recorded to what the records say."""

    repair: bool = False


def view(one: Difference) -> dict[str, Any]:
    return {
        "holder": one.holder,
        "kind": one.kind,
        "name": one.name,
        "resource": one.resource,
        "recorded": one.recorded,
        "counted": one.counted,
        "text": one.text,
    }


@SERVICE.operation("POST", "/quota/verify", policy="console:quota:verify", body=("verify", Verify))
async def verify(request: Request, body: Verify) -> dict[str, Any]:
    """What differed; of a sound cloud nothing."""
    found = await uses.verify(request.cloud, request.caller, repair=body.repair)
    return {"differences": [view(one) for one in found], "repaired": body.repair}
