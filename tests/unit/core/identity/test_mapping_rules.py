"""The mapping language: what each of its words does, and what is refused."""

import msgspec
import pytest

from pileus.core.errors import Invalid
from pileus.core.identity.federation.evaluation import evaluate
from pileus.core.identity.federation.rules import check

SAID = {
    "UserName": ("bob",),
    "Email": ("bob@example.org",),
    "First": ("Bob",),
    "Last": ("Thompson",),
    "orgPersonType": ("Employee",),
    "groups": ("dev", "ops", "guests"),
    "one": ("dev",),
    "json": ('[{"name": "p", "roles": [{"name": "member"}], "domain": {"name": "d"}}]',),
    "jsongroups": (
        'JSON:{"name": "g", "domain": {"name": "d"}}',
        'JSON:{"name": "h", "domain": {"id": "i"}}',
    ),
    "trap": ("['admins', 'ops']",),
    "empty": (),
}
HERE = {"name": "Default"}


def rule(remote, *local):
    return [{"local": list(local), "remote": remote}]


def shown(rules, version="1.0", said=SAID):
    check(rules, version)
    return msgspec.json.decode(msgspec.json.encode(evaluate(rules, version, said)))


USER = {"user": {"name": "{0}"}}
NAMED = [{"type": "UserName"}]
WHO = {"name": "bob"}

CASES = {
    "a value in a text": (rule(NAMED, USER), {"user": WHO}),
    "several values in one text": (
        rule(
            [{"type": "First"}, {"type": "Last"}, {"type": "Email"}],
            {"user": {"name": "{0} {1}", "email": "{2}"}},
        ),
        {"user": {"name": "Bob Thompson", "email": "bob@example.org"}},
    ),
    "an id, a type and a domain": (
        rule(NAMED, {"user": {"id": "{0}", "type": "local", "domain": {"id": "default"}}}),
        {"user": {"id": "bob", "type": "local", "domain": {"id": "default"}}},
    ),
    "one of several is said": (
        rule([*NAMED, {"type": "orgPersonType", "any_one_of": ["Contractor", "Employee"]}], USER),
        {"user": WHO},
    ),
    "one of several by expression": (
        rule([*NAMED, {"type": "orgPersonType", "any_one_of": ["^Emp.*$"], "regex": True}], USER),
        {"user": WHO},
    ),
    "none of several is said": (
        rule([*NAMED, {"type": "orgPersonType", "not_any_of": ["Contractor", "Guest"]}], USER),
        {"user": WHO},
    ),
    "a condition takes no place": (
        rule([{"type": "orgPersonType", "any_one_of": ["Employee"]}, {"type": "Email"}], USER),
        {"user": {"name": "bob@example.org"}},
    ),
    "a group by id": (
        rule(NAMED, {**USER, "group": {"id": "0cd5e9"}}),
        {"user": WHO, "group_ids": ["0cd5e9"]},
    ),
    "a group by name": (
        rule(NAMED, {**USER, "group": {"name": "dev", "domain": HERE}}),
        {"user": WHO, "groups": [{"name": "dev", "domain": HERE}]},
    ),
    "groups as they are said": (
        rule([*NAMED, {"type": "groups"}], USER, {"groups": "{1}", "domain": HERE}),
        {"user": WHO, "groups": [{"name": name, "domain": HERE} for name in ("dev", "ops", "guests")]},
    ),
    "groups that are allowed": (
        rule(
            [*NAMED, {"type": "groups", "whitelist": ["ops", "dev"]}], USER, {"groups": "{1}", "domain": HERE}
        ),
        {"user": WHO, "groups": [{"name": name, "domain": HERE} for name in ("dev", "ops")]},
    ),
    "groups that are not forbidden": (
        rule([*NAMED, {"type": "groups", "blacklist": ["guests"]}], USER, {"groups": "{1}", "domain": HERE}),
        {"user": WHO, "groups": [{"name": name, "domain": HERE} for name in ("dev", "ops")]},
    ),
    "groups allowed by expression": (
        rule(
            [*NAMED, {"type": "groups", "whitelist": ["^o"], "regex": True}],
            USER,
            {"groups": "{1}", "domain": HERE},
        ),
        {"user": WHO, "groups": [{"name": "ops", "domain": HERE}]},
    ),
    "groups forbidden by expression": (
        rule(
            [*NAMED, {"type": "groups", "blacklist": ["^o", "^g"], "regex": True}],
            USER,
            {"groups": "{1}", "domain": HERE},
        ),
        {"user": WHO, "groups": [{"name": "dev", "domain": HERE}]},
    ),
    "no group is left": (
        rule([*NAMED, {"type": "groups", "whitelist": ["x"]}], USER, {"groups": "{1}", "domain": HERE}),
        {"user": WHO},
    ),
    "group ids as they are said": (
        rule([*NAMED, {"type": "groups"}], USER, {"group_ids": "{1}"}),
        {"user": WHO, "group_ids": ["dev", "ops", "guests"]},
    ),
    "a literal list of group ids": (
        rule(NAMED, USER, {"group_ids": "['a', 'b']"}),
        {"user": WHO, "group_ids": ["a", "b"]},
    ),
    "groups that name their domain": (
        rule([*NAMED, {"type": "jsongroups"}], USER, {"groups": "{1}"}),
        {
            "user": WHO,
            "groups": [{"name": "g", "domain": {"name": "d"}}, {"name": "h", "domain": {"id": "i"}}],
        },
    ),
    "a value that looks like a list is one value": (
        rule([*NAMED, {"type": "trap"}], USER, {"groups": "{1}", "domain": HERE}),
        {"user": WHO, "groups": [{"name": "['admins', 'ops']", "domain": HERE}]},
    ),
    "projects with roles": (
        rule(NAMED, USER, {"projects": [{"name": "of {0}", "roles": [{"name": "member"}]}]}),
        {"user": WHO, "projects": [{"name": "of bob", "roles": [{"name": "member"}]}]},
    ),
    "the first user of several rules, the groups of all": (
        [
            *rule(NAMED, {"user": {"name": "{0}"}, "group": {"id": "1"}}),
            *rule([{"type": "Email"}], {"user": {"name": "{0}"}, "group": {"id": "2"}}),
            *rule([{"type": "absent"}], {"group": {"id": "3"}}),
        ],
        {"user": WHO, "group_ids": ["1", "2"]},
    ),
    "a user without a name": (rule(NAMED, {"group": {"id": "1"}}), {"user": {}, "group_ids": ["1"]}),
}


@pytest.mark.parametrize(("rules", "wanted"), CASES.values(), ids=CASES)
def test_what_is_said_becomes(rules, wanted):
    found = shown(rules)
    for part in ("group_ids", "groups", "projects"):
        assert found[part] == wanted.get(part, [])
    assert found["user"] == wanted["user"]


def test_from_version_2_on_the_domain_is_that_of_user_and_projects():
    projects = [
        {"name": "a", "roles": [{"name": "member"}]},
        {"name": "b", "roles": [], "domain": {"name": "other"}},
    ]
    rules = rule(NAMED, {**USER, "domain": HERE, "projects": projects})
    found = shown(rules, "2.0")
    assert found["user"]["domain"] == HERE
    assert [project["domain"] for project in found["projects"]] == [HERE, {"name": "other"}]
    with pytest.raises(Invalid):
        check(rules, "1.0")


def test_from_version_3_on_projects_are_read_from_json():
    rules = rule([*NAMED, {"type": "json"}], {**USER, "projects_json": "{1}"})
    found = shown(rules, "3.0")
    assert found["projects"] == [{"name": "p", "roles": [{"name": "member"}], "domain": {"name": "d"}}]
    with pytest.raises(Invalid):
        check(rules, "2.0")


@pytest.mark.parametrize(
    "remote",
    [
        [{"type": "absent"}],
        [{"type": "empty"}],
        [{"type": "orgPersonType", "any_one_of": ["Guest"]}],
        [{"type": "orgPersonType", "not_any_of": ["Employee"]}],
        [{"type": "orgPersonType", "not_any_of": ["^E"], "regex": True}],
        [{"type": "UserName"}, {"type": "absent", "not_any_of": ["x"]}],
    ],
)
def test_a_rule_whose_requirements_are_not_met_does_not_apply(remote):
    with pytest.raises(Invalid, match="Could not map"):
        shown(rule(remote, {"user": {"name": "x"}}))


@pytest.mark.parametrize(
    "rules",
    [
        rule(NAMED, {"user": {"name": "{1}"}}),
        rule([*NAMED, {"type": "groups"}], USER, {"groups": "{1}"}),
        rule([*NAMED, {"type": "one"}], USER, {"groups": "JSON:{{0}"}),
    ],
    ids=["a place too many", "groups without a domain", "a group that is no JSON"],
)
def test_what_makes_no_sense_is_refused(rules):
    with pytest.raises(Invalid):
        shown(rules)


GOOD = rule(NAMED, USER)[0]
BAD = {
    "no rules": [],
    "no list": {"rules": GOOD},
    "no requirement": [{**GOOD, "remote": []}],
    "no local part": [{"remote": NAMED}],
    "an unknown word": [{**GOOD, "extra": 1}],
    "an unknown local word": rule(NAMED, {"bad": 1}),
    "an unknown user word": rule(NAMED, {"user": {"nick": "x"}}),
    "an unknown type of user": rule(NAMED, {"user": {"name": "x", "type": "robot"}}),
    "an unknown requirement": rule([{"type": "x", "foo": 1}], USER),
    "a requirement without a type": rule([{"any_one_of": ["x"]}], USER),
    "two conditions at once": rule([{"type": "x", "any_one_of": ["x"], "whitelist": ["y"]}], USER),
    "an expression for nothing": rule([{"type": "x", "regex": True}], USER),
    "no expression": rule([{"type": "x", "whitelist": ["("], "regex": True}], USER),
    "a group by id and name": rule(NAMED, {"group": {"id": "1", "name": "x", "domain": HERE}}),
    "a group without a domain": rule(NAMED, {"group": {"name": "x"}}),
    "groups that are a list": rule(NAMED, {"groups": ["x"]}),
    "a project without roles": rule(NAMED, {"projects": [{"name": "x"}]}),
}


@pytest.mark.parametrize("rules", BAD.values(), ids=BAD)
def test_rules_of_another_shape_are_refused(rules):
    with pytest.raises(Invalid):
        check(rules, "1.0")


def test_an_unknown_version_is_refused():
    with pytest.raises(Invalid, match=r"1\.0, 2\.0, 3\.0"):
        check([GOOD], "9.0")
