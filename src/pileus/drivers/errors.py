"""Three errors are enough for every driver, because three reactions exist:
it is not there; give up and unwind; wait and ask again."""


class DriverError(Exception):
    """The text names the object and the platform's own words."""


class Missing(DriverError):
    """The platform knows no such thing."""


class Refused(DriverError):
    """The platform understood and said no; asking again will not help."""


class Unreachable(DriverError):
    """The platform did not answer; what became of the call is unknown."""
