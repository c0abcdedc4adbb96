"""The metadata service of one network: finds the port by the address that asks, and answers for its server."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import NotFound
from pileus.core.network.records import FixedAddress, Port, PortUse
from pileus.faces.wire import Kernel, Request, Response
from pileus.workflows import metadata
from pileus.workflows.metadata import Facts
from pileus.workflows.site import Site

Asgi = Callable[..., Awaitable[None]]
TEXT = "text/plain; charset=utf-8"


def application(site: Site, network: UUID) -> Asgi:
    """An ASGI application for the guests of one network; only reading is possible."""

    async def answer(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, "Only GET is served here.\n", {"allow": "GET, HEAD"}, TEXT)
        async with site.cloud.view() as look:
            server = await asking(look, network, request.client)
            facts = await metadata.facts(site.cloud, look, server)
        content = find(facts, request.tail)
        if content is None:
            return Response(404, "There is nothing here.\n", content_type=TEXT)
        json = request.path.endswith(".json")
        return Response(200, content, content_type="application/json" if json else TEXT)

    kernel = Kernel((), cloud=site.cloud, site=site, access_log=False, max_body_bytes=1024)
    kernel.mount("/", answer)
    return kernel


async def asking(look: Look, network: UUID, address: str) -> Server:
    """The server whose port in this network has the address. Nothing else that the guest says is looked at."""
    for held in await look.list(FixedAddress, address=address):
        port = await look.maybe(Port, held.port)
        if port is not None and port.network == network and port.use is PortUse.SERVER and port.device:
            return await look.get(Server, port.device)
    raise NotFound("Port", address)


def find(facts: Facts, path: tuple[str, ...]) -> bytes | None:
    """A file, or the names in a directory; None where nothing is."""
    parts = [part for part in path if part]
    if not parts:
        return "\n".join(metadata.EC2_VERSIONS).encode()
    first, *rest = parts
    if first == "openstack":
        return openstack(facts, rest)
    if first not in metadata.EC2_VERSIONS:
        return None
    found = metadata.ec2(facts, "/".join(rest))
    extra = metadata.cloudstack(facts)
    if rest == ["meta-data"] and found is not None:
        names = [name.removeprefix("meta-data/") for name in extra if name.startswith("meta-data/")]
        listed = found.decode().split("\n")
        return "\n".join([*listed, *(name for name in names if name not in listed)]).encode()
    return extra.get("/".join(rest)) if found is None else found


def openstack(facts: Facts, rest: list[str]) -> bytes | None:
    if not rest:
        return "\n".join(metadata.OPENSTACK_VERSIONS).encode()
    if rest[0] not in metadata.OPENSTACK_VERSIONS:
        return None
    files = metadata.openstack(facts)
    names = [path.rpartition("/")[2] for path in files]
    return (
        "\n".join(names).encode() if len(rest) == 1 else files.get("/".join(["openstack/latest", *rest[1:]]))
    )
