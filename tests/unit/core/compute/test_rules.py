"""Names and states, without a database."""

from uuid import UUID

import pytest

from pileus.core.compute.deploy import hostname
from pileus.core.compute.key_pairs import generate, ssh_fingerprint
from pileus.core.compute.records import TRANSITIONAL, State
from pileus.core.compute.states import TRANSITIONS, VERBS, WITHOUT_HOST, Verb
from pileus.core.errors import Invalid

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
