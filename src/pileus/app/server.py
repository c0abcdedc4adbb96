"""One process with everything in it: drivers, worker, reconcilers and all faces on one port."""

import asyncio
import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path

import structlog
import uvicorn

from pileus.app import bootstrap, faces, keyvalue, running
from pileus.app.listeners import Listeners
from pileus.app.machine import Machine
from pileus.app.mailer import mailer
from pileus.app.otlp import Exporter
from pileus.app.simulation import Simulation
from pileus.config import Config
from pileus.core import mark, stream
from pileus.core.block.records import StoragePool
from pileus.core.cloud import Cloud
from pileus.core.identity.directories import directory
from pileus.core.image.records import ImageStoreRecord
from pileus.core.placement import inventory
from pileus.drivers.directory.ldap import LdapDirectory
from pileus.drivers.errors import Refused
from pileus.drivers.federation.openid import OpenIdClient
from pileus.drivers.federation.saml import SamlMessages
from pileus.faces import metadata
from pileus.reconcile import network
from pileus.reconcile.loop import Loop
from pileus.store import Store, migrate, open_store
from pileus.workflows import catalogue, directories, image_upload
from pileus.workflows.site import Site
from pileus.workflows.webhooks import Dispatcher
from pileus.workflows.worker import Worker

log = structlog.get_logger()

COLLECT = (20_000, 50, 50)
"""Allocations before the garbage collector looks, and how much more rarely at what is older. Nearly everything here
ends by its reference count; with Python's own figures a long list costs more collections than work."""
SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter while the event loop waits for it."""


class Lock:
    """The state directory has one owner: whoever holds this knows that every other one is dead."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._file = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Refused(f"Another Pileus uses {state}; see `pileus status --state {state}`.") from None

    def release(self) -> None:
        os.close(self._file)


class App:
    """Builds everything from the configuration, in the order in which things need each other."""

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        self.config = config
        self._say = say
        self.platform: Machine | Simulation = Simulation(config) if config.simulate else Machine(config, say)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT. Raises Refused with the reason and the fix when it cannot start."""
        async with AsyncExitStack() as stack:
            listening = _listen(self.config)
            stack.callback(listening.close)
            self._say(f"state is in {self.config.state}")
            if not ip_address(self.config.listen).is_loopback:
                self._say(
                    f"listening on {self.config.listen} without TLS: put a proxy with TLS in front of it"
                )
            store = await self._open_store(stack)
            await self._mark(store)
            await self.platform.start()
            stack.push_async_callback(self.platform.release)
            cloud = Cloud(self.config, store)
            stack.push_async_callback(directory.of(cloud).close)
            for store_of_keys in keyvalue.attach(cloud):
                stack.push_async_callback(store_of_keys.close)
            await self._trace(cloud, stack)
            await self._bootstrap(cloud)
            site = await self._site(cloud)
            await inventory.current(cloud)  # of many hosts this takes a moment: no request shall wait for it
            worker = Worker(site)
            await image_upload.requeue_broken(site)
            reconciler = Loop(site)
            await worker.start()
            stack.push_async_callback(worker.stop)
            await reconciler.start()
            stack.push_async_callback(reconciler.stop)
            dispatcher = Dispatcher(site)
            await dispatcher.start()
            stack.push_async_callback(dispatcher.stop)
            if isinstance(self.platform, Machine):
                ears = Listeners(
                    self.platform.metadata_namespaces,
                    lambda network: metadata.application(site, network),
                    lambda network: metadata.Resolver(site, network),
                )
                await ears.start()
                stack.push_async_callback(ears.stop)
            await self._serve(site, listening, ready)

    async def _open_store(self, stack: AsyncExitStack) -> Store:
        url = running.database_url(self.config)
        for revision in await migrate(url):
            self._say(f"database brought to revision {revision}")
        store = await open_store(url)
        stack.push_async_callback(store.close)
        return store

    async def _mark(self, store: Store) -> None:
        """What is made on platforms carries the cloud's id."""
        cloud = await mark.identify(store)
        mark.note(self.config.state, cloud)
        if isinstance(self.platform, Machine):
            self.platform.cloud = cloud

    async def _trace(self, cloud: Cloud, stack: AsyncExitStack) -> None:
        if self.config.otlp_endpoint:
            exporter = Exporter(self.config.otlp_endpoint)
            await exporter.start()
            stack.push_async_callback(exporter.stop)
            cloud.spans = exporter.take

    async def _bootstrap(self, cloud: Cloud) -> None:
        if await bootstrap.bootstrap(cloud):
            self._say(f"first start: credentials are in {self.config.state / 'credentials'}")

    async def _site(self, cloud: Cloud) -> Site:
        if isinstance(self.platform, Simulation):
            await self.platform.arrange(cloud)
        async with cloud.view() as look:
            pools = await look.list(StoragePool)
            store = (await look.list(ImageStoreRecord))[0]
        opened = {pool.id: self.platform.pool(pool.path) for pool in pools}
        if isinstance(self.platform, Simulation):
            await self.platform.restore(cloud, opened)
        for pool in pools:
            await bootstrap.join_pool(cloud, pool, await opened[pool.id].facts())
        room = await opened[pools[0].id].facts()
        driver = "simulator" if self.config.simulate else "libvirt"
        facts = [await hypervisor.facts() for hypervisor in self.platform.hosts]
        more = self.platform.place_of if isinstance(self.platform, Simulation) else lambda hostname: {}
        hosts = await bootstrap.join_hosts(cloud, driver, facts, room, more)
        hypervisors = dict(zip((host.id for host in hosts), self.platform.hosts, strict=True))
        images = self.platform.image_store(store.path)
        catalogue.load()
        directories.install(cloud, LdapDirectory)
        site = Site(
            cloud,
            hypervisors=hypervisors,
            network=self.platform.network,
            pools=opened,
            images=images,
            openid=OpenIdClient(),
            saml=SamlMessages(),
            mail=mailer(self.config),
        )
        if isinstance(self.platform, Simulation):
            await network.Reconciler(site).restore()
            self.platform.begin()
        return site

    async def _serve(self, site: Site, listening: socket.socket, ready: Callable[[], None]) -> None:
        kernel = faces.kernel(site)
        options = uvicorn.Config(
            kernel,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # by itself uvicorn believes whatever this machine's processes say
            ws_max_size=1 << 20,
            timeout_graceful_shutdown=3,
            loop="uvloop",
        )
        server = uvicorn.Server(options)

        def stop() -> None:
            server.should_exit = True
            stream.of(site.cloud).stop()  # or their connections would hold up the end

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            settle()
            running.note(self.config)
            ready()
        await serving


def settle() -> None:
    """What was built for the start stays for good: no collection looks at it again. The loop gets its turn back from
    the threads that read long lists."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    sys.setswitchinterval(SWITCH_SECONDS)


def _listen(config: Config) -> socket.socket:
    """Taken first: a port in use is told before anything is started."""
    family = socket.AF_INET6 if ":" in config.listen else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.listen, config.port))
    except OSError as error:
        made.close()
        why = os.strerror(error.errno) if error.errno else str(error)
        raise Refused(
            f"Cannot listen on {config.listen} port {config.port} ({why}); choose another with --port or --listen."
        ) from error
    return made
