"""New passwords for those who have forgotten theirs: a letter is asked for, and its token used."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.core import mail
from pileus.core.errors import NotFound
from pileus.core.identity.authentication import password_resets as core
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request

Text = Annotated[str, Meta(max_length=255)]
Place = Annotated[str, Meta(max_length=4096)]
ASKED = (
    "If there is such a user with an e-mail address, a letter with a link is on its way to it; it may take a minute. "
    "Look among unwanted mail too. If none comes, ask the operator of this cloud, or, where your password is kept in "
    "your organisation's directory, whoever keeps that."
)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    domain: Place = ""
    """Its name, or its path as in /sales/emea; empty: the first one."""


class Use(Ask, frozen=True, kw_only=True):
    token: Annotated[str, Meta(min_length=1, max_length=255)]
    password: Annotated[str, Meta(min_length=1, max_length=4096)]


@SERVICE.operation("GET", "/password-resets", public=True)
async def offered(request: Request) -> dict[str, Any]:
    """Whether letters are sent, what is demanded of passwords, and whether there is another way in."""
    config = request.cloud.config
    return {
        "mail": mail.available(request.cloud),
        "password_rules": config.password_regex_description,
        "registration": config.registration,
    }


@SERVICE.operation("POST", "/password-resets", public=True, body=Ask, status=202)
async def ask(request: Request, body: Ask) -> dict[str, Any]:
    """The same answer whoever is named."""
    domain = await core.domain_of(request.cloud, body.domain)
    await core.ask(request.cloud, domain, body.name, body.domain, request.client)
    return {"message": ASKED}


@SERVICE.operation("POST", "/password-resets/use", public=True, body=Use, status=204)
async def use(request: Request, body: Use) -> None:
    domain = await core.domain_of(request.cloud, body.domain)
    try:
        await core.use(request.cloud, domain, body.name, body.token, body.password, request.client)
    except core.Wrong as error:
        raise NotFound("A new password", "that was asked for with this token") from error
