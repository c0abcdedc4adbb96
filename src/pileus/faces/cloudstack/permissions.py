"""Whether a caller may call a command: by its account's role, its key pair's rules, and inside a project its project role.

The first rule that fits decides, then what the role's type may call by default. What was made of a role is kept until
identity changes.
"""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import change_count
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Project, ProjectKind
from pileus.core.identity.tenancy import account_roles, project_members, project_roles
from pileus.core.identity.tenancy.project_members import Part
from pileus.core.identity.tenancy.rule_lists import Rule, decide, pattern
from pileus.core.identity.tenancy.tenancy_records import AccountRole, RoleType
from pileus.faces.cloudstack import default_rules
from pileus.faces.cloudstack.commands import COMMANDS, Call, Command, role_of
from pileus.faces.cloudstack.errors import UNAVAILABLE_COMMAND, ApiError
from pileus.faces.cloudstack.params import UUID_TEXT

POWER = {RoleType.USER: 0, RoleType.DOMAIN_ADMIN: 1, RoleType.RESOURCE_ADMIN: 1, RoleType.ADMIN: 2}
ON_PROJECTS = frozenset({"suspendProject", "updateProject", "activateProject", "deleteProject"})
"""Commands whose `id` is a project; others are inside one by `projectid`."""
ALWAYS_IN_PROJECTS = "updateProjectInvitation"


class Unavailable(ApiError):
    def __init__(self, command: str, account: str, why: str) -> None:
        super().__init__(
            UNAVAILABLE_COMMAND,
            f"The API [{command}] does not exist or is not available for the account {account}.",
        )
        self.private = why


class Permissions:
    """What a role lets its accounts call. `type`: of the role, or what the core takes the caller for when that is less."""

    def __init__(self, role: AccountRole, type_: RoleType, rules: Sequence[Rule]) -> None:
        self.role, self.type = role, type_
        self._everything = role.id == account_roles.ROOT_ADMIN and type_ is RoleType.ADMIN
        self._named: dict[str, tuple[int, bool]] = {}
        self._patterns = []
        for place, rule in enumerate(rules):
            if "*" in rule.rule:
                self._patterns.append((place, pattern(rule.rule), rule.allow))
            else:
                self._named.setdefault(rule.rule.lower(), (place, rule.allow))
        self._decided: dict[str, bool] = {}

    def allows(self, command: Command) -> bool:
        known = self._decided.get(command.name)
        if known is None:
            known = self._decided[command.name] = self._decide(command)
        return known

    def _decide(self, command: Command) -> bool:
        if not self.role.enabled:
            return False
        if self._everything:
            return True
        name = command.name.lower()
        fitting = [(place, allow) for place, form, allow in self._patterns if form.fullmatch(name)]
        if name in self._named:
            fitting.append(self._named[name])
        return min(fitting)[1] if fitting else command.allows(self.type)

    def within(self, allowed: Callable[[Command], bool]) -> bool:
        """Whether it allows nothing but what is allowed."""
        return all(allowed(each) or not self.allows(each) for each in COMMANDS.values())


class Made:
    """What was made of roles as identity stood at one count of its changes."""

    def __init__(self) -> None:
        self.of_account: dict[tuple[UUID, RoleType], tuple[Permissions, str]] = {}
        self.of_role: dict[tuple[UUID, RoleType], Permissions] = {}


class Memory:
    """The latest of these. A request that reads an older state keeps what it makes of it to itself."""

    def __init__(self) -> None:
        self.change, self.made = -1, Made()

    def at(self, change: int) -> Made:
        if change > self.change:
            self.change, self.made = change, Made()
        return self.made if change == self.change else Made()


memory = per_cloud(lambda cloud: Memory())


async def made_at(cloud: Cloud, look: Look) -> Made:
    return memory(cloud).at(await change_count(look))


async def admit(call: Call) -> None:
    """Let the call know what its caller may do. Raises Unavailable (432), and Forbidden inside a project."""
    core = RoleType(role_of(call.caller))
    async with call.cloud.view() as look:
        kept = await made_at(call.cloud, look)
        found = kept.of_account.get((call.account, core))
        if found is None:
            account = await look.get(Project, call.account)
            role = await account_roles.of(look, account, core)
            found = await of_role(call.cloud, look, role, core), account.name
            kept.of_account[call.account, core] = found
        permissions, name = found
        rules = await project_rules(call, look)
    call.role = permissions.type
    call.allowed = permissions.allows
    if not permissions.allows(call.command):
        role = permissions.role
        raise Unavailable(call.name, name, f"role {role.name} ({'enabled' if role.enabled else 'disabled'})")
    if call.pair is not None and call.pair.rules:
        narrow_to_pair(call, call.pair.rules, name)
    if rules is not None:
        narrow(call, rules)


async def of_role(cloud: Cloud, look: Look, role: AccountRole, core: RoleType) -> Permissions:
    """What the role allows to callers whom the core takes for `core`."""
    kept = await made_at(cloud, look)
    type_ = lesser(role.type, core)
    if (role.id, type_) not in kept.of_role:
        rules = default_rules.of(role) if role.default else await account_roles.rules(look, role.id)
        kept.of_role[role.id, type_] = Permissions(role, type_, rules)
    return kept.of_role[role.id, type_]


async def refuse_more(call: Call, role: UUID | None, type_: RoleType | None) -> None:
    """Nobody gives an account a role (or a type's default one) by which it could call more. Raises Forbidden."""
    if call.admin or (role is None and type_ is None):
        return
    async with call.cloud.view() as look:
        key = role or account_roles.DEFAULT[type_ or RoleType.USER]
        given = await account_roles.find(look, key)
        theirs = await of_role(call.cloud, look, given, lesser(given.type, RoleType(role_of(call.caller))))
    if not theirs.within(call.allowed):
        raise Forbidden(f"The role {given.name} allows commands that your own does not; give a lesser one.")


def lesser(one: RoleType, other: RoleType) -> RoleType:
    return one if POWER[one] <= POWER[other] else other


async def project_rules(call: Call, look: Look) -> Sequence[Rule] | None:
    """The rules that narrow what the caller may call inside the project that it names; None: nothing does."""
    sent = call.sent.get("id" if call.name in ON_PROJECTS else "projectid", "")
    if not UUID_TEXT.fullmatch(sent) or call.admin or call.name == ALWAYS_IN_PROJECTS:
        return None
    project = await look.maybe(Project, UUID(sent))
    if project is None or project.kind is not ProjectKind.PROJECT:
        return None
    held = await project_members.standing(look, call.user, project.id)
    if held is None or held.part is Part.ADMIN or held.role is None:
        return None
    if await authority.manages(look, call.caller, project.domain):
        return None
    return await project_roles.rules(look, project.id, held.role)


def narrow_to_pair(call: Call, rules: Sequence[Rule], account: str) -> None:
    """Raises Unavailable (432). What no rule of a key pair fits is denied."""
    by_role = call.allowed
    call.allowed = lambda command: by_role(command) and decide(rules, command.name) is True
    if not call.allowed(call.command):
        raise Unavailable(call.name, account, "the rules of the key pair")


def narrow(call: Call, rules: Iterable[Rule]) -> None:
    """Raises Forbidden. What no rule of a project role fits is allowed."""
    by_role, fixed = call.allowed, tuple(rules)
    call.allowed = lambda command: by_role(command) and decide(fixed, command.name) is not False
    if decide(fixed, call.name) is False:
        raise Forbidden(f"The API {call.name} is denied for the user's/account's project role.")
