"""How others vouch for users: OpenID Connect and SAML."""
