"""OpenID Connect over HTTP."""

from pileus.drivers.federation.openid.provider import OpenIdClient

__all__ = ["OpenIdClient"]
