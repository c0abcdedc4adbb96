"""XML as it is read from strangers and written by us: entities off, no documents types, no comments, bounded."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from pileus.drivers.errors import Refused

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
PAOS = "urn:liberty:paos:2003-08"
ECP = "urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp"
NEXT = "http://schemas.xmlsoap.org/soap/actor/next"
SPACES = {
    "saml": SAML,
    "samlp": SAMLP,
    "md": MD,
    "ds": DS,
    "xenc": XENC,
    "xenc11": XENC11,
    "S": SOAP,
    "paos": PAOS,
    "ecp": ECP,
}
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
PAOS_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:PAOS"
MOST_BYTES = 4 << 20
YEARS = range(1970, 9000)
"""Of moments that are believed: with room around for arithmetic."""

Element = Any
"""lxml's elements."""


def read(content: bytes, what: str) -> Element:
    """The root. Raises Refused for what is no XML, too long, or declares a document type (and with it entities)."""
    if len(content) > MOST_BYTES:
        raise Refused(f"{what} has more than {MOST_BYTES} bytes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused(f"{what} is no XML: {error}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise Refused(f"{what} declares a document type")
    return root


def message(content: bytes) -> Element:
    """The SAML message of a browser's form (base64), or of XML, where need be inside a SOAP envelope."""
    text = content.strip()
    if not text.startswith(b"<"):
        try:
            text = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError) as error:
            raise Refused("the message is neither XML nor base64") from error
    root = read(text, "the message")
    if root.tag != f"{{{SOAP}}}Envelope":
        return root
    body = root.find(f"{{{SOAP}}}Body")
    if body is None or len(body) != 1:
        raise Refused("the envelope holds not exactly one message")
    return body[0]


def write(element: Element) -> str:
    """The element alone, without what follows it in its parent."""
    return etree.tostring(element, with_tail=False).decode()


def new(tag: str, parent: Element = None, text: str | None = None, **attributes: str) -> Element:
    """An element such as `saml:Issuer`; with its prefix, and below its parent when there is one."""
    prefix, _, name = tag.partition(":")
    qualified = f"{{{SPACES[prefix]}}}{name}"
    if parent is None:
        made = etree.Element(qualified, attributes, nsmap={prefix: SPACES[prefix]})
    else:
        made = etree.SubElement(parent, qualified, attributes, nsmap={prefix: SPACES[prefix]})
    made.text = text
    return made


def find(element: Element, path: str) -> Element | None:
    return element.find(path, SPACES)


def every(element: Element, path: str) -> list[Element]:
    return list(element.findall(path, SPACES))


def text_of(element: Element | None) -> str:
    return "".join(element.itertext()).strip() if element is not None else ""


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str | None) -> datetime | None:
    """Raises Refused for a text that is no time."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{text[:40]!r} is no time") from None
    if at.year not in YEARS:
        raise Refused(f"{text[:40]!r} is no time of ours")
    return at
