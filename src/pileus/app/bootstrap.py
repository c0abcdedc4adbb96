"""The first start of a cloud: what must be there so that every API is complete from the first minute.

Everything is made once and left alone afterwards, so a start may be repeated and an operator may change what was made.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from msgspec.structs import replace

from pileus.core.block.records import StoragePool, VolumeKind
from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, SERVICE
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute import hosts
from pileus.core.compute.records import Cluster, Host, Pod, Size, Zone
from pileus.core.identity import unified_limits
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import (
    CLOUDSTACK,
    EC2,
    ApplicationCredential,
    Credential,
)
from pileus.core.identity.authorization import holding
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import (
    Assignment,
    Domain,
    Project,
    ProjectKind,
    Role,
    Scope,
    User,
)
from pileus.core.identity.services import catalogue
from pileus.core.identity.tenancy import account_roles
from pileus.core.image.records import ImageStoreRecord
from pileus.core.network.records import Network, NetworkKind, Subnet
from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.volume.protocol import PoolFacts
from pileus.faces.openstack.identity.catalog import SERVED

NAMES = UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a10")
"""Namespace of the ids that every cloud shares, so that tools may rely on them."""
SYSTEM = UUID(int=0)
CREDENTIALS = "credentials"
ACCOUNTS = ("admin", "demo")
"""The first users, each with a project of its own; the first administers the cloud."""
NEXT_ROLE = {READER: None, MEMBER: READER, MANAGER: MEMBER, ADMIN: MANAGER, SERVICE: None}
"""What each of Keystone's default roles implies directly."""
SIZES = (
    ("tiny", 1, 192, 1),
    ("small", 1, 512, 5),
    ("medium", 1, 1024, 10),
    ("large", 2, 4096, 20),
    ("xlarge", 4, 8192, 40),
)
"""(name, virtual CPUs, MiB of memory, GiB of disk)."""
TOGETHER = 200
"""Hosts that join in one transaction."""
DISK_KINDS = (("standard", 0), ("small-5", 5), ("medium-20", 20), ("large-100", 100))
"""(name, fixed GiB); 0: the caller names the size."""


async def bootstrap(cloud: Cloud) -> bool:
    """Make what is missing; whether this was the first start. The credentials are on disk before anything needs them."""
    await account_roles.ensure(cloud)
    async with cloud.view() as look:
        known = await look.maybe(Domain, ROOT) is not None
    if known:
        if not vault.kept(cloud.config.state):
            raise Refused(
                f"The database holds secrets, and {cloud.config.state / vault.DIRECTORY} has no keys that read them;"
                " put back the directory keys from the backup that was made with the database."
            )
        await catalogue.ensure(cloud, SERVED)
        await unified_limits.ensure(cloud)
        await _equip_command(cloud)
        return False
    keys = vault.of(cloud)
    first = {f"{name}_password": secrets.token_urlsafe(12) for name in ACCOUNTS}
    first |= {"admin_project": cloud.config.admin_project, "demo_project": "demo"}
    for name in ACCOUNTS:
        for kind in (CLOUDSTACK, EC2):
            first[f"{name}_{kind}_access"] = secrets.token_hex(16)
            first[f"{name}_{kind}_secret"] = secrets.token_urlsafe(48)
    hashes = {name: await keys.hash(first[f"{name}_password"]) for name in ACCOUNTS}
    keep(first, cloud.config.state)
    async with cloud.transaction() as tx:
        await _roles(tx)
        await tx.add(
            Domain(
                id=ROOT,
                name=cloud.config.default_domain,
                description="The default domain",
                created_at=cloud.now(),
            )
        )
        for name in ACCOUNTS:
            await _account(tx, keys, name, hashes[name], first)
        await _places(tx)
        await _offers(tx)
    await catalogue.ensure(cloud, SERVED)
    await unified_limits.ensure(cloud)
    await _equip_command(cloud)
    return True


async def _roles(tx: Tx) -> None:
    for name, implied in NEXT_ROLE.items():
        implies = (uuid5(NAMES, f"role/{implied}"),) if implied else ()
        await tx.add(
            Role(id=uuid5(NAMES, f"role/{name}"), name=name, implies=implies, created_at=tx.cloud.now())
        )


async def _account(tx: Tx, keys: vault.Secrets, name: str, password: str, first: Mapping[str, str]) -> None:
    """A user with a project of the same name, which is its CloudStack account, and with its key pairs."""
    now, new = tx.cloud.now(), tx.cloud.new_id
    project = await tx.add(
        Project(
            id=new(), domain=ROOT, name=first[f"{name}_project"], kind=ProjectKind.ACCOUNT, created_at=now
        )
    )
    user = await tx.add(
        User(
            id=new(),
            domain=ROOT,
            name=name,
            password=password,
            account=project.id,
            default_project=project.id,
            first_name=name,
            last_name="cloud",
            created_at=now,
            password_at=now,
        )
    )
    role = uuid5(NAMES, f"role/{ADMIN if name == 'admin' else MEMBER}")
    targets = [(Scope.PROJECT, project.id), *([(Scope.SYSTEM, SYSTEM)] if name == "admin" else [])]
    for scope, target in targets:
        await tx.add(
            Assignment(id=new(), actor=user.id, role=role, scope=scope, target=target, created_at=now)
        )
    for kind in (CLOUDSTACK, EC2):
        access, secret = first[f"{name}_{kind}_access"], first[f"{name}_{kind}_secret"]
        await tx.add(
            Credential(
                id=new(),
                kind=kind,
                user=user.id,
                project=project.id,
                access=access,
                secret=keys.encrypt(secret),
                created_at=now,
            )
        )


async def _equip_command(cloud: Cloud) -> None:
    """What the operator's commands log in with: an application credential of the administrator, of which no second factor
    is asked. Clouds of former versions get one too, once, where their first credentials still are."""
    known = kept(cloud.config.state)
    if "admin_command_id" in known or "admin_ec2_access" not in known:
        return
    async with cloud.view() as look:
        pair = await look.one(Credential, kind=EC2, access=known["admin_ec2_access"])
        if pair is None or pair.project is None:
            return
        roles = await holding.effective(look, pair.user, Scope.PROJECT, pair.project)
    key, secret = cloud.new_id(), secrets.token_urlsafe(48)
    hashed = await vault.of(cloud).hash(secret)
    # The file comes last: a start that is killed between leaves one that nobody can use, and the next one makes another.
    async with cloud.transaction() as tx:
        await tx.add(
            ApplicationCredential(
                id=key,
                user=pair.user,
                project=pair.project,
                name=f"pileus-{key.hex[-8:]}",
                description="The operator's command, on the machine of the cloud's first start",
                secret=hashed,
                roles=tuple(role.id for role in roles),
                unrestricted=True,
                created_at=cloud.now(),
            )
        )
    keep({**known, "admin_command_id": key.hex, "admin_command_secret": secret}, cloud.config.state)


async def _places(tx: Tx) -> None:
    now, config = tx.cloud.now(), tx.cloud.config
    hypervisor = "Simulator" if config.simulate else "KVM"
    zone = await tx.add(Zone(id=tx.cloud.new_id(), name=config.zone, region=config.region, created_at=now))
    pod = await tx.add(Pod(id=tx.cloud.new_id(), zone=zone.id, name="pod-1", created_at=now))
    await tx.add(
        Cluster(
            id=tx.cloud.new_id(),
            zone=zone.id,
            pod=pod.id,
            name="cluster-1",
            hypervisor=hypervisor,
            created_at=now,
        )
    )
    pool = StoragePool(
        id=tx.cloud.new_id(),
        name="primary",
        driver="memory" if config.simulate else "file",
        path=str(config.state / "pool"),
        zone=zone.id,
        created_at=now,
    )
    await tx.add(pool)
    store = ImageStoreRecord(
        id=tx.cloud.new_id(),
        name="secondary",
        driver="memory" if config.simulate else "directory",
        path=str(config.state / "images"),
        zone=zone.id,
        created_at=now,
    )
    await tx.add(store)
    await _external(tx, zone)


async def _external(tx: Tx, zone: Zone) -> None:
    """The external network on this machine: the host is its gateway, the pool begins at the tenth address."""
    now, cidr = tx.cloud.now(), tx.cloud.config.external
    admin = await tx.one(Project, name=tx.cloud.config.admin_project, domain=ROOT)
    assert admin is not None
    network = await tx.add(
        Network(
            id=tx.cloud.new_id(),
            project=admin.id,
            name="public",
            description="The network outside",
            kind=NetworkKind.EXTERNAL,
            external=True,
            default=True,
            physical="external",
            mtu=1500,
            port_security=False,
            zone=zone.id,
            created_at=now,
            updated_at=now,
        )
    )
    await tx.add(
        Subnet(
            id=tx.cloud.new_id(),
            network=network.id,
            project=admin.id,
            name="public",
            cidr=str(cidr),
            gateway=str(cidr[1]),
            pools=((str(cidr[10]), str(cidr[-2])),),
            dhcp=False,
            created_at=now,
            updated_at=now,
        )
    )
    await tx.charge(admin.id, "networks", 1)
    await tx.charge(admin.id, "subnets", 1)
    await tx.start("network.sync", subject=network)


async def _offers(tx: Tx) -> None:
    now = tx.cloud.now()
    for number, (name, vcpus, memory, disk) in enumerate(SIZES, 1):
        size = Size(
            id=tx.cloud.new_id(),
            ref=str(number),
            name=name,
            vcpus=vcpus,
            memory_mib=memory,
            disk_gib=disk,
            created_at=now,
        )
        await tx.add(size)
    for name, gib in DISK_KINDS:
        kind = VolumeKind(id=tx.cloud.new_id(), name=name, size_gib=gib, default=gib == 0, created_at=now)
        await tx.add(kind)


async def join_host(cloud: Cloud, driver: str, facts: HostFacts, pool: PoolFacts) -> Host:
    """Record a host by its name, or refresh what it is and has. Its switches (enabled, ratios) stay as they were set."""
    return (await join_hosts(cloud, driver, [facts], pool))[0]


async def join_hosts(
    cloud: Cloud,
    driver: str,
    facts: Sequence[HostFacts],
    pool: PoolFacts,
    more: Callable[[str], Mapping[str, Any]] = lambda hostname: {},
) -> list[Host]:
    """Many at once, in the order of their facts. `more`: fields of a new host besides, by its name."""
    joined: list[Host] = []
    for start in range(0, len(facts), TOGETHER):
        chunk = facts[start : start + TOGETHER]
        async with cloud.transaction() as tx:
            names = tuple(each.hostname for each in chunk)
            held = {host.hostname: host for host in await tx.list(Host, hostname=names)}
            cluster = (await tx.list(Cluster, limit=1))[0]
            for each in chunk:
                fresh = _fresh(cloud, driver, each, pool)
                joined.append(await _join(tx, cluster, held.get(each.hostname), fresh, more(each.hostname)))
    return joined


def _fresh(cloud: Cloud, driver: str, facts: HostFacts, pool: PoolFacts) -> dict[str, Any]:
    return {
        "hostname": facts.hostname,
        "hypervisor": driver,
        "hypervisor_type": facts.hypervisor,
        "hypervisor_version": facts.version,
        "cpu_model": facts.cpu_model,
        "architecture": facts.architecture,
        "acceleration": facts.acceleration,
        "acceleration_reason": facts.reason,
        "vcpus": facts.vcpus,
        "memory_mib": facts.memory_mib,
        "disk_gib": pool.total_bytes >> 30,
        "up": True,
        "seen_at": cloud.now(),
    }


async def _join(
    tx: Tx, cluster: Cluster, held: Host | None, fresh: Mapping[str, Any], more: Mapping[str, Any]
) -> Host:
    if held is not None:
        return await hosts.amend(tx, held, **fresh)
    config = tx.cloud.config
    return await tx.add(
        Host(
            id=tx.cloud.new_id(),
            number=await tx.next_number("host"),
            vcpu_ratio=config.vcpu_overcommit,
            memory_ratio=config.memory_overcommit,
            memory_mib_reserved=config.reserved_memory_mib,
            created_at=tx.cloud.now(),
            **{"zone": cluster.zone, "pod": cluster.pod, "cluster": cluster.id, **fresh, **more},
        )
    )


async def join_pool(cloud: Cloud, pool: StoragePool, facts: PoolFacts) -> StoragePool:
    """Refresh how full a pool is."""
    async with cloud.transaction() as tx:
        held = await tx.get(StoragePool, pool.id)
        return await tx.put(replace(held, total_bytes=facts.total_bytes, used_bytes=facts.used_bytes))


def keep(first: Mapping[str, str], state: Path) -> None:
    """Write the first credentials where only the operator reads them."""
    path = state / CREDENTIALS
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text("".join(f"{name}={value}\n" for name, value in sorted(first.items())))
    fresh.replace(path)


def kept(state: Path) -> dict[str, str]:
    """What `keep` wrote; empty when it was taken away."""
    try:
        lines = (state / CREDENTIALS).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)
