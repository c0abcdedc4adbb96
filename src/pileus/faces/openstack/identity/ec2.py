"""/v3/users/{user}/credentials/OS-EC2: key pairs for signed requests; and tokens for what was signed with them."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid, NotFound
from pileus.core.identity import users
from pileus.core.identity.authentication import credentials as core
from pileus.core.identity.authentication import ec2 as signatures
from pileus.core.identity.authentication.credential_records import EC2
from pileus.core.identity.authentication.credentials import KeyPair
from pileus.core.identity.authentication.ec2 import Signed, Stamped
from pileus.core.identity.authentication.tokens import refused
from pileus.faces.openstack.identity import tokens
from pileus.faces.openstack.identity.credentials import bound, refuse_restricted, require_within, within
from pileus.faces.openstack.identity.refs import known_key, listed, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import hex_id
from pileus.faces.wire import Request, Response

PATH = "/v3/users/{user}/credentials/OS-EC2"
KIND = EC2


class CreateEc2(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: str


class Ec2Proof(msgspec.Struct, frozen=True, kw_only=True):
    access: str | None = None
    signature: str = ""
    host: str = ""
    verb: str = ""
    path: str = ""
    params: dict[str, str | int | bool | None] = {}
    headers: dict[str, str] = {}
    body_hash: str = ""
    token: str = ""


class Ec2Token(msgspec.Struct, frozen=True, kw_only=True):
    """Clients use any of the three names."""

    credentials: Ec2Proof | None = None
    credential: Ec2Proof | None = None
    ec2Credentials: Ec2Proof | None = None


def view(request: Request, pair: KeyPair) -> dict[str, Any]:
    credential = pair.credential
    user = credential.user.hex
    return {
        "access": credential.access,
        "secret": pair.secret,
        "user_id": user,
        "tenant_id": hex_id(credential.project),
        "trust_id": hex_id(credential.trust),
        "links": self_link(request, "users", user, "credentials", "OS-EC2", credential.access or ""),
    }


@SERVICE.operation("POST", PATH, policy="identity:ec2_create_credential", body=CreateEc2, status=201)
async def create(request: Request, user: UUID, body: CreateEc2) -> Response:
    request.enforce("identity:ec2_create_credential", target(credential__user_id=user))
    refuse_restricted(request)
    project = known_key(body.tenant_id, "Project")
    require_within(request, project)
    pair = await core.create(request.cloud, request.caller, KIND, user, project, bound(request))
    return Response(201, {"credential": view(request, pair)})


@SERVICE.operation("GET", PATH, policy="identity:ec2_list_credentials")
async def list_all(request: Request, user: UUID) -> dict[str, Any]:
    request.enforce("identity:ec2_list_credentials", target(user__id=user))
    found = await core.list_all(request.cloud, request.caller, user, KIND)
    shown = [view(request, pair) for pair in found if within(request, pair.credential.project)]
    return listed(request, "credentials", shown)


async def one(request: Request, rule: str, user: UUID, access: str) -> KeyPair:
    """The pair, when the rule lets the caller do this to it. As in Keystone it is known by its public half: to
    administrators under any user's path, to others under its owner's."""
    owner = await core.owner_of(request.cloud, KIND, access)
    request.enforce(rule, target(credential__user_id=owner))
    if owner != user:
        await users.show(request.cloud, request.caller, user)
        if not request.caller.admin:
            raise NotFound("Credential", access[:64])
    pair = await core.show(request.cloud, request.caller, owner, KIND, access)
    require_within(request, pair.credential.project)
    return pair


@SERVICE.operation("GET", PATH + "/{access}", policy="identity:ec2_get_credential")
async def show(request: Request, user: UUID, access: str) -> dict[str, Any]:
    return {"credential": view(request, await one(request, "identity:ec2_get_credential", user, access))}


@SERVICE.operation("DELETE", PATH + "/{access}", policy="identity:ec2_delete_credential", status=204)
async def delete(request: Request, user: UUID, access: str) -> None:
    held = (await one(request, "identity:ec2_delete_credential", user, access)).credential
    await core.delete(request.cloud, request.caller, held.user, KIND, access)


def proof(body: Ec2Token) -> Ec2Proof:
    given = body.credentials or body.credential or body.ec2Credentials
    if given is None:
        raise Invalid("Expecting to find credentials in the request: what was signed, and its signature.")
    if not given.access:
        raise refused("no access key was sent")
    return given


def plain(value: str | int | bool | None) -> str:
    return "" if value is None else str(value)


@SERVICE.operation("POST", "/v3/ec2tokens", policy="identity:ec2tokens_validate", body=Ec2Token)
async def ec2_token(request: Request, body: Ec2Token) -> Response:
    """A token for whoever signed the request that a service shows."""
    request.enforce("identity:ec2tokens_validate")
    given = proof(body)
    if not given.signature:
        raise refused("no signature was sent")
    signed = Signed(
        access=given.access or "",
        signature=given.signature,
        host=given.host,
        verb=given.verb,
        path=given.path,
        params={name: plain(value) for name, value in given.params.items() if name != "Signature"},
        headers=given.headers,
        body_hash=given.body_hash,
    )
    issued = await signatures.authenticate(request.cloud, signed, request.client)
    shown = await tokens.view(request, issued.session, with_catalog=True)
    return Response(200, {"token": shown}, {"x-subject-token": issued.text})


@SERVICE.operation("POST", "/v3/s3tokens", policy="identity:s3tokens_validate", body=Ec2Token)
async def s3_token(request: Request, body: Ec2Token) -> dict[str, Any]:
    """Whose signature this is; the token itself is not given out."""
    request.enforce("identity:s3tokens_validate")
    given = proof(body)
    if not given.token:
        raise Invalid("Expecting to find token in credentials: the text that was signed, in base64.")
    stamped = Stamped(access=given.access or "", signature=given.signature, token=given.token)
    issued = await signatures.authenticate(request.cloud, stamped, request.client)
    return {"token": await tokens.view(request, issued.session, with_catalog=True)}
