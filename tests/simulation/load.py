"""What users do, at random but the same for a seed: requests to the core by several projects, none of which waits for
another. Refusals by the core's own kinds are part of it; anything else is a finding."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, TypeVar

from pileus.core.block import snapshots, volumes
from pileus.core.block.records import Snapshot, Volume
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute import deploy, interfaces, lifecycle
from pileus.core.compute.records import Server, Size
from pileus.core.errors import CoreError
from pileus.core.image.records import Image
from pileus.core.network import addresses, groups, networks, ports, removal, routers, subnets
from pileus.core.network.records import (
    Address,
    Network,
    Port,
    PortUse,
    Router,
    SecurityGroup,
    Subnet,
)
from pileus.store import Record
from pileus.store.errors import Conflicted, Disconnected

R = TypeVar("R", bound=Record)


class Nothing(Exception):
    """There is no object to which the request could go."""


class User:
    """A project's member, on the cloud as it is since the last start of the process."""

    def __init__(self, cloud: Cloud, caller: Caller, random: Random) -> None:
        self.cloud, self.caller, self.random = cloud, caller, random

    async def any(self, cls: type[R], *where: Any, **equals: Any) -> R:
        async with self.cloud.view() as look:
            found = await look.list(cls, *where, project=self.caller.home, order=("created_at",), **equals)
        if not found:
            raise Nothing
        return self.random.choice(found)

    async def some_image(self) -> Image:
        async with self.cloud.view() as look:
            return self.random.choice(await look.list(Image, order=("created_at",)))

    async def tenant_network(self) -> Network:
        return await self.any(Network, external=False)

    # --- servers

    async def deploy(self) -> None:
        async with self.cloud.view() as look:
            size = await look.one(Size, ref=self.random.choice(("1", "2", "3")))
        assert size is not None
        draw = self.random.random()
        nics: tuple[ports.NicWant, ...] = ()
        if draw < 0.7:
            several = range(self.random.choice((1, 1, 2)))
            nics = tuple([ports.NicWant(network=(await self.tenant_network()).id) for _ in several])
        elif draw < 0.8:
            nics = (ports.NicWant(port=(await self.any(Port, use=PortUse.NONE)).id),)
        want = deploy.Deploy(
            project=self.caller.home,
            name=f"s{self.random.randrange(1000)}",
            size=size.id,
            image=(await self.some_image()).id,
            nics=nics,
            no_network=not nics,
            config_drive=self.random.random() < 0.3,
            start=self.random.random() < 0.9,
            count=self.random.choice((1, 1, 1, 3)) if draw < 0.7 else 1,
            disks=(deploy.DiskWant(source=deploy.Source.BLANK, size_gib=2, delete_with_server=True),)
            if self.random.random() < 0.2
            else (),
        )
        await deploy.deploy(self.cloud, self.caller, want)

    async def verb(self, do: Callable[..., Awaitable[object]], **more: Any) -> None:
        server = await self.any(Server)
        await do(self.cloud, self.caller, server.id, **more)

    async def delete(self) -> None:
        await self.verb(lifecycle.delete)

    async def destroy(self) -> None:
        await self.verb(lifecycle.destroy)

    async def recover(self) -> None:
        await self.verb(lifecycle.recover)

    async def start(self) -> None:
        await self.verb(lifecycle.start)

    async def stop(self) -> None:
        await self.verb(lifecycle.stop, force=self.random.random() < 0.3)

    async def reboot(self) -> None:
        await self.verb(lifecycle.reboot, hard=self.random.random() < 0.5)

    async def freeze(self) -> None:
        await self.verb(self.random.choice((lifecycle.pause, lifecycle.suspend)))

    async def thaw(self) -> None:
        await self.verb(self.random.choice((lifecycle.unpause, lifecycle.resume)))

    # --- disks

    async def make_volume(self) -> None:
        draw, origin = self.random.random(), {}
        if draw < 0.2:
            origin = {"image": (await self.some_image()).id}
        elif draw < 0.35:
            origin = {"snapshot": (await self.any(Snapshot)).id}
        elif draw < 0.5:
            origin = {"volume": (await self.any(Volume, ephemeral=False)).id}
        size = self.random.randint(1, 4) if draw < 0.2 or draw >= 0.5 else 0
        await volumes.create(
            self.cloud, self.caller, volumes.Create(project=self.caller.home, size_gib=size, **origin)
        )

    async def delete_volume(self) -> None:
        volume = await self.any(Volume, ephemeral=False)
        how = self.random.choice(({}, {"keep_snapshots": True}, {"with_snapshots": True}))
        await volumes.delete(self.cloud, self.caller, volume.id, **how)

    async def attach(self) -> None:
        volume, server = await self.any(Volume, ephemeral=False), await self.any(Server)
        await volumes.attach(
            self.cloud, self.caller, volume.id, server.id, delete_with_server=self.random.random() < 0.3
        )

    async def detach(self) -> None:
        volume = await self.any(Volume, ephemeral=False)
        await volumes.detach(self.cloud, self.caller, volume.id)

    async def extend(self) -> None:
        volume = await self.any(Volume)
        await volumes.extend(self.cloud, self.caller, volume.id, volume.size_gib + self.random.randint(1, 3))

    async def snapshot(self) -> None:
        volume = await self.any(Volume)
        await snapshots.create(self.cloud, self.caller, snapshots.Create(volume=volume.id, force=True))

    async def delete_snapshot(self) -> None:
        await snapshots.delete(self.cloud, self.caller, (await self.any(Snapshot)).id)

    # --- networks

    async def make_network(self) -> None:
        made = await networks.create(self.cloud, self.caller, networks.NetworkWant(name="n"))
        cidr = f"10.{self.random.randrange(1, 200)}.{self.random.randrange(250)}.0/24"
        await subnets.create(self.cloud, self.caller, subnets.SubnetWant(network=made[0].id, cidr=cidr))

    async def change_network(self) -> None:
        network = await self.tenant_network()
        change = networks.NetworkChange(mtu=self.random.choice((1400, 1442)), name="renamed")
        await networks.update(self.cloud, self.caller, network.id, change)

    async def delete_network(self) -> None:
        await removal.delete(self.cloud, self.caller, (await self.tenant_network()).id)

    async def make_port(self) -> None:
        want = ports.PortWant(network=(await self.tenant_network()).id)
        await ports.create(self.cloud, self.caller, want)

    async def change_port(self) -> None:
        port, group = await self.any(Port), await self.any(SecurityGroup)
        change = ports.PortChange(groups=(group.id,), enabled=self.random.random() < 0.8)
        await ports.update(self.cloud, self.caller, port.id, change)

    async def delete_port(self) -> None:
        await ports.delete(self.cloud, self.caller, (await self.any(Port)).id)

    async def attach_nic(self) -> None:
        server, network = await self.any(Server), await self.tenant_network()
        await interfaces.attach_nic(self.cloud, self.caller, server.id, ports.NicWant(network=network.id))

    async def detach_nic(self) -> None:
        port = await self.any(Port, use=PortUse.SERVER)
        if port.device is None:
            raise Nothing
        await interfaces.detach_nic(self.cloud, self.caller, port.device, port.id)

    async def make_router(self) -> None:
        async with self.cloud.view() as look:
            outside = await look.one(Network, external=True)
        assert outside is not None
        gateway = routers.Gateway(network=outside.id) if self.random.random() < 0.7 else None
        await routers.create(self.cloud, self.caller, routers.RouterWant(name="r", gateway=gateway))

    async def plug_router(self) -> None:
        router, subnet = await self.any(Router), await self.any(Subnet)
        await routers.add_interface(self.cloud, self.caller, router.id, subnet=subnet.id)

    async def unplug_router(self) -> None:
        router, subnet = await self.any(Router), await self.any(Subnet)
        await routers.remove_interface(self.cloud, self.caller, router.id, subnet=subnet.id)

    async def delete_router(self) -> None:
        await routers.delete(self.cloud, self.caller, (await self.any(Router)).id)

    async def make_group(self) -> None:
        await groups.create(self.cloud, self.caller, groups.GroupWant(name="g"))

    async def delete_group(self) -> None:
        await groups.delete(self.cloud, self.caller, (await self.any(SecurityGroup)).id)

    async def make_address(self) -> None:
        async with self.cloud.view() as look:
            outside = await look.one(Network, external=True)
        assert outside is not None
        await addresses.create(self.cloud, self.caller, addresses.AddressWant(external=outside.id))

    async def move_address(self) -> None:
        address, port = await self.any(Address), await self.any(Port, use=PortUse.SERVER)
        to = port.id if self.random.random() < 0.7 else None
        change = addresses.AddressChange(port=to)
        await addresses.update(self.cloud, self.caller, address.id, change)

    async def delete_address(self) -> None:
        await addresses.release(self.cloud, self.caller, (await self.any(Address)).id)


REQUESTS: Sequence[tuple[int, Callable[[User], Awaitable[None]]]] = (
    (20, User.deploy),
    (12, User.delete),
    (3, User.destroy),
    (2, User.recover),
    (6, User.start),
    (6, User.stop),
    (6, User.reboot),
    (4, User.freeze),
    (4, User.thaw),
    (8, User.make_volume),
    (5, User.delete_volume),
    (8, User.attach),
    (5, User.detach),
    (4, User.extend),
    (4, User.snapshot),
    (4, User.delete_snapshot),
    (3, User.make_network),
    (2, User.change_network),
    (2, User.delete_network),
    (3, User.make_port),
    (3, User.change_port),
    (2, User.delete_port),
    (4, User.attach_nic),
    (4, User.detach_nic),
    (2, User.make_router),
    (3, User.plug_router),
    (2, User.unplug_router),
    (1, User.delete_router),
    (2, User.make_group),
    (1, User.delete_group),
    (2, User.make_address),
    (3, User.move_address),
    (1, User.delete_address),
)
WEIGHTS = tuple(weight for weight, _ in REQUESTS)
CALLS = tuple(call for _, call in REQUESTS)


async def request(cloud: Cloud, caller: Caller, seed: str, tally: Counter[str], findings: list[str]) -> None:
    """One request, drawn and made."""
    random = Random(seed)
    call = random.choices(CALLS, WEIGHTS)[0]
    name = call.__name__
    try:
        await call(User(cloud, caller, random))
    except Nothing:
        tally[f"{name}: nothing there"] += 1
    except CoreError as error:
        tally[f"{name}: {error.kind.value}"] += 1
    except (Conflicted, Disconnected) as error:
        tally[f"{name}: {type(error).__name__}"] += 1
    except Exception as error:
        findings.append(f"request {name} ({seed}) raised {type(error).__name__}: {error}")
    else:
        tally[name] += 1
