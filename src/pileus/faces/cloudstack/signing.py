"""Signatures of requests: HMAC-SHA1 over the sorted parameters, as clients and server disagree on their order."""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

Pairs = Sequence[tuple[str, str]]
SAFE = "*.-_"
"""What Java's encoder leaves as it is, besides letters and digits."""


def verify(pairs: Pairs, secret: str, signature: str) -> bool:
    """Whether one of the accepted forms of these parameters was signed with the secret."""
    sent = signature.encode()
    right = False
    for text in texts([pair for pair in pairs if pair[0].lower() != "signature"]):
        right |= hmac.compare_digest(sign(text, secret).encode(), sent)
    return right


def sign(text: str, secret: str) -> str:
    """The signature of a text that is in lower case."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def texts(pairs: Pairs) -> Iterator[str]:
    """What may have been signed: names sorted as sent or in lower case; `~` and `*` left or encoded."""
    orders = {tuple(sorted(pairs)), tuple(sorted(pairs, key=lambda pair: pair[0].lower()))}
    found = set()
    for order in orders:
        kept = "&".join(f"{name}={quote(value, safe=SAFE)}" for name, value in order).lower()
        found |= {kept, kept.replace("~", "%7e"), kept.replace("*", "%2a")}
    yield from found


def expired(version: str, expires: str | None, now: datetime) -> bool:
    """Of signature version 3, which has to say until when it is good."""
    if version != "3":
        return False
    try:
        until = datetime.strptime(expires or "", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return True
    return until.astimezone(UTC) < now
