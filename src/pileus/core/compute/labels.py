"""What users write on a server, metadata and tags, and how much of it."""

from collections.abc import Collection

from pileus.core.errors import Invalid, QuotaExceeded

MAX_METADATA = 128
MAX_TAGS = 50


def check(metadata: Collection[str], tags: Collection[str]) -> None:
    """Raises QuotaExceeded, Invalid."""
    if len(metadata) > MAX_METADATA:
        raise QuotaExceeded("metadata_items", limit=MAX_METADATA, used=0, wanted=len(metadata))
    if len(tags) > MAX_TAGS:
        raise Invalid(f"The number of tags exceeded the per-server limit {MAX_TAGS}.")
