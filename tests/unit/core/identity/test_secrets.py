import base64
import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import bcrypt
import pytest
from cryptography.fernet import Fernet

from pileus.core.errors import Unavailable
from pileus.core.identity.authentication import keyfiles
from pileus.core.identity.authentication.secrets import Secrets, kept, key_number, matches


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


def test_the_keys_are_for_nobody_else(secrets, tmp_path):
    files = sorted((tmp_path / "keys" / "secrets").iterdir())
    assert [path.name for path in files] == ["0", "1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_text_says_with_which_key_it_was_encrypted_and_stays_readable(secrets):
    texts = []
    for number in range(1, 5):
        texts.append(secrets.encrypt("käse"))
        assert key_number(texts[-1]) == number
        secrets.keys.rotate(datetime.now(UTC))
    assert {secrets.decrypt(text) for text in texts} == {"käse"}


def test_two_processes_read_each_others_texts_through_rotations(secrets, tmp_path):
    other = Secrets(tmp_path)
    for number in range(1, 5):
        assert other.decrypt(secrets.encrypt("x")) == secrets.decrypt(other.encrypt("x")) == "x"
        assert key_number(other.encrypt("x")) == number
        secrets.keys.rotate(datetime.now(UTC))


def old_state(state):
    """As it was when there was a single key; and a text of that time."""
    key = Fernet.generate_key()
    keyfiles.put(state / "keys" / "secrets.key", key)
    return Fernet(key).encrypt(b"of old").decode()


def test_the_single_key_of_an_old_state_directory_becomes_the_first(tmp_path):
    text = old_state(tmp_path)
    secrets = Secrets(tmp_path)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["secrets"]
    secrets.keys.rotate(datetime.now(UTC))
    assert key_number(text) == 1
    assert (secrets.decrypt(text), Secrets(tmp_path).decrypt(text)) == ("of old", "of old")
    assert key_number(secrets.encrypt("new")) == 2


def test_processes_that_upgrade_at_once_agree(tmp_path):
    text = old_state(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: Secrets(tmp_path), range(8)))
    hidden = [secrets.encrypt("x") for secrets in made]
    assert all(secrets.decrypt(text) == "of old" for secrets in made)
    assert {made[0].decrypt(each) for each in hidden} == {"x"}


def test_an_upgrade_that_was_killed_is_finished(tmp_path):
    text = old_state(tmp_path)
    (tmp_path / "keys" / "secrets").mkdir()
    keyfiles.put(tmp_path / "keys" / "secrets" / "0", Fernet.generate_key())
    assert Secrets(tmp_path).decrypt(text) == "of old"


def test_a_key_that_is_missing_is_named_with_what_to_do(secrets, tmp_path):
    secrets.keys.rotate(datetime.now(UTC))
    hidden = secrets.encrypt("x")
    with pytest.raises(Unavailable, match=r"keys/secrets/2 .* is missing.*backup"):
        Secrets(tmp_path / "other").decrypt(hidden)


def test_with_another_key_nothing_can_be_read(secrets, tmp_path):
    hidden = secrets.encrypt("x")
    with pytest.raises(Unavailable, match=r"keys/secrets/1 .* is not the key with which it was encrypted"):
        Secrets(tmp_path / "other").decrypt(hidden)


def test_a_damaged_key_file_is_named(secrets, tmp_path):
    (tmp_path / "keys" / "secrets" / "1").write_text("half a ke")
    with pytest.raises(Unavailable, match=r"keys/secrets/1 .*holds no key"):
        Secrets(tmp_path)


@pytest.mark.parametrize(
    "text", ["", ".", "1", "1.", "0.x", "-1.x", "1e3.x", "²." + "x", "9" * 5000 + ".x", "ä.ö", "\ud800"]
)
def test_what_is_no_encrypted_text_is_refused(secrets, text):
    with pytest.raises(Unavailable):
        secrets.decrypt(text)


@pytest.mark.parametrize("made", [[], ["keys/secrets"], ["keys/secrets/0"]])
def test_a_state_directory_without_keys_is_known_as_such(tmp_path, made):
    for name in made:
        (tmp_path / name).mkdir(parents=True)
    assert not kept(tmp_path)


def test_a_state_directory_with_keys_is_known_as_such(tmp_path):
    old_state(tmp_path)
    assert kept(tmp_path)
    Secrets(tmp_path)
    assert kept(tmp_path)


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
