"""A client's certificate as the proof of who it is, by a mapping that the operator keeps (RFC 8705)."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Iterator
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.identity.authentication.login import Vouched
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.federation.evaluation import Attributes, Mapped, evaluate
from pileus.core.identity.federation.federation_records import Mapping
from pileus.core.identity.records import Domain, User

MAPPING = "oauth2_mapping"
"""The mapping that says which names in a certificate are which user."""
MAX_PEM = 16_384
EMAIL = x509.NameOID.EMAIL_ADDRESS


async def prove(cloud: Cloud, user: UUID, pem: str) -> Vouched:
    """That the certificate is the user's, which somebody verified who took it from a connection. Raises Unauthenticated.

    A token of this acts in the user's default project and names the certificate.
    """
    certificate = read(pem)
    async with cloud.view() as look:
        mapping = await look.maybe(Mapping, MAPPING)
        found = await look.maybe(User, user)
        domain = await look.maybe(Domain, found.domain) if found else None
    if mapping is None:
        raise refused(f"no mapping {MAPPING}, so no certificate is anybody's")
    if found is None or domain is None or found.default_project is None:
        raise refused("user is unknown, or has no default project")
    try:
        mapped = evaluate(mapping.rules, mapping.schema_version, attributes(certificate))
    except Invalid as error:
        raise refused(f"mapping {MAPPING}: {error.public}") from None
    _require_same(mapped, found, domain)
    return Vouched(
        user=found,
        methods=("oauth2_credential",),
        project=found.default_project,
        thumbprint=thumbprint(certificate),
    )


def require_holder(bound_to: str, pem: str) -> None:
    """Raises Unauthenticated when a token is bound to a certificate (by its thumbprint; empty: to none), and the one who
    brings the token has not shown that one."""
    if bound_to and (not pem or not hmac.compare_digest(thumbprint(read(pem)), bound_to)):
        raise refused("token is bound to a certificate that was not shown")


def read(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem[:MAX_PEM].encode())
    except ValueError:
        raise refused("certificate is not in PEM form") from None


def attributes(certificate: x509.Certificate) -> Attributes:
    """The parts of its names, as mappings call them: SSL_CLIENT_SUBJECT_DN_CN, SSL_CLIENT_ISSUER_DN_O, ..."""
    found: dict[str, list[str]] = {}
    for who, name in (("SUBJECT", certificate.subject), ("ISSUER", certificate.issuer)):
        for part, value in parts(name):
            found[f"SSL_CLIENT_{who}_DN_{part.upper()}"] = [value]
    return found


def parts(name: x509.Name) -> Iterator[tuple[str, str]]:
    for item in name:
        value = item.value if isinstance(item.value, str) else item.value.decode("latin-1")
        yield "emailAddress" if item.oid == EMAIL else item.rfc4514_attribute_name, value


def thumbprint(certificate: x509.Certificate) -> str:
    """As Keystone's middleware computes it: of the PEM form, in Base64 for addresses."""
    pem = ssl.DER_cert_to_PEM_cert(certificate.public_bytes(Encoding.DER))
    return base64.urlsafe_b64encode(hashlib.sha256(pem.encode()).digest()).decode()


def _require_same(mapped: Mapped, user: User, domain: Domain) -> None:
    """Whatever the mapping says of a user must be so of this one, and it must say who that is."""
    said = mapped.user
    where = said.domain
    pairs = (
        (said.name, user.name),
        (said.id, user.id.hex),
        (said.email, user.email),
        (where.id if where else "", domain.id.hex if domain.parent else "default"),
        (where.name if where else "", domain.name),
    )
    if not (said.id or said.name) or any(wanted and wanted != is_ for wanted, is_ in pairs):
        raise refused("the certificate is of somebody else")
