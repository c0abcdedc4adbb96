"""Directories that speak LDAP: OpenLDAP and its like, and Active Directory."""

from pileus.drivers.directory.ldap.driver import LdapDirectory

__all__ = ["LdapDirectory"]
