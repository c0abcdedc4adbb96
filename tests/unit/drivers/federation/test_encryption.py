"""Encrypted assertions: what providers send is read, and what is encrypted is believed no more than what is not."""

import base64
import re
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import Assertion, Party
from pileus.drivers.federation.saml import SamlMessages
from pileus.drivers.federation.saml.assertions import sign
from pileus.drivers.federation.saml.xml import MOST_BYTES, read, write
from tests.contract.assertions import ENTITY, encrypted, metadata, pair, respond

PARTY = Party(entity="https://cloud.example/service", consumer="https://cloud.example/consumer")
OURS = pair("cloud")
NOW = datetime.now(UTC)
TO = {"ID": "_asked", "AssertionConsumerServiceURL": PARTY.consumer, "issuer": PARTY.entity}
XENC, XENC11 = "http://www.w3.org/2001/04/xmlenc#", "http://www.w3.org/2009/xmlenc11#"
PARAMETERS = "<xenc:OAEPparams>AA==</xenc:OAEPparams>"
GCM, CBC = f"{XENC11}aes128-gcm", f"{XENC}aes256-cbc"


async def accept(message: str) -> Assertion:
    return await SamlMessages().accept(PARTY, metadata(), message.encode(), at=NOW, pair=OURS)


def signed(response: str) -> str:
    """The response as a whole."""
    return write(sign(read(response.encode(), "it"), pair()))


def assertion_of(response: str) -> str:
    found = re.search(r"<saml:Assertion.*</saml:Assertion>", response, re.DOTALL)
    assert found is not None
    return found[0]


def values(response: str) -> list[str]:
    """The wrapped key, and the content."""
    return re.findall(r"<xenc:CipherValue>([^<]*)</xenc:CipherValue>", response)


@pytest.mark.parametrize(
    ("method", "transport", "digest"),
    [
        (f"{XENC}aes128-cbc", f"{XENC}rsa-oaep-mgf1p", hashes.SHA1()),
        (CBC, f"{XENC}rsa-oaep-mgf1p", hashes.SHA256()),
        (GCM, f"{XENC11}rsa-oaep", hashes.SHA1()),
        (f"{XENC11}aes256-gcm", f"{XENC11}rsa-oaep", hashes.SHA256()),
    ],
    ids=lambda value: value.name if isinstance(value, hashes.HashAlgorithm) else value.partition("#")[2],
)
async def test_what_providers_encrypt_with_is_read(method, transport, digest):
    hidden = encrypted(respond(TO, "alice"), OURS, method, transport, digest)
    assert "alice" not in hidden
    said = await accept(hidden)
    assert (said.subject, said.issuer, said.in_response_to) == ("alice", ENTITY, "_asked")
    assert said.values == {"mail": ("alice@example.org",)}


@pytest.mark.parametrize("signer", [None, pair()], ids=["the response alone", "both"])
async def test_the_response_may_be_signed_around_it(signer):
    hidden = signed(encrypted(respond(TO, "alice", signer=signer), OURS))
    assert (await accept(hidden)).subject == "alice"
    other = values(encrypted(respond(TO, "mallory", signer=signer), OURS))
    changed = hidden
    for before, after in zip(values(hidden), other, strict=True):
        changed = changed.replace(before, after)
    with pytest.raises(Refused, match="signature"):
        await accept(changed)


async def test_a_key_beside_the_data_is_found():
    """Where Shibboleth puts it when there are several recipients: the data only refers to it."""
    hidden = encrypted(respond(TO, "alice"), OURS)
    key = re.search(r"<xenc:EncryptedKey.*</xenc:EncryptedKey>", hidden, re.DOTALL)
    assert key is not None
    pointer = f'<ds:RetrievalMethod Type="{XENC}EncryptedKey" URI="#k"/>'
    named = key[0].replace(
        "<xenc:EncryptedKey", '<xenc:EncryptedKey xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="k"'
    )
    moved = hidden.replace(key[0], pointer).replace("</xenc:EncryptedData>", f"</xenc:EncryptedData>{named}")
    moved = moved.replace("<saml:EncryptedAssertion", f'<saml:EncryptedAssertion xmlns:xenc="{XENC}"')
    assert (await accept(moved)).subject == "alice"


@pytest.mark.parametrize("prefixes", ["saml", "xs"])
async def test_prefixes_that_are_declared_around_it_are_known(prefixes):
    response = respond(TO, "alice", signer=None if prefixes == "xs" else pair())
    plain = assertion_of(response)
    if prefixes == "xs":
        plain = plain.replace("<saml:AttributeValue>", '<saml:AttributeValue xsi:type="xs:string">')
        hidden = signed(encrypted(response, OURS, assertion=plain))
    else:
        plain = plain.replace(' xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"', "", 1)
        hidden = encrypted(response, OURS, assertion=plain)
    assert (await accept(hidden)).subject == "alice"


@pytest.mark.parametrize(
    "change",
    [{"signer": None}, {"signer": pair("somebody else")}, {"audience": "x"}, {"answers": "_other"}],
    ids=lambda change: " ".join(f"{name} {type(value).__name__}" for name, value in change.items()),
)
async def test_everybody_can_encrypt_so_that_proves_nothing(change):
    with pytest.raises(Refused):
        await accept(encrypted(respond(TO, "alice", **change), OURS))


async def test_one_who_comes_beside_a_good_one_is_refused():
    response = respond(TO, "alice")
    evil = re.sub(r"<ds:Signature.*</ds:Signature>", "", assertion_of(response), flags=re.DOTALL)
    evil = evil.replace(">alice<", ">admin<")
    hidden = encrypted(response, OURS)
    block = re.search(r"<saml:EncryptedAssertion.*</saml:EncryptedAssertion>", hidden, re.DOTALL)
    assert block is not None
    for text in (block[0] + evil, evil + block[0], block[0] * 2):
        with pytest.raises(Refused, match="holds 2 assertions"):
            await accept(hidden.replace(block[0], text))
    for text in (
        evil + assertion_of(response),
        f"{evil[: -len('</saml:Assertion>')]}{assertion_of(response)}</saml:Assertion>",
    ):
        with pytest.raises(Refused):
            await accept(encrypted(response, OURS, assertion=text))
        with pytest.raises(Refused):
            await accept(encrypted(response, OURS, assertion=text.replace("_", "-", 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "<saml:Assertion>",
        "</around><around>",
        "<a/>",
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        "<?xml version='1.0'?><a/>",
        "<none:a/>",
        "\0",
    ],
)
async def test_what_is_no_assertion_inside_is_refused(text):
    with pytest.raises(Refused, match="cannot be decrypted"):
        await accept(encrypted(respond(TO, "alice"), OURS, assertion=text))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("rsa-oaep-mgf1p", "rsa-1_5", "RSA 1.5"),
        ("rsa-oaep-mgf1p", "kw-aes128", "RSA-OAEP is read"),
        ("aes128-gcm", "aes192-gcm", "AES-GCM and AES-CBC"),
        ("2009/xmlenc11#aes128-gcm", "2001/04/xmlenc#tripledes-cbc", "AES-GCM and AES-CBC"),
        ("aes128-gcm", "aes256-gcm", "a key of 16 bytes"),
        ('Type="http://www.w3.org/2001/04/xmlenc#Element"', 'Type="other"', "not as an element"),
        ("<xenc:EncryptedKey>", "<xenc:EncryptedKey/><xenc:EncryptedKey>", "2 EncryptedKey"),
        (r"<xenc:EncryptedKey>.*</xenc:EncryptedKey>", "", "0 EncryptedKey"),
        (r"<xenc:EncryptionMethod [^>]*/>", "", "is encrypted by ''"),
        (r'(rsa-oaep-mgf1p")/>', rf"\1>{PARAMETERS}</xenc:EncryptionMethod>", "OAEP parameters"),
        (r"(<xenc:CipherValue>)[^<]*", r"\1%", "not base64"),
        (r"(<xenc:CipherValue>)[^<]*", r"\1", "not wrapped for our certificate"),
    ],
)
async def test_what_is_not_read_is_refused_for_the_log_with_its_cause(before, after, why):
    hidden = encrypted(respond(TO, "alice"), OURS, GCM)
    changed = re.sub(before, after, hidden, count=1, flags=re.DOTALL)
    assert changed != hidden
    with pytest.raises(Refused, match=f"cannot be decrypted.*{why}"):
        await accept(changed)


async def test_what_is_encrypted_for_somebody_else_is_refused():
    with pytest.raises(Refused, match="not wrapped for our certificate"):
        await accept(encrypted(respond(TO, "alice"), pair("somebody else")))


@pytest.mark.parametrize("method", [GCM, CBC])
async def test_a_changed_bit_is_refused_wherever_it_is(method):
    hidden = encrypted(respond(TO, "alice"), OURS, method)
    content = values(hidden)[1]
    raw = base64.b64decode(content)
    for place in (0, 16, len(raw) // 2, len(raw) - 17, len(raw) - 1):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(Refused):
            await accept(hidden.replace(content, base64.b64encode(changed).decode()))
    for length in (0, 16, 27, len(raw) - 1):
        with pytest.raises(Refused):
            await accept(hidden.replace(content, base64.b64encode(raw[:length]).decode()))


async def test_what_is_too_long_is_not_begun():
    hidden = encrypted(respond(TO, "alice"), OURS)
    with pytest.raises(Refused, match="bytes"):
        await accept(hidden.replace(values(hidden)[1], "A" * MOST_BYTES))
