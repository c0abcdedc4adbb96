"""How many requests of an account are answered in an interval; root administrators' all are. Each process counts for
itself, from the account's first request of an interval on."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import NotFound, TooMany
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Project, ProjectKind
from pileus.faces.cloudstack.commands import Call, Shown, command
from pileus.faces.cloudstack.errors import UNAVAILABLE_COMMAND, ApiError
from pileus.faces.cloudstack.params import Params, param


class Interval(msgspec.Struct):
    """Of one account, while it lasts."""

    ends: datetime
    issued: int = 0

    def left(self, now: datetime) -> int:
        """Milliseconds."""
        return max(0, int((self.ends - now) / timedelta(milliseconds=1)))


class Counts:
    """The intervals of the accounts that asked last."""

    def __init__(self) -> None:
        self.held: dict[UUID, Interval] = {}

    def of(self, cloud: Cloud, account: UUID) -> Interval:
        config, now = cloud.config, cloud.now()
        held = self.held.get(account)
        if held is None or held.ends <= now:
            held = Interval(now + timedelta(seconds=config.api_throttling_interval))
            self.held.pop(account, None)
            while len(self.held) >= max(1, config.api_throttling_cachesize):
                self.held.pop(next(iter(self.held)))
            self.held[account] = held
        return held


counts = per_cloud(lambda cloud: Counts())


def count(call: Call) -> None:
    """One more request of the caller's account. Raises TooMany (429)."""
    cloud = call.cloud
    if not cloud.config.api_throttling_enabled or call.admin:
        return
    held = counts(cloud).of(cloud, call.account)
    held.issued += 1
    if held.issued > cloud.config.api_throttling_max:
        raise TooMany(
            "The given user has reached his/her account api limit, please retry after "
            f"[{held.left(cloud.now())}] ms."
        )


class Reset(Params):
    account: UUID | None = param("account", "the account; all by default", default=None)


def require_enabled(call: Call) -> None:
    """Raises ApiError 432."""
    if not call.cloud.config.api_throttling_enabled:
        raise ApiError(UNAVAILABLE_COMMAND, "This api is only available when api.throttling.enabled = true.")


@command("getApiLimit")
async def show(call: Call, params: Params) -> Shown:
    """Tells how many requests the caller's account has made in this interval, and how many more are answered."""
    require_enabled(call)
    held = counts(call.cloud).of(call.cloud, call.account)
    async with call.cloud.view() as look:
        account = await look.get(Project, call.account)
    shown: dict[str, Any] = {
        "accountid": account.id,
        "account": account.name,
        "apiIssued": held.issued,
        "apiAllowed": max(0, call.cloud.config.api_throttling_max - held.issued),
        "expireAfter": held.left(call.cloud.now()),
    }
    return Shown(shown)


@command("resetApiLimit", params=Reset)
async def reset(call: Call, params: Reset) -> None:
    """Lets an account, or all, begin a new interval."""
    require_enabled(call)
    if params.account is None:
        counts(call.cloud).held.clear()
        return
    async with call.cloud.view() as look:
        account = await look.maybe(Project, params.account)
    if account is None or account.kind is not ProjectKind.ACCOUNT:
        raise NotFound("Account", params.account)
    counts(call.cloud).held.pop(params.account, None)
