"""Bad input over every command of CloudStack's face: refused in CloudStack's words, and nothing changes."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args, get_origin
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
import structlog

from pileus.core.block.records import VolumeKind
from pileus.core.compute.records import KeyPair, Size, Zone
from pileus.faces import cloudstack
from pileus.faces.cloudstack import waiting
from pileus.faces.cloudstack.commands import COMMANDS, Command
from pileus.faces.cloudstack.params import Rows, Spec
from pileus.faces.cloudstack.sessions import ANONYMOUS
from tests import quick
from tests.asgi import Client, Reply
from tests.contract.cloudstack.conftest import ENDPOINT, Stack, stack
from tests.contract.world import Owned, World, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOWHERE = "00000000-0000-4000-8000-00000000dead"
INTERNAL = 530
SHOWN = 40
ENTITIES: Mapping[str, str] = {
    "AccountResponse": "project",
    "AffinityGroupResponse": "server_group",
    "AsyncJobResponse": "job",
    "EventResponse": "event",
    "FirewallRuleResponse": "firewall_rule",
    "IPAddressResponse": "address",
    "NetworkResponse": "isolated",
    "NicResponse": "interface",
    "ProjectInvitationResponse": "invitation",
    "ProjectResponse": "tenancy",
    "ProjectRolePermissionResponse": "project_rule",
    "ProjectRoleResponse": "project_role",
    "RolePermissionResponse": "rule",
    "RoleResponse": "role",
    "SSHKeyPairResponse": "key_pair_id",
    "SecurityGroupResponse": "security_group",
    "SecurityGroupRuleResponse": "security_rule",
    "SnapshotResponse": "snapshot",
    "TemplateResponse": "image",
    "UserResponse": "user",
    "UserVmResponse": "server",
    "VolumeResponse": "volume",
    "DiskOfferingResponse": "disk_offering",
    "DomainResponse": "root",
    "NetworkOfferingResponse": "network_offering",
    "ServiceOfferingResponse": "offering",
    "ZoneResponse": "zone",
}
"""What an id names, by CloudStack's word."""
VALUES: Mapping[str, str] = {
    "templatefilter": "self",
    "format": "RAW",
    "hypervisor": "KVM",
    "url": "http://192.0.2.1/image.raw",
    "protocol": "tcp",
    "publicport": "81",
    "privateport": "81",
    "startport": "90",
    "endport": "90",
    "size": "1",
    "publickey": "ssh-rsa AAAA",
    "userapikey": "nobody",
    "resourcetype": "Account",
    "base64image": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
}


@dataclass
class Walk:
    world: World
    admin: Stack
    member: Stack
    other: Stack
    failures: list[str] = field(default_factory=list)
    sent: int = 0

    async def send(
        self, who: Client, query: str, what: str, *, codes: frozenset[int] | None = None, done: bool = False
    ) -> Reply:
        """`codes`: how it must be refused, else anyhow; `done`: it may also be done."""
        self.sent += 1
        reply = await who.get(f"{ENDPOINT}?{query}")
        fault = self.fault(reply, codes, done)
        changes = self.world.database.changes()
        if changes and (reply.status != 200 or not done):
            fault = f"{reply.status}, and changed {'; '.join(changes)[:300]}"
        if fault:
            self.failures.append(f"{what}: {fault}")
        return reply

    def fault(self, reply: Reply, codes: frozenset[int] | None, done: bool) -> str:
        if reply.status == 200:
            return "" if done else f"200 {reply.text[:160]}"
        try:
            (content,) = reply.json().values()
            said = (content["errorcode"], bool(content["errortext"]), content["uuidList"])
        except (msgspec.DecodeError, ValueError, KeyError, TypeError):
            return f"not in CloudStack's form: {reply.status} {reply.text[:160]}"
        if said != (reply.status, True, []) or "x-description" not in reply.headers:
            return f"not in CloudStack's form: {reply.status} {reply.text[:160]}"
        if reply.status == INTERNAL or (codes is not None and reply.status not in codes):
            return f"{reply.status} {content['errortext'][:160]}"
        return ""

    def finish(self) -> None:
        assert self.sent, "nothing was sent"
        shown = "\n".join(self.failures[:SHOWN])
        assert not self.failures, f"{len(self.failures)} of {self.sent} requests went wrong:\n{shown}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    capture = structlog.testing.capture_logs
    with capture(), quick.directory() as place, pytest.MonkeyPatch.context() as patch:
        async with opened(place, also=furnish) as made:
            patch.setattr(waiting, "PATIENCE", 0.0)  # there is no worker to wait for
            yield made


@pytest_asyncio.fixture(loop_scope="module")
async def walk(world: World) -> Walk:
    people = [await stack(world.kernel, world.cloud, name) for name in ("admin", "demo", "other")]
    return Walk(world, *people)


async def furnish(world: World) -> None:
    cloudstack.mount(world.kernel)
    throttled = {"api_throttling_enabled": True, "api_throttling_max": 1 << 30}
    world.cloud.config = msgspec.structs.replace(world.cloud.config, **throttled)
    shared = world.shared
    async with world.cloud.view() as look:
        shared["zone"] = str((await look.list(Zone))[0].id)
        shared["offering"] = str((await look.list(Size))[0].id)
        shared["disk_offering"] = str((await look.list(VolumeKind))[0].id)
    shared["root"] = str(UUID((await stack(world.kernel, world.cloud, "demo")).user.domain.hex))
    admin = await stack(world.kernel, world.cloud, "admin")
    shared["role"] = (await admin.call("createRole", name="walked", type="User"))["role"]["id"]
    rule = {"roleid": shared["role"], "rule": "list*", "permission": "allow"}
    shared["rule"] = (await admin.call("createRolePermission", **rule))["rolepermission"]["id"]
    for name, owned in (("demo", world.own), ("other", world.foreign)):
        who = await stack(world.kernel, world.cloud, name)
        await furnish_one(world, who, owned)
        await furnish_project(world, who, owned)


async def furnish_one(world: World, who: Stack, owned: Owned) -> None:
    shared, zone = world.shared, world.shared["zone"]
    offerings = (await who.call("listNetworkOfferings"))["networkoffering"]
    isolated = next(each for each in offerings if closed(each))
    shared["network_offering"] = isolated["id"]
    made = await who.call("createNetwork", name="iso", networkofferingid=isolated["id"], zoneid=zone)
    owned["isolated"] = made["network"]["id"]
    started = await who.call("associateIpAddress", networkid=owned["isolated"])
    owned["address"], owned["job"] = started["id"], started["jobid"]
    rule = {"protocol": "tcp", "startport": 22, "endport": 22}
    made = await who.call("createFirewallRule", ipaddressid=owned["address"], **rule)
    owned["firewall_rule"] = made["id"]
    made = await who.call("createEgressFirewallRule", networkid=owned["isolated"], **rule)
    owned["egress_rule"] = made["id"]
    owned["event"] = (await who.call("listEvents"))["event"][0]["id"]
    owned["project"] = str(who.account.id)
    owned["user"] = str(who.user.id)
    async with world.cloud.view() as look:
        (pair,) = await look.list(KeyPair, project=who.account.id)
        owned["key_pair_id"] = str(pair.id)


async def furnish_project(world: World, who: Stack, owned: Owned) -> None:
    """A project with a role, and an invitation that is pending."""
    project = (await who.call("createProject", name=f"of-{who.account.name}"))["id"]
    role = (await who.call("createProjectRole", projectid=project, name="walked"))["projectrole"]["id"]
    rule = {"projectid": project, "projectroleid": role, "rule": "list*", "permission": "allow"}
    made = await who.call("createProjectRolePermission", **rule)
    owned["tenancy"], owned["project_role"] = project, role
    owned["project_rule"] = made["projectrolepermission"]["id"]
    config = world.cloud.config
    world.cloud.config = msgspec.structs.replace(config, project_invite_required=True)
    await who.call("addAccountToProject", projectid=project, account="admin")
    world.cloud.config = config
    listed = await who.call("listProjectInvitations", projectid=project)
    owned["invitation"] = listed["projectinvitation"][0]["id"]


def closed(offering: dict[str, Any]) -> bool:
    """Of isolated networks from which nothing leaves unless a rule says so."""
    return offering["guestiptype"] == "Isolated" and not offering.get("egressdefaultpolicy", False)


def signed_in() -> Iterator[tuple[str, Command]]:
    for name, command in sorted(COMMANDS.items()):
        if name not in ANONYMOUS:
            yield name, command


def good(command: Command, owned: Owned, shared: Mapping[str, str]) -> dict[str, str]:
    """The required parameters, and what names the object."""
    known = {**shared, **owned.ids}
    return {spec.wire: value(command, spec, known) for spec in command.params.specs.values() if spec.required}


def value(command: Command, spec: Spec, known: Mapping[str, str]) -> str:
    kind = entity(command, spec)
    if kind in known:
        return known[kind]
    if spec.wire in VALUES and (spec.type is not int or VALUES[spec.wire].isdigit()):
        return VALUES[spec.wire]
    types: dict[Any, str] = {UUID: NOWHERE, int: "1", bool: "true", datetime: "2026-01-01"}
    return types.get(spec.type, "x")


def entity(command: Command, spec: Spec) -> str:
    """The kind of what a parameter names; empty for what is no id."""
    declared = command.entry.params.get(spec.wire)
    words = declared.entity if declared is not None else ""
    word = words if isinstance(words, str) else words[0]
    kind = ENTITIES.get(word, "")
    if kind == "firewall_rule" and "PortForwarding" in command.name:
        return "forwarding"
    if kind == "firewall_rule" and "Egress" in command.name:
        return "egress_rule"
    if spec.wire == "resourceids":
        return "project"
    if command.name == "deleteSSHKeyPair" and spec.wire == "name":
        return "key_pair"
    return kind


async def test_without_a_good_signature_nothing_is_told_or_done(walk: Walk) -> None:
    for name, command in signed_in():
        sent = good(command, walk.world.own, walk.world.shared)
        right = walk.admin.signed(name, **sent)
        stranger = Stack(walk.world.kernel, walk.admin.key, "wrong", walk.admin.user, walk.admin.account)
        nobody = Stack(walk.world.kernel, "nobody", "wrong", walk.admin.user, walk.admin.account)
        tries = {
            "no key": f"command={name}&response=json",
            "another secret": stranger.signed(name, **sent),
            "another key": nobody.signed(name, **sent),
            "no signature": right.rpartition("&signature=")[0],
            "something added": f"{right}&listall=true",
            "expired": walk.admin.signed(
                name, **sent, signatureVersion="3", expires="2020-01-01T00:00:00+0000"
            ),
            "never expires": walk.admin.signed(name, **sent, signatureVersion="3"),
        }
        for what, query in tries.items():
            await walk.send(walk.admin, query, f"{name} [{what}]", codes=frozenset({401}))
    walk.finish()


async def test_what_is_missing_or_malformed_is_refused(walk: Walk) -> None:
    for name, command in signed_in():
        sent = good(command, walk.world.own, walk.world.shared)
        for spec in command.params.specs.values():
            if spec.required:
                rest = {wire: each for wire, each in sent.items() if wire != spec.wire}
                query = walk.admin.signed(name, **rest)
                await walk.send(walk.admin, query, f"{name} [no {spec.wire}]", codes=frozenset({431}))
            for wrong in malformed(spec):
                query = walk.admin.signed(name, **{**sent, spec.wire: wrong})
                codes = frozenset({430, 431})
                await walk.send(walk.admin, query, f"{name} [{spec.wire}={wrong[:30]!r}]", codes=codes)
    walk.finish()


def malformed(spec: Spec) -> tuple[str, ...]:
    """Texts that the declared type refuses."""
    kind = get_args(spec.type)[0] if get_origin(spec.type) is tuple and spec.type != Rows else spec.type
    if kind is UUID:
        return ("x", "17", "../x", f"{NOWHERE}0", "{" + NOWHERE + "}", "\u0661")
    if kind is int:
        return ("x", "1.5", "9" * 40, "0x10", "\u0661x")
    if kind is bool:
        return ("x", "1", "null")
    if kind is datetime:
        return ("x", "2026-13-01", "9" * 30)
    if kind is str and spec.type is str:
        return ("x" * (spec.length + 1),)
    return ("x",) if kind in (Rows, dict[str, str]) else ()


EXTREMES = (
    "",
    " ",
    "-1",
    "0",
    "2147483648",
    "999999999999999999",
    "\u202e\u0001",
    "\U0001f409",
    "'; --",
    "../../etc/passwd",
    NOWHERE,
    ",,,",
    "x,x",
    "%00",
    "1970-01-01",
    "true",
)


async def test_no_value_of_any_parameter_is_an_internal_error(walk: Walk) -> None:
    for name, command in signed_in():
        sent = good(command, walk.world.own, walk.world.shared)
        for spec in command.params.specs.values():
            for number, extreme in enumerate(EXTREMES):
                query = walk.admin.signed(name, **{**sent, spec.wire: extreme})
                await walk.send(walk.admin, query, f"{name} [{spec.wire}=#{number}]", done=True)
            for odd in (f"{spec.wire}[0].key", f"{spec.wire}[x].key", f"{spec.wire}[999999].a.b"):
                query = walk.admin.signed(name, **{**sent, odd: "x"})
                await walk.send(walk.admin, query, f"{name} [{odd}]", done=True)
    walk.finish()


async def test_nothing_of_another_account_is_shown_or_touched(walk: Walk) -> None:
    world = walk.world
    theirs = {each: kind for kind, each in world.foreign.ids.items()}
    for name, command in signed_in():
        sent = good(command, world.own, world.shared)
        for spec in command.params.specs.values():
            kind = entity(command, spec)
            if kind not in world.foreign.ids:
                continue
            foreign = world.foreign[kind]
            query = walk.member.signed(name, **{**sent, spec.wire: foreign})
            reads = command.entry.list or name in ("getUser", "listResourceIcon")
            what = f"{name} [{spec.wire} theirs]"
            reply = await walk.send(walk.member, query, what, done=reads)
            for each, of in theirs.items():
                if each in reply.text and (each != foreign or reply.status == 200):
                    walk.failures.append(f"{what}: shows another's {of}: {reply.text[:200]}")
        for wide in ({}, {"listall": "true"}, {"listall": "true", "isrecursive": "true"}):
            if command.entry.list and all(
                each in {s.wire for s in command.params.specs.values()} for each in wide
            ):
                reply = await walk.send(
                    walk.member, walk.member.signed(name, **sent, **wide), f"{name} {wide}", done=True
                )
                found = [of for each, of in theirs.items() if each in reply.text]
                if found:
                    walk.failures.append(f"{name} {wide}: shows another's {', '.join(found)}")
    walk.finish()


async def test_commands_of_administrators_are_unknown_to_others(walk: Walk) -> None:
    for name, command in signed_in():
        if not command.allows("User"):
            sent = good(command, walk.world.own, walk.world.shared)
            query = walk.member.signed(name, **sent)
            await walk.send(walk.member, query, name, codes=frozenset({432}))
    walk.finish()


async def test_junk_is_refused_in_cloudstacks_form(walk: Walk) -> None:
    tries = [
        "",
        "response=json",
        "command=&response=json",
        "command=nonsense&response=json",
        "command=%00&response=json",
        "command=%ff&response=json",
        "command=listZones&command=listZones&response=json",
        "command=" + "x" * 5_000 + "&response=json",
        "response=json&" + "&".join(f"a{number}=1" for number in range(5_000)),
        walk.admin.signed("nonsense"),
    ]
    for number, query in enumerate(tries):
        for who in (walk.admin, Client(walk.world.kernel)):
            reply = await who.get(f"{ENDPOINT}?{query}")
            assert 400 <= reply.status < 500 or reply.status == 432, f"#{number}: {reply.status} {reply.text}"
            assert "errorcode" in reply.text, f"#{number}: {reply.text}"
            assert walk.world.database.changes() == []
