"""What must be kept secret: texts encrypted with keys in the state directory, passwords as slow hashes."""

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
from cryptography.fernet import InvalidToken

from pileus.core.cloud import Cloud
from pileus.core.errors import Unavailable
from pileus.core.identity.authentication.keyfiles import Repository
from pileus.core.identity.percloud import per_cloud

T = TypeVar("T")

ARGON2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
AT_ONCE = 2
"""Hashes computed at the same time: each takes 19 MiB and a processor."""
MAX_PASSWORD = 4096
"""Bytes; more than any person types, less than what would keep a hash busy."""
MAX_SCRYPT = 128 << 20
"""Bytes of memory that an imported scrypt hash may ask for."""
DIRECTORY, SINGLE = "keys/secrets", "keys/secrets.key"
"""In the state directory: the repository of keys, and the only key of a state directory from before there were more."""
NUMBER = re.compile("[1-9][0-9]{0,8}")

SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([^$]+)\$([^$]+)")
BCRYPT_SHA256 = re.compile(r"\$bcrypt-sha256\$(v=2,t=)?(2[aby]),(?:r=)?(\d{1,2})\$([^$]{22})\$([^$]{31})")
PBKDF2 = re.compile(r"\$pbkdf2-(sha1|sha256|sha512)\$(\d{1,7})\$([^$]+)\$([^$]+)")


class Secrets:
    """Encrypts what must be read again, hashes what need not."""

    def __init__(self, state: Path) -> None:
        self.keys = Repository(state / DIRECTORY, single=state / SINGLE)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._nobody = ""

    def encrypt(self, plain: str) -> str:
        """With the newest key, whose number stands before it. A text that is stored goes into a column that
        `encrypted.COLUMNS` names, or a rotation would leave it unreadable."""
        number, key = self.keys.primary()
        return f"{number}.{key.encrypt(plain.encode()).decode()}"

    def decrypt(self, hidden: str) -> str:
        """Raises Unavailable when the key is not there, or is not the one with which the text was encrypted."""
        number = key_number(hidden)
        key = self.keys.find(number)
        if key is None:
            raise unreadable(number, "is missing")
        try:
            return key.decrypt(hidden.rpartition(".")[2].encode(errors="replace")).decode()
        except InvalidToken:
            raise unreadable(number, "is not the key with which it was encrypted") from None

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


def key_number(hidden: str) -> int:
    """Of the key with which a text was encrypted. The texts from the time of the single key do not say it."""
    number, dot, _ = hidden.partition(".")
    return int(number) if dot and NUMBER.fullmatch(number) else 1


def kept(state: Path) -> bool:
    """Whether the state directory has keys of secrets."""
    return (state / SINGLE).exists() or any((state / DIRECTORY).glob("[1-9]*"))


def unreadable(number: int, why: str) -> Unavailable:
    return Unavailable(
        f"A stored secret cannot be read: {DIRECTORY}/{number} in the state directory {why}."
        " The operator has to put back the directory keys from the backup that was made with the database.",
        private=f"key {number} of stored secrets {why}, or the text was damaged",
    )


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
