"""SAML 2.0 messages."""

from pileus.drivers.federation.saml.driver import SamlMessages

__all__ = ["SamlMessages"]
