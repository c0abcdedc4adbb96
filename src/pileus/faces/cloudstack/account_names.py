"""An account that parameters name: by its id, or by its name and domain."""

from uuid import UUID

from pileus.core.errors import NotFound
from pileus.core.identity.tenancy import accounts
from pileus.faces.cloudstack.commands import Call
from pileus.faces.cloudstack.errors import PARAMETER, ApiError


async def account_id(call: Call, id: UUID | None, name: str, domain: UUID | None) -> UUID:
    """Raises ApiError 431 for a name that means none that the caller may see; an id is not looked at."""
    if id is not None:
        return id
    if not name:
        raise ApiError(PARAMETER, f"Name the account of {call.name} by id, or by account and domainid.")
    place = domain or call.user.domain
    async with call.cloud.view() as look:
        try:
            return (await accounts.find(look, call.caller, name, place)).id
        except NotFound as error:
            raise ApiError(
                PARAMETER,
                f"Unable to find account {name[:100]} in domain {place}; name the account and its domainid.",
                exception="InvalidParameterValueException",
            ) from error
