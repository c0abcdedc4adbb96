"""What the requests that the walkers know do not reach: variants of a workflow's start, by name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from pileus.core import mail
from pileus.core.block import compound, snapshots, volumes
from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.caller import system
from pileus.core.compute import servers
from pileus.core.compute.deploy import DiskWant, Source
from pileus.core.compute.records import Server, Size
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain
from pileus.core.identity.tenancy import accounts, domain_tree, tenants
from pileus.core.identity.tenancy.accounts import NewUser
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.core.image import exports, images
from pileus.core.image.records import Image
from pileus.core.network import ports
from pileus.core.network.records import Network
from pileus.workflows.image_upload import receive
from tests.prove.scene import Scene

CONTENT = b"boot" * 2048


@dataclass(frozen=True)
class Named:
    """`prepare` brings the cloud, with a worker, to where `start` begins the workflow."""

    name: str
    workflow: str
    prepare: Callable[[Scene], Awaitable[Any]]
    start: Callable[[Scene, Any], Awaitable[Any]]


async def nothing(at: Scene) -> None:
    return None


async def volume(at: Scene, **fields: Any) -> Volume:
    caller = await at.owner()
    want = volumes.Create(project=caller.home, **{"size_gib": 1, "name": "made", **fields})
    made = (await volumes.create(at.cloud, caller, want)).resource
    await at.quiet()
    return await volumes.show(at.cloud, caller, made.id)


async def snapshot(at: Scene, of: Volume) -> Snapshot:
    caller = await at.owner()
    made = await snapshots.create(at.cloud, caller, snapshots.Create(volume=of.id, force=True))
    await at.quiet()
    return await snapshots.show(at.cloud, caller, made.resource.id)


async def image(at: Scene) -> Image:
    """With content of its own, and not in any pool yet."""
    caller = await at.owner()
    want = images.Create(project=caller.home, name="made", disk_format="raw", container_format="bare")
    made = await images.create(at.cloud, caller, want)
    assert isinstance(made, Image)

    async def content() -> AsyncIterator[bytes]:
        yield CONTENT

    return await receive(at.site, caller, made.id, content())


async def held(at: Scene) -> Volume:
    """The furnished server's second disk."""
    async with at.cloud.view() as look:
        found = await look.one(Volume, name="attached", project=(await at.owner()).home)
    assert found is not None
    assert found.state is VolumeState.IN_USE
    return found


async def server(at: Scene) -> Server:
    async with at.cloud.view() as look:
        found = await look.one(Server, name="web", project=(await at.owner()).home)
    assert found is not None
    return found


async def network(at: Scene) -> Network:
    async with at.cloud.view() as look:
        found = await look.one(Network, name="net", project=(await at.owner()).home)
    assert found is not None
    return found


def creates(name: str, prepare: Callable[[Scene], Awaitable[Any]], field: str) -> Named:
    async def start(at: Scene, source: Any) -> None:
        caller = await at.owner()
        want = volumes.Create(project=caller.home, size_gib=2, **{field: source.id})
        await volumes.create(at.cloud, caller, want)

    return Named(f"a volume from {name}", "volume.create", prepare, start)


def deletes(name: str, prepare: Callable[[Scene], Awaitable[Any]], **how: bool) -> Named:
    async def start(at: Scene, of: Volume) -> None:
        await volumes.delete(at.cloud, await at.owner(), of.id, **how)

    return Named(f"deleting a volume {name}", "volume.delete", prepare, start)


async def a_snapshot(at: Scene) -> Snapshot:
    return await snapshot(at, await volume(at))


async def with_snapshot(at: Scene) -> Volume:
    made = await volume(at)
    await snapshot(at, made)
    return made


async def of_deleted_image(at: Scene) -> Volume:
    source = await image(at)
    made = await volume(at, image=source.id)
    await images.delete(at.cloud, await at.owner(), source.id)
    await at.quiet()
    return made


async def snapshot_of_held(at: Scene) -> Snapshot:
    return await snapshot(at, await held(at))


async def last_of_retained(at: Scene) -> Snapshot:
    """The volume is deleted, and so is its image: with the snapshot disk and base go too."""
    source, caller = await image(at), await at.owner()
    made = await volume(at, image=source.id)
    kept = await snapshot(at, made)
    await volumes.delete(at.cloud, caller, made.id, keep_snapshots=True)
    await images.delete(at.cloud, caller, source.id)
    await at.quiet()
    return kept


async def take(at: Scene, of: Volume) -> None:
    await snapshots.create(at.cloud, await at.owner(), snapshots.Create(volume=of.id, force=True))


async def drop(at: Scene, one: Snapshot) -> None:
    await snapshots.delete(at.cloud, await at.owner(), one.id)


async def grow(at: Scene, of: Volume) -> None:
    await volumes.extend(at.cloud, await at.owner(), of.id, 5)


async def detach(at: Scene, of: Volume) -> None:
    await volumes.detach(at.cloud, await at.owner(), of.id)


async def image_with_base(at: Scene) -> Image:
    source = await image(at)
    made = await volume(at, image=source.id)
    await volumes.delete(at.cloud, await at.owner(), made.id)
    await at.quiet()
    return source


async def delete_image(at: Scene, one: Image) -> None:
    await images.delete(at.cloud, await at.owner(), one.id)


async def of_image(at: Scene) -> Volume:
    return await volume(at, image=(await image(at)).id)


async def export(at: Scene, of: Volume) -> None:
    want = exports.FromVolume(volume=of.id, name="copy", disk_format="qcow2")
    await exports.create(at.cloud, await at.owner(), want)


async def fetch(at: Scene, _: None) -> None:
    caller = await at.owner()
    want = images.Create(
        project=caller.home, url="http://192.0.2.1/x", disk_format="raw", container_format="bare"
    )
    await images.create(at.cloud, caller, want)


async def deploy(at: Scene, source: Image | None, **more: Any) -> UUID:
    """All that a server can have: a config drive, a secret, metadata of a face, a network, a disk of a new image."""
    caller, net = await at.owner(), await network(at)
    async with at.cloud.view() as look:
        size = await look.one(Size, ref="1")
    assert size is not None
    want = servers.Deploy(
        project=caller.home,
        name="Web Two",
        size=size.id,
        image=source.id if source else None,
        nics=(ports.NicWant(network=net.id),),
        config_drive=True,
        admin_password="secret",
        facets={"face": {"a": 1}},
        **more,
    )
    accepted = await servers.deploy(at.cloud, caller, want)
    return accepted[0].resource.id  # type: ignore[no-any-return]


async def rich_server(at: Scene) -> UUID:
    """With a config drive, a disk that goes with it, one that stays, and one kept for its snapshot."""
    caller, key = await at.owner(), await deploy(at, await image(at))
    await at.quiet()
    for goes in (True, False):
        made = await volume(at)
        await volumes.attach(at.cloud, caller, made.id, key, delete_with_server=goes)
        await at.quiet()
    kept = await volume(at)
    await volumes.attach(at.cloud, caller, kept.id, key, delete_with_server=True)
    await at.quiet()
    await snapshot(at, kept)
    return key


async def create(at: Scene, _: None) -> None:
    caller = await at.owner()
    await volumes.create(at.cloud, caller, volumes.Create(project=caller.home, size_gib=1))


async def create_for(at: Scene, holder: Server) -> None:
    caller = await at.owner()
    want = volumes.Create(project=caller.home, name="given", size_gib=1)
    await compound.create_for(at.cloud, caller, want, holder.id)


async def image_and_volume(at: Scene) -> tuple[Image, Volume]:
    return await image(at), await volume(at)


async def boot_from_volumes(at: Scene, sources: tuple[Image, Volume]) -> None:
    """A root volume made from an image, and an empty disk, both made while the server is; and a disk that was there."""
    source, there = sources
    disks = (
        DiskWant(source=Source.IMAGE, id=source.id, size_gib=2, boot=True, delete_with_server=True),
        DiskWant(source=Source.BLANK, size_gib=1),
        DiskWant(source=Source.VOLUME, id=there.id),
    )
    await deploy(at, None, disks=disks)


async def delete_server(at: Scene, key: UUID) -> None:
    await servers.delete(at.cloud, await at.owner(), key)


def verb(name: str, workflow: str, *before: Any, ask: Any) -> Named:
    """Of the rich server, after other verbs."""

    async def prepare(at: Scene) -> UUID:
        key = await rich_server(at)
        for each in before:
            await each(at.cloud, await at.owner(), key)
            await at.quiet()
        return key

    async def start(at: Scene, key: UUID) -> None:
        await ask(at.cloud, await at.owner(), key)

    return Named(name, workflow, prepare, start)


async def reboot_hard(*of: Any) -> None:
    await servers.reboot(*of, hard=True)


async def unplugged(at: Scene) -> Server:
    """Behind our back."""
    of, disk = await server(at), await held(at)
    assert of.host is not None
    hypervisor = at.site.hypervisor(of.host)
    await hypervisor.detach_disk(of.id, disk.id)
    for port in await hypervisor.nics(of.id):
        await hypervisor.detach_nic(of.id, port)
    return of


async def replug(at: Scene, of: Server) -> None:
    async with at.cloud.transaction() as tx:
        await tx.start("server.replug", subject=of)


async def domain(at: Scene) -> Domain:
    """With another below it, and an account there that owns something."""
    me = system()
    made = await domain_tree.create(at.cloud, me, domain_tree.CreateDomain(name="sales", parent=ROOT))
    below = await domain_tree.create(at.cloud, me, domain_tree.CreateDomain(name="emea", parent=made.id))
    want = accounts.CreateAccount(
        name="ann", domain=below.id, type=RoleType.USER, user=NewUser(name="ann", password="secret")
    )
    account, _ = await accounts.create(at.cloud, me, want)
    await volumes.create(at.cloud, me, volumes.Create(project=account.id, size_gib=1, name="data"))
    await at.quiet()
    return made


async def delete_domain(at: Scene, of: Domain) -> None:
    await domain_tree.delete(at.cloud, system(), of.id, cleanup=True)


async def post(at: Scene, of: None) -> None:
    at.cloud.config = msgspec.structs.replace(at.cloud.config, smtp_host="mail.example.org")
    async with at.cloud.transaction(system()) as tx:
        await mail.post(tx, mail.Letter(to="ann@example.org", subject="News", text="There are none."))


async def suspend(at: Scene, of: Any) -> None:
    await tenants.suspend(at.cloud, system(), (await at.owner()).home)


NAMED: tuple[Named, ...] = (
    Named("suspending an account with a server", "account.suspend", rich_server, suspend),
    Named("a letter", "mail.send", nothing, post),
    Named("deleting a domain with an account", "domain.delete", domain, delete_domain),
    Named("a server that lost devices", "server.replug", unplugged, replug),
    Named("an empty volume", "volume.create", nothing, create),
    Named("a volume for a server", "volume.create_for", server, create_for),
    creates("an image", image, "image"),
    creates("a snapshot", a_snapshot, "snapshot"),
    creates("a volume", volume, "volume"),
    deletes("of a deleted image", of_deleted_image),
    deletes("that keeps its snapshots", with_snapshot, keep_snapshots=True),
    deletes("with its snapshots", with_snapshot, with_snapshots=True),
    Named("a snapshot of a held volume", "snapshot.create", held, take),
    Named("deleting a snapshot of a held volume", "snapshot.delete", snapshot_of_held, drop),
    Named("deleting the last snapshot of a retained volume", "snapshot.delete", last_of_retained, drop),
    Named("extending a held volume", "volume.extend", held, grow),
    Named("detaching a volume", "volume.detach", held, detach),
    Named("deleting an image with a base", "image.delete", image_with_base, delete_image),
    Named("an image from a volume of an image", "image.from_volume", of_image, export),
    Named("an image from an address", "image.fetch", nothing, fetch),
    Named("a server with everything", "server.deploy", image, deploy),
    Named("a server from volumes", "server.deploy", image_and_volume, boot_from_volumes),
    Named("deleting a server with everything", "server.delete", rich_server, delete_server),
    verb("deleting a paused server", "server.delete", servers.pause, ask=servers.delete),
    verb("starting a server with everything", "server.start", servers.stop, ask=servers.start),
    verb("rebooting a suspended server hard", "server.reboot_hard", servers.suspend, ask=reboot_hard),
)
