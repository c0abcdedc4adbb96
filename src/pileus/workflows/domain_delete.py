"""Delete a domain with everything in it: its accounts and projects by their own deletes, then users, then the tree."""

from uuid import UUID

from pileus.core.caller import system
from pileus.core.cloud import Look, Tx
from pileus.core.errors import CoreError
from pileus.core.identity import users
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Domain, Project, User
from pileus.core.identity.tenancy import domain_tree, tenants
from pileus.workflows.engine import Run, Step, Wait, Workflow, register

PATIENCE = 86_400.0
LOOK_AGAIN = 0.5


async def inside(look: Look, run: Run) -> tuple[UUID, ...]:
    """The domain and those below it, from the top; none when it is gone."""
    there = await look.maybe(Domain, run.subject)
    return tuple(await authority.below(look, run.subject)) if there else ()


async def tenants_gone(run: Run) -> Wait | None:
    """Those with projects below them come after these."""
    async with run.cloud.view() as look:
        held = await look.list(Project, domain=await inside(look, run))
        going = await tenants.leaving(look, [project.id for project in held])
    why = ""
    caller = system(request=run.operation.request)
    above = {project.parent for project in held}
    for project in held:
        if project.id in going or project.id in above:
            continue
        try:
            await tenants.delete(run.cloud, caller, project.id)
        except CoreError as error:
            why = error.public
    if held:
        return Wait(LOOK_AGAIN, why or f"{len(held)} accounts and projects are on their way out")
    return None


async def people(run: Run) -> None:
    """Users that belong to no account."""
    async with run.transaction() as tx:
        for user in await tx.list(User, domain=await inside(tx, run)):
            await users.remove(tx, user)
        await changed(tx)


async def tree(run: Run) -> Wait | None:
    """The records, from the bottom."""
    if (wait := await tenants_gone(run)) is not None:  # somebody made one meanwhile
        return wait
    async with run.transaction() as tx:
        keys = await inside(tx, run)
        if await tx.count(Project, domain=keys) or await tx.count(User, domain=keys):
            return Wait(LOOK_AGAIN, "Somebody made something in it meanwhile.")
        for key in reversed(keys):
            await domain_tree.forget(tx, await tx.get(Domain, key))
    return None


async def failed(run: Run, tx: Tx, fault: str) -> None:
    """It stays disabled with what is left in it; its deletion may be asked for again."""


WORKFLOW = register(
    Workflow(
        domain_tree.DELETE,
        steps=(
            Step("accounts and projects", tenants_gone, patience=PATIENCE),
            Step("users", people),
            Step("domains", tree, patience=PATIENCE),
        ),
        failed=failed,
        cancellable=False,
    )
)
