"""Debian's slapd as a child on loopback ports, with its own directory: OpenLDAP's schema in one tree, Active
Directory's in another."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port
from tests.quick import MEMORY

SECONDS = 15
ADMIN_PASSWORD = "the-admin-of-the-directory"
OPEN, ACTIVE = "dc=example,dc=org", "dc=ad,dc=test"
ACTIVE_SCHEMA = """
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
 SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
 SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.159 NAME 'accountExpires' EQUALITY integerMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP organizationalPerson STRUCTURAL
 MUST ( cn $ sAMAccountName ) MAY ( userAccountControl $ mail $ givenName $ displayName $
 objectGUID $ userPrincipalName $ accountExpires ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST cn
 MAY ( member $ description $ sAMAccountName $ objectGUID ) )
objectclass ( 1.2.840.113556.1.3.30 NAME 'computer' SUP user STRUCTURAL )
attributetype ( 1.3.6.1.4.1.99999.1 NAME 'enabled' EQUALITY booleanMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.2 NAME 'pileusPerson' SUP inetOrgPerson STRUCTURAL MAY enabled )
"""
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {home}/active.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {home}/pid
argsfile {home}/args
TLSCACertificateFile {home}/ca.pem
TLSCertificateFile {home}/server.pem
TLSCertificateKeyFile {home}/server.key
sizelimit 1000
access to attrs=userPassword by self write by anonymous auth by * none
access to * by * read
database mdb
suffix "{open}"
rootdn "cn=admin,{open}"
rootpw {password}
directory {home}/open
maxsize 16777216
dbnosync
overlay memberof
database mdb
suffix "{active}"
rootdn "cn=admin,{active}"
rootpw {password}
directory {home}/active
maxsize 16777216
dbnosync
overlay memberof
memberof-group-oc group
"""
PEOPLE = """
dn: {open}
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: ou=Users,{open}
objectClass: organizationalUnit
ou: Users

dn: ou=UserGroups,{open}
objectClass: organizationalUnit
ou: UserGroups

dn: uid=alice,ou=Users,{open}
objectClass: pileusPerson
uid: alice
cn: Alice Liddell
sn: Liddell
givenName: Alice
mail: alice@example.org
userPassword: wonderland

dn: uid=bob,ou=Users,{open}
objectClass: pileusPerson
uid: bob
cn: Bob
sn: Builder
enabled: FALSE
userPassword: builder

dn: cn=staff,ou=UserGroups,{open}
objectClass: groupOfNames
cn: staff
member: UID=alice, OU=Users,{open}
"""
DIRECTORY = """
dn: {active}
objectClass: dcObject
objectClass: organization
dc: ad
o: ad

dn: ou=Users,{active}
objectClass: organizationalUnit
ou: Users

dn: ou=UserGroups,{active}
objectClass: organizationalUnit
ou: UserGroups

dn: cn=Alice Liddell,ou=Users,{active}
objectClass: user
cn: Alice Liddell
sn: Liddell
givenName: Alice
sAMAccountName: alice
userPrincipalName: alice.liddell@ad.test
objectGUID:: cGlsZXVzLWFsaWNlLTAwMQ==
userAccountControl: 512
mail: alice@example.org
userPassword: wonderland

dn: cn=Bob,ou=Users,{active}
objectClass: user
cn: Bob
sn: Builder
sAMAccountName: bob
objectGUID:: cGlsZXVzLWJvYi0wMDAwMQ==
userAccountControl: 514
userPassword: builder

dn: cn=staff,ou=UserGroups,{active}
objectClass: group
cn: staff
objectGUID:: cGlsZXVzLXN0YWZmLTAwMQ==
member: cn=Alice Liddell,ou=Users,{active}
"""


@dataclass
class Slapd:
    home: Path
    port: int
    tls_port: int

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ldaps(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def run(self, program: str, *arguments: str, base: str, text: str = "") -> str:
        command = [program, "-x", "-H", self.url, "-D", f"cn=admin,{base}", "-w", ADMIN_PASSWORD, *arguments]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, ldif: str, base: str) -> None:
        self.run("ldapadd", base=base, text=ldif)

    def change(self, ldif: str, base: str) -> None:
        self.run("ldapmodify", base=base, text=ldif)

    def remove(self, dn: str, base: str) -> None:
        self.run("ldapdelete", dn, base=base)

    def empty(self) -> None:
        """As at the beginning."""
        for base, ldif in ((OPEN, PEOPLE), (ACTIVE, DIRECTORY)):
            self.run("ldapdelete", "-r", base, base=base)
            self.add(ldif.format(open=OPEN, active=ACTIVE), base)


def certificates(home: Path) -> None:
    """A CA and a server's certificate for 127.0.0.1."""
    now = datetime.now(UTC)

    def build(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    ca = build("ca", "ca", authority).add_extension(constraints, critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = build("127.0.0.1", "ca", server).add_extension(names, critical=False)
    for path, made in (("ca.pem", ca), ("server.pem", leaf)):
        signed = made.sign(authority, hashes.SHA256())
        (home / path).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (home / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


@contextmanager
def slapd() -> Iterator[Slapd]:
    program = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None or shutil.which("ldapadd") is None:
        pytest.skip("slapd is not installed: apt-get install slapd ldap-utils")
    home = Path(tempfile.mkdtemp(prefix="pileus-slapd-", dir=MEMORY))
    process = None
    try:
        certificates(home)
        (home / "active.schema").write_text(ACTIVE_SCHEMA)
        for part in ("open", "active"):
            (home / part).mkdir()
        configuration = home / "slapd.conf"
        configuration.write_text(
            CONFIGURATION.format(home=home, open=OPEN, active=ACTIVE, password=ADMIN_PASSWORD)
        )
        made = Slapd(home, free_port(), free_port())
        listen = f"{made.url}/ {made.ldaps}/"
        process = start(program, configuration, listen, home / "log")
        wait(made, process)
        for base, ldif in ((OPEN, PEOPLE), (ACTIVE, DIRECTORY)):
            made.add(ldif.format(open=OPEN, active=ACTIVE), base)
        yield made
    finally:
        if process is not None:
            process.terminate()
            process.wait(SECONDS)
        shutil.rmtree(home)


def start(program: str, configuration: Path, listen: str, log: Path) -> "subprocess.Popen[bytes]":
    """In the foreground; the kernel ends it also when this process is killed."""
    with log.open("wb") as output:
        command = ["setpriv", "--pdeathsig=TERM", program, "-d", "0", "-h", listen, "-f", str(configuration)]
        return subprocess.Popen(command, stdout=output, stderr=output)


def wait(made: Slapd, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", made.port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"slapd did not start: {(made.home / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        else:
            return
