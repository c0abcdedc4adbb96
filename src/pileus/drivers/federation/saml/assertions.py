"""Assertions: what a signed one says, when it is meant for us now; and those that we sign ourselves."""

from datetime import datetime, timedelta
from typing import Any

from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import Assertion, KeyPair, Party, Statement
from pileus.drivers.federation.saml import encryption
from pileus.drivers.federation.saml.metadata import Entity
from pileus.drivers.federation.saml.xml import (
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
RESTRICTION = f"{{{SAML}}}AudienceRestriction"
CONDITIONS = frozenset({RESTRICTION, f"{{{SAML}}}OneTimeUse", f"{{{SAML}}}ProxyRestriction"})
"""Each lets in once, and hands nothing on, so the last two always hold."""
METHODS = frozenset(
    method for method in SignatureMethod if "HMAC" not in method.name and "SHA1" not in method.name
)
"""By key pairs; SHA-1 proves nothing any more."""
CONFIGURATION = SignatureConfiguration(
    location="./", require_x509=True, expect_references=1, signature_methods=METHODS
)

UNPROVEN = (SignXMLException, etree.LxmlError, SyntaxError, ValueError, TypeError, KeyError)
"""What the verifier raises for signatures that are bad, or that are none."""


def accept(party: Party, entities: list[Entity], response: Element, at: datetime, pair: KeyPair) -> Assertion:
    """Everything is read from what the signature covers, and from nothing else. Raises Refused."""
    if response.tag != f"{{{SAMLP}}}Response":
        raise Refused("the message is no SAML response")
    status = find(response, "samlp:Status/samlp:StatusCode")
    if status is None or status.get("Value") != SUCCESS:
        raise Refused(f"the provider says {text_of(find(response, 'samlp:Status'))[:200] or 'no success'}")
    if response.get("Destination") not in (None, party.consumer):
        raise Refused(f"the response was sent to {response.get('Destination')}")
    entity, assertion = trusted(response, entities, pair)
    asked, until = confirmed(assertion, party, at)
    if response.get("InResponseTo", "") != asked:
        raise Refused("response and assertion answer different requests")
    require_conditions(assertion, party, at, solicited=bool(asked))
    require_session(assertion, at)
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


def trusted(response: Element, entities: list[Entity], pair: KeyPair) -> tuple[Entity, Element]:
    """Who says it, and the one assertion as that provider signed it: by itself, or within the response.

    Whatever is signed must be signed well, also where one signature would do. What was decrypted is no better than
    what came in the clear.
    """
    sender = text_of(find(response, "saml:Issuer"))
    signer: Entity | None = None
    if has_signature(response):
        plain = text_of(find(response, "saml:Assertion/saml:Issuer"))
        signer = named(entities, sender or plain)
        response = verified(response, signer)
    inside = every(response, "saml:Assertion")
    hidden = every(response, "saml:EncryptedAssertion")
    if len(inside) + len(hidden) != 1:
        raise Refused(f"the response holds {len(inside) + len(hidden)} assertions")
    assertion = inside[0] if inside else encryption.decrypt(hidden[0], pair)
    entity = named(entities, text_of(find(assertion, "saml:Issuer")))
    if sender not in ("", entity.id) or signer not in (None, entity):
        raise Refused("response and assertion are of different issuers")
    if has_signature(assertion):
        assertion = verified(assertion, entity)
    elif signer is None:
        raise Refused("neither the assertion nor the response is signed")
    if text_of(find(assertion, "saml:Issuer")) != entity.id:
        raise Refused("the signed assertion has another issuer")
    if not assertion.get("ID"):
        raise Refused("the assertion has no id")
    return entity, assertion


def named(entities: list[Entity], issuer: str) -> Entity:
    for entity in entities:
        if entity.id == issuer:
            return entity
    raise Refused(f"the assertion is of {issuer[:200]!r}, which the metadata does not name")


def has_signature(element: Element) -> bool:
    return find(element, "ds:Signature") is not None


def verified(element: Element, entity: Entity) -> Element:
    """The element as it was signed."""
    content = write(element).encode()
    why: Exception | None = None
    for certificate in entity.certificates:
        try:
            found: Any = XMLVerifier().verify(
                content, x509_cert=certificate, expect_config=CONFIGURATION, id_attribute="ID"
            )
        except UNPROVEN as error:
            why = error
            continue
        covered = read(found.signed_data, "the signed part")
        if covered.tag != element.tag or covered.get("ID") != element.get("ID"):
            raise Refused("the signature covers something else")
        return covered
    raise Refused(f"the signature is not by a key of {entity.id}: {why or 'it has none'}") from why


def confirmed(assertion: Element, party: Party, at: datetime) -> tuple[str, datetime]:
    """The request that it answers (empty: none), by the confirmation that is good for us; and when none is any more."""
    why = "it has no bearer confirmation"
    ends: list[datetime] = []
    answers: list[str] = []
    for confirmation in every(assertion, "saml:Subject/saml:SubjectConfirmation"):
        data = find(confirmation, "saml:SubjectConfirmationData")
        if confirmation.get("Method") != BEARER or data is None:
            continue
        end = moment(data.get("NotOnOrAfter"))
        start = moment(data.get("NotBefore"))
        if data.get("Recipient") != party.consumer:
            why = f"it is meant for {data.get('Recipient')}"
            continue
        if end is not None:
            ends.append(end)
        if end is None or end + SKEW <= at or (start is not None and start - SKEW > at):
            why = "its time is over, or yet to come"
        else:
            answers.append(str(data.get("InResponseTo", "")))
    if not answers:
        raise Refused(f"the assertion does not let in here: {why}")
    return answers[0], max(ends) + SKEW


def require_conditions(assertion: Element, party: Party, at: datetime, *, solicited: bool) -> None:
    """Raises Refused unless it is good now, and for us. One that we asked for must name us as its audience; one that
    another cloud sends of its own accord is bound to us by its recipient."""
    held = every(assertion, "saml:Conditions")
    for each in held:
        start, end = moment(each.get("NotBefore")), moment(each.get("NotOnOrAfter"))
        if (start is not None and start - SKEW > at) or (end is not None and end + SKEW <= at):
            raise Refused("the assertion's time is over, or yet to come")
    conditions = [condition for each in held for condition in each]
    for condition in conditions:
        if condition.tag not in CONDITIONS:
            raise Refused(f"the assertion has a condition that is not known here: {condition.tag[:100]}")
    restrictions = [each for each in conditions if each.tag == RESTRICTION]
    if solicited and not restrictions:
        raise Refused("the assertion names no audience")
    for restriction in restrictions:
        if party.entity not in [text_of(each) for each in every(restriction, "saml:Audience")]:
            raise Refused("the assertion is for another audience")


def require_session(assertion: Element, at: datetime) -> None:
    """Raises Refused for one that says something of a user, but not that the user has logged in."""
    found = every(assertion, "saml:AuthnStatement")
    if not found:
        raise Refused("the assertion says of no login")
    for statement in found:
        end = moment(statement.get("SessionNotOnOrAfter"))
        if end is not None and end + SKEW <= at:
            raise Refused("the session at the provider is over")


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
