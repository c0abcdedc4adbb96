"""Key pairs of users."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from pileus.core.compute import key_pairs
from pileus.core.compute.records import KeyPair
from pileus.core.errors import Exists, Invalid
from pileus.faces.openstack.compute.parsing import Name, Struct, refuse_out_of_version, sent
from pileus.faces.openstack.compute.server_filters import one_number
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.openstack.wire import SECONDS
from pileus.faces.wire import Request, Response, page

ONE = "/os-keypairs/{name}"


def brief(request: Request, pair: KeyPair) -> dict[str, Any]:
    shown = {"name": pair.name, "public_key": pair.public_key, "fingerprint": pair.fingerprint}
    return shown | ({"type": pair.kind} if request.version >= (2, 2) else {})


def owner(request: Request, query: str | None) -> UUID | None:
    """Whose pairs: from 2.10 on an administrator may name another user."""
    if query is None or request.version < (2, 10):
        return None
    try:
        named = UUID(query)
    except ValueError:
        raise Invalid(
            f"Invalid input for query parameters user_id. Value: {query[:64]}. It is not a user's id."
        ) from None
    request.enforce("os_compute_api:os-keypairs:index", {"user_id": named.hex})
    return named


def known(request: Request, names: set[str]) -> None:
    if request.version >= (2, 75):
        for parameter in request.query.keys() - names:
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )


@service.operation("GET", "/os-keypairs", policy="os_compute_api:os-keypairs:index")
async def index(request: Request) -> dict[str, Any]:
    known(request, {"user_id", "limit", "marker"})
    user = owner(request, request.query.get("user_id"))
    found = await key_pairs.listing(request.cloud, request.caller, user=user)
    if request.version < (2, 35):
        return {"keypairs": [{"keypair": brief(request, pair)} for pair in found]}
    limit, marker = one_number(request, "limit"), request.query.get("marker")
    cut = page(request, found, limit, MAX_LIMIT, key=lambda pair: pair.name, marker=marker)
    return {"keypairs": [{"keypair": brief(request, pair)} for pair in cut.items], **cut.links("keypairs")}


@service.operation("GET", ONE, policy="os_compute_api:os-keypairs:show")
async def show(request: Request, name: str) -> dict[str, Any]:
    known(request, {"user_id"})
    user = owner(request, request.query.get("user_id"))
    pair = await key_pairs.show(request.cloud, request.caller, name, user=user)
    more = {
        "user_id": pair.user.hex,
        "id": pair.id.int % (1 << 31),
        "created_at": f"{pair.created_at.strftime(SECONDS)}.000000",
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
    return {"keypair": brief(request, pair) | more}


class Create(Struct, frozen=True, kw_only=True):
    name: Name
    public_key: str | UnsetType | None = UNSET
    type: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET


@service.operation(
    "POST", "/os-keypairs", policy="os_compute_api:os-keypairs:create", body=("keypair", Create)
)
async def create(request: Request, body: Create) -> Response:
    version = request.version
    refuse_out_of_version(sent(body), {"type": (2, 2), "user_id": (2, 10)}, version, "keypair")
    kind = body.type if isinstance(body.type, str) else key_pairs.SSH
    if kind not in (key_pairs.SSH, key_pairs.X509):
        raise Invalid(f"Invalid input for field/attribute type. Value: {kind[:40]}. It is ssh or x509.")
    public = body.public_key if isinstance(body.public_key, str) else ""
    if isinstance(body.public_key, str) and not public.strip():
        raise Invalid("Keypair data is invalid: public_key is empty; leave it out to have a pair made.")
    if version >= (2, 92) and not public:
        raise Invalid("Invalid input for field/attribute keypair. 'public_key' is a required property")
    if version < (2, 92) and any(sign in body.name for sign in "@."):
        raise Invalid("Keypair data is invalid: Keypair name contains unsafe characters")
    user = owner(request, body.user_id) if isinstance(body.user_id, str) else None
    want = key_pairs.Create(name=body.name, kind=kind, public_key=public, user=user)
    try:
        made = await key_pairs.create(request.cloud, request.caller, want)
    except Exists:
        raise Exists(f"Key pair '{body.name}' already exists.") from None
    shown = brief(request, made.pair) | {"user_id": made.pair.user.hex}
    if made.private_key:
        shown["private_key"] = made.private_key
    return Response(201 if version >= (2, 2) else 200, {"keypair": shown})


@service.operation("DELETE", ONE, policy="os_compute_api:os-keypairs:delete")
async def delete(request: Request, name: str) -> Response:
    known(request, {"user_id"})
    user = owner(request, request.query.get("user_id"))
    await key_pairs.delete(request.cloud, request.caller, name, user=user)
    return Response(204 if request.version >= (2, 2) else 202)
