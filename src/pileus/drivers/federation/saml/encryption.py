"""XML Encryption as SAML's providers use it: one assertion, by a key that is wrapped for our certificate (RSA-OAEP).

Why something cannot be decrypted is for the log alone; whoever sent it must be answered with the same words for every
cause, for CBC is not authenticated, and a padding told from a syntax error would tell the text in the end.
"""

import base64
import binascii
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pileus.drivers.errors import Refused
from pileus.drivers.federation.protocol import KeyPair
from pileus.drivers.federation.saml.xml import SAML, XENC, XENC11, Element, every, find, read, text_of

GCM = {f"{XENC11}aes128-gcm": 16, f"{XENC11}aes256-gcm": 32}
CBC = {f"{XENC}aes128-cbc": 16, f"{XENC}aes256-cbc": 32}
SIZES = GCM | CBC
"""Bytes of the key by algorithm."""
OAEP_SHA1 = f"{XENC}rsa-oaep-mgf1p"
OAEP = f"{XENC11}rsa-oaep"
RSA15 = f"{XENC}rsa-1_5"
METHODS = (*reversed(GCM), *reversed(CBC), OAEP, OAEP_SHA1)
"""What our metadata offers, best first."""
DIGESTS: Mapping[str, type[hashes.HashAlgorithm]] = {
    "http://www.w3.org/2000/09/xmldsig#sha1": hashes.SHA1,
    f"{XENC}sha256": hashes.SHA256,
    f"{XENC}sha512": hashes.SHA512,
}
"""Of OAEP, whose safety does not rest on the digest's: SHA-1 is its default, and what most providers use."""
MASKS: Mapping[str, type[hashes.HashAlgorithm]] = {
    f"{XENC11}mgf1sha1": hashes.SHA1,
    f"{XENC11}mgf1sha256": hashes.SHA256,
    f"{XENC11}mgf1sha512": hashes.SHA512,
}
ELEMENT = f"{XENC}Element"
NONCE, TAG, BLOCK = 12, 16, 16
WELL_KNOWN = {
    "xs": "http://www.w3.org/2001/XMLSchema",
    "xsd": "http://www.w3.org/2001/XMLSchema",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
"""Prefixes that providers use within the assertion and declare outside of it, where no signature need cover them."""


def decrypt(encrypted: Element, pair: KeyPair) -> Element:
    """The assertion in an EncryptedAssertion; nothing of it is to be believed but by a signature. Raises Refused."""
    try:
        return _assertion(encrypted, _content(encrypted, pair))
    except Refused as error:
        raise Refused(f"the assertion cannot be decrypted: {error}") from error


def _content(encrypted: Element, pair: KeyPair) -> bytes:
    data = _only(every(encrypted, "xenc:EncryptedData"), "EncryptedData")
    if data.get("Type", ELEMENT) != ELEMENT:
        raise Refused(f"it is encrypted as {data.get('Type')[:100]}, not as an element")
    # Beside the data (whose KeyInfo then refers to it) or within; more than one would be more than one try.
    wrapped = every(data, "ds:KeyInfo/xenc:EncryptedKey") + every(encrypted, "xenc:EncryptedKey")
    key = _unwrapped(_only(wrapped, "EncryptedKey"), pair)
    method = _method(data)
    if method not in SIZES:
        raise Refused(
            f"its content is encrypted by {method[:100]!r}; AES-GCM and AES-CBC of 128 or 256 bits are read"
        )
    if len(key) != SIZES[method]:
        raise Refused(f"a key of {len(key)} bytes is none of {method}")
    content = _cipher(data)
    return _gcm(key, content) if method in GCM else _cbc(key, content)


def _unwrapped(wrapped: Element, pair: KeyPair) -> bytes:
    method = find(wrapped, "xenc:EncryptionMethod")
    name = _method(wrapped)
    if name == RSA15:
        raise Refused("its key is wrapped by RSA 1.5, which is not safe; let the provider use RSA-OAEP")
    if method is None or name not in (OAEP, OAEP_SHA1):
        raise Refused(f"its key is wrapped by {name[:100]!r}; RSA-OAEP is read")
    if find(method, "xenc:OAEPparams") is not None:
        raise Refused("its key is wrapped with OAEP parameters")
    digest = _named(method, "ds:DigestMethod", DIGESTS)
    mask = _named(method, "xenc11:MGF", MASKS) if name == OAEP else hashes.SHA1
    key = load_pem_private_key(pair.key, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused("our own key is no RSA key")
    try:
        return key.decrypt(_cipher(wrapped), padding.OAEP(padding.MGF1(mask()), digest(), None))
    except ValueError as error:
        raise Refused(f"its key is not wrapped for our certificate: {error}") from error


def _gcm(key: bytes, content: bytes) -> bytes:
    if len(content) < NONCE + TAG:
        raise Refused("the content is too short")
    try:
        return AESGCM(key).decrypt(content[:NONCE], content[NONCE:], None)
    except InvalidTag as error:
        raise Refused("the content was changed") from error


def _cbc(key: bytes, content: bytes) -> bytes:
    if len(content) < 2 * BLOCK or len(content) % BLOCK:
        raise Refused("the content is no whole number of blocks")
    cipher = Cipher(algorithms.AES(key), modes.CBC(content[:BLOCK])).decryptor()
    plain = cipher.update(content[BLOCK:]) + cipher.finalize()
    if not 1 <= plain[-1] <= BLOCK:
        raise Refused("the content has no padding")
    return plain[: -plain[-1]]


def _assertion(encrypted: Element, content: bytes) -> Element:
    """Read where it stood: prefixes may be declared around it. It may be one assertion, and nothing else."""
    missing = {
        prefix: uri for prefix, uri in WELL_KNOWN.items() if f"xmlns:{prefix}=".encode() not in content
    }
    spaces = {**missing, **encrypted.nsmap}
    declared = "".join(
        f" xmlns{f':{prefix}' if prefix else ''}={quoteattr(uri)}" for prefix, uri in spaces.items()
    )
    around = read(f"<around{declared}>".encode() + content + b"</around>", "what was decrypted")
    inside = list(around)
    if len(inside) != 1 or inside[0].tag != f"{{{SAML}}}Assertion":
        raise Refused("what was decrypted is not one assertion")
    return inside[0]


def _only(found: list[Element], name: str) -> Element:
    if len(found) != 1:
        raise Refused(f"it has {len(found)} {name} elements")
    return found[0]


def _method(element: Element) -> str:
    method = find(element, "xenc:EncryptionMethod")
    return str(method.get("Algorithm", "")) if method is not None else ""


def _named(
    method: Element, path: str, known: Mapping[str, type[hashes.HashAlgorithm]]
) -> type[hashes.HashAlgorithm]:
    """By default SHA-1, as the standard has it."""
    found = find(method, path)
    if found is None:
        return hashes.SHA1
    name = found.get("Algorithm", "")
    if name not in known:
        raise Refused(f"its key is wrapped with {name[:100]!r}")
    return known[name]


def _cipher(element: Element) -> bytes:
    try:
        return base64.b64decode(
            "".join(text_of(find(element, "xenc:CipherData/xenc:CipherValue")).split()), validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise Refused("what is encrypted is not base64") from error
