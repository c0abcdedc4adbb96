"""Everything that can be set, in one frozen struct, read once and passed in."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

import msgspec


class Ldap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the servers that CloudStack's addLdapConfiguration names are read: its settings `ldap.*`, with `_` for the dots
    after the first. A domain's own configuration stands above this."""

    provider: Literal["openldap", "microsoftad"] = "openldap"
    basedn: str = ""
    """Below which people and groups are; empty: nobody is found."""
    bind_principal: str = ""
    bind_password_file: str = ""
    """A file that holds the password alone, of who reads the directory; both empty: anonymously."""
    username_attribute: str = ""
    """Empty: uid, or sAMAccountName."""
    email_attribute: str = "mail"
    firstname_attribute: str = "givenName"
    lastname_attribute: str = "sn"
    user_object: str = ""
    """Empty: inetOrgPerson, or user."""
    group_object: str = ""
    """Empty: groupOfUniqueNames, or group."""
    group_user_uniquemember: str = ""
    """Empty: uniqueMember, or member."""
    search_group_principle: str = ""
    """Distinguished name of a group outside which nobody is found."""
    query_filter: str = ""
    """That people must match besides."""
    nested_groups_enable: bool = True
    request_page_size: int = 1000
    read_timeout: int = 5000
    """Milliseconds."""
    ssl: bool = False
    """Whether the servers speak TLS from the first byte (ldaps)."""
    truststore: str = ""
    """A PEM file with the certificates of who may sign the servers'."""


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
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies in front of us (CIDR, or single addresses). What these say in X-Forwarded-For, -Proto and
    -Host or in Forwarded is believed: for whom they ask, and how that client reached them."""
    database: str = ""
    """postgresql://user:password@host/name; empty: SQLite in the state directory."""
    region: str = "RegionOne"
    default_domain: str = "Default"
    """Name of the first domain, whose id in Keystone's API is `default` and which is CloudStack's ROOT. Read at the first
    start only, as is the next."""
    admin_project: str = "admin"
    """Name of the first administrator's project."""
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
    token_store: str = ""
    """Where tokens are kept for all processes: redis://host:port/database or nats://host:port/bucket; empty: nowhere, for
    each carries itself, sealed. With a store they are short, and gone the moment they are revoked."""
    catalogue_store: str = ""
    """Where processes share the catalogue, an address of the same kinds; empty: each reads it from the database when
    identity or the catalogue changed."""
    oauth_request_seconds: int = 28_800
    """How long a user may take to authorize a program (OAuth 1.0); 0: for ever."""
    oauth_access_seconds: int = 86_400
    """How long an authorized program may act for the user; 0: until the user ends it."""
    client_certificate_header: str = ""
    """The header in which a proxy of `trusted_proxies` hands over a client's certificate (PEM, percent-encoded), and which
    it removes from what clients send; empty: certificates are not taken."""
    trusted_dashboards: tuple[str, ...] = ()
    """Addresses to which a login at an identity provider may hand a token, as https://dashboard.example/auth/websso/."""
    password_regex: str = ""
    """What new passwords must match, from their beginning; empty: anything."""
    password_regex_description: str = ""
    """The same in words, for those whose password does not."""
    unique_last_password_count: int = 0
    """With how many of a user's last passwords, the present one counted, a new one is compared; 0: none."""
    password_expires_days: int = 0
    """After how many days a password must be changed; 0: never."""
    minimum_password_age: int = 0
    """Days in which users cannot change again the password that they chose."""
    change_password_upon_first_use: bool = False
    """Whether users must change a password that an administrator set."""
    lockout_failure_attempts: int = 0
    """Wrong passwords in a row after which a user is locked; 0: never. Tries are slowed down anyway."""
    lockout_duration: int = 1800
    """Seconds; 0: until an administrator enables the user again."""
    disable_user_account_days_inactive: int = 0
    """Days without a login after which a user cannot log in; 0: any."""
    registration: Literal["closed", "open", "approval", "invitation"] = "closed"
    """Who may make an account alone: nobody, anybody, anybody whom an operator then approves, those who were invited.
    Whichever: the e-mail address must be confirmed."""
    registration_seconds: int = 86400
    """How long a mailed confirmation is good; invitations are good for seven times as long."""
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
    ldap: Ldap = Ldap()
    """For CloudStack's LDAP commands."""
    event_days: int = 90
    """How long events are kept; 0: for ever."""
    projects_by_users: bool = True
    """Whether users who manage no domain may make projects of their own (CloudStack)."""
    resource_limit_host_tags: tuple[str, ...] = ()
    """Traits (CloudStack: host tags) by which CloudStack's API shows and sets limits on servers, vcpus and memory."""
    api_throttling_enabled: bool = False
    """Whether CloudStack's API answers an account only so many requests in an interval; root administrators' any."""
    api_throttling_interval: int = 1
    """Seconds."""
    api_throttling_max: int = 25
    """Requests of one account in an interval, in each process."""
    api_throttling_cachesize: int = 50_000
    """Accounts of which the requests are remembered."""
    project_invite_required: bool = False
    """Whether who is added to a project must accept that first (CloudStack)."""
    project_invite_seconds: int = 86_400
    """How long an invitation into a project is good."""
    smtp_host: str = ""
    """The mail server; empty: nothing that needs mail (forgotten passwords, invitations) is offered."""
    smtp_port: int = 587
    smtp_user: str = ""
    """Empty: no login."""
    smtp_password_file: str = ""
    """A file that holds the password alone."""
    smtp_from: str = "pileus@localhost"
    """Whom our letters come from."""
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    password_reset_seconds: int = 1800
    """How long a mailed token for a new password is good."""
    password_reset_page: str = ""
    """The page that the letter links to; empty: /console/reset of this cloud. Of CloudStack's interface, where there is
    one: https://cloud.example/client/#/user/resetPassword."""
    second_factor: bool = True
    """Whether users may set up a second factor in the CloudStack API, which guards their logins in all APIs (CloudStack's
    enable.user.2fa)."""
    second_factor_mandatory: bool = False
    """Whether each of them must (mandate.user.2fa)."""
    second_factor_provider: Literal["totp", "staticpin"] = "totp"
    """Of users who name none (user.2fa.default.provider)."""
    second_factor_issuer: str = "Pileus"
    """What an authenticator app shows beside the code (user.2fa.issuer)."""

    def __post_init__(self) -> None:
        """Raises ValueError, which names the setting."""
        if not self.proxies and self.client_certificate_header:
            raise ValueError(
                "client_certificate_header: name the proxy that writes it in trusted_proxies; nobody else's is believed"
            )

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        try:
            return tuple(ip_network(each) for each in self.trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}; write them as 10.0.0.0/24 or 192.0.2.5") from error

    @property
    def url(self) -> str:
        """Without a public one: an address that this machine itself can call."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.listen, self.listen)  # noqa: S104
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def password_page(self) -> str:
        """Where people ask for a new password, and choose it."""
        return self.password_reset_page or f"{self.url.rstrip('/')}/console/reset"

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
