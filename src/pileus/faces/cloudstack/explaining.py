"""Why a user may call a command, or may not: its account's role, and the rule of the role that decides."""

from typing import Any
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.authentication import keys
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy import account_roles
from pileus.core.identity.tenancy.rule_lists import fits
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.faces.cloudstack import default_rules, permissions
from pileus.faces.cloudstack.commands import COMMANDS, role_of


class Commands:
    """What an explanation asks of this API."""

    def knows(self, action: str) -> bool:
        return action in COMMANDS

    async def explain(self, cloud: Cloud, user: UUID, action: str) -> dict[str, Any]:
        """`allowed`, the `role`, and the `rule` that decides; `why` when the user cannot call anything."""
        async with cloud.view() as look:
            held = await look.get(User, user)
        try:
            caller = await keys.caller_of(cloud, held)
        except (Forbidden, Unauthenticated) as error:
            return {"allowed": False, "why": error.private or error.public}
        assert caller.project is not None
        async with cloud.view() as look:
            core = RoleType(role_of(caller))
            role = await account_roles.of(look, await look.get(Project, caller.project), core)
            found = await permissions.of_role(cloud, look, role, core)
            rules = default_rules.of(role) if role.default else await account_roles.rules(look, role.id)
        rule = next((each for each in rules if fits(each.rule, action)), None)
        by_type = f"no rule of it fits; what {found.type} may call by default decides"
        return {
            "allowed": found.allows(COMMANDS[action]),
            "account": caller.project,
            "role": f"{role.name} ({role.type}{'' if role.enabled else ', disabled'})",
            "rule": f"{'allow' if rule.allow else 'deny'} {rule.rule}" if rule else by_type,
        }
