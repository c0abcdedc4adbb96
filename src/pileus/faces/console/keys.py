"""The keys with which tokens are sealed and stored secrets encrypted."""

from collections.abc import Sequence
from typing import Any

from pileus.core.identity.authentication import rotation
from pileus.faces.console import operations
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request


@SERVICE.operation("POST", "/keys/rotate", policy="console:keys:rotate", status=202)
async def rotate(request: Request) -> dict[str, Any]:
    """The new keys are in use; the operation encrypts what is stored with the new one."""
    made = await rotation.rotate(request.cloud, request.caller)
    keys = {"tokens": view(made.tokens), "secrets": view(made.secrets)}
    return {"keys": keys, **await operations.show(request, made.operation.id)}


def view(numbers: Sequence[int]) -> dict[str, Any]:
    return {"primary": numbers[-1], "numbers": list(numbers)}
