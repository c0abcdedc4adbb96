"""Whose things a list shows: every list command, with each parameter of ownership, by each role type, against a model."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.params import OwnedListing
from pileus.faces.wire import Kernel
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack, account, stack
from tests.contract.cloudstack.people import gathered
from tests.contract.cloudstack.test_commands import required

SHOWING: Mapping[str, str] = {
    "listAffinityGroups": "affinitygroup",
    "listNetworks": "network",
    "listSSHKeyPairs": "sshkeypair",
    "listSecurityGroups": "securitygroup",
    "listVirtualMachines": "virtualmachine",
    "listVolumes": "volume",
}
"""Commands of whose things everybody has one, named after its owner."""
OWN_RULES: Mapping[str, str] = {
    "listDiskOfferings": "of what belongs to nobody",
    "listServiceOfferings": "of what belongs to nobody",
    "listProjects": "what the caller is in",
    "listProjectInvitations": "what is asked of the caller",
    "listUsers": "users see themselves only",
    "listResourceLimits": "of one holder each time",
}
"""Lists that are not of what accounts own, and are tested on their own."""
NEEDED: Mapping[str, dict[str, str]] = {"listTemplates": {"templatefilter": "self"}}
HOLDERS: Mapping[str, tuple[str, str]] = {
    "listAccounts": ("account", "name"),
    "listUsers": ("user", "account"),
}
"""Lists of accounts and of what they are made of: the field that names the account."""
CALLERS = ("Admin", "ResourceAdmin", "DomainAdmin", "User")
MEMBERS = {"apollo": {"User"}, "hermes": {"Stranger"}}
"""Projects, by their name."""


class Model:
    """Who owns what where, and what CloudStack lets whom see of it."""

    def __init__(self, people: Mapping[str, Stack], projects: Mapping[str, str]) -> None:
        self.people, self.projects = people, projects
        self.root = str(people["Admin"].user.domain)
        self.sales, self.deep, self.elsewhere = (
            str(people[name].user.domain) for name in ("User", "Deep", "Stranger")
        )
        self.below = {
            self.root: {self.root, self.sales, self.deep, self.elsewhere},
            self.sales: {self.sales, self.deep},
            self.deep: {self.deep},
            self.elsewhere: {self.elsewhere},
        }

    def domain(self, name: str) -> str:
        return str(self.people[name].user.domain)

    def sees(self, caller: str, name: str) -> bool:
        return caller == name or self.manages(caller, self.domain(name))

    def manages(self, caller: str, domain: str) -> bool:
        return caller == "Admin" or (caller != "User" and domain in self.below[self.sales])

    def shown(self, caller: str, sent: Mapping[str, Any]) -> set[str] | None:
        """The owners; None: refused."""
        if "projectid" in sent:
            return self.of_project(caller, sent)
        if "account" in sent:
            name = next((each for each in self.people if each.lower() == sent["account"]), "")
            here = sent.get("domainid", self.domain(caller))
            there = name and self.domain(name) == here and self.sees(caller, name)
            return {name} if there else None
        if "domainid" in sent:
            domain = sent["domainid"]
            if not self.manages(caller, domain):
                return {caller} if domain == self.domain(caller) else None
            inside = self.below[domain] if sent.get("isrecursive") else {domain}
            return {name for name in self.people if self.domain(name) in inside}
        return {name for name in self.people if self.sees(caller, name)} if sent.get("listall") else {caller}

    def of_project(self, caller: str, sent: Mapping[str, Any]) -> set[str] | None:
        if "account" in sent:
            return None
        joined = {name for name, members in MEMBERS.items() if caller in members}
        if sent["projectid"] != "-1":
            name = next(each for each, key in self.projects.items() if key == sent["projectid"])
            place = self.elsewhere if name == "hermes" else self.sales
            return {name} if name in joined or self.manages(caller, place) else None
        if caller == "Admin":
            return set(self.projects) | (set(self.people) if sent.get("listall") else set())
        return joined | ({caller} if sent.get("listall") else set())

    def questions(self, params: set[str]) -> Iterator[dict[str, Any]]:
        """Every combination of interest of the parameters that a command has."""
        places = [self.root, self.sales, self.deep, self.elsewhere]
        asked: list[dict[str, Any]] = [{}, {"listall": True}, {"isrecursive": True}]
        asked += [{"listall": True, "isrecursive": True}]
        asked += [{"domainid": each} for each in places]
        asked += [{"domainid": each, "isrecursive": True} for each in places]
        asked += [{"account": each.lower()} for each in self.people]
        asked += [{"account": each.lower(), "domainid": self.domain(each)} for each in self.people]
        asked += [{"projectid": each} for each in (*self.projects.values(), "-1")]
        asked += [{"projectid": "-1", "listall": True}]
        asked += [{"projectid": self.projects["apollo"], "account": "user", "domainid": self.sales}]
        return (each for each in asked if each.keys() <= params)


async def furnished(who: Stack, worker: Worker, zone: str, name: str, where: dict[str, Any]) -> None:
    """One thing of each kind."""
    named = f"of-{name}"
    await who.call("createAffinityGroup", name=named, type="host anti-affinity", **where)
    await who.call("createSecurityGroup", name=named, **where)
    await who.call("createSSHKeyPair", name=named, **where)
    offerings = (await who.call("listNetworkOfferings"))["networkoffering"]
    level2 = next(each["id"] for each in offerings if each["guestiptype"] == "L2")
    sent = {"name": named, "displaytext": named, "networkofferingid": level2, "zoneid": zone}
    await who.call("createNetwork", **sent, **where)
    disks = (await who.call("listDiskOfferings"))["diskoffering"]
    disk = next(each["id"] for each in disks if not each["iscustomized"])
    await who.call("createVolume", name=named, diskofferingid=disk, zoneid=zone, **where)
    sizes = (await who.call("listServiceOfferings"))["serviceoffering"]
    size = next(each["id"] for each in sizes if each["name"] == "tiny")
    template = (await who.call("listTemplates", templatefilter="featured"))["template"][0]["id"]
    network = (await who.call("listNetworks", **where))["network"][0]["id"]
    vm = {"name": named, "serviceofferingid": size, "templateid": template, "networkids": network}
    await who.call("deployVirtualMachine", zoneid=zone, startvm=False, **vm, **where)


@pytest.fixture
async def model(kernel: Kernel, cloud: Cloud, admin: Stack, worker: Worker, place: dict[str, str]) -> Model:
    people = await gathered(kernel, cloud, admin)
    emea = domains.CreateDomain(name="emea", parent=people["User"].user.domain)
    await account(cloud, "deep", (await domains.create(cloud, system(), emea)).id)
    people["Deep"] = await stack(kernel, cloud, "deep")
    projects = {}
    for name, (founder,) in MEMBERS.items():
        projects[name] = (await people[founder].call("createProject", name=name))["id"]
        await furnished(people[founder], worker, place["zoneid"], name, {"projectid": projects[name]})
    for name, who in people.items():
        await furnished(who, worker, place["zoneid"], name, {})
    await worker.idle()
    return Model(people, projects)


def scoped() -> Iterator[str]:
    for name, command in sorted(COMMANDS.items()):
        owned = issubclass(command.params, OwnedListing) or name in HOLDERS
        if owned and command.entry.list and name not in OWN_RULES:
            yield name


async def test_lists_show_what_the_parameters_of_ownership_ask_for(model: Model) -> None:
    wrong, asked = [], 0
    for name in scoped():
        known = {spec.wire for spec in COMMANDS[name].params.specs.values()}
        for caller in CALLERS:
            who = model.people[caller]
            for sent in model.questions(known):
                asked += 1
                expected = model.shown(caller, sent)
                reply = await who.ask(name, **(required(name) | NEEDED.get(name, {}) | sent))
                if (reply.status == 200) is (expected is None):
                    wrong.append(f"{name} by {caller} {sent}: {reply.status}, expected {expected}")
                elif expected is not None:
                    found = seen(name, reply.json(), model)
                    if found not in (None, expected):
                        wrong.append(
                            f"{name} by {caller} {sent}: {sorted(found or ())}, not {sorted(expected)}"
                        )
    assert asked
    assert not wrong, f"{len(wrong)} of {asked}:\n" + "\n".join(wrong[:60])


def seen(command: str, answer: dict[str, Any], model: Model) -> set[str] | None:
    """The owners of what is shown; None where things have no names of ours."""
    (content,) = answer.values()
    if command in HOLDERS:
        key, field = HOLDERS[command]
        named = {str(each[field]) for each in content.get(key, [])}
        return {name for name in model.people if name.lower() in named}
    if command not in SHOWING:
        return None
    names = {str(each["name"]).lower() for each in content.get(SHOWING[command], [])}
    return {name for name in (*model.people, *model.projects) if f"of-{name}".lower() in names}
