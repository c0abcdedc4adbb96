"""Encrypt what is stored with the newest key, after a rotation. It goes on from where it was killed."""

import structlog

from pileus.core.cloud import Tx
from pileus.core.errors import Conflict
from pileus.core.identity.authentication import encrypted
from pileus.core.identity.authentication.rotation import RENEW
from pileus.workflows.engine import LONG_LIMIT, Run, Step, Workflow, register

log = structlog.get_logger()


async def renew(run: Run) -> int:
    """How many texts this try has renewed. Raises Conflict when some cannot be read: the others are renewed then."""
    renewal = await encrypted.renew(run.cloud)
    if renewal.unreadable:
        told = " ".join(f"{reason} (So of {count}.)" for reason, count in sorted(renewal.unreadable.items()))
        raise Conflict(f"All other stored secrets are encrypted with the newest key. {told}")
    return renewal.renewed


async def leave(run: Run, tx: Tx, fault: str) -> None:
    """What is renewed is good, and what is not stays readable: there is nothing to undo."""
    log.warning("stored secrets were not all renewed", fault=fault)


WORKFLOW = register(
    Workflow(RENEW, steps=(Step("renew", renew, interruptible=True, limit=LONG_LIMIT),), failed=leave)
)
