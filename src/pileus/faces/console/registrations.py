"""Accounts that visitors make for themselves: what the page sends, and what operators decide."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.errors import Invalid
from pileus.core.identity.domains import ROOT
from pileus.core.identity.tenancy import registrations as core
from pileus.core.identity.tenancy.registration_records import Invitation, Registration, RegistrationState
from pileus.faces.console import pages
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request

READ, DECIDE = "console:registrations:read", "console:registrations:decide"
Text = Annotated[str, Meta(max_length=255)]
ASKED = "If this address can be used, a letter is on its way to it; follow the link in it."


class Register(msgspec.Struct, frozen=True, kw_only=True):
    name: Text
    email: Text
    password: Annotated[str, Meta(min_length=1, max_length=4096)]
    first_name: Text = ""
    last_name: Text = ""
    organisation: Text = ""
    invitation: Text = ""


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    token: Text
    name: Text = ""


class Approve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Text = ""
    """Another than was asked for, where that is taken meanwhile."""


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    token: Text


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    email: Text
    domain: UUID | None = None


class StateQuery(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""


@SERVICE.operation("GET", "/registration", public=True)
async def mode(request: Request) -> dict[str, Any]:
    """Whether, and how, visitors may register, and what is demanded of their passwords."""
    config = request.cloud.config
    return {"registration": config.registration, "password_rules": config.password_regex_description}


@SERVICE.operation("POST", "/registrations", public=True, body=Register, status=202)
async def register(request: Request, body: Register) -> dict[str, Any]:
    """The same answer whatever is known of the name and the address."""
    want = core.Register(**msgspec.structs.asdict(body))
    await core.register(request.cloud, want, pages.address(request, pages.REGISTER), source=request.client)
    return {"message": ASKED}


@SERVICE.operation("POST", "/registrations/confirm", public=True, body=Confirm)
async def confirm(request: Request, body: Confirm) -> dict[str, Any]:
    held = await core.confirm(request.cloud, body.token, name=body.name)
    return {"state": held.state, "name": held.name}


@SERVICE.operation("GET", "/registrations", policy=READ, query=StateQuery)
async def list_all(request: Request, query: StateQuery) -> dict[str, Any]:
    if query.state and query.state not in list(RegistrationState):
        raise Invalid(f"The state is one of {', '.join(RegistrationState)}, not {query.state[:40]!r}.")
    found = await core.list_all(request.cloud, request.caller, state=query.state)
    return {"registrations": [view(each) for each in found]}


@SERVICE.operation("POST", "/registrations/{registration}/approve", policy=DECIDE, body=Approve)
async def approve(request: Request, registration: UUID, body: Approve) -> dict[str, Any]:
    held = await core.approve(request.cloud, request.caller, registration, name=body.name)
    return {"registration": view(held)}


@SERVICE.operation("POST", "/registrations/{registration}/refuse", policy=DECIDE, body=Refuse)
async def refuse(request: Request, registration: UUID, body: Refuse) -> dict[str, Any]:
    held = await core.refuse(request.cloud, request.caller, registration, body.reason)
    return {"registration": view(held)}


@SERVICE.operation("POST", "/invitations/check", public=True, body=Invited)
async def check_invitation(request: Request, body: Invited) -> dict[str, Any]:
    """For whom an invitation is, before a form is filled in for nothing."""
    held = await core.invited(request.cloud, body.token)
    return {"email": held.email, "expires_at": held.expires_at}


@SERVICE.operation("GET", "/invitations", policy=READ)
async def list_invitations(request: Request) -> dict[str, Any]:
    found = await core.invitations(request.cloud, request.caller)
    return {"invitations": [invitation_view(each) for each in found]}


@SERVICE.operation("POST", "/invitations", policy=DECIDE, body=Invite, status=201)
async def invite(request: Request, body: Invite) -> dict[str, Any]:
    page = pages.address(request, pages.REGISTER)
    made = await core.invite(request.cloud, request.caller, body.email, page, body.domain or ROOT)
    return {"invitation": invitation_view(made)}


@SERVICE.operation("DELETE", "/invitations/{invitation}", policy=DECIDE, status=204)
async def withdraw(request: Request, invitation: UUID) -> None:
    await core.withdraw(request.cloud, request.caller, invitation)


def view(held: Registration) -> dict[str, Any]:
    return {
        "id": held.id,
        "name": held.name,
        "email": held.email,
        "first_name": held.first_name,
        "last_name": held.last_name,
        "organisation": held.organisation,
        "domain": held.domain,
        "state": held.state,
        "reason": held.reason,
        "user": held.user,
        "created_at": held.created_at,
        "expires_at": held.expires_at,
    }


def invitation_view(held: Invitation) -> dict[str, Any]:
    return {
        "id": held.id,
        "email": held.email,
        "domain": held.domain,
        "used": held.used,
        "created_at": held.created_at,
        "expires_at": held.expires_at,
    }
