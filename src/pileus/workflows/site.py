"""What long work acts on: the cloud and the platforms under it."""

from collections.abc import Mapping
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.core.errors import Unavailable
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.drivers.network.protocol import NetworkDriver
from pileus.drivers.volume.protocol import ImageStore, Pool


class Site:
    """Drivers by the id of what they serve. The tables may grow while the cloud runs (a host or pool joins)."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        hypervisors: Mapping[UUID, Hypervisor],
        network: NetworkDriver,
        pools: Mapping[UUID, Pool],
        images: ImageStore,
    ) -> None:
        self.cloud = cloud
        self.hypervisors = hypervisors
        self.network = network
        self.pools = pools
        self.images = images

    def hypervisor(self, host: UUID) -> Hypervisor:
        """Raises Unavailable for a host that has not joined."""
        try:
            return self.hypervisors[host]
        except KeyError:
            raise Unavailable(f"Host {host} is not connected; start its agent.") from None

    def pool(self, pool: UUID) -> Pool:
        """Raises Unavailable for a pool that is not connected."""
        try:
            return self.pools[pool]
        except KeyError:
            raise Unavailable(f"Storage pool {pool} is not connected.") from None
