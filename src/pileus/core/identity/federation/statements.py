"""What we say of a user to another cloud (Keystone to Keystone), and the key that we sign it with."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authentication import keyfiles
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.domains import ROOT
from pileus.core.identity.federation import service_providers
from pileus.core.identity.federation.federation_records import ServiceProvider
from pileus.core.identity.records import Domain, Group, Membership, Scope

GOOD_FOR = timedelta(minutes=10)
"""How long an assertion of ours may be presented."""
YEARS = 20


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion before it is signed."""

    provider: ServiceProvider
    subject: str
    values: Mapping[str, tuple[str, ...]]
    id: UUID
    issued_at: datetime
    until: datetime


class Pair(msgspec.Struct, frozen=True):
    """In PEM form."""

    key: bytes
    certificate: bytes


async def prepare(cloud: Cloud, session: Session, service_provider: str) -> Said:
    """What a project's token says of its user, for the service provider. Raises NotFound, Forbidden."""
    async with cloud.view() as look:
        provider = await service_providers.usable(look, service_provider)
        if session.token.scope is not Scope.PROJECT or session.project is None:
            raise Forbidden("Use a project scoped token when attempting to create a SAML assertion")
        groups = await _groups(look, session)
    assert session.project_domain is not None
    now = cloud.now()
    values = {
        "openstack_user": (session.user.name,),
        "openstack_user_domain": (session.user_domain.name,),
        "openstack_roles": tuple(role.name for role in session.roles),
        "openstack_project": (session.project.name,),
        "openstack_project_domain": (session.project_domain.name,),
    }
    if groups:
        values["openstack_groups"] = groups
    until = min(now + GOOD_FOR, session.token.expires_at)
    return Said(
        provider=provider,
        subject=session.user.name,
        values=values,
        id=cloud.new_id(),
        issued_at=now,
        until=until,
    )


async def _groups(look: Look, session: Session) -> tuple[str, ...]:
    """By name and domain, as mappings of the other side read them."""
    held = {each.group for each in await look.list(Membership, user=session.user.id)}
    held |= set(session.token.groups)
    found = await look.list(Group, id=tuple(held), order=("name",)) if held else []
    domains = {each.id: each for each in await look.list(Domain, id=tuple({g.domain for g in found}))}
    return tuple(
        "JSON:"
        + msgspec.json.encode({"name": each.name, "domain": {"name": domains[each.domain].name}}).decode()
        for each in found
    )


async def pair(cloud: Cloud) -> Pair:
    """The cloud's own key and certificate, made at the first use and kept in its state directory."""
    return await asyncio.to_thread(_pair, cloud.config.state / "keys" / "saml.pem", cloud.now(), ROOT.hex)


def _pair(path: Path, now: datetime, name: str) -> Pair:
    if not path.exists():
        keyfiles.put(path, _fresh(now, name))
    content = path.read_bytes()
    start = content.index(b"-----BEGIN CERTIFICATE-----")
    return Pair(content[:start], content[start:])


def _fresh(now: datetime, name: str) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pileus {name}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM).strip()
