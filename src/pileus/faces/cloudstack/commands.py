"""Commands as declarations: what one takes, who may call it, and how its result is shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from pileus.core.caller import MANAGER, Caller
from pileus.core.cloud import Cloud, Look, kind_of
from pileus.core.identity.authentication.credential_records import Credential
from pileus.core.identity.records import User
from pileus.faces.cloudstack.catalogue import CATALOGUE, Catalogued
from pileus.faces.cloudstack.params import Params, Sent
from pileus.faces.wire import Request
from pileus.store import Record
from pileus.workflows.site import Site

FACE = "cloudstack"
ADMIN, DOMAIN_ADMIN, USER = "Admin", "DomainAdmin", "User"
EVERYONE = (ADMIN, "ResourceAdmin", DOMAIN_ADMIN, USER)
R = TypeVar("R", bound=Record)


class Call:
    """One request to one command, by a caller that has been authenticated."""

    def __init__(
        self, request: Request, command: "Command", sent: Sent, user: User, caller: Caller, account: UUID
    ) -> None:
        self.request, self.command, self.sent = request, command, sent
        self.user, self.caller, self.account = user, caller, account
        """`account` is the caller's own, whatever project it acts in."""
        self.pair: Credential | None = None
        """With which the request is signed; None: it came by a session."""
        self.role = role_of(caller)
        """CloudStack's role type: of the account's role, as far as the core goes along."""
        self.allowed: Callable[[Command], bool] = lambda each: each.allows(self.role)
        """Whether the caller may call a command."""

    @property
    def cloud(self) -> Cloud:
        return self.request.cloud

    @property
    def site(self) -> Site:
        return self.request.site

    @property
    def name(self) -> str:
        """Of the command; the core's operations take it as `command=`."""
        return self.command.name

    @property
    def admin(self) -> bool:
        return self.caller.admin

    @property
    def base_url(self) -> str:
        return (self.cloud.config.public_url or self.request.base_url).rstrip("/")


def role_of(caller: Caller) -> str:
    """CloudStack's role type that the core's roles come to."""
    if caller.admin:
        return ADMIN
    return DOMAIN_ADMIN if caller.domain is not None and MANAGER in caller.roles else USER


class Listed(msgspec.Struct, Generic[R], frozen=True):
    """One page of a list. `items` are shown by the command's view, or are shown already (dictionaries)."""

    items: Sequence[R | dict[str, Any]]
    total: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What the core did at once, of a command that answers a job: the job is recorded as ended.

    `record` is shown as the job's result; None, or a command that only says success: success.
    """

    record: Any = None
    subject: UUID | None = None
    """When there is no record (any more): what it was done to."""
    kind: str = ""


class Shown(msgspec.Struct, frozen=True):
    """An object as it is shown already, under the command's key."""

    fields: dict[str, Any]


class Bare(msgspec.Struct, frozen=True):
    """The whole content of the envelope; `headers` go onto the answer."""

    body: dict[str, Any]
    headers: Mapping[str, str | tuple[str, ...]] = {}


Handler = Callable[[Call, Any], Awaitable[Any]]
Render = Callable[[Call, Look, Sequence[Any]], Awaitable[list[dict[str, Any]]]]


class View(msgspec.Struct, frozen=True):
    """How records of one kind are shown: all of a page at once, so that names are read once."""

    record: type[Record]
    render: Render
    object: str
    """Key under which a job shows one whose command is not CloudStack's."""
    instance: str
    """`jobinstancetype`."""


VIEWS: dict[str, View] = {}
"""By kind of record (the name of its table)."""


def view(record: type[Record], object: str, instance: str) -> Callable[[Render], Render]:
    """Register how a kind of record is shown, for lists, answers and results of jobs of any command."""

    def register(render: Render) -> Render:
        VIEWS[kind_of(record)] = View(record, render, object, instance)
        return render

    return register


class Command(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    params: type[Params]
    handler: Handler
    view: Render | None
    help: str
    subject: bool | None
    """Whether a job's first answer has the id of its subject; None: as catalogued."""
    ignored: frozenset[str]
    """Catalogued parameters that change nothing here and are let through; all others are refused."""
    key: str
    """Under which the object or the list is shown; empty: as catalogued."""

    @property
    def entry(self) -> Catalogued:
        return CATALOGUE.commands[self.name]

    @property
    def object(self) -> str:
        return self.key or self.entry.object

    @property
    def names_subject(self) -> bool:
        return self.entry.creates if self.subject is None else self.subject

    def allows(self, role: str) -> bool:
        return role == ADMIN or role in (self.entry.roles or EVERYONE)


COMMANDS: dict[str, Command] = {}

HARMLESS = frozenset({"showicon", "fordisplay", "displayvm", "displayvolume", "displaynetwork", "keyboard"})
"""Catalogued parameters that change nothing of what a command does here; let through where not declared."""


def command(
    name: str,
    *,
    params: type[Params] = Params,
    view: Render | None = None,
    subject: bool | None = None,
    ignored: Sequence[str] = (),
    key: str = "",
) -> Callable[[Handler], Handler]:
    """Declare a command. The handler's docstring is its description in listApis."""

    def register(handler: Handler) -> Handler:
        if name in COMMANDS:
            raise TypeError(f"command {name} is declared twice")
        COMMANDS[name] = Command(
            name=name,
            params=params,
            handler=handler,
            view=view,
            help=" ".join((handler.__doc__ or "").split()),
            subject=subject,
            ignored=HARMLESS | frozenset(ignored),
            key=key,
        )
        return handler

    return register
