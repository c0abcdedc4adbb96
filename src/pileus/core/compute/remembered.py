"""What one API must remember of a server, written in the transaction that changes it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core.cloud import Tx
from pileus.core.facets import Facet


async def remember(tx: Tx, key: UUID, facets: Mapping[str, Mapping[str, Any]]) -> None:
    """Write an API's own values beside those it has; None removes one."""
    for face, values in facets.items():
        held = await tx.maybe(Facet, face, key)
        merged = {**(held.values if held else {}), **values}
        await tx.rows.put(
            Facet(face=face, subject=key, values={k: v for k, v in merged.items() if v is not None})
        )
