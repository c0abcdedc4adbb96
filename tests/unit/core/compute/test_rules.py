"""Names, states and the choice of a host, without a database."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from pileus.core.compute.deploy import hostname
from pileus.core.compute.key_pairs import generate, ssh_fingerprint
from pileus.core.compute.records import TRANSITIONAL, Host, State
from pileus.core.compute.states import TRANSITIONS, VERBS, WITHOUT_HOST, Verb
from pileus.core.errors import Invalid
from pileus.core.placement.choice import Where, choose, details, explain, summary
from pileus.core.placement.inventory import Inventory, Need

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=7)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("web", "web"),
        ("Web One_2", "web-one-2"),
        ("a.b", "a-b"),
        ("--x--", "x"),
        ("x" * 80, "x" * 63),
        ("\u4e2d\u6587", f"server-{ID}"),
        ("", f"server-{ID}"),
    ],
)
def test_a_host_name_is_a_label(name: str, label: str) -> None:
    assert hostname(name, ID) == label


def test_every_state_has_its_way_out() -> None:
    assert set(TRANSITIONS) == set(State)
    for state in State:
        assert State.DELETING in TRANSITIONS[state] or state is State.DELETING
        assert State.ERROR in TRANSITIONS[state] or state is State.ERROR


def test_a_verb_passes_through_a_transitional_state() -> None:
    assert set(VERBS) == set(Verb)
    assert {change.during for change in VERBS.values()} == TRANSITIONAL - {State.BUILDING}
    assert VERBS.keys() >= WITHOUT_HOST


def test_a_generated_key_has_a_fingerprint_and_nonsense_has_none() -> None:
    public, private = generate()
    assert private.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert len(ssh_fingerprint(public).split(":")) == 16
    for nonsense in ("", "ssh-rsa", "ssh-rsa !!!", "ssh-rsa AAAA", f"ssh-dss {public.split()[1]}"):
        with pytest.raises(Invalid):
            ssh_fingerprint(nonsense)


def host(memory: int, used: int = 0, **more: object) -> Host:
    fields: dict[str, object] = {
        "id": uuid4(),
        "number": 1,
        "zone": ID,
        "pod": ID,
        "cluster": ID,
        "hostname": f"h-{memory}-{used}",
        "hypervisor": "simulator",
        "hypervisor_type": "Simulator",
        "hypervisor_version": 1,
        "vcpus": 4,
        "memory_mib": memory,
        "memory_mib_used": used,
        "memory_ratio": 1.0,
        "memory_mib_reserved": 0,
        "disk_gib": 100,
        "seen_at": NOW,
        "created_at": NOW,
        **more,
    }
    return Host(**fields)  # type: ignore[arg-type]


def inventory(*hosts: Host) -> Inventory:
    made = Inventory()
    made.fill(hosts)
    return made


SMALL = Need(vcpus=1, memory_mib=512, disk_gib=1)


def test_the_emptiest_host_that_fits_is_chosen() -> None:
    full, some, most = host(1024, 1024), host(1024), host(4096)
    disabled, down = host(9000, enabled=False), host(9000, up=False)
    held = inventory(full, some, most, disabled, down)
    assert choose(held, SMALL, Where()) == most.id
    assert choose(held, SMALL, Where(), without={most.id}) == some.id
    assert choose(held, SMALL, Where(host=some.id)) == some.id
    assert choose(held, SMALL, Where(apart_from=(most.id,))) == some.id
    assert choose(held, SMALL, Where(zone=uuid4())) is None
    assert choose(held, Need(vcpus=8, memory_mib=1, disk_gib=0), Where()) is None


def test_a_commit_moves_a_host_and_an_older_one_does_not() -> None:
    one, two = host(4096, generation=1), host(2048)
    held = inventory(one, two)
    held.see(host(4096, 3900, id=one.id, generation=2))
    assert choose(held, SMALL, Where()) == two.id
    held.see(one)
    assert choose(held, SMALL, Where()) == two.id
    held.forget(two.id)
    assert choose(held, SMALL, Where()) is None
    assert len(held) == 1


def test_a_refusal_tells_why_by_group_and_names_hosts_to_administrators_only() -> None:
    hosts = [host(256), host(128), host(9000, enabled=False, disabled_reason="repair")]
    held = inventory(*hosts)
    text = summary(len(held), explain(held, SMALL, Where()))
    assert text == "3 hosts: 2 lack 512 MiB memory (largest free 256), 1 disabled: repair."
    assert not any(each.hostname in text for each in hosts)
    assert all(any(each.hostname in line for line in details(held, SMALL, Where())) for each in hosts)
    assert summary(0, []) == "There are no hosts; add one."
