"""What may differ between the platforms and the records, and what is done about each, as one table."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

import msgspec

from pileus.core.alerts import NOTHING, Finding, Severity


class Reaction(StrEnum):
    ADOPT = "adopt"
    """The record follows the platform."""
    REPAIR = "repair"
    """The platform is made to follow the record."""
    REMOVE = "remove"
    """Nothing explains it, and it is provably ours: it goes when several looks found it."""
    REPORT = "report"
    """A person decides."""


class Drift(StrEnum):
    """The values are the kinds of the alerts."""

    GUEST_STOPPED = "guest stopped"
    GUEST_STARTED = "guest started"
    GUEST_PAUSED = "guest paused"
    GUEST_SUSPENDED = "guest suspended"
    GUEST_LOST = "guest lost"
    GUEST_CRASHED = "guest crashed"
    GUEST_MOVED = "guest moved"
    GUEST_ELSEWHERE = "guest elsewhere"
    GUEST_TWICE = "guest twice"
    GUEST_COPY = "guest copy"
    GUEST_UNMARKED = "guest unmarked"
    GUEST_LEFT = "guest left"
    GUEST_FOREIGN = "guest foreign"
    DISK_UNPLUGGED = "disk unplugged"
    DISK_STRANGE = "disk strange"
    NIC_UNPLUGGED = "nic unplugged"
    NIC_STRANGE = "nic strange"
    HOST_AWAY = "host away"
    HOST_REFUSES = "host refuses"
    NETWORK_MISSING = "network missing"
    NETWORK_CHANGED = "network changed"
    NETWORK_LEFT = "network left"
    NETWORK_UNMARKED = "network unmarked"
    NETWORK_FOREIGN = "network foreign"
    NETWORK_BROKEN = "network broken"
    NETWORK_AWAY = "network away"
    POOL_AWAY = "pool away"
    POOL_FULL = "pool full"
    POOL_FOREIGN = "pool foreign"
    VOLUME_LOST = "volume lost"
    VOLUME_LEFT = "volume left"
    SNAPSHOT_LOST = "snapshot lost"
    SNAPSHOT_LEFT = "snapshot left"
    DRIVE_LEFT = "config drive left"
    BASE_LEFT = "base left"
    STORE_AWAY = "image store away"
    STORE_FOREIGN = "image store foreign"
    IMAGE_LOST = "image lost"
    IMAGE_LEFT = "image left"
    UNSOUND = "unsound"
    FLAGGED = "operation flagged"


class Rule(msgspec.Struct, frozen=True):
    """`severity` None: the change of the record is told by its event, and nobody needs to act. `of` is the kind of
    record that the alert is about."""

    reaction: Reaction
    severity: Severity | None
    of: str
    text: str


A, F, X, R = Reaction.ADOPT, Reaction.REPAIR, Reaction.REMOVE, Reaction.REPORT
INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
D = Drift

RULES: Mapping[Drift, Rule] = {
    D.GUEST_STOPPED: Rule(A, None, "server", "The guest of server {name} was stopped."),
    D.GUEST_STARTED: Rule(A, None, "server", "The guest of server {name} was started."),
    D.GUEST_PAUSED: Rule(A, None, "server", "The guest of server {name} was paused."),
    D.GUEST_SUSPENDED: Rule(A, None, "server", "The guest of server {name} was suspended."),
    # Started again instead where `restart_lost_guests` says so.
    D.GUEST_LOST: Rule(A, WARNING, "server", "The guest of server {name} was gone from its host."),
    D.GUEST_CRASHED: Rule(A, WARNING, "server", "The guest of server {name} crashed."),
    D.GUEST_MOVED: Rule(A, WARNING, "server", "Server {name} was moved from host {host} to {other}."),
    D.GUEST_ELSEWHERE: Rule(
        R,
        CRITICAL,
        "server",
        "Server {name} is on host {other}, but recorded on {host}, {why}. Nothing is done.",
    ),
    D.GUEST_TWICE: Rule(
        R,
        CRITICAL,
        "server",
        "Server {name} runs on hosts {host} and {other} at the same time; stop one of them: its disks are in danger.",
    ),
    D.GUEST_COPY: Rule(
        X, WARNING, "server", "Server {name} is on host {host}; host {other} has a copy that is off."
    ),
    D.GUEST_UNMARKED: Rule(A, None, "server", "The guest of server {name} did not carry this cloud's mark."),
    D.GUEST_LEFT: Rule(
        X, WARNING, "server", "Host {host} has a guest {id} of this cloud that no server explains."
    ),
    D.GUEST_FOREIGN: Rule(R, INFO, "host", "Host {host} has {count} guests that are not of this cloud."),
    D.DISK_UNPLUGGED: Rule(F, WARNING, "server", "The guest of server {name} had lost volumes {ids}."),
    D.DISK_STRANGE: Rule(
        R,
        WARNING,
        "server",
        "The guest of server {name} holds volumes {ids}, which are not recorded as its own.",
    ),
    D.NIC_UNPLUGGED: Rule(F, WARNING, "server", "The guest of server {name} had lost ports {ids}."),
    D.NIC_STRANGE: Rule(
        R,
        WARNING,
        "server",
        "The guest of server {name} holds ports {ids}, which are not recorded as its own.",
    ),
    D.HOST_AWAY: Rule(
        R,
        CRITICAL,
        "host",
        "Host {host} does not answer ({why}). What is on it (servers: {count}) stays as it is recorded.",
    ),
    D.HOST_REFUSES: Rule(R, WARNING, "host", "Host {host} cannot be compared with the records: {why}"),
    D.NETWORK_MISSING: Rule(F, WARNING, "{kind}", "The network platform had lost {kind} {id}."),
    D.NETWORK_CHANGED: Rule(F, INFO, "{kind}", "Somebody had changed {kind} {id} in the network platform."),
    D.NETWORK_LEFT: Rule(
        X, INFO, "{kind}", "The network platform has a {kind} {id} that no record explains."
    ),
    D.NETWORK_UNMARKED: Rule(A, None, "{kind}", "{kind} {id} did not carry this cloud's mark."),
    D.NETWORK_FOREIGN: Rule(
        R, INFO, "cloud", "The network platform has objects that are not of this cloud: {what}."
    ),
    D.NETWORK_BROKEN: Rule(R, CRITICAL, "{kind}", "{kind} {id} cannot be applied: {why}"),
    D.NETWORK_AWAY: Rule(R, CRITICAL, "cloud", "The network platform does not answer: {why}"),
    D.POOL_AWAY: Rule(R, CRITICAL, "pool", "Pool {name} does not answer: {why}"),
    D.POOL_FULL: Rule(
        R, WARNING, "pool", "Pool {name} is more than {percent}% full; add storage or free some."
    ),
    D.POOL_FOREIGN: Rule(R, CRITICAL, "pool", "Pool {name} carries the mark of another cloud, {other}."),
    D.VOLUME_LOST: Rule(R, CRITICAL, "volume", "The disk of volume {id} is not in its pool."),
    D.VOLUME_LEFT: Rule(X, WARNING, "volume", "Pool {name} has a disk {id} that no volume explains."),
    D.SNAPSHOT_LOST: Rule(
        R, CRITICAL, "snapshot", "Snapshot {id} is not in the disk of its volume {volume}."
    ),
    D.SNAPSHOT_LEFT: Rule(
        X, INFO, "snapshot", "The disk of volume {volume} holds a snapshot {id} that no record explains."
    ),
    D.DRIVE_LEFT: Rule(X, INFO, "server", "Pool {name} has a config drive of server {id}, which is gone."),
    D.BASE_LEFT: Rule(X, None, "pool", "Pool {name} has the base of an image that nothing needs."),
    D.STORE_AWAY: Rule(R, CRITICAL, "image_store", "The image store does not answer: {why}"),
    D.STORE_FOREIGN: Rule(
        R, CRITICAL, "image_store", "The image store carries the mark of another cloud, {other}."
    ),
    D.IMAGE_LOST: Rule(R, CRITICAL, "image", "The content of image {id} is not in the image store."),
    D.IMAGE_LEFT: Rule(X, WARNING, "image", "The image store has content {id} that no image explains."),
    D.UNSOUND: Rule(R, CRITICAL, "cloud", "{count} records contradict each other: {what}"),
    D.FLAGGED: Rule(R, CRITICAL, "operation", "Operation {id} ({what}) needs a person: {why}"),
}

PLACES = ("{host}", "{other}")
FLOOD = 50
"""So many findings of one kind are told one by one; more are one alert about the cloud."""


def finding(
    drift: Drift,
    subject: UUID = NOTHING,
    *,
    project: UUID | None = None,
    zone: UUID | None = None,
    pod: UUID | None = None,
    **words: object,
) -> Finding:
    """The finding in the words of the table. Only for kinds with a severity. What names places is for administrators."""
    rule = RULES[drift]
    assert rule.severity is not None
    if any(place in rule.text for place in PLACES):
        project = None
    return Finding(
        kind=drift.value,
        subject=subject,
        subject_kind=rule.of.format(**words),
        name=str(words.get("name", words.get("host", ""))),
        project=project,
        zone=zone,
        pod=pod,
        severity=rule.severity,
        text=rule.text.format(**words),
    )


def several(drift: Drift, subjects: Mapping[str, Collection[UUID]]) -> list[Finding]:
    """Findings of one kind about ids by what they are; of very many only one is put into words."""
    count = sum(map(len, subjects.values()))
    if count <= FLOOD:
        return [
            finding(drift, key, kind=kind, id=key) for kind, keys in subjects.items() for key in sorted(keys)
        ]
    kind, keys = next(iter(subjects.items()))
    first = min(keys, key=attrgetter("int"))
    return [flood(count, finding(drift, first, kind=kind, id=first))]


def flood(count: int, first: Finding) -> Finding:
    text = f"{count} times, first: {first.text}"
    return Finding(kind=first.kind, severity=first.severity, text=text)


def dammed(findings: list[Finding]) -> list[Finding]:
    """The same, where a disaster is not thousands of alerts."""
    by_kind: dict[str, list[Finding]] = {}
    for each in findings:
        by_kind.setdefault(each.kind, []).append(each)
    kept: list[Finding] = []
    for same in by_kind.values():
        kept += same if len(same) <= FLOOD else [flood(len(same), same[0])]
    return kept


def told(*drifts: Drift) -> frozenset[str]:
    """The kinds of alerts that these lead to."""
    return frozenset(drift.value for drift in drifts if RULES[drift].severity is not None)


__all__ = ["FLOOD", "RULES", "Drift", "Reaction", "Rule", "dammed", "finding", "several", "told"]
