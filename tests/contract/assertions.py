"""A SAML identity provider in the test itself: it signs what a test wants said."""

import base64
import os
import re
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from lxml import etree

from pileus.drivers.federation.protocol import KeyPair
from pileus.drivers.federation.saml.assertions import BEARER, SUCCESS, sign
from pileus.drivers.federation.saml.xml import instant, new, write

ENTITY = "https://saml.example/idp"
METADATA = """<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{entity}">
<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>
<ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{entity}/slo"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{entity}/sso"/>
</md:IDPSSODescriptor></md:EntityDescriptor>"""

ENCRYPTED = """<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><xenc:EncryptedData
 xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" Type="http://www.w3.org/2001/04/xmlenc#Element">
<xenc:EncryptionMethod Algorithm="{method}"/><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
<xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="{transport}">{how}</xenc:EncryptionMethod>
<xenc:CipherData><xenc:CipherValue>{key}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>
<xenc:CipherData><xenc:CipherValue>{content}</xenc:CipherValue></xenc:CipherData>
</xenc:EncryptedData></saml:EncryptedAssertion>"""
HOW: dict[Any, str] = {
    hashes.SHA1: "",
    hashes.SHA256: '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    '<x11:MGF xmlns:x11="http://www.w3.org/2009/xmlenc11#" Algorithm="http://www.w3.org/2009/xmlenc11#mgf1sha256"/>',
}


@cache
def pair(name: str = "idp") -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(key=private, certificate=certificate.public_bytes(serialization.Encoding.PEM))


def metadata() -> str:
    lines = pair().certificate.decode().splitlines()
    return METADATA.format(entity=ENTITY, certificate="".join(lines[1:-1]))


def asked(location: str) -> dict[str, str]:
    """What a redirection to the provider asks: its id, where the answer goes, who asks, and the state."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    text = zlib.decompress(base64.b64decode(query["SAMLRequest"]), -15).decode()
    found = {"state": query.get("RelayState", "")}
    for name in ("ID", "AssertionConsumerServiceURL"):
        matched = re.search(f'{name}="([^"]+)"', text)
        found[name] = matched[1].replace("&amp;", "&") if matched else ""
    issuer = re.search(r"Issuer[^>]*>([^<]+)<", text)
    found["issuer"] = issuer[1].replace("&amp;", "&") if issuer else ""
    return found


def respond(to: dict[str, str], name: str, **change: Any) -> str:
    """A Response with a signed assertion that `name` has logged in. `change`: recipient, audience, answers, issuer,
    ends, signer (None: not signed), status, attributes, session (its end; None: no login is told of)."""
    now = change.get("now", datetime.now(UTC))
    common = {"Version": "2.0", "IssueInstant": instant(now)}
    recipient = change.get("recipient", to["AssertionConsumerServiceURL"])
    answers = change.get("answers", to["ID"])
    end = instant(now + change.get("ends", timedelta(minutes=5)))
    issuer = change.get("issuer", ENTITY)
    response = new("samlp:Response", ID=f"_{uuid4().hex}", InResponseTo=to["ID"], **common)
    new("saml:Issuer", response, issuer)
    new("samlp:StatusCode", new("samlp:Status", response), Value=change.get("status", SUCCESS))
    assertion = new("saml:Assertion", ID=f"_{uuid4().hex}", **common)
    new("saml:Issuer", assertion, issuer)
    signer = change.get("signer", pair())
    if signer is not None:
        new("ds:Signature", assertion, Id="placeholder")
    subject = new("saml:Subject", assertion)
    new("saml:NameID", subject, name)
    confirmation = new("saml:SubjectConfirmation", subject, Method=BEARER)
    new(
        "saml:SubjectConfirmationData",
        confirmation,
        NotOnOrAfter=end,
        Recipient=recipient,
        InResponseTo=answers,
    )
    conditions = new("saml:Conditions", assertion, NotOnOrAfter=end)
    new("saml:Audience", new("saml:AudienceRestriction", conditions), change.get("audience", to["issuer"]))
    if change.get("session", True) is not None:
        over = {"SessionNotOnOrAfter": instant(now + change["session"])} if "session" in change else {}
        new("saml:AuthnStatement", assertion, AuthnInstant=instant(now), **over)
    stated = new("saml:AttributeStatement", assertion)
    for key, value in change.get("attributes", {"mail": f"{name}@example.org"}).items():
        new("saml:AttributeValue", new("saml:Attribute", stated, Name=key), value)
    response.append(sign(assertion, signer) if signer is not None else assertion)
    return write(response)


def encrypted(
    response: str,
    pair: KeyPair,
    method: str = "http://www.w3.org/2009/xmlenc11#aes256-gcm",
    transport: str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p",
    digest: hashes.HashAlgorithm | None = None,
    assertion: str | None = None,
) -> str:
    """The response with its assertion (or another text in its place) encrypted for the certificate."""
    root = etree.fromstring(response.encode())
    plain = root.find("{*}Assertion")
    text = etree.tostring(plain, with_tail=False) if assertion is None else assertion.encode()
    key = os.urandom(16 if "128" in method else 32)
    if method.endswith("gcm"):
        nonce = os.urandom(12)
        content = nonce + AESGCM(key).encrypt(nonce, text, None)
    else:
        vector, filled = os.urandom(16), 16 - len(text) % 16
        cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        content = vector + cipher.update(text + os.urandom(filled - 1) + bytes([filled])) + cipher.finalize()
    public: Any = x509.load_pem_x509_certificate(pair.certificate).public_key()
    if transport.endswith("rsa-1_5"):
        wrapped, how = public.encrypt(key, padding.PKCS1v15()), ""
    else:
        used = digest or hashes.SHA1()
        mask = used if transport.startswith("http://www.w3.org/2009") else hashes.SHA1()
        wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(mask), used, None))
        how = HOW[type(used)] if mask is used else HOW[type(used)].partition("<x11")[0]
    hidden = ENCRYPTED.format(
        method=method,
        transport=transport,
        how=how,
        key=base64.b64encode(wrapped).decode(),
        content=base64.encodebytes(content).decode(),
    )
    root.replace(plain, etree.fromstring(hidden))
    return etree.tostring(root).decode()


def recipient(metadata: str) -> KeyPair:
    """The certificate for which a service provider's metadata lets one encrypt; its key is not ours to know."""
    found = re.search(r'use="encryption".*?X509Certificate[^>]*>([^<]+)<', metadata, re.DOTALL)
    assert found is not None, metadata
    pem = f"-----BEGIN CERTIFICATE-----\n{found[1]}\n-----END CERTIFICATE-----\n"
    return KeyPair(key=b"", certificate=pem.encode())


def unreadable(response: str, to: KeyPair) -> list[str]:
    """Encrypted messages that must be refused, each for another cause."""
    cbc = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
    good = encrypted(response, to, cbc)
    content = re.findall(r"<xenc:CipherValue>([^<]*)<", good)[1]
    first, last = bytearray(base64.b64decode(content)), bytearray(base64.b64decode(content))
    first[0] ^= 1
    last[-17] ^= 255
    changed = [good.replace(content, base64.b64encode(each).decode()) for each in (first, last)]
    return [
        *changed,
        good.replace("rsa-oaep-mgf1p", "rsa-1_5"),
        encrypted(response, to, transport="http://www.w3.org/2001/04/xmlenc#rsa-1_5"),
        encrypted(response, pair("somebody else")),
        encrypted(response, to, assertion="no assertion"),
        encrypted(re.sub(r"<ds:Signature.*</ds:Signature>", "", response, flags=re.DOTALL), to),
    ]


def form(response: str) -> str:
    return base64.b64encode(response.encode()).decode()
