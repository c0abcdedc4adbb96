"""What long work acts on: the cloud and the platforms under it."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.core.errors import Unavailable
from pileus.drivers.federation.protocol import OpenId, Saml
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.drivers.mail.protocol import Mailer
from pileus.drivers.network.protocol import NetworkDriver
from pileus.drivers.volume.protocol import ImageStore, Pool

OURS: ContextVar[Callable[[], bool]] = ContextVar("ours", default=lambda: True)
"""Whether what is being worked on is still this worker's for certain. One that was frozen for longer than its lease
finds out before it asks a platform for something that another has done, or undone, meanwhile."""


def must_be_ours() -> None:
    """Raises Unavailable: the step waits, and then its fenced write tells whose the operation is."""
    if not OURS.get()():
        raise Unavailable("This worker was away for longer than its lease.")


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
        openid: OpenId | None = None,
        saml: Saml | None = None,
        mail: Mailer | None = None,
    ) -> None:
        self.cloud = cloud
        self.hypervisors = hypervisors
        self.pools = pools
        self.mail = mail
        """None: no mail server is configured."""
        self._openid = openid
        self._saml = saml
        self._network = network
        self._images = images

    @property
    def openid(self) -> OpenId:
        """Raises Unavailable where nobody speaks OpenID Connect."""
        if self._openid is None:
            raise Unavailable("This process speaks no OpenID Connect.")
        return self._openid

    @property
    def saml(self) -> Saml:
        """Raises Unavailable where nobody speaks SAML."""
        if self._saml is None:
            raise Unavailable("This process speaks no SAML.")
        return self._saml

    @property
    def network(self) -> NetworkDriver:
        """Raises Unavailable after the lease: what was read from the records before may be older than what another
        worker has applied since."""
        must_be_ours()
        return self._network

    @property
    def images(self) -> ImageStore:
        """Raises Unavailable after the lease."""
        must_be_ours()
        return self._images

    def hypervisor(self, host: UUID) -> Hypervisor:
        """Raises Unavailable for a host that has not joined."""
        must_be_ours()
        try:
            return self.hypervisors[host]
        except KeyError:
            raise Unavailable(f"Host {host} is not connected; start its agent.") from None

    def pool(self, pool: UUID) -> Pool:
        """Raises Unavailable for a pool that is not connected."""
        must_be_ours()
        try:
            return self.pools[pool]
        except KeyError:
            raise Unavailable(f"Storage pool {pool} is not connected.") from None
