"""Every filter's words, as people read them: in a failure, and beside a host that fits."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pileus.core.compute.records import Affinity, Host, HostGroup
from pileus.core.placement.asking import Companions, Where
from pileus.core.placement.explanation import explain, public, sentence
from pileus.core.placement.filters import FILTERS
from pileus.core.placement.inventory import Need
from pileus.core.placement.records import Explanation
from tests.unit.core.placement.hosts import (
    CLOSED,
    CLUSTER,
    NOVA,
    OTHER_CLUSTER,
    OTHER_POD,
    POD,
    WEST,
    decide,
    group,
    host,
    inventory,
    key,
)

GOLDEN = Path(__file__).parent / "golden"
WRITE = "PILEUS_WRITE_GOLDEN"
"""Set in the environment: the texts of now are written as the right ones, to be read before they are committed."""
BAD, GOOD = (1, 2), 3


@dataclass(frozen=True)
class Case:
    """Two hosts that the filter removes (`bad`), one that it does not (`good`), and what is asked."""

    bad: dict[str, Any] = field(default_factory=dict)
    good: dict[str, Any] = field(default_factory=dict)
    need: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    groups: tuple[HostGroup, ...] = ()
    members: tuple[tuple[int, int], ...] = ()


def companions(affinity: Affinity, *hosts: int) -> dict[str, Any]:
    held = tuple((key(number), 1) for number in hosts)
    return {"companions": (Companions(name="web", affinity=affinity, hosts=held),)}


CASES: dict[str, Case] = {
    "host": Case(where={"host": key(GOOD)}),
    "zone": Case(bad={"zone": WEST}, where={"zone": NOVA}),
    "part of a zone": Case(
        where={"metadata": (("availability_zone", "az1"),)},
        groups=(group(9, {"availability_zone": "az1"}),),
        members=((9, GOOD),),
    ),
    "closed zone": Case(bad={"zone": CLOSED}),
    "pod": Case(bad={"pod": OTHER_POD}, where={"pod": POD}),
    "cluster": Case(bad={"cluster": OTHER_CLUSTER}, where={"cluster": CLUSTER}),
    "apart from": Case(where={"apart_from": (key(1), key(2))}),
    "together with": Case(where={"together_with": (key(GOOD),)}),
    "group apart": Case(where=companions(Affinity.APART, *BAD)),
    "group together": Case(where=companions(Affinity.TOGETHER, GOOD)),
    "architecture": Case(
        bad={"architecture": "x86_64"}, good={"architecture": "aarch64"}, need={"architecture": "aarch64"}
    ),
    "hypervisor": Case(bad={"hypervisor_type": "VMware"}, need={"hypervisor": "kvm"}),
    "required traits": Case(
        bad={"traits": ("CUSTOM_SSD",)},
        good={"traits": ("CUSTOM_SSD", "HW_CPU_X86_AVX2")},
        need={"required_traits": ("CUSTOM_SSD", "HW_CPU_X86_AVX2")},
    ),
    "forbidden traits": Case(bad={"traits": ("CUSTOM_OLD",)}, need={"forbidden_traits": ("CUSTOM_OLD",)}),
    "host group": Case(
        where={"metadata": (("ssd", "true"),)},
        groups=(group(9, {"ssd": "true"}),),
        members=((9, GOOD),),
    ),
    "reserved": Case(
        where={"project": key(7)},
        groups=(group(9, {"filter_tenant_id": str(key(8))}),),
        members=((9, 1), (9, 2)),
    ),
    "disabled": Case(bad={"enabled": False, "disabled_reason": "h-1 and h-2 are repaired"}),
    "down": Case(bad={"up": False}),
    "maintenance": Case(bad={"maintenance": True}),
    "memory": Case(bad={"memory_mib_used": 3072}, need={"memory_mib": 2048}),
    "processors": Case(bad={"vcpus": 2, "vcpu_ratio": 16.0}, need={"vcpus": 4}),
    "vcpus": Case(bad={"vcpus_used": 6}, need={"vcpus": 4}),
    "disk": Case(bad={"disk_gib_used": 90}, need={"disk_gib": 20}),
    "taken": Case(where={"taken": (key(1), key(2))}),
}


def told(case: Case, *, fits: bool) -> Explanation:
    hosts: list[Host] = [host(number, **case.bad) for number in BAD]
    members, where = case.members, case.where
    if fits:
        hosts.append(host(GOOD, **case.good))
    need = Need(**{"vcpus": 1, "memory_mib": 512, "disk_gib": 1, **case.need})
    return explain(decide(inventory(hosts, case.groups, members), need, Where(**where)))


def text(told: Explanation) -> str:
    lines = [sentence(told) if told.winner is None else f"{told.fits} of {told.considered} fit {told.asked}"]
    lines += [f"removed: {each.hosts} by {each.filter}: {each.text}" for each in told.removed]
    lines += [
        f"nearest: {each.hostname}: {each.lacks}{f' ({each.note})' if each.note else ''}"
        for each in told.nearest
    ]
    if told.winner is not None:
        lines.append(f"winner: {told.winner.hostname}, {told.winner.score}: {told.winner.why}")
    return "\n".join([*lines, *(f"advice: {each}" for each in told.advice)])


@pytest.mark.parametrize("name", [each.name for each in FILTERS])
def test_a_filter_says_what_is_written(name: str) -> None:
    case = CASES[name]
    said = f"# no host\n{text(told(case, fits=False))}\n\n# a host\n{text(told(case, fits=True))}\n"
    path = GOLDEN / f"{name.replace(' ', '-')}.txt"
    if WRITE in os.environ:
        path.write_text(said)
    assert said == path.read_text()


def test_every_filter_has_its_text_and_every_text_its_filter() -> None:
    names = [each.name for each in FILTERS]
    assert len(names) == len(set(names))
    assert set(CASES) == set(names)
    assert {path.stem for path in GOLDEN.iterdir()} == {name.replace(" ", "-") for name in names}


@pytest.mark.parametrize("name", [each.name for each in FILTERS])
def test_the_filter_itself_removed_the_hosts_and_no_public_text_names_one(name: str) -> None:
    for fits in (False, True):
        found = told(CASES[name], fits=fits)
        assert [(each.filter, each.hosts) for each in found.removed] == [(name, len(BAD))]
        assert (found.winner is not None) is fits
        shown = repr(public(found)) + ("" if fits else sentence(found))
        assert "h-" not in shown
        assert not any(str(key(number)) in shown for number in (*BAD, GOOD))


def test_two_changes_are_advised_where_one_is_not_enough() -> None:
    held = inventory([host(1, zone=WEST, memory_mib_used=3072), host(2, zone=WEST, memory_mib_used=3584)])
    told = explain(decide(held, Need(vcpus=1, memory_mib=2048, disk_gib=1), Where(zone=NOVA)))
    assert told.advice == ("in zone west and with 1024 MiB memory instead of 2048",)
    assert [miss.hostname for miss in told.nearest] == ["h-1"]
    assert told.nearest[0].lacks == "in another zone; lacks 2048 MiB memory (1024 free)"


def test_the_smallest_change_is_advised_first() -> None:
    hosts = [
        host(1, memory_mib_used=3072),
        host(2, zone=WEST),
        host(3, enabled=False),
        host(4, memory_mib_used=2176),
    ]
    found = explain(decide(inventory(hosts), Need(vcpus=1, memory_mib=2048, disk_gib=1), Where(zone=NOVA)))
    assert found.advice == (
        "with 1920 MiB memory instead of 2048",
        "in zone west",
        "if the disabled host were enabled",
    )
    assert sentence(found) == (
        "No valid host was found for 1 vCPU, 2048 MiB memory, 1 GiB disk in zone nova. "
        "4 hosts: 2 lack 2048 MiB memory (largest free 1920), 1 in another zone, 1 disabled. "
        "It would fit with 1920 MiB memory instead of 2048."
    )


def test_a_cloud_without_hosts_says_so() -> None:
    found = explain(decide(inventory([]), Need(vcpus=1, memory_mib=1, disk_gib=1), Where()))
    assert sentence(found) == (
        "No valid host was found for 1 vCPU, 1 MiB memory, 1 GiB disk. There are no hosts; add one."
    )
