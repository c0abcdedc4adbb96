"""Commands that CloudStack answers when the work is done, though they are long work here."""

import asyncio
import time
from typing import Any

from pileus.core.errors import CoreError, Kind
from pileus.core.operations import Accepted, Operation, Outcome
from pileus.faces.cloudstack.commands import Call
from pileus.faces.cloudstack.errors import INTERNAL, TABLE, ApiError

PATIENCE = 10.0
"""Seconds; then the answer says what has been accepted, and the work goes on."""
PAUSE = 0.01
LONGEST_PAUSE = 0.25


async def settled(call: Call, accepted: Accepted) -> Any:
    """The record when its operation has ended, as it was accepted when it is gone. Raises ApiError for a failure."""
    end, pause = time.monotonic() + PATIENCE, PAUSE
    while time.monotonic() < end:
        async with call.cloud.view() as look:
            operation = await look.get(Operation, accepted.operation.id)
            if operation.outcome in (Outcome.FAILED, Outcome.FLAGGED):
                raise failure(operation)
            if operation.outcome is Outcome.DONE:
                record = accepted.resource
                return await look.maybe(type(record), record.id) or record
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return accepted.resource


def failure(operation: Operation) -> CoreError:
    known = {kind.value: TABLE[kind] for kind in Kind}
    code, exception = known.get(operation.fault_kind, (INTERNAL, "CloudRuntimeException"))
    return ApiError(code, operation.fault or operation.why, exception=exception)
