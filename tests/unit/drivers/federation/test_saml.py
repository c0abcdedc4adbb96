"""What makes an assertion good: everything else is refused, whoever it is that signs."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import Assertion, KeyPair, Party, Statement
from pileus.drivers.federation.saml import SamlMessages
from pileus.drivers.federation.saml.assertions import sign
from pileus.drivers.federation.saml.metadata import bare
from pileus.drivers.federation.saml.xml import instant, read, write
from tests.contract.assertions import ENTITY, asked, form, metadata, pair, respond

PARTY = Party(entity="https://cloud.example/service", consumer="https://cloud.example/consumer")
OURS = pair("cloud")
NOW = datetime.now(UTC)
DOCTYPE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.fixture
def saml() -> SamlMessages:
    return SamlMessages()


@pytest.fixture
async def to(saml: SamlMessages) -> dict[str, str]:
    location = await saml.request(PARTY, metadata(), id="_asked", state="back", at=NOW)
    assert location.startswith(f"{ENTITY}/sso?SAMLRequest=")
    found = asked(location)
    assert found == {
        "ID": "_asked",
        "AssertionConsumerServiceURL": PARTY.consumer,
        "issuer": PARTY.entity,
        "state": "back",
    }
    return found


async def accept(saml: SamlMessages, message: str, at: datetime = NOW) -> Assertion:
    return await saml.accept(PARTY, metadata(), message.encode(), at=at, pair=OURS)


@pytest.mark.parametrize("wrap", [str, form], ids=["XML", "a form"])
async def test_a_good_assertion_says_who_it_is(saml, to, wrap):
    said = await accept(saml, wrap(respond(to, "alice")))
    assert (said.subject, said.issuer, said.in_response_to) == ("alice", ENTITY, "_asked")
    assert said.values == {"mail": ("alice@example.org",)}
    assert said.until > NOW


@pytest.mark.parametrize(
    "change",
    [
        {"signer": None},
        {"signer": pair("somebody else")},
        {"issuer": "https://other.example"},
        {"recipient": "https://other.example/consumer"},
        {"audience": "https://other.example/service"},
        {"answers": "_other"},
        {"ends": timedelta(minutes=-5)},
        {"status": "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"},
        {"session": None},
        {"session": timedelta(minutes=-5)},
    ],
    ids=lambda change: " ".join(f"{name} {type(value).__name__}" for name, value in change.items()),
)
async def test_one_that_is_not_meant_for_us_now_is_refused(saml, to, change):
    with pytest.raises(Refused):
        await accept(saml, respond(to, "alice", **change))


async def test_its_time_passes(saml, to):
    response = respond(to, "alice")
    with pytest.raises(Refused, match="time is over"):
        await accept(saml, response, NOW + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("before", "after"),
    [(">alice<", ">admin<"), ("alice@example.org", "admin@example.org"), (">alice<", ">ad<!-- x -->min<")],
)
async def test_what_is_changed_after_signing_is_refused(saml, to, before, after):
    response = respond(to, "alice")
    assert before in response
    with pytest.raises(Refused):
        await accept(saml, response.replace(before, after))


async def test_a_comment_splits_no_name(saml, to):
    said = await accept(saml, respond(to, "alice").replace(">alice<", ">al<!-- x -->ice<"))
    assert said.subject == "alice"


def assertion_of(response: str) -> str:
    found = re.search(r"<saml:Assertion.*</saml:Assertion>", response, re.DOTALL)
    assert found is not None
    return found[0]


async def test_a_signed_assertion_covers_no_other(saml, to):
    """Signature wrapping: the signed one is there, and beside it, around it or within it another."""
    response = respond(to, "alice")
    good = assertion_of(response)
    evil = re.sub(r"<ds:Signature.*</ds:Signature>", "", good, flags=re.DOTALL).replace(">alice<", ">admin<")
    evil = re.sub(r' ID="[^"]+"', ' ID="_evil"', evil, count=1)
    moved = re.search(r"<ds:Signature.*</ds:Signature>", good, re.DOTALL)
    assert moved is not None
    signature = moved[0].replace("</ds:Signature>", f"<ds:Object>{good}</ds:Object></ds:Signature>")
    issuer_end = evil.index("</saml:Issuer>") + len("</saml:Issuer>")
    around = f"{evil[:issuer_end]}{signature}{evil[issuer_end:]}"
    key = re.search(r' ID="([^"]+)"', good)
    assert key is not None
    same = around.replace('ID="_evil"', f'ID="{key[1]}"')
    within = evil.replace("</saml:Assertion>", f"{good}</saml:Assertion>")
    for wrapped in (evil + good, good + evil, evil, around, same, within):
        with pytest.raises(Refused):
            await accept(saml, response.replace(good, wrapped))


async def test_a_signed_response_is_as_good_as_a_signed_assertion(saml, to):
    response = read(respond(to, "alice", signer=None).encode(), "it")
    whole = write(sign(response, pair()))
    assert (await accept(saml, whole)).subject == "alice"
    with pytest.raises(Refused):
        await accept(saml, whole.replace(">alice<", ">admin<"))


@pytest.mark.parametrize(
    "message",
    ["", "x", "<a/>", "%%%", f"{DOCTYPE}<a>&e;</a>", "<a>" * 10_000, "PGEvPg=="],
)
async def test_what_is_no_response_is_refused(saml, message):
    with pytest.raises(Refused):
        await accept(saml, message)


@pytest.mark.parametrize("document", ["", "x", "<a/>", f"{DOCTYPE}<a>&e;</a>"])
async def test_metadata_that_names_no_provider_is_refused(saml, document):
    with pytest.raises(Refused):
        await saml.entities(document)


async def test_metadata_names_its_providers(saml):
    assert await saml.entities(metadata()) == [(ENTITY, ENTITY)]
    spaces = 'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
    several = f"<md:EntitiesDescriptor {spaces}>{metadata()}</md:EntitiesDescriptor>"
    assert await saml.entities(several) == [(ENTITY, ENTITY)]


async def test_we_believe_ourselves_as_another_cloud_would(saml):
    """Unasked, without an audience, bound to us by its recipient; and within the envelope of a program."""
    ours: KeyPair = pair("cloud")
    described = await saml.describe_provider("https://sky/idp", "https://sky/sso", ours)
    statement = Statement(
        issuer="https://sky/idp",
        recipient=PARTY.consumer,
        subject="bob",
        values={"openstack_roles": ("member", "reader")},
        id="1",
        issued_at=NOW,
        until=NOW + timedelta(minutes=5),
        session="1",
    )
    response = await saml.issue(statement, ours)
    wrapped = await saml.wrapped(response, recipient=PARTY.consumer, state="ss:mem:1")
    assert await saml.relayed(wrapped.encode()) == "ss:mem:1"
    for message in (response, wrapped):
        said = await saml.accept(PARTY, described, message.encode(), at=NOW, pair=OURS)
        assert (said.subject, said.in_response_to) == ("bob", "")
        assert said.values["openstack_roles"] == ("member", "reader")
    with pytest.raises(Refused):
        await saml.accept(PARTY, metadata(), response.encode(), at=NOW, pair=OURS)


async def test_an_envelope_asks_and_carries_the_state(saml):
    text = await saml.envelope(PARTY, id="_1", state="sealed", at=NOW)
    assert f'responseConsumerURL="{PARTY.consumer}"' in text
    assert await saml.relayed(text.encode()) == "sealed"


async def test_a_logout_goes_where_the_metadata_says(saml):
    where = await saml.logout(PARTY, metadata(), id="_1", subject="alice", at=NOW)
    assert where.startswith(f"{ENTITY}/slo?SAMLRequest=")
    bare = metadata().replace("SingleLogoutService", "ArtifactResolutionService")
    assert await saml.logout(PARTY, bare, id="_1", subject="alice", at=NOW) == ""


async def test_our_metadata_says_where_answers_go(saml):
    text = await saml.describe_service(PARTY, OURS)
    assert text.count(f'Location="{PARTY.consumer}"') == 2
    assert f'entityID="{PARTY.entity}"' in text
    assert text.count('use="encryption"') == 1
    assert bare(OURS.certificate) in text
    assert "rsa-1_5" not in text


async def test_of_several_providers_the_one_that_is_named_is_asked(saml):
    spaces = 'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
    other = metadata().replace(ENTITY, "https://second.example")
    several = f"<md:EntitiesDescriptor {spaces}>{metadata()}{other}</md:EntitiesDescriptor>"
    sent = {"id": "_1", "state": "s", "at": NOW}
    assert (await saml.request(PARTY, several, **sent)).startswith(f"{ENTITY}/sso")
    where = await saml.request(PARTY, several, **sent, entity="https://second.example")
    assert where.startswith("https://second.example/sso")
    with pytest.raises(Refused):
        await saml.request(PARTY, several, **sent, entity="https://third.example")


async def test_a_provider_does_not_speak_for_another(saml, to):
    """Both are named by one document; the second's key signs what is said in the first's name."""
    spaces = 'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
    theirs = bare(pair("second").certificate)
    other = metadata().replace(ENTITY, "https://second.example").replace(bare(pair().certificate), theirs)
    several = f"<md:EntitiesDescriptor {spaces}>{metadata()}{other}</md:EntitiesDescriptor>"
    forged = read(respond(to, "alice", signer=None).encode(), "it")
    renamed = write(forged).replace(ENTITY, "https://second.example", 1)
    for text in (
        write(sign(forged, pair("second"))),
        write(sign(read(renamed.encode(), "it"), pair("second"))),
    ):
        with pytest.raises(Refused):
            await saml.accept(PARTY, several, text.encode(), at=NOW, pair=OURS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"<ds:SignatureValue>[^<]*", "<ds:SignatureValue>"),
        (r"<ds:SignatureValue>[^<]*", "<ds:SignatureValue>%%%"),
        (r"<ds:DigestValue>[^<]*", "<ds:DigestValue>"),
        (r"rsa-sha256", "rsa-sha1"),
        (r"rsa-sha256", "hmac-sha256"),
        (r"rsa-sha256", "ecdsa-sha256"),
        (r"rsa-sha256", "nothing"),
        (r'URI="#[^"]*"', 'URI="#none"'),
        (r'URI="#[^"]*"', 'URI="http://127.0.0.1:1/"'),
        (r"xml-exc-c14n#", "none"),
        (r"<ds:SignedInfo.*</ds:SignedInfo>", ""),
        (r"</saml:Assertion>", "</saml:Assertion>text"),
        (r'ID="(_[^"]+)"', 'ID=""'),
    ],
)
async def test_a_signature_that_is_none_is_refused(saml, to, before, after):
    response = respond(to, "alice")
    changed = re.sub(before, after, response, flags=re.DOTALL)
    assert changed != response
    if "text" in after:
        assert (await accept(saml, changed)).subject == "alice"
        return
    with pytest.raises(Refused):
        await accept(saml, changed)


async def test_a_response_whose_signature_is_bad_is_refused_whatever_its_assertion_is(saml, to):
    whole = write(sign(read(respond(to, "alice").encode(), "it"), pair("somebody else")))
    with pytest.raises(Refused):
        await accept(saml, whole)


def resigned(response: str, change: Callable[[str], str]) -> str:
    """What the provider itself says otherwise."""
    return write(sign(read(change(response).encode(), "it"), pair()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("</saml:Conditions>", "<saml:Condition/></saml:Conditions>"),
        (r'NotOnOrAfter="[^"]*"', 'NotOnOrAfter="9999-12-31T23:59:59Z"'),
        (r'NotOnOrAfter="[^"]*"', 'NotOnOrAfter="soon"'),
        (r' ID="_[^"]*"(?=[^>]*><saml:Issuer>[^<]*</saml:Issuer><saml:Subject>)', ""),
    ],
    ids=["an unknown condition", "no end in sight", "no time", "no id"],
)
async def test_what_a_provider_may_not_say_is_refused(saml, to, before, after):
    response = respond(to, "alice", signer=None)
    changed = resigned(response, lambda text: re.sub(before, after, text))
    assert (await accept(saml, resigned(response, str))).subject == "alice"
    with pytest.raises(Refused):
        await accept(saml, changed)


async def test_an_assertion_is_remembered_as_long_as_any_of_its_confirmations_lets_in(saml, to):
    response = respond(to, "alice", signer=None)
    later = NOW + timedelta(hours=2)
    second = re.search(r"<saml:SubjectConfirmation .*</saml:SubjectConfirmation>", response, re.DOTALL)
    assert second is not None
    longer = re.sub(r'NotOnOrAfter="[^"]*"', f'NotOnOrAfter="{instant(later)}"', second[0])
    said = await accept(saml, resigned(response, lambda text: text.replace(second[0], second[0] + longer)))
    assert said.until >= later.replace(microsecond=0)
