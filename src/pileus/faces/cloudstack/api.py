"""The endpoint /client/api: from the bytes of a request to one command, and from its result to an envelope."""

from collections.abc import Mapping
from typing import Any

from pileus.core.cloud import kind_of
from pileus.core.errors import CoreError, Forbidden
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import icons, jobs, sessions
from pileus.faces.cloudstack.authentication import call_of
from pileus.faces.cloudstack.commands import COMMANDS, VIEWS, Bare, Call, Done, Listed, Shown
from pileus.faces.cloudstack.errors import MALFORMED, UNAVAILABLE_COMMAND, ApiError, coded, named
from pileus.faces.cloudstack.params import Sent, parse
from pileus.faces.cloudstack.rendering import answer, fields
from pileus.faces.wire import Request, Response, form
from pileus.faces.wire.errors import WireError, WireKind

STATE = "cloudstack"
"""In `request.state`: the parameters as sent, for the form of errors."""


async def serve(request: Request) -> Response:
    if request.method not in ("GET", "POST"):
        raise WireError(WireKind.BAD_METHOD, "The API takes GET and POST.", headers={"allow": "GET, POST"})
    pairs = (*request.query.pairs, *(await form(request)).pairs)
    sent = folded(request, pairs)
    name = sent.get("command", "")
    request.state["operation"] = name[:100]
    if name in sessions.ANONYMOUS:
        made = await sessions.ANONYMOUS[name](request, sent)
        return made if isinstance(made, Response) else respond(request, name, made)
    call = await call_of(request, sent, pairs)
    refuse_unsupported(call)
    try:
        params = parse(name, call.command.params, sent)
        result = await call.command.handler(call, params)
        return respond(request, name, await content(call, result))
    except CoreError as error:
        raise named(error, name, sent) from error


def folded(request: Request, pairs: tuple[tuple[str, str], ...]) -> Sent:
    """Names in lower case, but for the fields of maps. Raises ApiError for one that comes twice."""
    sent: dict[str, str] = {}
    request.state[STATE] = sent
    twice = ""
    for name, value in pairs:
        head, dot, tail = name.partition(".")
        key = head.lower() + dot + tail
        if key in sent:
            twice = name
        sent[key] = value
    if twice:
        raise ApiError(MALFORMED, f"Parameter {twice[:100]} was sent more than once; send each one once.")
    return sent


def refuse_unsupported(call: Call) -> None:
    """A known parameter that would change what the command does, and does not here, is not passed over silently."""
    command = call.command
    declared = {spec.wire for spec in command.params.specs.values()} | command.ignored
    for sent, value in call.sent.items():
        name = sent.partition("[")[0]
        known = command.entry.params.get(name)
        if known is None or not value:
            continue
        if known.authorized and call.role not in known.authorized:
            raise Forbidden(f"Parameter {name} of {command.name} is for {', '.join(known.authorized)} only.")
        if name not in declared:
            raise ApiError(
                431, f"Parameter {name} of {command.name} is not supported by this cloud; leave it out."
            )


async def content(call: Call, result: Any) -> Bare:
    """What stands in the envelope, by the kind of result."""
    command = call.command
    if isinstance(result, Bare):
        return result
    if isinstance(result, Accepted) and command.entry.job:
        first = {"id": result.resource.id} if command.names_subject else {}
        return Bare({**first, "jobid": result.operation.id})
    if isinstance(result, Accepted):
        result = result.resource
    if isinstance(result, Done) and command.entry.job:
        job = await jobs.record(call, result)
        return Bare(
            {**({"id": result.record.id} if command.names_subject and result.record else {}), "jobid": job}
        )
    if isinstance(result, Done):
        result = result.record
    if isinstance(result, Listed):
        return Bare(await listed(call, result))
    if result is None or command.entry.bare:
        return Bare({"success": True})
    if isinstance(result, dict):
        return Bare(fields(result, command.entry.response, call.role))
    seen = result.fields if isinstance(result, Shown) else (await render(call, [result]))[0]
    return Bare({command.object: fields(seen, command.entry.response, call.role)})


async def listed(call: Call, result: Listed[Any]) -> dict[str, Any]:
    """An empty list has neither count nor key."""
    items = list(result.items)
    seen = items if items and isinstance(items[0], dict) else await render(call, items)
    if not seen and not result.total:
        return {}
    if icons.wanted(call):
        async with call.cloud.view() as look:
            await icons.add(call, look, seen)
    entry = call.command.entry
    return {
        "count": result.total,
        call.command.object: [fields(each, entry.response, call.role) for each in seen],
    }


async def render(call: Call, records: list[Any]) -> list[dict[str, Any]]:
    if not records:
        return []
    view = call.command.view or VIEWS[kind_of(type(records[0]))].render
    async with call.cloud.view() as look:
        seen = await view(call, look, records)
    for record, shown in zip(records, seen, strict=True):
        running = getattr(record, "operation", None)
        if running is not None:
            shown |= {"jobid": running, "jobstatus": 0}
    return seen


def respond(request: Request, name: str, made: Bare) -> Response:
    entry = COMMANDS[name].entry
    return answer(200, entry.envelope, made.body, json=wants_json(request), headers=made.headers)


def wants_json(request: Request) -> bool:
    return str(request.state.get(STATE, {}).get("response", "")).lower() == "json"


class Errors:
    """CloudStack's form of refusals: the status is the code, and a header repeats the text."""

    def render(self, error: CoreError | WireError, request: Request) -> Response:
        code, exception = coded(error)
        sent: Mapping[str, str] = request.state.get(STATE, {})
        command = COMMANDS.get(sent.get("command", ""))
        plain = command is None or code == UNAVAILABLE_COMMAND
        envelope = "errorresponse" if command is None or plain else command.entry.envelope
        body = {"uuidList": [], "errorcode": code, "cserrorcode": exception, "errortext": error.public}
        described = " ".join(error.public.split())[:1000].encode("ascii", "replace").decode()
        headers = {"X-Description": described}
        return answer(code, envelope, body, json=wants_json(request), headers=headers)
