"""The names under which mappings find what a provider says."""

import pytest

from pileus.core.identity.federation.attributes import of_openid, of_saml

ADMIN = ("admin",)


@pytest.mark.parametrize(
    "name",
    [
        "sub",
        "iss",
        "SUB",
        "OIDC-sub",
        "OIDC_CLAIM_iss",
        "HTTP_OIDC_SUB",
        "HTTP_OIDC_CLAIM_ISS",
        "REMOTE_USER",
    ],
)
def test_no_claim_passes_for_who_it_is_and_who_says_so(name):
    for values in (
        {name: ADMIN},
        {"sub": ("alice",), "iss": ("idp",), name: ADMIN},
        {name: ADMIN, "sub": ("alice",)},
    ):
        found = of_openid("idp", "alice", values)
        for key in (
            "sub",
            "OIDC-sub",
            "OIDC_CLAIM_sub",
            "HTTP_OIDC_SUB",
            "HTTP_OIDC_CLAIM_SUB",
            "REMOTE_USER",
        ):
            assert found[key] == ("alice",), key
        for key in ("iss", "OIDC-iss", "OIDC_CLAIM_iss", "HTTP_OIDC_ISS", "HTTP_OIDC_CLAIM_ISS"):
            assert found[key] == ("idp",), key


def test_no_claim_passes_for_another_by_its_name():
    said = {"groups": ("dev",), "OIDC-groups": ADMIN, "HTTP_OIDC_GROUPS": ADMIN}
    found = of_openid("idp", "alice", said)
    assert {found[key] for key in ("groups", "OIDC-groups", "HTTP_OIDC_GROUPS")} == {("dev",)}
    saml = of_saml("idp", "alice", {"mail": ("a",), "MELLON_mail": ADMIN, "urn:x.y": ("z",)})
    assert (saml["MELLON_mail"], saml["MELLON_urn_x_y"]) == (("a",), ("z",))


@pytest.mark.parametrize(
    "name", ["REMOTE_USER", "NAME_ID", "MELLON_NAME_ID", "MELLON_IDP", "Shib-Identity-Provider", "IDP"]
)
def test_no_attribute_passes_for_the_subject_or_the_provider(name):
    found = of_saml("idp", "alice", {name: ADMIN})
    assert {found[key] for key in ("REMOTE_USER", "NAME_ID", "MELLON_NAME_ID")} == {("alice",)}
    assert {found[key] for key in ("MELLON_IDP", "Shib-Identity-Provider")} == {("idp",)}
