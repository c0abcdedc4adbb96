"""/v3/credentials: secrets that users keep (ec2, totp, cert, ...)."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity.authentication import credentials as core
from pileus.core.identity.authentication.credential_records import EC2, TOTP, Credential
from pileus.core.identity.authentication.credentials import Bound
from pileus.core.identity.listing import Found
from pileus.faces.openstack.identity.attributes import changes, extras, kept
from pileus.faces.openstack.identity.filters import names, part, shown
from pileus.faces.openstack.identity.refs import filter_key, known_key, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import hex_id, session
from pileus.faces.wire import Request

LENGTHS = (32, 64)
"""Of ids: those of EC2 pairs are hashes."""


Kind = Annotated[str, Meta(max_length=255)]


class CreateCredential(msgspec.Struct, frozen=True, kw_only=True):
    blob: str
    type: Kind
    user_id: str
    project_id: str | None = None


class UpdateCredential(msgspec.Struct, frozen=True, kw_only=True):
    blob: str | UnsetType = UNSET
    type: Kind | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    project_id: str | UnsetType | None = UNSET


class CredentialQuery(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str | None = None
    type: str | None = None
    limit: int | None = None
    marker: str | None = None


def view(request: Request, credential: Credential) -> dict[str, Any]:
    key = core.shown_id(credential)
    extra = {name: value for name, value in credential.extra.items() if name != "shown_id"}
    return {
        **extra,
        "id": key,
        "user_id": credential.user.hex,
        "project_id": hex_id(credential.project),
        "type": credential.kind,
        "blob": core.blob_of(request.cloud, credential),
        "links": self_link(request, "credentials", key),
    }


def bound(request: Request) -> Bound:
    """What the caller's token was handed on by."""
    token = session(request).token
    return Bound(
        trust=token.trust,
        application_credential=token.application_credential,
        access_token=token.access_token.hex if token.access_token else "",
    )


def within(request: Request, project: UUID | None, kind: str = EC2) -> bool:
    """A token that was handed on reaches only what is of its own project, and no codes: with those one logs in as the
    user, who handed on less."""
    if not session(request).delegated:
        return True
    return kind.lower() != TOTP and project is not None and project == request.caller.project


def require_within(request: Request, project: UUID | None, kind: str = EC2) -> None:
    if not within(request, project, kind):
        raise Forbidden(
            "You are not authorized to perform the requested action: the credential's project is not that of the "
            "delegated token."
        )


def refuse_restricted(request: Request) -> None:
    used = session(request).application_credential
    if used is not None and not used.unrestricted:
        raise Forbidden(
            "You are not authorized to perform the requested action: using method 'application_credential' is not "
            "allowed for managing additional credentials."
        )


async def found(request: Request, rule: str, text: str) -> Credential:
    """The credential, when the rule lets the caller do this to it."""
    held = await core.find(request.cloud, key_of(text)) if len(text) in LENGTHS else None
    if held is not None and core.shown_id(held) != text:
        held = None
    request.enforce(rule, target(credential__user_id=held.user if held else None))
    if held is None:
        raise NotFound("Credential", text[:64])
    require_within(request, held.project, held.kind)
    return held


def key_of(text: str) -> UUID:
    return known_key(text[:32], "Credential")


@SERVICE.operation("GET", "/v3/credentials", policy="identity:list_credentials", query=CredentialQuery)
async def list_all(request: Request, query: CredentialQuery) -> dict[str, Any]:
    caller = request.caller
    request.enforce(
        "identity:list_credentials", {} if caller.system else target(credential__user_id=caller.user)
    )
    window = part(query.limit, query.marker)
    page = await core.list_page(
        request.cloud,
        caller,
        window,
        user=filter_key(query.user_id),
        kind=query.type,
        kinds=names(request, "type"),
    )
    seen = [
        credential
        for credential in page.items
        if within(request, credential.project, credential.kind)
        and request.allowed("identity:get_credential", target(credential__user_id=credential.user))
    ]
    return shown(request, "credentials", Found(seen, page.more), window, view)


@SERVICE.operation(
    "POST",
    "/v3/credentials",
    policy="identity:create_credential",
    body=("credential", CreateCredential),
    status=201,
)
async def create(request: Request, body: CreateCredential) -> dict[str, Any]:
    user = known_key(body.user_id, "User")
    request.enforce("identity:create_credential", target(credential__user_id=user))
    project = known_key(body.project_id, "Project") if body.project_id else None
    if body.type.lower() == EC2:
        refuse_restricted(request)
    require_within(request, project, body.type)
    want = core.Keep(
        kind=body.type,
        user=user,
        blob=body.blob,
        project=project,
        bound=bound(request),
        extra=await extras(request, "credential", CreateCredential),
    )
    return {"credential": view(request, await core.keep(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/credentials/{credential}", policy="identity:get_credential")
async def show(request: Request, credential: str) -> dict[str, Any]:
    return {"credential": view(request, await found(request, "identity:get_credential", credential))}


@SERVICE.operation(
    "PATCH",
    "/v3/credentials/{credential}",
    policy="identity:update_credential",
    body=("credential", UpdateCredential),
)
async def update(request: Request, credential: str, body: UpdateCredential) -> dict[str, Any]:
    held = await found(request, "identity:update_credential", credential)
    extra = await changes(request, "credential", UpdateCredential, credential)
    user: UUID | UnsetType = UNSET
    if isinstance(body.user_id, str):
        user = known_key(body.user_id, "User")
        request.enforce("identity:update_credential", target(credential__user_id=user))
    project: UUID | UnsetType | None = UNSET
    if body.project_id is not UNSET:
        project = known_key(body.project_id, "Project") if body.project_id else None
        require_within(request, project)
    if isinstance(body.type, str):
        require_within(request, held.project, body.type)
    want = core.Change(kind=body.type, user=user, blob=body.blob, project=project, extra=kept(extra))
    if "shown_id" in extra:
        raise Invalid("The attribute shown_id is our own; choose another name.")
    return {"credential": view(request, await core.update(request.cloud, request.caller, held.id, want))}


@SERVICE.operation("DELETE", "/v3/credentials/{credential}", policy="identity:delete_credential", status=204)
async def delete(request: Request, credential: str) -> None:
    held = await found(request, "identity:delete_credential", credential)
    await core.remove(request.cloud, request.caller, held.id)
