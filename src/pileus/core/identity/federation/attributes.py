"""The names under which mappings find what a provider says: those that Apache's modules give them, so that mappings
written for the original work unchanged."""

from collections.abc import Mapping, Sequence

from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.federation.federation_records import IdentityProvider, Protocol

Values = Mapping[str, Sequence[str]]


def of_openid(issuer: str, subject: str, values: Values) -> dict[str, Sequence[str]]:
    """Each claim by its own name, and as mod_auth_openidc writes it with its usual prefixes. No claim passes for another
    by its name, and least of all for who it is and who says so."""
    claims: list[tuple[str, Sequence[str]]] = [*values.items(), ("iss", (issuer,)), ("sub", (subject,))]
    found = dict(claims)
    for name, said in claims:
        found |= {f"OIDC-{name}": said, f"OIDC_CLAIM_{name}": said}
        upper = name.upper().replace("-", "_")
        found |= {f"HTTP_OIDC_{upper}": said, f"HTTP_OIDC_CLAIM_{upper}": said}
    return found | {"REMOTE_USER": (subject,)}


def of_saml(issuer: str, subject: str, values: Values) -> dict[str, Sequence[str]]:
    """Each attribute by its names, and as mod_auth_mellon writes it; the provider also as Shibboleth names it."""
    found = dict(values)
    for name, said in values.items():
        found |= {f"MELLON_{name}": said, f"MELLON_{name.replace(':', '_').replace('.', '_')}": said}
    ids = {"REMOTE_USER": (subject,), "NAME_ID": (subject,), "MELLON_NAME_ID": (subject,)}
    return found | ids | {"MELLON_IDP": (issuer,), "Shib-Identity-Provider": (issuer,)}


def check_issuer(provider: IdentityProvider, protocol: Protocol, issuer: str, said: Values) -> None:
    """Raises Unauthenticated or Forbidden when a provider with remote ids is not named by one of them."""
    if not provider.remote_ids:
        return
    named: Sequence[str] = (issuer,)
    if protocol.remote_id_attribute:
        named = said.get(protocol.remote_id_attribute, ())
    if not named:
        raise Unauthenticated(
            "Could not find Identity Provider identifier in environment",
            private=f"nothing said as {protocol.remote_id_attribute}",
        )
    if not set(named) & set(provider.remote_ids):
        raise Forbidden(
            "Incoming identity provider identifier not included among the accepted identifiers.",
            private=f"{', '.join(named)[:200]} is none of the remote ids of {provider.id}",
        )
