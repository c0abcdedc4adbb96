"""SAML messages read and written; each call works in a thread, for signatures take their time."""

import asyncio
import base64
import zlib
from datetime import datetime
from urllib.parse import urlencode

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import Assertion, KeyPair, Party, Statement
from pileus.drivers.federation.saml import assertions, metadata
from pileus.drivers.federation.saml.xml import (
    ECP,
    NEXT,
    PAOS_BINDING,
    POST,
    SOAP,
    Element,
    find,
    instant,
    message,
    new,
    read,
    text_of,
    write,
)

UNDERSTAND = {f"{{{SOAP}}}mustUnderstand": "1", f"{{{SOAP}}}actor": NEXT}


class SamlMessages:
    """Keeps nothing."""

    async def request(
        self, party: Party, metadata: str, *, id: str, state: str, at: datetime, entity: str = ""
    ) -> str:
        return await asyncio.to_thread(_request, party, metadata, id, state, at, entity)

    async def logout(self, party: Party, metadata: str, *, id: str, subject: str, at: datetime) -> str:
        return await asyncio.to_thread(_logout, party, metadata, id, subject, at)

    async def envelope(self, party: Party, *, id: str, state: str, at: datetime) -> str:
        return await asyncio.to_thread(_envelope, party, id, state, at)

    async def accept(
        self, party: Party, metadata: str, message: bytes, *, at: datetime, pair: KeyPair
    ) -> Assertion:
        return await asyncio.to_thread(_accept, party, metadata, message, at, pair)

    async def relayed(self, message: bytes) -> str:
        return await asyncio.to_thread(_relayed, message)

    async def issue(self, statement: Statement, pair: KeyPair) -> str:
        return await asyncio.to_thread(assertions.issue, statement, pair)

    async def wrapped(self, response: str, *, recipient: str, state: str) -> str:
        return await asyncio.to_thread(_wrapped, response, recipient, state)

    async def describe_service(self, party: Party, pair: KeyPair) -> str:
        return await asyncio.to_thread(metadata.service, party, pair)

    async def describe_provider(self, entity: str, address: str, pair: KeyPair) -> str:
        return await asyncio.to_thread(metadata.provider, entity, address, pair)

    async def entities(self, document: str) -> list[tuple[str, str]]:
        found = await asyncio.to_thread(metadata.entities, document)
        return [(entity.id, entity.name) for entity in found]


def _accept(party: Party, document: str, content: bytes, at: datetime, pair: KeyPair) -> Assertion:
    return assertions.accept(party, metadata.entities(document), message(content), at, pair)


def _request(party: Party, document: str, id: str, state: str, at: datetime, named: str) -> str:
    known = metadata.entities(document)
    entity = assertions.named(known, named) if named else known[0]
    if not entity.login:
        raise Refused(f"{entity.id} takes no requests by redirection")
    asked = authentication(party, id, at, POST, entity.login)
    return redirection(entity.login, asked, state)


def _logout(party: Party, document: str, id: str, subject: str, at: datetime) -> str:
    entity = metadata.entities(document)[0]
    if not entity.logout:
        return ""
    asked = new(
        "samlp:LogoutRequest", ID=id, Version="2.0", IssueInstant=instant(at), Destination=entity.logout
    )
    new("saml:Issuer", asked, party.entity)
    new("saml:NameID", asked, subject)
    return redirection(entity.logout, asked, "")


def authentication(party: Party, id: str, at: datetime, binding: str, destination: str = "") -> Element:
    there = {"Destination": destination} if destination else {}
    asked = new(
        "samlp:AuthnRequest",
        ID=id,
        Version="2.0",
        IssueInstant=instant(at),
        ProtocolBinding=binding,
        AssertionConsumerServiceURL=party.consumer,
        **there,
    )
    new("saml:Issuer", asked, party.entity)
    new("samlp:NameIDPolicy", asked, AllowCreate="true")
    return asked


def redirection(address: str, asked: Element, state: str) -> str:
    squeezer = zlib.compressobj(wbits=-15)
    packed = squeezer.compress(write(asked).encode()) + squeezer.flush()
    query = {"SAMLRequest": base64.b64encode(packed).decode()} | ({"RelayState": state} if state else {})
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def _envelope(party: Party, id: str, state: str, at: datetime) -> str:
    root = new("S:Envelope")
    header = new("S:Header", root)
    new("paos:Request", header, responseConsumerURL=party.consumer, service=ECP, **UNDERSTAND)
    ecp = new("ecp:Request", header, IsPassive="0", **UNDERSTAND)
    new("saml:Issuer", ecp, party.entity)
    new("ecp:RelayState", header, state, **UNDERSTAND)
    new("S:Body", root).append(authentication(party, id, at, PAOS_BINDING))
    return write(root)


def _relayed(content: bytes) -> str:
    root = read(content.strip(), "the message")
    return text_of(find(root, "S:Header/ecp:RelayState"))


def _wrapped(response: str, recipient: str, state: str) -> str:
    root = new("S:Envelope")
    header = new("S:Header", root)
    new("ecp:Response", header, AssertionConsumerServiceURL=recipient, **UNDERSTAND)
    new("ecp:RelayState", header, state, **UNDERSTAND)
    new("S:Body", root).append(read(response.encode(), "the response"))
    return write(root)
