"""How CloudStack words refusals: its codes, its exceptions' numbers and its sentences."""

from collections.abc import Mapping

from pileus.core.errors import CoreError, Kind, NotFound
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.wire.errors import WireError, WireKind

UNSIGNED = "unable to verify user credentials and/or request signature"
MALFORMED, PARAMETER, UNAVAILABLE_COMMAND, INTERNAL, ACCOUNT = 430, 431, 432, 530, 531
UNAUTHORIZED_2FA = 511

TABLE: Mapping[Kind, tuple[int, str]] = {
    Kind.INVALID: (431, "InvalidParameterValueException"),
    Kind.UNAUTHENTICATED: (401, "CloudAuthenticationException"),
    Kind.FORBIDDEN: (531, "PermissionDeniedException"),
    Kind.NOT_FOUND: (431, "InvalidParameterValueException"),
    Kind.EXISTS: (431, "InvalidParameterValueException"),
    Kind.CONFLICT: (431, "InvalidParameterValueException"),
    Kind.IN_USE: (536, "ResourceInUseException"),
    Kind.QUOTA: (535, "ResourceAllocationException"),
    Kind.NO_CAPACITY: (533, "InsufficientServerCapacityException"),
    Kind.TOO_LARGE: (431, "InvalidParameterValueException"),
    Kind.TOO_MANY: (429, "RequestLimitException"),
    Kind.UNSUPPORTED: (431, "UnsupportedServiceException"),
    Kind.UNAVAILABLE: (534, "ResourceUnavailableException"),
}
"""Code (which is also the HTTP status) and exception of each kind."""


class ApiError(CoreError):
    """A refusal of this API's own, with its code."""

    kind = Kind.INVALID

    def __init__(self, code: int, public: str, *, exception: str = "ServerApiException") -> None:
        super().__init__(public)
        self.code, self.exception = code, exception


class BadCredentials(ApiError):
    """The same words whatever the cause."""

    def __init__(self) -> None:
        super().__init__(401, UNSIGNED)


class SecondFactorMissing(ApiError):
    """The session has ended with it."""

    def __init__(self, ready: bool) -> None:
        what = (
            "Two factor authentication 2FA is enabled but not verified, please verify 2FA"
            if ready
            else "Two factor authentication is mandated by admin, user needs to setup 2FA using "
            "setupUserTwoFactorAuthentication API and then verify 2FA"
        )
        super().__init__(
            UNAUTHORIZED_2FA,
            f"Unable to process the API request due to :{what} using validateUserTwoFactorAuthenticationCode API "
            "before calling other APIs. Existing session is invalidated.",
            exception="CloudTwoFactorAuthenticationException",
        )


class UnknownCommand(ApiError):
    def __init__(self, command: str) -> None:
        super().__init__(
            UNAVAILABLE_COMMAND,
            f"The given command '{command[:100]}' either does not exist, is not available for user.",
        )


def missing(command: str, parameter: str) -> ApiError:
    return ApiError(
        PARAMETER, f"Unable to execute API command {command.lower()} due to missing parameter {parameter}"
    )


def invalid_id(command: str, parameter: str, value: str) -> ApiError:
    return ApiError(
        PARAMETER,
        f"Unable to execute API command {command.lower()} due to invalid value. Invalid parameter {parameter} "
        f"value={value[:100]} due to incorrect long value format, or entity does not exist or due to incorrect "
        "parameter annotation for the field in api cmd class.",
    )


def invalid(command: str, parameter: str, value: str, why: str) -> ApiError:
    return ApiError(
        PARAMETER,
        f"Unable to execute API command {command.lower()} due to invalid value {value[:100]} for parameter "
        f"{parameter}: {why}",
    )


def coded(error: CoreError | WireError) -> tuple[int, int]:
    """The code and the number of the exception."""
    if isinstance(error, ApiError):
        code, exception = error.code, error.exception
    elif isinstance(error, CoreError):
        code, exception = TABLE[error.kind]
    else:
        code = INTERNAL if error.kind is WireKind.INTERNAL else error.kind.status
        exception = "ServerApiException"
    return code, CATALOGUE.facts.cserror_codes.get(exception, 9999)


def named(error: CoreError, command: str, sent: Mapping[str, str]) -> CoreError:
    """A NotFound of something that a parameter names, in the words for a bad id."""
    if isinstance(error, NotFound):
        for parameter, value in sent.items():
            if value and value.lower() in (error.key.lower(), error.key.lower().replace("-", "")):
                return invalid_id(command, parameter, value)
    return error
