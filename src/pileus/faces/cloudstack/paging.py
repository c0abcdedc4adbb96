"""`page` and `pagesize`: pages by number, counted from 1."""

from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.params import Listing

PAGE = 500
MAX_SKIP = 10_000_000


def window(params: Listing) -> tuple[int, int]:
    """How many to skip, and how many to show. Raises ApiError 431."""
    page, size = params.page, params.pagesize
    if size is not None and size > PAGE:
        raise ApiError(PARAMETER, f"Page size can not exceed max allowed page size value: {PAGE}")
    if size == -1 and page is None:
        return 0, PAGE
    if size is not None and page is None:
        raise ApiError(PARAMETER, '"page" parameter is required when "pagesize" is specified')
    if page is not None and size is None:
        raise ApiError(PARAMETER, '"pagesize" parameter is required when "page" is specified')
    if page is None or size is None:
        return 0, PAGE
    if page < 1 or size < 1 or page * size > MAX_SKIP:
        raise ApiError(PARAMETER, f"There is no page {page} of size {size}; both count from 1.")
    return (page - 1) * size, size
