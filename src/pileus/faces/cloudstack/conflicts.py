"""Refusals of the network that CloudStack tells apart by codes of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from pileus.core.network.errors import (
    AddressAssociated,
    AddressesExhausted,
    AddressInUse,
    AddressTaken,
    RuleExists,
)
from pileus.core.network.forwardings import ForwardingExists
from pileus.faces.cloudstack.errors import ApiError

CAPACITY, RULES = 533, 537


@contextmanager
def conflicts() -> Iterator[None]:
    """Rules that contradict each other are 537, and no address left is 533."""
    try:
        yield
    except (RuleExists, ForwardingExists, AddressInUse, AddressAssociated) as error:
        raise ApiError(RULES, error.public, exception="NetworkRuleConflictException") from error
    except (AddressesExhausted, AddressTaken) as error:
        raise ApiError(CAPACITY, error.public, exception="InsufficientAddressCapacityException") from error
