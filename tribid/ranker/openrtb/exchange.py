"""The other side of the table: a small exchange that clears bids and fills in macros, to try a bidder without a real one.

It knows first prices and second prices plus an increment, floors, discounts, and what each bid is told (section 4.4): the
clearing price, the least price that would have won, and why it lost.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

FIRST_PRICE, SECOND_PRICE = 1, 2
BELOW_FLOOR, LOST_TO_HIGHER, INVALID, WON = 100, 102, 3, 0


class Cleared(NamedTuple):
    """What a bid is told: its loss reason (0: it won), the price it pays and the least that would have tied, if told."""

    loss: int
    price: Decimal | None
    min_to_win: Decimal | None


class Discounted(NamedTuple):
    """A price after a discount, with what its macros say: the discount in per cent, and per mille."""

    price: Decimal
    pct: Decimal
    cpm: Decimal


def clear(
    bids: Sequence[Decimal | None], floor: Decimal, *, at: int = SECOND_PRICE, increment: Decimal = Decimal("0.01")
) -> list[Cleared]:
    """What each bid of one imp is told; None is a bid that was not let in. The first of equal bids wins.

    The least price to win ties with the winning bid's price for losers (its clearing price in a second-price auction), and
    with the next bid, or the floor, for the winner: the tables of OpenRTB 2.6, section 4.4.1.

    >>> [told.min_to_win for told in clear([Decimal("1.00"), Decimal("0.90"), None], Decimal("0.85"), at=FIRST_PRICE)]
    [Decimal('0.90'), Decimal('1.00'), None]
    """
    if at not in (FIRST_PRICE, SECOND_PRICE):
        raise ValueError(f"at is {at}; allowed is 1 (first price) or 2 (second price plus)")
    ranked = sorted(
        (b for b, bid in enumerate(bids) if bid is not None and bid >= floor), key=lambda b: (-_of(bids, b), b)
    )
    if not ranked:
        return [Cleared(INVALID if bid is None else BELOW_FLOOR, None, None if bid is None else floor) for bid in bids]
    best, following = _of(bids, ranked[0]), max([floor, *(_of(bids, b) for b in ranked[1:2])])
    price = best if at == FIRST_PRICE else min(best, following + increment) if len(ranked) > 1 else following
    told = []
    for b, bid in enumerate(bids):
        if b == ranked[0]:
            told.append(Cleared(WON, price, following))
        elif bid is None:
            told.append(Cleared(INVALID, None, None))
        else:
            told.append(Cleared(LOST_TO_HIGHER if bid >= floor else BELOW_FLOOR, None, price))
    return told


def discounted(price: Decimal, discount_pct: Decimal) -> Discounted:
    """A clearing price after a discount in per cent: the worked example of OpenRTB 2.6, section 7.16.

    >>> discounted(Decimal(10), Decimal(20))
    Discounted(price=Decimal('8'), pct=Decimal('20'), cpm=Decimal('2'))
    """
    cpm = price * discount_pct / 100
    return Discounted(price - cpm, discount_pct, cpm)


def fill_in(text: str, macros: Mapping[str, object]) -> str:
    """A notice's URL, or markup, with its macros filled in; those without a value are emptied.

    >>> fill_in("https://x.example/?p=${AUCTION_PRICE}&l=${AUCTION_LOSS}", {"AUCTION_PRICE": Decimal("0.91")})
    'https://x.example/?p=0.91&l='
    """
    parts = text.split("${AUCTION_")
    filled = [parts[0]]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        if not closed:
            filled.append("${AUCTION_" + part)
            continue
        value = macros.get(f"AUCTION_{name}")
        filled.append(("" if value is None else str(value)) + rest)
    return "".join(filled)


def _of(bids: Sequence[Decimal | None], place: int) -> Decimal:
    bid = bids[place]
    assert bid is not None
    return bid
