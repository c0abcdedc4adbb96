"""/v3/users/{user}/credentials/OS-EC2: key pairs for signed requests."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.identity import credentials as core
from pileus.core.identity.credential_records import EC2
from pileus.core.identity.credentials import KeyPair
from pileus.faces.openstack.identity.refs import known_key, listed, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import hex_id
from pileus.faces.wire import Request, Response

PATH = "/v3/users/{user}/credentials/OS-EC2"
KIND = EC2


class CreateEc2(msgspec.Struct, frozen=True, kw_only=True):
    tenant_id: str


def view(request: Request, pair: KeyPair) -> dict[str, Any]:
    credential = pair.credential
    user = credential.user.hex
    return {
        "access": credential.access,
        "secret": pair.secret,
        "user_id": user,
        "tenant_id": hex_id(credential.project),
        "trust_id": None,
        "links": self_link(request, "users", user, "credentials", "OS-EC2", credential.access or ""),
    }


@SERVICE.operation("POST", PATH, policy="identity:ec2_create_credential", body=CreateEc2, status=201)
async def create(request: Request, user: UUID, body: CreateEc2) -> Response:
    request.enforce("identity:ec2_create_credential", target(user__id=user))
    project = known_key(body.tenant_id, "Project")
    pair = await core.create(request.cloud, request.caller, KIND, user, project)
    return Response(201, {"credential": view(request, pair)})


@SERVICE.operation("GET", PATH, policy="identity:ec2_list_credentials")
async def list_all(request: Request, user: UUID) -> dict[str, Any]:
    request.enforce("identity:ec2_list_credentials", target(user__id=user))
    found = await core.list_all(request.cloud, request.caller, user, KIND)
    return listed(request, "credentials", [view(request, pair) for pair in found])


@SERVICE.operation("GET", PATH + "/{access}", policy="identity:ec2_get_credential")
async def show(request: Request, user: UUID, access: str) -> dict[str, Any]:
    request.enforce("identity:ec2_get_credential", target(user__id=user))
    pair = await core.show(request.cloud, request.caller, user, KIND, access)
    return {"credential": view(request, pair)}


@SERVICE.operation("DELETE", PATH + "/{access}", policy="identity:ec2_delete_credential", status=204)
async def delete(request: Request, user: UUID, access: str) -> None:
    request.enforce("identity:ec2_delete_credential", target(user__id=user))
    await core.delete(request.cloud, request.caller, user, KIND, access)
