"""Tokens of slots: what a mail's URLs say, sealed so that nobody can read, change or invent them.

A token holds the user, the message, the slot's number and when the token was issued and ends. It is encrypted and signed
in one, by a synthetic IV (Rogaway and Shrimpton, "Deterministic Authenticated-Encryption", 2006; the shape of RFC 5297):
the tag is HMAC-SHA-256 of the purpose and the content, cut to 128 bits, and starts the key stream, HMAC-SHA-256 in
counter mode under a second key, that covers the content. So the same slot has one token, proxies and mail archives learn
nothing about the user from it, and a token of one purpose is none of another.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Purpose = Literal["open", "click"]
VERSION = "1"
MAX_TOKEN = 800
MAX_SLOTS = 32
MAX_KEYS = 4
_MIN_KEY = 32
_TAG, _BLOCK, _PAD = 16, 32, 32
_EARLY_MS = 300_000

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Time = Annotated[int, Meta(ge=0, le=2**53)]


class Slot(Struct, frozen=True, array_like=True, kw_only=True, forbid_unknown_fields=True):
    """A place in one user's copy of a message: ``slot`` counts from 0; times are milliseconds since 1970."""

    user: Id
    message: Id
    slot: Annotated[int, Meta(ge=0, lt=MAX_SLOTS)]
    issued_ms: Time
    expires_ms: Time


class ForgedError(ValueError):
    """A token that was not made with one of these keys for this purpose."""


class ExpiredError(ValueError):
    """A token whose time is over."""


class Signer:
    """Makes and reads tokens. The first of ``keys`` (32 bytes or more each) makes them, all of them read: so keys change.

    >>> signer = Signer([b"k" * 32])
    >>> slot = Slot(user="42", message="m1", slot=0, issued_ms=0, expires_ms=1_000)
    >>> signer.read("open", signer.token("open", slot), now_ms=999) == slot
    True
    >>> signer.read("click", signer.token("open", slot), now_ms=999)
    Traceback (most recent call last):
    tribid.ranker.open_time.tokens.ForgedError: the token is not one of this service
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"there are {len(keys)} keys; allowed are 1 to {MAX_KEYS}")
        for key in keys:
            if len(key) < _MIN_KEY:
                raise ValueError(f"a key has {len(key)} bytes; allowed are {_MIN_KEY} or more")
        self._keys = [(_mac(key, b"tribid slot sign 1"), _mac(key, b"tribid slot cover 1")) for key in keys]
        self._slots = msgspec.json.Decoder(Slot)

    def token(self, purpose: Purpose, slot: Slot) -> str:
        """The slot as text that a URL takes as it is; ``ValueError`` for a slot with a field that is not allowed."""
        checked = msgspec.convert(msgspec.to_builtins(slot), Slot)
        content = msgspec.json.encode(checked)
        content += b" " * (-len(content) % _PAD)  # its length tells little of the user's id
        sign, cover = self._keys[0]
        tag = _tag(sign, purpose, content)
        token = VERSION + base64.urlsafe_b64encode(tag + _covered(cover, tag, content)).rstrip(b"=").decode()
        if len(token) > MAX_TOKEN:
            raise ValueError(f"user and message need a token of {len(token)} characters; allowed are up to {MAX_TOKEN}")
        return token

    def read(self, purpose: Purpose, token: str, now_ms: int) -> Slot:
        """The slot in a token; ``ForgedError`` or ``ExpiredError`` if it is none of ours, or no longer."""
        content = self._opened(purpose, token)
        if content is None:
            raise ForgedError("the token is not one of this service")
        try:
            slot = self._slots.decode(content)
        except msgspec.MsgspecError:  # signed by another version of this service
            raise ForgedError("the token is not one of this service") from None
        if slot.issued_ms > now_ms + _EARLY_MS:
            raise ForgedError("the token is not one of this service yet")
        if now_ms >= slot.expires_ms:
            raise ExpiredError("the token's time is over")
        return slot

    def _opened(self, purpose: Purpose, token: str) -> bytes | None:
        if not token.startswith(VERSION) or len(token) > MAX_TOKEN or not token.isascii():
            return None
        try:
            sealed = _bytes(token[len(VERSION) :])
        except ValueError:
            return None
        tag, covered, found = sealed[:_TAG], sealed[_TAG:], None
        for sign, cover in self._keys:
            content = _covered(cover, tag, covered)
            if hmac.compare_digest(tag, _tag(sign, purpose, content)):
                found = content
        return found


def read_keys(path: str | Path) -> list[bytes]:
    """The keys in a file, one a line, of 32 visible ASCII characters or more (``openssl rand -hex 32``), newest first.

    ``ValueError`` names the file and what is wrong with it, never a key.
    """
    try:
        lines = [line.strip() for line in Path(path).read_bytes().splitlines()]
    except OSError as error:
        raise ValueError(f"key file {path} cannot be read: {error.strerror}") from None
    keys = [line for line in lines if line]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"key file {path} has {len(keys)} keys; allowed are 1 to {MAX_KEYS}, one a line")
    for key in keys:
        if len(key) < _MIN_KEY or not all(0x21 <= letter <= 0x7E for letter in key):
            raise ValueError(f"key file {path} has a key that is no {_MIN_KEY} or more visible ASCII characters")
    return keys


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _tag(key: bytes, purpose: Purpose, content: bytes) -> bytes:
    return _mac(key, f"{VERSION}.{purpose}\0".encode() + content)[:_TAG]


def _covered(key: bytes, tag: bytes, content: bytes) -> bytes:
    """The content with the key stream added; adding it twice gives the content back."""
    blocks = range(-(-len(content) // _BLOCK))
    stream = b"".join(_mac(key, tag + block.to_bytes(4, "big")) for block in blocks)[: len(content)]
    mixed = int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(len(content), "big")


def _bytes(text: str) -> bytes:
    """Strict: exactly one text stands for each content."""
    content = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:
        raise ValueError("not the one way to write it")
    return content
