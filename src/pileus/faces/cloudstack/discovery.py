"""What this cloud can do: the commands with their parameters, and capabilities."""

from functools import cache
from typing import Any

from pileus.faces.cloudstack.catalogue import CATALOGUE, CataloguedParam
from pileus.faces.cloudstack.commands import COMMANDS, Call, Command, Listed, Shown, command
from pileus.faces.cloudstack.errors import UnknownCommand
from pileus.faces.cloudstack.params import Params, Spec, param, word

TYPES = {
    "tzdate",
    "uuid",
    "boolean",
    "date",
    "float",
    "integer",
    "short",
    "list",
    "long",
    "object",
    "map",
    "string",
}


class ListApis(Params):
    name: str = param("name", "one command", default="")


@command("listApis", params=ListApis)
async def listing(call: Call, params: ListApis) -> Listed[Any]:
    """Lists the commands that the caller may use, with their parameters and answers."""
    found = [each for each in COMMANDS.values() if call.allowed(each)]
    if params.name:
        found = [each for each in found if each.name.lower() == params.name.lower()]
        if not found:
            raise UnknownCommand(params.name)
    return Listed([described(each.name, call.role) for each in found], len(found))


@cache
def described(name: str, role: str) -> dict[str, Any]:
    declared = COMMANDS[name]
    entry = declared.entry
    return {
        "name": name,
        "description": declared.help,
        "since": entry.since or None,
        "isasync": entry.job,
        "related": ",".join(related(declared)),
        "params": [
            parameter(spec, entry.params.get(spec.wire))
            for spec in declared.params.specs.values()
            if allowed(entry.params.get(spec.wire), role)
        ],
        "response": response(entry.response, role, 0),
    }


def allowed(known: CataloguedParam | None, role: str) -> bool:
    return known is None or not known.authorized or role in known.authorized


def related(declared: Command) -> list[str]:
    """Commands that answer the same kind of object."""
    if declared.entry.bare:
        return []
    same = declared.entry.response
    return [each.name for each in COMMANDS.values() if each.entry.response == same and each is not declared]


def parameter(spec: Spec, known: CataloguedParam | None) -> dict[str, Any]:
    return {
        "name": spec.wire,
        "description": spec.help,
        "type": known.type if known and known.type in TYPES else word(spec),
        "length": known.length if known else spec.length,
        "required": spec.required or bool(known and known.required),
        "since": known.since or None if known else None,
    }


def response(name: str, role: str, depth: int) -> list[dict[str, Any]]:
    shown = []
    for field, about in CATALOGUE.fields(name).items():
        if about.authorized and role not in about.authorized:
            continue
        one: dict[str, Any] = {"name": field, "description": words(field), "type": kind(about.type)}
        if about.object and depth < 1:
            one["response"] = response(about.object, role, depth + 1)
        shown.append(one)
    if depth == 0:
        shown += [
            {"name": "jobid", "description": "the latest job on the object", "type": "string"},
            {"name": "jobstatus", "description": "the state of that job", "type": "integer"},
        ]
    return shown


def words(field: str) -> str:
    """The catalogue has no sentences on fields; those whose name says all are the rule."""
    for ending, text in (("id", "the id of the {}"), ("name", "the name of the {}")):
        if field.endswith(ending) and field != ending:
            return text.format(field.removesuffix(ending))
    return f"the {field}"


def kind(declared: str) -> str:
    folded = declared.lower()
    if folded.startswith(("list", "set")):
        return folded.partition("<")[0]
    return folded if folded in TYPES else "string"


@command("listCapabilities")
async def capabilities(call: Call, params: Params) -> Shown:
    """Tells what this cloud can do."""
    return Shown(
        {
            "cloudstackversion": CATALOGUE.version,
            "securitygroupsenabled": True,
            "dynamicrolesenabled": True,
            "userpublictemplateenabled": False,
            "supportELB": "false",
            "projectinviterequired": call.cloud.config.project_invite_required,
            "allowusercreateprojects": call.cloud.config.projects_by_users,
            "customdiskofferingminsize": 1,
            "customdiskofferingmaxsize": 1024,
            "regionsecondaryenabled": False,
            "kvmsnapshotenabled": True,
            "allowuserviewdestroyedvm": True,
            "allowuserexpungerecovervm": True,
            "allowuserexpungerecovervolume": False,
            "allowuserviewalldomainaccounts": False,
            "allowuserforcestopvm": True,
            "kubernetesserviceenabled": False,
            "kubernetesclusterexperimentalfeaturesenabled": False,
            "defaultuipagesize": 20,
            "instancesstatsretentiontime": 0,
            "instancesstatsuseronly": False,
            "instancesdisksstatsretentionenabled": False,
            "instancesdisksstatsretentiontime": 0,
            "instanceleaseenabled": False,
            "dynamicscalingenabled": False,
            "additionalconfigenabled": False,
        }
    )
