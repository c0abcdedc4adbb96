"""New keys for tokens, at an operator's word. They rotate by themselves too (`Tokens.rotate_when_due`)."""

import structlog

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import tokens

log = structlog.get_logger("pileus.identity")


async def rotate(cloud: Cloud, caller: Caller) -> tuple[int, ...]:
    """Seal new tokens with the staged key and stage another; tokens that live stay good. The keys' numbers, the one
    that seals last. Raises Forbidden. May be repeated."""
    caller.require_admin("keys.rotate")
    numbers = tokens.of(cloud).rotate(cloud.now(), cloud.config.token_seconds)
    log.info("token keys rotated", by=caller.user.hex, keys=len(numbers))
    return numbers
