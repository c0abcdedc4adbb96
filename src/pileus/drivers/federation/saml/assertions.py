"""Assertions: what a signed one says, when it is meant for us now; and those that we sign ourselves."""

from datetime import datetime, timedelta
from typing import Any

from signxml.algorithms import DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.exceptions import InvalidInput, InvalidSignature
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import Assertion, KeyPair, Party, Statement
from pileus.drivers.federation.saml.metadata import Entity
from pileus.drivers.federation.saml.xml import (
    DS,
    SAML,
    SAMLP,
    Element,
    every,
    find,
    instant,
    moment,
    new,
    read,
    text_of,
    write,
)

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SKEW = timedelta(seconds=60)
"""By which clocks may differ."""
LONGEST = timedelta(hours=8)
"""For which an assertion without an end is remembered."""
METHODS = frozenset(
    method for method in SignatureMethod if "HMAC" not in method.name and "SHA1" not in method.name
)
"""By key pairs; SHA-1 proves nothing any more."""
CONFIGURATION = SignatureConfiguration(
    location="./", require_x509=True, expect_references=1, signature_methods=METHODS
)


def accept(party: Party, entities: list[Entity], response: Element, at: datetime) -> Assertion:
    """Everything is read from what the signature covers, and from nothing else. Raises Refused."""
    if response.tag != f"{{{SAMLP}}}Response":
        raise Refused("the message is no SAML response")
    status = find(response, "samlp:Status/samlp:StatusCode")
    if status is None or status.get("Value") != SUCCESS:
        raise Refused(f"the provider says {text_of(find(response, 'samlp:Status'))[:200] or 'no success'}")
    if response.get("Destination") not in (None, party.consumer):
        raise Refused(f"the response was sent to {response.get('Destination')}")
    inside = every(response, "saml:Assertion")
    if len(inside) != 1:
        several = (
            "encrypted ones are not read" if find(response, "saml:EncryptedAssertion") is not None else ""
        )
        raise Refused(f"the response holds {len(inside)} assertions {several}".strip())
    entity = named(entities, text_of(find(inside[0], "saml:Issuer")))
    assertion = signed(response, inside[0], entity)
    if text_of(find(assertion, "saml:Issuer")) != entity.id:
        raise Refused("the signed assertion has another issuer")
    asked = confirmed(assertion, party, at)
    if response.get("InResponseTo", "") != asked:
        raise Refused("response and assertion answer different requests")
    until = conditions(assertion, party, at, solicited=bool(asked))
    subject = text_of(find(assertion, "saml:Subject/saml:NameID"))
    if not subject:
        raise Refused("the assertion names no subject")
    return Assertion(
        id=str(assertion.get("ID", "")),
        issuer=entity.id,
        subject=subject,
        values=attributes(assertion),
        until=until,
        in_response_to=asked,
    )


def named(entities: list[Entity], issuer: str) -> Entity:
    for entity in entities:
        if entity.id == issuer:
            return entity
    raise Refused(f"the assertion is of {issuer[:200]!r}, which the metadata does not name")


def signed(response: Element, assertion: Element, entity: Entity) -> Element:
    """The assertion as the provider signed it: itself, or within the response that it signed."""
    for whole in (assertion, response):
        if whole.find(f"{{{DS}}}Signature") is None:
            continue
        covered = verified(whole, entity)
        if covered.tag != whole.tag or covered.get("ID") != whole.get("ID"):
            raise Refused("the signature covers something else")
        if covered.tag == f"{{{SAML}}}Assertion":
            return covered
        inside = every(covered, "saml:Assertion")
        if len(inside) == 1:
            return inside[0]
    raise Refused("neither the assertion nor the response is signed")


def verified(element: Element, entity: Entity) -> Element:
    content = write(element).encode()
    why: Exception | None = None
    for certificate in entity.certificates:
        try:
            found: Any = XMLVerifier().verify(
                content, x509_cert=certificate, expect_config=CONFIGURATION, id_attribute="ID"
            )
            return read(found.signed_data, "the signed part")
        except (InvalidSignature, InvalidInput, ValueError) as error:
            why = error
    raise Refused(f"the signature is not by a key of {entity.id}: {why or 'it has none'}") from why


def confirmed(assertion: Element, party: Party, at: datetime) -> str:
    """The request that it answers (empty: none), by the confirmation that is good for us."""
    why = "it has no bearer confirmation"
    for confirmation in every(assertion, "saml:Subject/saml:SubjectConfirmation"):
        data = find(confirmation, "saml:SubjectConfirmationData")
        if confirmation.get("Method") != BEARER or data is None:
            continue
        end = moment(data.get("NotOnOrAfter"))
        start = moment(data.get("NotBefore"))
        if data.get("Recipient") != party.consumer:
            why = f"it is meant for {data.get('Recipient')}"
        elif end is None or end + SKEW <= at or (start is not None and start - SKEW > at):
            why = "its time is over, or yet to come"
        else:
            return str(data.get("InResponseTo", ""))
    raise Refused(f"the assertion does not let in here: {why}")


def conditions(assertion: Element, party: Party, at: datetime, *, solicited: bool) -> datetime:
    """Until when it is good. One that we asked for must name us as its audience; one that another cloud sends of its
    own accord is bound to us by its recipient."""
    held = find(assertion, "saml:Conditions")
    start = moment(held.get("NotBefore")) if held is not None else None
    end = moment(held.get("NotOnOrAfter")) if held is not None else None
    if (start is not None and start - SKEW > at) or (end is not None and end + SKEW <= at):
        raise Refused("the assertion's time is over, or yet to come")
    restrictions = every(held, "saml:AudienceRestriction") if held is not None else []
    if solicited and not restrictions:
        raise Refused("the assertion names no audience")
    for restriction in restrictions:
        if party.entity not in [text_of(each) for each in every(restriction, "saml:Audience")]:
            raise Refused("the assertion is for another audience")
    data = find(assertion, "saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData")
    ends = [moment(data.get("NotOnOrAfter")) if data is not None else None, end]
    return max((each for each in ends if each is not None), default=at + LONGEST) + SKEW


def attributes(assertion: Element) -> dict[str, tuple[str, ...]]:
    """By name, and by the friendly name where there is one."""
    found: dict[str, tuple[str, ...]] = {}
    for attribute in every(assertion, "saml:AttributeStatement/saml:Attribute"):
        values = tuple(text_of(value) for value in every(attribute, "saml:AttributeValue"))
        for name in (attribute.get("Name"), attribute.get("FriendlyName")):
            if name:
                found[name] = (*found.get(name, ()), *values)
    return found


def issue(statement: Statement, pair: KeyPair) -> str:
    """A response with one assertion, both of them signed."""
    common = {"Version": "2.0", "IssueInstant": instant(statement.issued_at)}
    response = new("samlp:Response", ID=f"_r{statement.id}", Destination=statement.recipient, **common)
    new("saml:Issuer", response, statement.issuer)
    new("ds:Signature", response, Id="placeholder")
    new("samlp:StatusCode", new("samlp:Status", response), Value=SUCCESS)
    assertion = new("saml:Assertion", ID=f"_a{statement.id}", **common)
    new("saml:Issuer", assertion, statement.issuer)
    new("ds:Signature", assertion, Id="placeholder")
    subject = new("saml:Subject", assertion)
    new(
        "saml:NameID",
        subject,
        statement.subject,
        Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    )
    end = instant(statement.until)
    confirmation = new("saml:SubjectConfirmation", subject, Method=BEARER)
    new("saml:SubjectConfirmationData", confirmation, NotOnOrAfter=end, Recipient=statement.recipient)
    new("saml:Conditions", assertion, NotBefore=instant(statement.issued_at - SKEW), NotOnOrAfter=end)
    authentication = new(
        "saml:AuthnStatement",
        assertion,
        AuthnInstant=instant(statement.issued_at),
        SessionIndex=statement.session,
        SessionNotOnOrAfter=end,
    )
    context = new("saml:AuthnContext", authentication)
    new("saml:AuthnContextClassRef", context, "urn:oasis:names:tc:SAML:2.0:ac:classes:Password")
    new("saml:AuthenticatingAuthority", context, statement.issuer)
    stated = new("saml:AttributeStatement", assertion)
    for name, values in statement.values.items():
        attribute = new(
            "saml:Attribute",
            stated,
            Name=name,
            NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri",
        )
        for value in values:
            new("saml:AttributeValue", attribute, value)
    response.append(sign(assertion, pair))
    return write(sign(response, pair))


def sign(element: Element, pair: KeyPair) -> Element:
    """With the signature where the placeholder is, as the schema has it: behind the issuer."""
    signer = XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
    )
    key: Any = element.get("ID")
    return signer.sign(
        element, key=pair.key, cert=pair.certificate.decode(), reference_uri=key, id_attribute="ID"
    )
