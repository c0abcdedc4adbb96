"""Moments as clients write them into bodies."""

from datetime import UTC, datetime

from pileus.core.errors import Invalid
from pileus.faces.openstack.identity.proofs import CLIENT


def expiry(text: str | None) -> datetime | None:
    """When something ends: a day alone is not enough. Raises Invalid."""
    if text is not None and "T" not in text:
        raise Invalid("Timestamp not in expected format." + CLIENT)
    return moment(text)


def moment(text: str | None) -> datetime | None:
    """ISO 8601; without a zone it is in UTC. Raises Invalid."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("Timestamp not in expected format." + CLIENT) from None
