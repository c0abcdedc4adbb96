"""A SAML identity provider in the test itself: it signs what a test wants said."""

import base64
import re
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

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
    ends, signer (None: not signed), status, attributes."""
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
    stated = new("saml:AttributeStatement", assertion)
    for key, value in change.get("attributes", {"mail": f"{name}@example.org"}).items():
        new("saml:AttributeValue", new("saml:Attribute", stated, Name=key), value)
    response.append(sign(assertion, signer) if signer is not None else assertion)
    return write(response)


def form(response: str) -> str:
    return base64.b64encode(response.encode()).decode()
