"""What must be kept secret: texts encrypted with the key in the state directory, passwords as slow hashes."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken

from pileus.core.cloud import Cloud
from pileus.core.errors import Unavailable
from pileus.core.identity.authentication.keyfiles import read_or_make
from pileus.core.identity.percloud import per_cloud

T = TypeVar("T")

ARGON2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
AT_ONCE = 2
"""Hashes computed at the same time: each takes 19 MiB and a processor."""
MAX_PASSWORD = 4096
"""Bytes; more than any person types, less than what would keep a hash busy."""
MAX_SCRYPT = 128 << 20
"""Bytes of memory that an imported scrypt hash may ask for."""

SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([^$]+)\$([^$]+)")
BCRYPT_SHA256 = re.compile(r"\$bcrypt-sha256\$(v=2,t=)?(2[aby]),(?:r=)?(\d{1,2})\$([^$]{22})\$([^$]{31})")
PBKDF2 = re.compile(r"\$pbkdf2-(sha1|sha256|sha512)\$(\d{1,7})\$([^$]+)\$([^$]+)")


class Secrets:
    """Encrypts what must be read again, hashes what need not."""

    def __init__(self, state: Path) -> None:
        self._cipher = Fernet(read_or_make(state / "keys" / "secrets.key"))
        self._room = asyncio.Semaphore(AT_ONCE)
        self._nobody = ""

    def encrypt(self, plain: str) -> str:
        return self._cipher.encrypt(plain.encode()).decode()

    def decrypt(self, hidden: str) -> str:
        """Raises Unavailable when the text was encrypted with another key."""
        try:
            return self._cipher.decrypt(hidden.encode()).decode()
        except InvalidToken:
            raise Unavailable(
                "A stored secret cannot be read; restore keys/secrets.key in the state directory.",
                private="secret was encrypted with another key",
            ) from None

    async def hash(self, password: str) -> str:
        """An argon2id hash in PHC form."""
        return await self._in_thread(lambda: ARGON2.hash(password))

    async def verify(self, hashed: str, password: str) -> bool:
        """Whether the password is the one. An empty hash takes the time of a real one and is false."""
        if len(password.encode()) > MAX_PASSWORD:
            return False
        if hashed:
            return await self._in_thread(lambda: matches(hashed, password))
        self._nobody = self._nobody or await self.hash("nobody has this password")
        await self._in_thread(lambda: matches(self._nobody, password))
        return False

    def outdated(self, hashed: str) -> bool:
        """Whether the password should be hashed anew at the next occasion (imported, or weaker settings)."""
        return not hashed.startswith("$argon2id$") or ARGON2.check_needs_rehash(hashed)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._room:
            return await asyncio.to_thread(work)


of: Callable[[Cloud], Secrets] = per_cloud(lambda cloud: Secrets(cloud.config.state))
"""The secrets of a cloud."""


def matches(hashed: str, password: str) -> bool:
    """Compare with any form that Keystone writes or we do; a form that is unknown matches nothing."""
    secret = password.encode()
    try:
        if hashed.startswith("$argon2"):
            return ARGON2.verify(hashed, password)
        if hashed.startswith(("$2a$", "$2b$", "$2x$", "$2y$")):
            return bcrypt.checkpw(secret[:72], hashed.encode())
        return foreign(hashed, secret)
    except (VerificationError, InvalidHashError, ValueError, binascii.Error):
        return False


def foreign(hashed: str, secret: bytes) -> bool:
    """scrypt, PBKDF2 and bcrypt over SHA-256 as passlib and Keystone write them."""
    if found := BCRYPT_SHA256.fullmatch(hashed):
        second, kind, rounds, salt, digest = found.groups()
        inner = hmac.digest(salt.encode(), secret, "sha256") if second else hashlib.sha256(secret).digest()
        whole = f"${kind}${int(rounds):02d}${salt}{digest}"
        return bcrypt.checkpw(base64.b64encode(inner), whole.encode())
    if found := SCRYPT.fullmatch(hashed):
        rounds, block, lanes = int(found[1]), int(found[2]), int(found[3])
        wanted = decoded(found[5])
        memory = 128 * block * (1 << rounds)
        if memory > MAX_SCRYPT:
            return False
        made = hashlib.scrypt(
            secret,
            salt=decoded(found[4]),
            n=1 << rounds,
            r=block,
            p=lanes,
            maxmem=2 * MAX_SCRYPT,
            dklen=len(wanted),
        )
        return hmac.compare_digest(made, wanted)
    if found := PBKDF2.fullmatch(hashed):
        wanted = decoded(found[4])
        made = hashlib.pbkdf2_hmac(found[1], secret, decoded(found[3]), int(found[2]), len(wanted))
        return hmac.compare_digest(made, wanted)
    return False


def decoded(text: str) -> bytes:
    """Base64 without padding, with `.` for `+`."""
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
