"""What SAML metadata says of identity providers, and ours."""

from dataclasses import dataclass

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import KeyPair, Party
from pileus.drivers.federation.saml.encryption import METHODS
from pileus.drivers.federation.saml.xml import (
    MD,
    PAOS_BINDING,
    POST,
    REDIRECT,
    SAMLP,
    Element,
    every,
    find,
    new,
    read,
    text_of,
    write,
)

UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An identity provider: where browsers are sent, and the certificates (PEM) whose keys sign for it."""

    id: str
    name: str
    login: str
    logout: str
    certificates: tuple[str, ...]


def entities(metadata: str) -> list[Entity]:
    """Raises Refused for metadata that names no identity provider."""
    root = read(metadata.encode(), "the metadata")
    described = [root] if root.tag == f"{{{MD}}}EntityDescriptor" else every(root, ".//md:EntityDescriptor")
    found = [entity(each) for each in described if find(each, "md:IDPSSODescriptor") is not None]
    if not found:
        raise Refused("the metadata names no identity provider")
    return found


def entity(descriptor: Element) -> Entity:
    role = find(descriptor, "md:IDPSSODescriptor")
    id = descriptor.get("entityID", "")
    shown = text_of(find(descriptor, "md:Organization/md:OrganizationDisplayName"))
    return Entity(
        id=id,
        name=shown or id,
        login=address(role, "md:SingleSignOnService"),
        logout=address(role, "md:SingleLogoutService"),
        certificates=tuple(
            pem(text_of(certificate))
            for described in every(role, "md:KeyDescriptor")
            if described.get("use", "signing") == "signing"
            for certificate in every(described, ".//ds:X509Certificate")
        ),
    )


def address(role: Element, path: str) -> str:
    """By HTTP-Redirect; empty when there is none."""
    for service in every(role, path):
        if service.get("Binding") == REDIRECT:
            return str(service.get("Location", ""))
    return ""


def pem(text: str) -> str:
    body = "".join(text.split())
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def bare(certificate: bytes) -> str:
    """A PEM certificate without its first and last line."""
    return "".join(line for line in certificate.decode().splitlines() if not line.startswith("-----"))


def key(role: Element, use: str, pair: KeyPair) -> Element:
    described = new("md:KeyDescriptor", role, use=use)
    data = new("ds:X509Data", new("ds:KeyInfo", described))
    new("ds:X509Certificate", data, bare(pair.certificate))
    return described


def service(party: Party, pair: KeyPair) -> str:
    """Ours as a service provider: assertions may be encrypted for the pair's certificate."""
    root = new("md:EntityDescriptor", entityID=party.entity)
    role = new(
        "md:SPSSODescriptor",
        root,
        AuthnRequestsSigned="false",
        WantAssertionsSigned="true",
        protocolSupportEnumeration=SAMLP,
    )
    described = key(role, "encryption", pair)
    for method in METHODS:
        new("md:EncryptionMethod", described, Algorithm=method)
    new("md:NameIDFormat", role, UNSPECIFIED)
    for number, binding in enumerate((POST, PAOS_BINDING)):
        new(
            "md:AssertionConsumerService",
            role,
            Binding=binding,
            Location=party.consumer,
            index=str(number),
            isDefault="true" if number == 0 else "false",
        )
    return write(root)


def provider(id: str, address: str, pair: KeyPair) -> str:
    """Ours as an identity provider."""
    root = new("md:EntityDescriptor", entityID=id)
    role = new("md:IDPSSODescriptor", root, WantAuthnRequestsSigned="false", protocolSupportEnumeration=SAMLP)
    key(role, "signing", pair)
    new("md:NameIDFormat", role, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")
    new("md:SingleSignOnService", role, Binding=REDIRECT, Location=address)
    return write(root)
