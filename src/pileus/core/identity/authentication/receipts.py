"""Logins in several steps: which methods a user must combine, and the receipt for those that were shown already."""

from collections.abc import Iterable, Set
from datetime import datetime, timedelta

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity import options
from pileus.core.identity.authentication.tokens import EPOCH, METHODS, microseconds, refused
from pileus.core.identity.authentication.tokens import of as tokens_of
from pileus.core.identity.records import Domain, User

LASTS = timedelta(minutes=5)
RULES, SWITCH = options.MULTI_FACTOR_AUTH_RULES, options.MULTI_FACTOR_AUTH_ENABLED
"""Keystone's options of a user."""
FORM = "receipt"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    user: User
    domain: Domain
    methods: tuple[str, ...]
    missing: tuple[tuple[str, ...], ...]
    """Combinations of methods, one of which finishes the login."""
    issued_at: datetime
    expires_at: datetime
    text: str


class MoreProof(Unauthenticated):
    """What was shown is right, and more is needed."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__("More authentication methods are needed.", private="a rule needs more methods")
        self.receipt = receipt


class Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    form: str
    user: bytes
    methods: tuple[str, ...]
    expires: int


def rules(user: User, known: Iterable[str]) -> list[set[str]]:
    """The combinations that count: of methods which exist here, so that nobody is locked out by a setting."""
    wanted = user.options.get(RULES)
    if user.options.get(SWITCH) is False or not isinstance(wanted, list):
        return []
    methods = set(known)
    sets = [
        set(rule) & methods
        for rule in wanted
        if isinstance(rule, list) and all(isinstance(name, str) for name in rule)
    ]
    return [rule for rule in sets if rule]


def asks_more(user: User) -> bool:
    """Whether the user's own rules let no password do alone."""
    found = rules(user, METHODS)
    return bool(found) and not any(rule <= {"password"} for rule in found)


def wanted(user: User, known: Iterable[str], due: Set[str]) -> list[set[str]]:
    """The combinations of which one must be shown: the user's own rules, each with what its second factor asks for
    (`due`), so that both hold."""
    found: list[set[str]] = []
    for rule in rules(user, known) or [set()]:
        whole = rule | due
        if whole and whole not in found:
            found.append(whole)
    return found


def require(cloud: Cloud, user: User, domain: Domain, shown: set[str], wanted: list[set[str]]) -> None:
    """Raises MoreProof when none of the combinations was shown."""
    if not wanted or any(rule <= shown for rule in wanted):
        return
    now = cloud.now()
    expires = now + LASTS
    packed = Packed(FORM, user.id.bytes, tuple(sorted(shown)), microseconds(expires))
    raise MoreProof(
        Receipt(
            user=user,
            domain=domain,
            methods=tuple(sorted(shown, key=METHODS.index)),
            missing=tuple(tuple(sorted(rule)) for rule in wanted),
            issued_at=now,
            expires_at=expires,
            text=tokens_of(cloud).seal(msgspec.msgpack.encode(packed)),
        )
    )


def shown_before(cloud: Cloud, text: str, user: User) -> set[str]:
    """The methods of a receipt. Raises Unauthenticated for one that is not good, is another user's, or is older than the
    user's password."""
    try:
        packed = msgspec.msgpack.decode(tokens_of(cloud).unseal(text), type=Packed)
    except msgspec.DecodeError:
        raise refused("what was sealed is no receipt") from None
    expires = EPOCH + timedelta(microseconds=packed.expires)
    if packed.form != FORM or packed.user != user.id.bytes or expires <= cloud.now():
        raise refused("receipt is another's or has expired")
    if user.password_at is not None and expires - LASTS < user.password_at:
        raise refused("receipt is older than the password")
    return set(packed.methods)
