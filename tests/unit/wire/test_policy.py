import json
import random
from uuid import UUID

import pytest
import structlog

from pileus.faces.wire.policy import Enforcer

MEMBER = {
    "user_id": "u1",
    "project_id": "p1",
    "domain_id": None,
    "roles": ["Member", "reader"],
    "is_admin": False,
    "system_scope": None,
    "token": {"project": {"id": "p1", "domains": ["d1", "d2"]}, "levels": [{"name": "a"}, {"name": "b"}]},
}
TARGET = {
    "project_id": "p1",
    "user_id": "u2",
    "none": None,
    "number": 7,
    "role": "READER",
    "target.user.domain_id": "d1",
    "literal": "True",
}
CASES = {
    "": True,
    "@": True,
    "!": False,
    "role:admin": False,
    "role:member": True,
    "role:MEMBER": True,
    "role:%(role)s": True,
    "role:%(absent)s": False,
    "user_id:u1": True,
    "user_id:%(user_id)s": False,
    "project_id:%(project_id)s": True,
    "project_id:%(absent)s": False,
    "is_admin:True": False,
    "is_admin:False": True,
    "is_admin:false": False,
    "absent:x": False,
    "None:%(none)s": True,
    "None:%(project_id)s": False,
    "domain_id:None": True,
    "'p1':%(project_id)s": True,
    '"p1":%(project_id)s': True,
    "'p2':%(project_id)s": False,
    "7:%(number)s": True,
    "True:%(literal)s": True,
    "token.project.id:p1": True,
    "token.project.domains:d2": True,
    "token.project.domains:d3": False,
    "token.levels.name:b": True,
    "token.levels.name:c": False,
    "token.project.id.more:p1": False,
    "'d1':%(target.user.domain_id)s": True,
    "not role:admin": True,
    "not not role:admin": False,
    "not (role:admin or role:member)": False,
    "role:member and role:reader": True,
    "role:member AND role:admin": False,
    "role:admin or role:reader": True,
    "role:reader or role:reader and role:admin": True,
    "(role:reader or role:reader) and role:admin": False,
    "((role:reader))": True,
    "rule:owner": True,
    "rule:owner and not rule:nobody": True,
    "rule:absent": False,
    "not rule:absent": True,
    "rule:listed": True,
    "role:mem%(absent)sber": False,
    "project_id:p%(number)s": False,
    "user_id:u:1": False,
}
BROKEN = [
    "role:admin or",
    "and role:member",
    "(role:member",
    "role:member)",
    "role:member role:reader",
    "'role:member'",
    "()",
    "not",
    " ",
]


def rules(text):
    return {
        "x": text,
        "owner": "project_id:%(project_id)s",
        "nobody": "!",
        "listed": [["role:admin"], ["role:member", "role:reader"]],
    }


@pytest.mark.parametrize("text", CASES)
def test_a_rule_decides(text):
    assert Enforcer(rules(text)).allowed("x", TARGET, MEMBER) is CASES[text]


@pytest.mark.parametrize("text", BROKEN)
def test_a_rule_that_is_not_understood_denies_and_is_told(text):
    with structlog.testing.capture_logs() as logs:
        assert Enforcer(rules(text)).allowed("x", TARGET, MEMBER) is False
    assert any("not understood" in entry["event"] for entry in logs)


@pytest.mark.parametrize(
    ("listed", "answer"),
    [
        ([], True),
        ([[]], False),
        ([["role:admin"]], False),
        (["role:member"], True),
        ([["role:member", "role:admin"], ["@"]], True),
        ([[], ["role:admin"]], False),
        (None, True),
    ],
)
def test_the_older_form_is_a_list_of_alternatives(listed, answer):
    assert Enforcer({"x": listed}).allowed("x", TARGET, MEMBER) is answer


def test_another_server_is_not_asked():
    with structlog.testing.capture_logs() as logs:
        assert not Enforcer({"x": "http://other/%(project_id)s"}).allowed("x", TARGET, MEMBER)
    assert "not supported" in logs[0]["why"]


def test_an_unknown_rule_denies():
    assert not Enforcer({}).allowed("absent", {}, {})


def test_the_default_rule_stands_in():
    enforcer = Enforcer({"default": "role:member", "x": "rule:absent"})
    assert enforcer.allowed("absent", TARGET, MEMBER)
    assert enforcer.allowed("x", TARGET, MEMBER)


@pytest.mark.parametrize(
    ("texts", "circle"),
    [
        ({"a": "rule:a"}, "a -> a"),
        ({"a": "rule:b", "b": "role:x or rule:c", "c": "not (rule:a)"}, "a -> b -> c -> a"),
        ({"default": "rule:absent"}, "default -> default"),
    ],
)
def test_a_circle_is_refused_by_name(texts, circle):
    with pytest.raises(ValueError, match=circle):
        Enforcer(texts)


def test_the_keys_of_a_rule_are_known_through_its_references():
    enforcer = Enforcer({"a": "rule:b or user_id:%(user_id)s", "b": "x:%(target.y)s%(z)s", "c": "role:admin"})
    assert enforcer.keys("a") == {"user_id", "target.y", "z"}
    assert enforcer.keys("c") == enforcer.keys("absent") == frozenset()


def test_a_target_may_be_nested_and_hold_ids():
    key = UUID("11111111-2222-4333-8444-555555555555")
    enforcer = Enforcer({"x": "user_id:%(target.user.id)s"})
    assert enforcer.allowed("x", {"target": {"user": {"id": key}}}, {"user_id": key.hex})
    assert not enforcer.allowed("x", {"target": {"user": {}}}, {"user_id": key.hex})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "dump", [json.dumps, lambda rules: "".join(f'"{k}": "{v}"\n' for k, v in rules.items())]
)
def test_a_file_replaces_rules_and_is_read_again(tmp_path, dump):
    path, clock = tmp_path / "policy.yaml", Clock()
    enforcer = Enforcer({"x": "!", "y": "rule:x"}, path, clock=clock)
    assert not enforcer.allowed("y", {}, MEMBER)
    path.write_text(dump({"x": "role:member"}))
    assert not enforcer.allowed("y", {}, MEMBER)
    clock.now = 1.0
    assert enforcer.allowed("y", {}, MEMBER)
    path.unlink()
    clock.now = 2.0
    assert not enforcer.allowed("y", {}, MEMBER)


@pytest.mark.parametrize("text", ["x: [", "- x", "1: y", '"x": "rule:x"', "\xff"])
def test_a_bad_file_stops_the_start_and_changes_nothing_later(tmp_path, text):
    path, clock = tmp_path / "policy.yaml", Clock()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError):
        Enforcer({"x": "role:member"}, path)
    path.unlink()
    enforcer = Enforcer({"x": "role:member"}, path, clock=clock)
    path.write_bytes(text.encode("latin-1"))
    clock.now = 1.0
    with structlog.testing.capture_logs() as logs:
        assert enforcer.allowed("x", {}, MEMBER)
    assert "stay as they were" in logs[0]["event"]


CHECKS = [
    text for text in CASES if text and " " not in text and "rule:" not in text and ".more" not in text
] + [
    "bad",
    "rule:r0",
    "rule:r1",
]

PLAIN = [text for text in CHECKS if "((" not in text]
"""The oracle raises where a check of the older form stands in parentheses, or a path leads into a text."""


def sentence(rng: random.Random, depth: int) -> str:
    """A rule, mostly well formed."""
    kind = rng.random()
    if depth == 0 or kind < 0.35:
        return rng.choice(CHECKS)
    if kind < 0.5:
        return f"not {sentence(rng, depth - 1)}"
    if kind < 0.6:
        return f"({sentence(rng, depth - 1)})"
    if kind < 0.63:
        return rng.choice(["and", "(", ")", "or not"])
    word = rng.choice([" and ", " or ", " AND ", " Or "])
    return word.join(sentence(rng, depth - 1) for _ in range(rng.randint(2, 3)))


@pytest.mark.parametrize("seed", range(400))
def test_rules_mean_what_oslo_policy_means(seed):
    policy = pytest.importorskip("oslo_policy.policy")
    config = pytest.importorskip("oslo_config.cfg")
    rng = random.Random(seed)
    texts = {"r0": rng.choice(CHECKS[:-2]), "r1": sentence(rng, 1).replace("rule:r1", "@")}
    texts |= {f"x{n}": sentence(rng, 3) for n in range(5)}
    texts["lists"] = [[rng.choice(PLAIN) for _ in range(rng.randint(0, 3))] for _ in range(rng.randint(0, 3))]
    roles = rng.sample(["admin", "member", "reader", "Manager"], rng.randint(0, 4))
    credentials = {
        **MEMBER,
        "roles": roles,
        "is_admin": rng.random() < 0.5,
        "project_id": rng.choice(["p1", "p2"]),
    }
    target = {name: value for name, value in TARGET.items() if rng.random() < 0.8}
    oracle = policy.Enforcer(config.ConfigOpts(), use_conf=False, rules=policy.Rules.from_dict(texts))
    with structlog.testing.capture_logs():
        ours = Enforcer(texts)
    for name in [*texts, "absent"]:
        said = oracle.enforce(name, target, dict(credentials))
        assert ours.allowed(name, target, credentials) is bool(said), (name, texts)
