"""Faults in the platforms of a simulated cloud, for administrators who want to watch what happens."""

from collections.abc import Iterator
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.compute.records import Host
from pileus.core.errors import Invalid, NotFound, Unsupported
from pileus.drivers.faults import Fault, Faulty
from pileus.workflows.site import Site

NETWORK, IMAGES = "network", "images"


class Imposed(msgspec.Struct, frozen=True, kw_only=True):
    """A fault in force or to come. `platform`: a host's name, network, images, or the id of a pool."""

    id: UUID
    platform: str
    host: UUID | None = None
    fault: Fault


async def impose(site: Site, caller: Caller, platform: str, fault: Fault) -> Imposed:
    """Raises Unsupported where the platform is no simulated one, NotFound, Invalid."""
    caller.require_admin("simulation.impose")
    host, driver = await _find(site, platform)
    key = site.cloud.new_id()
    try:
        driver.impose(fault, key)
    except ValueError as error:
        raise Invalid(f"This fault is not possible: {error}.") from None
    return Imposed(id=key, platform=driver.name if host else platform, host=host, fault=fault)


async def lift(site: Site, caller: Caller, key: UUID) -> None:
    """End one fault. Raises NotFound, Unsupported."""
    caller.require_admin("simulation.lift")
    if not any([driver.lift(key) for _, _, driver in _simulated(site)]):
        raise NotFound("Fault", key)


async def lift_all(site: Site, caller: Caller) -> None:
    """Raises Unsupported."""
    caller.require_admin("simulation.lift")
    for _, _, driver in _simulated(site):
        driver.heal()


async def listing(site: Site, caller: Caller) -> list[Imposed]:
    """Raises Unsupported."""
    caller.require_admin("simulation.read")
    return [
        Imposed(id=key, platform=name or driver.name, host=host, fault=fault)
        for host, name, driver in _simulated(site)
        for key, fault in driver.faults().items()
    ]


def _drivers(site: Site) -> Iterator[tuple[UUID | None, str, object]]:
    """Host, name (of a host its driver knows it) and driver."""
    yield from ((host, "", driver) for host, driver in tuple(site.hypervisors.items()))
    yield None, NETWORK, site.network
    yield from ((None, str(pool), driver) for pool, driver in tuple(site.pools.items()))
    yield None, IMAGES, site.images


def _simulated(site: Site) -> list[tuple[UUID | None, str, Faulty]]:
    found = [(host, name, driver) for host, name, driver in _drivers(site) if isinstance(driver, Faulty)]
    if not found:
        raise Unsupported(
            "This cloud is not simulated; faults can only be imposed after `pileus up --simulate`."
        )
    return found


async def _find(site: Site, platform: str) -> tuple[UUID | None, Faulty]:
    _simulated(site)
    async with site.cloud.view() as look:
        named = await look.one(Host, hostname=platform)
    wanted = str(named.id) if named else platform
    for host, name, driver in _drivers(site):
        if wanted in (name, str(host) if host else name):
            if not isinstance(driver, Faulty):
                raise Unsupported(f"{platform} is not simulated here; its files are real.")
            return host, driver
    raise NotFound("Host", platform)
