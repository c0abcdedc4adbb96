"""Hand a letter to the mail server. It is tried for a day; then, and when the server refuses it, it is given up."""

import structlog

from pileus.core.cloud import Tx
from pileus.core.mail import Mail, message_id, opened
from pileus.drivers.errors import Refused
from pileus.drivers.mail.protocol import Message
from pileus.workflows.engine import Run, Step, Workflow, register

log = structlog.get_logger()
LONGEST = 86_400.0


async def send(run: Run) -> None:
    async with run.cloud.view() as look:
        mail = await look.maybe(Mail, run.subject)
    if mail is None:
        return
    if run.site.mail is None:
        raise Refused("no mail server is configured")
    letter = opened(run.cloud, mail)
    message = Message(id=message_id(run.cloud, mail), to=letter.to, subject=letter.subject, text=letter.text)
    await run.site.mail.send(message)


async def forget(run: Run, tx: Tx) -> None:
    await tx.rows.delete(Mail, run.subject)


async def give_up(run: Run, tx: Tx, fault: str) -> None:
    log.warning("a letter was not sent", mail=str(run.subject), fault=fault)
    await forget(run, tx)


WORKFLOW = register(
    Workflow(
        "mail.send",
        steps=(Step("send", send, patience=LONGEST),),
        finished=forget,
        failed=give_up,
    )
)
