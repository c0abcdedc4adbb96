"""Who asks, for which project, and what that allows."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from pileus.core.errors import Forbidden, NotFound
from pileus.store import Record, View

READER, MEMBER, MANAGER, ADMIN, SERVICE = "reader", "member", "manager", "admin", "service"


R = TypeVar("R", bound=Record)


class Caller(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The result of authentication, whatever face did it. Roles are the effective ones (implied roles included)."""

    user: UUID
    user_name: str = ""
    user_domain: UUID | None = None
    project: UUID | None = None
    project_domain: UUID | None = None
    domain: UUID | None = None
    """For tokens scoped to a domain."""
    system: bool = False
    roles: frozenset[str] = frozenset()
    locked: bool = False
    """Its project is locked: nothing is made, changed or started there."""
    request: str = ""
    trace: str = ""
    """W3C traceparent of the request."""
    face: str = ""
    visible: frozenset[UUID] | None = None
    """Projects that may be read besides the own one (CloudStack's domain admins); None: only the own."""
    asleep: frozenset[UUID] = frozenset()
    """Those of the visible that are suspended, disabled or locked: nothing in them is made, changed or started."""

    @property
    def admin(self) -> bool:
        """May act on everything: the admin role on a project or on the system, as Keystone's defaults mean it."""
        return ADMIN in self.roles

    @cached_property
    def credentials(self) -> Mapping[str, Any]:
        """What policy rules see, in oslo.policy's words."""
        return {
            "user_id": self.user.hex,
            "user_domain_id": self.user_domain.hex if self.user_domain else None,
            "project_id": self.project.hex if self.project else None,
            "tenant_id": self.project.hex if self.project else None,
            "project_domain_id": self.project_domain.hex if self.project_domain else None,
            "domain_id": self.domain.hex if self.domain else None,
            "system_scope": "all" if self.system else None,
            "roles": sorted(self.roles),
            "is_admin": self.admin,
            "token": {
                "domain": {"id": self.domain.hex if self.domain else None},
                "project": {"domain": {"id": self.project_domain.hex if self.project_domain else None}},
            },
        }

    @property
    def home(self) -> UUID:
        """The project in which the caller makes things. Raises Forbidden for a caller without one."""
        if self.project is None:
            raise Forbidden("This needs a token scoped to a project; yours is not.")
        return self.project

    def sees(self, project: UUID) -> bool:
        return self.admin or project == self.project or (self.visible is not None and project in self.visible)

    def require(self, verb: str, *, project: UUID) -> None:
        """Whether the caller may do `verb` ("server.create", "server.read") in the project. Raises Forbidden."""
        reading = verb.endswith(".read")
        if self.locked and not reading and project == self.project:
            raise Forbidden(f"Project {project.hex} is locked: nothing in it is made, changed or started.")
        if self.admin:
            return
        if project in self.asleep and not reading and not verb.endswith(".delete"):
            raise Forbidden(f"Can't do {verb} in project {project.hex} as it's no longer active.")
        if self.sees(project) and (MEMBER in self.roles or (reading and READER in self.roles)):
            return
        raise Forbidden(f"You are not allowed to do {verb} in project {project.hex}.")

    def require_admin(self, verb: str) -> None:
        if not self.admin:
            raise Forbidden(f"Only an administrator may do {verb}.")

    async def find(self, view: View, cls: type[R], key: Any, verb: str) -> R:
        """The caller's own object; somebody else's is not found, one that may be seen but not changed is forbidden."""
        found = await view.get(cls, key)
        if found is None or not self.sees(found.project):  # type: ignore[attr-defined]
            raise NotFound(cls.__name__, key)
        self.require(verb, project=found.project)  # type: ignore[attr-defined]
        return found


def system(face: str = "pileus", request: str = "") -> Caller:
    """Pileus itself, acting on its own behalf."""
    return Caller(
        user=UUID(int=0),
        user_name="pileus",
        system=True,
        roles=frozenset({ADMIN}),
        face=face,
        request=request,
    )
