"""What a process keeps beside a cloud (opened keys, caches), made at first use and gone with the cloud."""

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from pileus.core.cloud import Cloud

T = TypeVar("T")


def per_cloud(make: Callable[[Cloud], T]) -> Callable[[Cloud], T]:
    """`make` must not keep the cloud in what it returns, or neither would ever be freed."""
    made: WeakKeyDictionary[Cloud, T] = WeakKeyDictionary()

    def of(cloud: Cloud) -> T:
        found = made.get(cloud)
        if found is None:
            found = made[cloud] = make(cloud)
        return found

    return of
