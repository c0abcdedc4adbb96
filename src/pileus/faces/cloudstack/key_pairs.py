"""SSH key pairs."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute import key_pairs
from pileus.core.compute.records import KeyPair
from pileus.core.errors import NotFound
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Listed, Shown, command, view
from pileus.faces.cloudstack.params import Placed, ProjectListing, param
from pileus.store import like, literal


class CreatePair(Placed):
    name: str = param("name", "the pair's name")


class RegisterPair(Placed):
    name: str = param("name", "the pair's name")
    public_key: str = param("publickey", "the public key, as OpenSSH writes it", length=5120)


class DeletePair(Placed):
    name: str = param("name", "the pair's name")


class ListPairs(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    fingerprint: str = param("fingerprint", "list by fingerprint", default="")


@view(KeyPair, "keypair", "SSHKeyPair")
async def shown(call: Call, look: Look, pairs: Sequence[KeyPair]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (pair.project for pair in pairs))
    return [
        {
            "id": pair.id,
            "name": pair.name,
            "fingerprint": pair.fingerprint,
            **holders.get(pair.project, {}),
        }
        for pair in pairs
    ]


@command("createSSHKeyPair", params=CreatePair)
async def create(call: Call, params: CreatePair) -> Shown:
    """Makes an SSH key pair and hands out its private key, once."""
    caller = await owners.acting(call, params)
    made = await key_pairs.create(call.cloud, caller, key_pairs.Create(name=params.name, project=caller.home))
    async with call.cloud.view() as look:
        seen = (await shown(call, look, [made.pair]))[0]
    return Shown(seen | {"privatekey": made.private_key})


@command("registerSSHKeyPair", params=RegisterPair, view=shown)
async def register(call: Call, params: RegisterPair) -> KeyPair:
    """Registers a public key under a name."""
    caller = await owners.acting(call, params)
    want = key_pairs.Create(name=params.name, public_key=params.public_key, project=caller.home)
    return (await key_pairs.create(call.cloud, caller, want)).pair


@command("listSSHKeyPairs", params=ListPairs, view=shown)
async def listing(call: Call, params: ListPairs) -> Listed[KeyPair]:
    """Lists SSH key pairs."""
    equals = {
        name: value
        for name, value in (("id", params.id), ("name", params.name), ("fingerprint", params.fingerprint))
        if value
    }
    where = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    async with call.cloud.view() as look:
        order = ("name", "created_at")
        found = await owners.listed(call, look, params, KeyPair, *where, order=order, **equals)
    return Listed(found.items, found.total)


@command("deleteSSHKeyPair", params=DeletePair)
async def delete(call: Call, params: DeletePair) -> None:
    """Deletes an SSH key pair; machines that trust the key keep it."""
    caller = await owners.acting(call, params)
    held = await key_pairs.of_project(call.cloud, caller, caller.home, name=params.name)
    own = [pair for pair in held if pair.user == caller.user] or held
    if not own:
        raise NotFound("Key pair", params.name)
    await key_pairs.delete(call.cloud, caller, params.name, user=own[0].user)
