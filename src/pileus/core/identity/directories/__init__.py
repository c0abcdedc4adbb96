"""People who are kept elsewhere: directories (LDAP), and the rows that stand for them here."""
