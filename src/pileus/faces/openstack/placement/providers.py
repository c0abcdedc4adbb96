"""Resource providers and what hangs on them; allocations, usages, classes and traits."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.compute import host_groups, hosts
from pileus.core.compute import traits as written
from pileus.core.compute.records import Host
from pileus.core.errors import Invalid, NotFound
from pileus.core.placement import reading
from pileus.faces.openstack.placement.service import (
    CLASSES,
    DISABLED,
    BadQuery,
    Concurrent,
    aggregates_match,
    answer,
    beside,
    fits,
    inventory,
    known,
    known_traits,
    resources,
    service,
    traits,
    traits_match,
    usage,
    uuid,
    wanted_resources,
)
from pileus.faces.openstack.traits import CUSTOM, STANDARD, legal
from pileus.faces.wire import Request, Response

ONE = "/resource_providers/{provider}"


def view(request: Request, host: Host) -> dict[str, Any]:
    base = f"{request.prefix}/resource_providers/{host.id}"
    parts = ["inventories", "usages"]
    version = request.version
    parts += ["aggregates"] if version >= (1, 1) else []
    parts += ["traits"] if version >= (1, 6) else []
    parts += ["allocations"] if version >= (1, 11) else []
    shown: dict[str, Any] = {
        "uuid": str(host.id),
        "name": host.hostname,
        "generation": host.generation,
        "links": [
            {"rel": "self", "href": base},
            *({"rel": part, "href": f"{base}/{part}"} for part in parts),
        ],
    }
    if version >= (1, 14):
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": str(host.id)}
    return shown


@service.operation("GET", "/resource_providers", policy="placement:resource_providers:list")
async def index(request: Request) -> Response:
    version, query = request.version, request.query
    names = {"name", "uuid"} | ({"member_of"} if version >= (1, 3) else set())
    names |= ({"resources"} if version >= (1, 4) else set()) | ({"in_tree"} if version >= (1, 14) else set())
    known(request, names | ({"required"} if version >= (1, 18) else set()))
    equals: dict[str, Any] = {}
    if "name" in query:
        equals["hostname"] = query["name"]
    wanted = {uuid(query[name], name) for name in ("uuid", "in_tree") if name in query}
    if wanted:
        equals["id"] = tuple(wanted)
    found = await reading.hosts(request.cloud, request.caller, **equals)
    if len(wanted) > 1:
        found = []
    amounts = wanted_resources(query["resources"]) if "resources" in query else {}
    required, inside, seen = query.all("required"), query.all("member_of"), await beside(request)
    found = [
        host
        for host in found
        if fits(host, amounts)
        and traits_match(host, required, version, seen.traits)
        and aggregates_match(seen.aggregates.get(host.id, ()), inside, version)
    ]
    return answer(request, {"resource_providers": [view(request, host) for host in found]})


@service.operation("GET", ONE, policy="placement:resource_providers:show")
async def show(request: Request, provider: UUID) -> Response:
    return answer(request, view(request, await reading.host(request.cloud, request.caller, provider)))


@service.operation("GET", ONE + "/inventories", policy="placement:resource_providers:inventories:list")
async def inventories(request: Request, provider: UUID) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    return answer(request, {"resource_provider_generation": host.generation, "inventories": inventory(host)})


@service.operation("GET", ONE + "/inventories/{name}", policy="placement:resource_providers:inventories:show")
async def show_inventory(request: Request, provider: UUID, name: str) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    held = inventory(host)
    if name not in held:
        raise NotFound("Inventory", f"of class {name} for {provider}")
    return answer(request, {"resource_provider_generation": host.generation, **held[name]})


@service.operation("GET", ONE + "/usages", policy="placement:resource_providers:usages")
async def usages(request: Request, provider: UUID) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    return answer(request, {"resource_provider_generation": host.generation, "usages": usage(host)})


@service.operation(
    "GET", ONE + "/aggregates", policy="placement:resource_providers:aggregates:list", since=(1, 1)
)
async def aggregates(request: Request, provider: UUID) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    more = {"resource_provider_generation": host.generation} if request.version >= (1, 19) else {}
    async with request.cloud.view() as look:
        inside = (await host_groups.groups_by_host(look)).get(provider, set())
    return answer(request, {"aggregates": sorted(str(each) for each in inside), **more})


@service.operation("GET", ONE + "/traits", policy="placement:resource_providers:traits:list", since=(1, 6))
async def provider_traits(request: Request, provider: UUID) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    return answer(request, shown_traits(host))


class SetTraits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    traits: list[Annotated[str, Meta(min_length=1, max_length=255)]]
    resource_provider_generation: int


@service.operation(
    "PUT",
    ONE + "/traits",
    policy="placement:resource_providers:traits:update",
    body=SetTraits,
    since=(1, 6),
)
async def set_traits(request: Request, provider: UUID, body: SetTraits) -> Response:
    await reading.host(request.cloud, request.caller, provider)
    unknown = sorted(set(body.traits) - await known_traits(request))
    if unknown:
        raise Invalid(f"No such trait {', '.join(unknown)}")
    return answer(
        request, shown_traits(await write(request, provider, body.traits, body.resource_provider_generation))
    )


def shown_traits(host: Host) -> dict[str, Any]:
    return {"traits": traits(host), "resource_provider_generation": host.generation}


async def write(
    request: Request, provider: UUID, words: Sequence[str], generation: int | None = None
) -> Host:
    """Words that this API does not show stay on the host."""
    host = await reading.host(request.cloud, request.caller, provider)
    hidden = [word for word in host.traits if not legal(word)]
    kept = [word for word in words if word != DISABLED]
    try:
        return await hosts.set_traits(
            request.cloud, request.caller, provider, [*hidden, *kept], generation=generation
        )
    except hosts.Outdated:
        raise Concurrent(
            "Resource provider's generation already changed. Please update the generation and try again."
        ) from None


@service.operation(
    "DELETE",
    ONE + "/traits",
    policy="placement:resource_providers:traits:delete",
    status=204,
    since=(1, 6),
)
async def drop_traits(request: Request, provider: UUID) -> None:
    await write(request, provider, ())


@service.operation("GET", ONE + "/allocations", policy="placement:resource_providers:allocations:list")
async def provider_allocations(request: Request, provider: UUID) -> Response:
    host = await reading.host(request.cloud, request.caller, provider)
    found = await reading.claims_on(request.cloud, request.caller, provider)
    more = {"consumer_generation": 1} if request.version >= (1, 28) else {}
    listed = {str(claim.id): {"resources": resources(claim), **more} for claim in found}
    return answer(request, {"resource_provider_generation": host.generation, "allocations": listed})


@service.operation("GET", "/allocations/{consumer}", policy="placement:allocations:list")
async def allocations(request: Request, consumer: UUID) -> Response:
    found = await reading.claim_of(request.cloud, request.caller, consumer)
    if found is None:
        return answer(request, {"allocations": {}})
    claim, host = found
    shown: dict[str, Any] = {
        "allocations": {str(host.id): {"resources": resources(claim), "generation": host.generation}}
    }
    if request.version >= (1, 12):
        shown |= {"project_id": claim.project.hex, "user_id": claim.user.hex}
    if request.version >= (1, 28):
        shown["consumer_generation"] = 1
    if request.version >= (1, 38):
        shown["consumer_type"] = "INSTANCE"
    return answer(request, shown)


@service.operation("GET", "/usages", policy="placement:usages", since=(1, 9))
async def project_usages(request: Request) -> Response:
    query, version = request.query, request.version
    known(request, {"project_id", "user_id"} | ({"consumer_type"} if version >= (1, 38) else set()))
    if "project_id" not in query:
        raise BadQuery("Invalid query string parameters: 'project_id' is a required property")
    user = uuid(query["user_id"], "user_id") if "user_id" in query else None
    used, count = await reading.used_by(
        request.cloud, request.caller, uuid(query["project_id"], "project_id"), user
    )
    amounts = {"VCPU": used["vcpus"], "MEMORY_MB": used["memory_mib"], "DISK_GB": used["disk_gib"]}
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if version < (1, 38):
        return answer(request, {"usages": amounts})
    kind = query.get("consumer_type", "")
    if not count or kind not in ("", "all", "INSTANCE"):
        return answer(request, {"usages": {}})
    return answer(
        request, {"usages": {kind if kind == "all" else "INSTANCE": {"consumer_count": count, **amounts}}}
    )


@service.operation("GET", "/resource_classes", policy="placement:resource_classes:list", since=(1, 2))
async def classes(request: Request) -> Response:
    return answer(request, {"resource_classes": [class_view(request, name) for name in CLASSES]})


def class_view(request: Request, name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": f"{request.prefix}/resource_classes/{name}"}]}


@service.operation("GET", "/resource_classes/{name}", policy="placement:resource_classes:show", since=(1, 2))
async def show_class(request: Request, name: str) -> Response:
    if name not in CLASSES:
        raise NotFound("Resource class", name)
    return answer(request, class_view(request, name))


@service.operation("GET", "/traits", policy="placement:traits:list", since=(1, 6))
async def all_traits(request: Request) -> Response:
    known(request, {"name", "associated"})
    names = sorted(await known_traits(request))
    filter_ = request.query.get("name", "")
    if filter_.startswith("startswith:"):
        names = [name for name in names if name.startswith(filter_.partition(":")[2])]
    elif filter_.startswith("in:"):
        names = [name for name in names if name in filter_[3:].split(",")]
    elif filter_:
        raise BadQuery(
            f"Badly formatted name parameter. Expected ?name=[in|startswith]:[name1,name2|prefix]. "
            f"Got: {filter_[:100]}"
        )
    if "associated" in request.query:
        held = {
            trait for host in await reading.hosts(request.cloud, request.caller) for trait in traits(host)
        }
        wanted = request.query["associated"].lower() in ("true", "1")
        names = [name for name in names if (name in held) is wanted]
    return answer(request, {"traits": names})


@service.operation("GET", "/traits/{name}", policy="placement:traits:show", since=(1, 6), status=204)
async def show_trait(request: Request, name: str) -> None:
    if name not in await known_traits(request):
        raise NotFound("Trait", name)


@service.operation("PUT", "/traits/{name}", policy="placement:traits:update", since=(1, 6), status=201)
async def make_trait(request: Request, name: str) -> Response:
    """204 for one that there is already."""
    if not CUSTOM.fullmatch(name):
        raise Invalid(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    new = await written.make(request.cloud, request.caller, name)
    return Response(201 if new else 204, None, {"location": f"{request.prefix}/traits/{name}"})


@service.operation("DELETE", "/traits/{name}", policy="placement:traits:delete", since=(1, 6), status=204)
async def forget_trait(request: Request, name: str) -> None:
    if name in STANDARD:
        raise Invalid(f"Cannot delete standard trait {name}.")
    await written.forget(request.cloud, request.caller, name)
