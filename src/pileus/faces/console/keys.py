"""The keys with which tokens are sealed."""

from typing import Any

from pileus.core.identity.authentication import rotation
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request


@SERVICE.operation("POST", "/keys/rotate", policy="console:keys:rotate")
async def rotate(request: Request) -> dict[str, Any]:
    numbers = await rotation.rotate(request.cloud, request.caller)
    return {"keys": {"primary": numbers[-1], "numbers": list(numbers)}}
