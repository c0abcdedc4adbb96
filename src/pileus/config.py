"""Everything that can be set, in one frozen struct, read once and passed in."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read from `<state>/pileus.toml` where it exists; options of `pileus up` stand above the file."""

    state: Path = Path("/var/lib/pileus")
    """Database, keys, disks, images, logs and the daemons' directories."""
    listen: str = "127.0.0.1"
    """An address of this machine (not a name)."""
    port: int = 8774
    """The one port that serves every API and the console by path."""
    public_url: str = ""
    """How clients reach us, for the catalogue and for links; empty: http://<listen>:<port>."""
    database: str = ""
    """postgresql://user:password@host/name; empty: SQLite in the state directory."""
    region: str = "RegionOne"
    zone: str = "nova"
    """Name of the first zone."""
    simulate: int = 0
    """Number of simulated hosts; 0: the machine itself through libvirt."""
    simulate_seed: int = 0
    """Of everything that is random in the simulated platforms."""
    simulate_latency: Literal["none", "realistic"] = "none"
    """Whether their calls, and guests that are asked to power off, take the time that real ones take."""
    simulate_zones: int = 1
    """Zones over which racks of simulated hosts are spread, each zone with a storage pool of its own."""
    simulate_vcpus: int = 32
    simulate_memory_mib: int = 131_072
    simulate_disk_gib: int = 1 << 20
    """What each simulated host has; disk: of the pool of its zone."""
    libvirt_uri: str = ""
    """Empty: an own libvirtd, unless the system's is running."""
    integration_bridge: str = "br-int"
    external_bridge: str = "br-ex"
    external_cidr: str = "172.24.4.0/24"
    """The external network on this machine. The host takes its first address; the pool begins at the tenth."""
    masquerade: bool = True
    """Whether servers reach the world through this machine: IP forwarding is switched on, with source NAT by nftables."""
    isolated_cidr: str = "10.1.1.0/24"
    """What a CloudStack isolated network gets when the caller names none."""
    dns_servers: tuple[str, ...] = ()
    """Resolvers that the networks' own ask for names outside; empty: those are not resolved."""
    vcpu_overcommit: float = 16.0
    memory_overcommit: float = 1.5
    reserved_memory_mib: int = 512
    placement: Literal["spread", "pack"] = "spread"
    """Which of the hosts that fit gets a server: the emptiest, or the fullest. Sizes and host groups may say otherwise."""
    token_seconds: int = 3600
    max_body_bytes: int = 2 << 20
    """Of an API request; uploads of images have their own limit."""
    max_image_bytes: int = 64 << 30
    max_image_virtual_gib: int = 2048
    expunge_seconds: int = 86400
    """How long a destroyed server can be recovered."""
    reconcile_seconds: float = 10.0
    """How often what the platforms hold is compared with what is recorded."""
    otlp_endpoint: str = ""
    """Collector of traces that speaks OTLP/HTTP, as in http://127.0.0.1:4318; empty: no spans are made."""
    restart_lost_guests: bool = False
    """Whether a running server whose guest died or vanished is started again; otherwise it is stopped, with the reason."""
    orphan_seconds: int = 86400
    """How long disks, snapshots and image content of this cloud that no record explains are kept before they are removed."""
    event_days: int = 90
    """How long events are kept; 0: for ever."""

    @property
    def url(self) -> str:
        """Without a public one: an address that this machine itself can call."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.listen, self.listen)  # noqa: S104
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def external(self) -> IPv4Network:
        return IPv4Network(self.external_cidr)


def plain(value: Any) -> Any:
    """msgspec's `enc_hook` for what a configuration holds beyond JSON's types."""
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} in a configuration")


def typed(type_: type[Any], value: Any) -> Any:
    """msgspec's `dec_hook`, the opposite."""
    if type_ is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{type_.__name__} in a configuration")


def load(path: Path) -> Config:
    """Read a TOML file; ValueError names the unknown or malformed setting."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config, strict=True, dec_hook=typed)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from error
