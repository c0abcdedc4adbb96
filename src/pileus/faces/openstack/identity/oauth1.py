"""/v3/OS-OAUTH1: consumers, request and access tokens, and the method oauth1 of a login."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity.authentication.credential_records import AccessToken, Consumer
from pileus.core.identity.authentication.login import Proof
from pileus.core.identity.delegation import oauth as core
from pileus.core.identity.delegation.oauth import Handed, RoleName
from pileus.core.identity.delegation.signed_requests import Signed
from pileus.faces.openstack.identity import proofs, roles
from pileus.faces.openstack.identity.attributes import changes, extras, kept, shown, text
from pileus.faces.openstack.identity.refs import Name, known_key, listed, self_link, url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise, public_url, session
from pileus.faces.wire import Request, Response

ROOT = "/v3/OS-OAUTH1"
CONSUMER = ROOT + "/consumers/{consumer}"
GIVEN = "/v3/users/{user}/OS-OAUTH1/access_tokens"
FORM = "application/x-www-form-urlencoded"


class CreateConsumer(msgspec.Struct, frozen=True, kw_only=True):
    description: str | None = None


class UpdateConsumer(msgspec.Struct, frozen=True, kw_only=True):
    description: str | UnsetType | None = UNSET


class RoleRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str | None = None
    name: Name | None = None


class Authorize(msgspec.Struct, frozen=True, kw_only=True):
    roles: tuple[RoleRef, ...]


class SignedProof(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing: the whole proof is in the header Authorization."""


def view(request: Request, consumer: Consumer, secret: str = "") -> dict[str, Any]:
    key = consumer.id.hex
    return {
        **consumer.extra,
        "id": key,
        "description": shown(consumer.description, consumer.extra, default=None),
        **({"secret": secret} if secret else {}),
        "links": self_link(request, "OS-OAUTH1", "consumers", key),
    }


def signed(request: Request, form: str = "") -> Signed:
    """The request as its client signed it: it called us by the public address, or by the one it reached."""
    query = request.query_string.decode("latin-1")
    tail = request.url.removeprefix(request.base_url) + (f"?{query}" if query else "")
    bases = dict.fromkeys((request.base_url, public_url(request)))
    return Signed(
        method=request.method,
        urls=tuple(base + tail for base in bases),
        authorization=request.headers.get("authorization", ""),
        body=form,
        source=request.client,
    )


async def form_of(request: Request) -> str:
    """A body counts for the signature when it is a form."""
    if not request.headers.get("content-type", "").startswith(FORM):
        return ""
    return (await request.body()).decode("latin-1")


def handed(token: Handed) -> Response:
    shown = {"oauth_token": token.id.hex, "oauth_token_secret": token.secret}
    body = urlencode(shown)
    if token.expires_at is not None:
        body += f"&oauth_expires_at={precise(token.expires_at)}"
    return Response(201, body, {"cache-control": "no-store"}, FORM)


# --- consumers


@SERVICE.operation("GET", ROOT + "/consumers", policy="identity:list_consumers")
async def list_all(request: Request) -> dict[str, Any]:
    found = await core.list_consumers(request.cloud, request.caller)
    return listed(request, "consumers", [view(request, consumer) for consumer in found])


@SERVICE.operation(
    "POST",
    ROOT + "/consumers",
    policy="identity:create_consumer",
    body=("consumer", CreateConsumer),
    status=201,
)
async def create(request: Request, body: CreateConsumer) -> dict[str, Any]:
    extra = await extras(request, "consumer", CreateConsumer, texts=True)
    extra.pop("secret", None)
    want = core.CreateConsumer(description=body.description or "", extra=extra)
    consumer, secret = await core.create_consumer(request.cloud, request.caller, want)
    return {"consumer": view(request, consumer, secret)}


@SERVICE.operation("GET", CONSUMER, policy="identity:get_consumer")
async def show(request: Request, consumer: UUID) -> dict[str, Any]:
    return {"consumer": view(request, await core.show_consumer(request.cloud, request.caller, consumer))}


@SERVICE.operation("PATCH", CONSUMER, policy="identity:update_consumer", body=("consumer", UpdateConsumer))
async def update(request: Request, consumer: UUID, body: UpdateConsumer) -> dict[str, Any]:
    extra = await changes(request, "consumer", UpdateConsumer, consumer.hex, texts=True)
    if "secret" in extra:
        raise Invalid("The secret of a consumer cannot be changed; make another consumer.")
    want = core.UpdateConsumer(description=text(body.description), extra=kept(extra))
    updated = await core.update_consumer(request.cloud, request.caller, consumer, want)
    return {"consumer": view(request, updated)}


@SERVICE.operation("DELETE", CONSUMER, policy="identity:delete_consumer", status=204)
async def delete(request: Request, consumer: UUID) -> None:
    await core.delete_consumer(request.cloud, request.caller, consumer)


# --- from a request to an access token


@SERVICE.operation("POST", ROOT + "/request_token", public=True, status=201)
async def ask(request: Request) -> Response:
    project = request.headers.get("requested-project-id", "")
    if not project:
        raise Invalid("Expecting to find Requested-Project-Id in the headers of the request.")
    key = known_key(project, "Project")
    return handed(await core.ask(request.cloud, signed(request, await form_of(request)), key))


@SERVICE.operation(
    "PUT", ROOT + "/authorize/{token}", policy="identity:authorize_request_token", body=Authorize
)
async def authorize(request: Request, token: UUID, body: Authorize) -> dict[str, Any]:
    require_own(request, "Cannot authorize a request token with a token issued via delegation.")
    wanted = [role_name(role) for role in body.roles]
    verifier = await core.authorize(request.cloud, request.caller, token, wanted)
    return {"token": {"oauth_verifier": verifier}}


def role_name(role: RoleRef) -> RoleName:
    if (role.id is None) == (role.name is None):
        raise Invalid("Name each role by its id or by its name.")
    return RoleName(id=known_key(role.id, "Role") if role.id else None, name=role.name or "")


@SERVICE.operation("POST", ROOT + "/access_token", public=True, status=201)
async def exchange(request: Request) -> Response:
    return handed(await core.exchange(request.cloud, signed(request, await form_of(request))))


@proofs.method("oauth1", SignedProof)
async def by_signature(request: Request, proof: SignedProof) -> Proof:
    return await core.prove(request.cloud, signed(request))


# --- what a user gave


def require_own(request: Request, why: str) -> None:
    """What was handed on hands nothing on, and shows nothing else that was."""
    if session(request).delegated:
        raise Forbidden(why)


def access_view(request: Request, token: AccessToken) -> dict[str, Any]:
    place = ("users", token.user.hex, "OS-OAUTH1", "access_tokens", token.id.hex)
    return {
        "id": token.id.hex,
        "authorizing_user_id": token.user.hex,
        "project_id": token.project.hex,
        "consumer_id": token.consumer.hex,
        "expires_at": precise(token.expires_at),
        "links": {**self_link(request, *place), "roles": url(request, *place, "roles")},
    }


@SERVICE.operation("GET", GIVEN, policy="identity:list_access_tokens")
async def list_access(request: Request, user: UUID) -> dict[str, Any]:
    require_own(request, "Cannot list access tokens with a token issued via delegation.")
    found = await core.list_access(request.cloud, request.caller, user)
    return listed(request, "access_tokens", [access_view(request, token) for token in found])


@SERVICE.operation("GET", GIVEN + "/{token}", policy="identity:get_access_token")
async def show_access(request: Request, user: UUID, token: UUID) -> dict[str, Any]:
    require_own(request, "Cannot show access tokens with a token issued via delegation.")
    found = await core.show_access(request.cloud, request.caller, user, token)
    return {"access_token": access_view(request, found)}


@SERVICE.operation("GET", GIVEN + "/{token}/roles", policy="identity:list_access_token_roles")
async def list_roles(request: Request, user: UUID, token: UUID) -> dict[str, Any]:
    found = await core.roles_of(request.cloud, request.caller, user, token)
    return listed(request, "roles", [roles.view(request, role) for role in found])


@SERVICE.operation("GET", GIVEN + "/{token}/roles/{role}", policy="identity:get_access_token_role")
async def show_role(request: Request, user: UUID, token: UUID, role: UUID) -> dict[str, Any]:
    for found in await core.roles_of(request.cloud, request.caller, user, token):
        if found.id == role:
            return {"role": roles.view(request, found)}
    raise NotFound("Role", role.hex)


@SERVICE.operation(
    "DELETE", GIVEN + "/{token}", policy="identity:ec2_delete_credential", status=204, targeted=True
)
async def revoke(request: Request, user: UUID, token: UUID) -> None:
    request.enforce("identity:ec2_delete_credential", {"target.credential.user_id": user.hex})
    require_own(request, "Cannot delete access tokens with a token issued via delegation.")
    await core.revoke(request.cloud, request.caller, user, token)
