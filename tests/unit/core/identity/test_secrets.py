import base64
import hashlib
import stat

import bcrypt
import pytest

from pileus.core.errors import Unavailable
from pileus.core.identity.authentication.secrets import Secrets, matches


def ab64(data):
    return base64.b64encode(data).decode().rstrip("=").replace("+", ".")


def scrypt(password):
    made = hashlib.scrypt(password, salt=b"salt", n=1 << 10, r=8, p=1, dklen=32)
    return f"$scrypt$ln=10,r=8,p=1${ab64(b'salt')}${ab64(made)}"


def pbkdf2(password):
    made = hashlib.pbkdf2_hmac("sha512", password, b"salt", 1000, 64)
    return f"$pbkdf2-sha512$1000${ab64(b'salt')}${ab64(made)}"


def bcrypt_sha256(password):
    """As passlib wrote it before version 1.7.3."""
    inner = base64.b64encode(hashlib.sha256(password).digest())
    _, kind, rounds, rest = bcrypt.hashpw(inner, bcrypt.gensalt(4)).decode().split("$")
    return f"$bcrypt-sha256${kind},{int(rounds)}${rest[:22]}${rest[22:]}"


IMPORTED = {
    "bcrypt": bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode(),
    "scrypt": scrypt(b"pw"),
    "pbkdf2": pbkdf2(b"pw"),
    "Keystone's bcrypt_sha256": "$bcrypt-sha256$v=2,t=2b,r=4$3osHx989j9NjRmkA3tJKhO$Ya87MvQKoTGrDtZSGunjrK6tX3s415i",
    "Keystone's scrypt": "$scrypt$ln=8,r=8,p=1$71eiMJmOJktN7Hqp3x9qow$wqGwVkq1Rh0qKkBVCQRjDma/uhYT7RydTzPDvO6S95o",
    "Keystone's pbkdf2_sha512": "$pbkdf2-sha512$100$KUs8WkFVwZEF0vomjQ1Xcg$"
    "CY//Qbf2lN1SzYyua1+7I/o1QIlYvgKG5Wm7zXwJ5hJ19ArAMsvptMZuGfLXFbpaeM2ypR8Wj5knwxNNg2egTg",
    "passlib's first bcrypt_sha256": bcrypt_sha256(b"pw"),
}
BROKEN = [
    "",
    "plain",
    "$argon2id$broken",
    "$2b$broken",
    "$scrypt$ln=99,r=8,p=1$c2FsdA$c2FsdA",
    "$scrypt$ln=10,r=8,p=1$!$!",
    f"$bcrypt-sha256$v=2,t=2b,r=99${'a' * 22}${'b' * 31}",
    "$pbkdf2-sha512$1000$!$!",
    "$pbkdf2-sha512$0$c2FsdA$c2FsdA",
]


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path)


def test_what_was_encrypted_is_read_again_also_by_another_process(secrets, tmp_path):
    hidden = secrets.encrypt("käse")
    assert "käse" not in hidden
    assert Secrets(tmp_path).decrypt(hidden) == "käse"


def test_the_key_is_for_nobody_else(secrets, tmp_path):
    path = tmp_path / "keys" / "secrets.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secrets.key"]


def test_with_another_key_nothing_can_be_read(secrets, tmp_path):
    hidden = secrets.encrypt("x")
    with pytest.raises(Unavailable):
        Secrets(tmp_path / "other").decrypt(hidden)


async def test_a_hash_knows_its_password(secrets):
    hashed = await secrets.hash("pw")
    assert hashed.startswith("$argon2id$")
    assert await secrets.verify(hashed, "pw")
    assert not await secrets.verify(hashed, "Pw")
    assert not secrets.outdated(hashed)


@pytest.mark.parametrize("hashed", IMPORTED.values(), ids=IMPORTED)
async def test_imported_hashes_are_verified_and_due_to_be_renewed(secrets, hashed):
    assert await secrets.verify(hashed, "pw")
    assert not await secrets.verify(hashed, "wrong")
    assert secrets.outdated(hashed)


@pytest.mark.parametrize("hashed", BROKEN)
def test_a_broken_hash_matches_nothing(hashed):
    assert not matches(hashed, "pw")


async def test_nobody_logs_in_without_a_hash(secrets):
    assert not await secrets.verify("", "")
    assert not await secrets.verify("", "nobody has this password")
    assert not await secrets.verify(await secrets.hash("x" * 5000), "x" * 5000)
