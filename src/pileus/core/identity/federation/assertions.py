"""Assertions that have let somebody in: none does so twice."""

import hashlib
from datetime import datetime

from pileus.core.cloud import Cloud
from pileus.core.errors import Exists
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.federation.federation_records import UsedAssertion
from pileus.store import lt


async def use(cloud: Cloud, issuer: str, key: str, until: datetime) -> None:
    """Raises Unauthenticated when it was used before. Kept as long as the assertion would be good."""
    digest = hashlib.sha256(f"{issuer}\0{key}".encode()).hexdigest()
    try:
        async with cloud.transaction() as tx:
            await tx.rows.delete_where(UsedAssertion, lt("expires_at", cloud.now()))
            await tx.add(UsedAssertion(id=digest, expires_at=until))
    except Exists as error:
        raise refused("the assertion was used before") from error
