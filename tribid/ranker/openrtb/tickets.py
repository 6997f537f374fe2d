"""Tickets: what a notice's URL says of its bid, signed so that nobody else can say it.

A ticket is bound to one kind of notice: the win notice's URL, which browsers may see, cannot be called as a billing notice.
The signature is HMAC-SHA-256, cut to 128 bits.
"""

import base64
import hashlib
import hmac
import re
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal["win", "billing", "loss", "click"]
_MAX_TOKEN = 2_000
_SIGNATURE_BYTES = 16
_PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,200}")

_MACROS: dict[Kind, str] = {
    "win": "&price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}",
    "billing": "&price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}&multiplier=${AUCTION_MULTIPLIER}",
    "loss": "&loss=${AUCTION_LOSS}&min=${AUCTION_MIN_TO_WIN}&cur=${AUCTION_CURRENCY}",
    "click": "",
}


class Ticket(Struct, frozen=True, array_like=True, kw_only=True):
    """One bid: the page (``decision``), its slot, and which of the slot's ``bids`` bids this is (an imp can get several).

    ``ad`` is the advertiser's index, ``price`` the bid per mille in ``currency``; ``auction`` a digest of the bid
    request's id; ``expires_ms`` when the money is let go; ``test`` marks an auction that nobody pays for.
    """

    decision: str
    slot: int
    bid: int
    bids: int
    ad: int
    price: str
    currency: str
    auction: str
    expires_ms: int
    test: bool = False

    @property
    def hold(self) -> str:
        """The ledger's name of the slot's money."""
        return f"{self.decision}.{self.slot}"

    def is_of(self, auction_id: str) -> bool:
        """Whether an auction id that a notice told, if it did, is this bid's."""
        return not auction_id or auction_id.startswith("${") or auction_digest(auction_id) == self.auction


class ForgedError(ValueError):
    """A token that this service did not sign for this kind of notice."""


class Signer:
    """Makes and reads the tokens of one secret; processes that share the secret read each other's."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError(f"the secret has {len(secret)} bytes; allowed are 16 or more")
        self._secret = secret
        self._tickets = msgspec.json.Decoder(Ticket)

    def token(self, kind: Kind, ticket: Ticket) -> str:
        """The ticket as text that a URL takes as it is."""
        content = msgspec.json.encode(ticket)
        return f"{_text(content)}.{_text(self._signature(kind, content))}"

    def read(self, kind: Kind, token: str) -> Ticket:
        """The ticket in a token; ``ForgedError`` unless it was signed with this secret, for this kind."""
        if len(token) <= _MAX_TOKEN and token.isascii():
            content, _, signature = token.partition(".")
            try:
                told, signed = _bytes(content), _bytes(signature)
                if hmac.compare_digest(signed, self._signature(kind, told)):
                    return self._tickets.decode(told)
            except ValueError:  # not base64, or signed by another version of this service
                pass
        raise ForgedError("the token is not one of this service")

    def _signature(self, kind: Kind, content: bytes) -> bytes:
        return hmac.digest(self._secret, kind.encode() + b"\0" + content, hashlib.sha256)[:_SIGNATURE_BYTES]


def notice_url(base: str, kind: Kind, token: str, auction_id: str) -> str:
    """The URL of a notice, with the macros that the exchange fills in.

    ``${AUCTION_ID}`` is asked for only where the id is plain: exchanges put it in without encoding it.
    """
    asked = "&id=${AUCTION_ID}" if kind != "click" and _PLAIN.fullmatch(auction_id) else ""
    return f"{base}/openrtb2/{kind}?t={token}{_MACROS[kind]}{asked}"


def auction_digest(auction_id: str) -> str:
    """Eight bytes of a bid request's id, as hex; what a ticket remembers of it."""
    return hashlib.blake2b(auction_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Strict: exactly one text stands for each content."""
    content = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(content) != text:
        raise ValueError("not the one way to write it")
    return content
