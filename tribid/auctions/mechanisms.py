"""The auctions: generalized second price, Vickrey-Clarke-Groves and first price, all of one shape.

    outcome = gsp(bids_micros, quality, slot_effects, reserve_micros=..., squash=1.0, eligible=..., tie_break=...)

Who wins is the same in all three. A candidate takes part if its mask allows it, its bid is positive and not below the
reserve, and its score ``bid * quality ** squash`` is positive. Candidates rank by score; among equal scores the higher
``tie_break`` draw comes first, and without draws the lower index. They differ in what a click costs.
"""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from tribid.auctions.bids import checked_bids
from tribid.auctions.kernels import FIRST_PRICE, GSP, VCG, auction_rows
from tribid.auctions.outcome import Outcome


class Auction(Protocol):
    """The one shape of every mechanism: arrays in, an ``Outcome`` out, nothing kept and nothing changed."""

    def __call__(
        self,
        bids_micros: ArrayLike,
        quality: ArrayLike,
        slot_effects: ArrayLike,
        *,
        reserve_micros: ArrayLike = 0,
        squash: float = 1.0,
        eligible: ArrayLike | None = None,
        tie_break: ArrayLike | None = None,
    ) -> Outcome:
        """Decide ``B`` requests at once."""
        ...


def _run(
    mechanism: int,
    bids_micros: ArrayLike,
    quality: ArrayLike,
    slot_effects: ArrayLike,
    reserve_micros: ArrayLike,
    squash: float,
    eligible: ArrayLike | None,
    tie_break: ArrayLike | None,
) -> Outcome:
    checked = checked_bids(
        bids_micros,
        quality,
        slot_effects,
        reserve_micros=reserve_micros,
        squash=squash,
        eligible=eligible,
        tie_break=tie_break,
    )
    shape = (checked.bids.shape[0], checked.slot_effects.shape[0])
    outcome = Outcome(np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(shape, np.float64))
    auction_rows(
        mechanism,
        checked.bids,
        checked.weight,
        checked.slot_effects,
        checked.reserve,
        checked.tie,
        outcome.winner,
        outcome.price_micros,
        outcome.score,
    )
    return outcome


def gsp(
    bids_micros: ArrayLike,
    quality: ArrayLike,
    slot_effects: ArrayLike,
    *,
    reserve_micros: ArrayLike = 0,
    squash: float = 1.0,
    eligible: ArrayLike | None = None,
    tie_break: ArrayLike | None = None,
) -> Outcome:
    """Generalized second price: a click costs the least whole micros that keep the slot, and at least the reserve.

    The price of slot s is the least integer p with ``p * weight_s >= score_{s+1}`` in float64 (equality keeps the
    slot) and ``p >= reserve``; it is never above the bid. Quality scores: Lahaie and Pennock, "Revenue Analysis of a
    Family of Ranking Rules for Keyword Auctions" (2007); the auction: Edelman, Ostrovsky and Schwarz (2007).

    Args:
        bids_micros: integers [B, N], 0 to 2**53; a zero bid takes no part.
        quality: [B, N], usually the predicted click rate.
        slot_effects: [K], nonincreasing. GSP does not use their values, only how many there are.
        reserve_micros: per click, a scalar or [B].
        squash: exponent of quality; 1 ranks by expected revenue, 0 by bid alone.
        eligible: bool [B, N]; everyone when left out.
        tie_break: [B, N] draws, the higher first among equal scores; independent uniform draws break ties uniformly.

    Raises:
        ValueError: a field is malformed; the message names it.

    Three bidders bid 10, 4 and 2 for two slots; each pays the bid below its own:

    >>> gsp([[10, 4, 2]], [[1.0, 1.0, 1.0]], [200, 100]).price_micros
    array([[4, 2]])

    With half the quality, the first has to pay twice as much to keep its slot:

    >>> gsp([[10, 4]], [[0.5, 1.0]], [1.0]).price_micros
    array([[8]])
    """
    return _run(GSP, bids_micros, quality, slot_effects, reserve_micros, squash, eligible, tie_break)


def vcg(
    bids_micros: ArrayLike,
    quality: ArrayLike,
    slot_effects: ArrayLike,
    *,
    reserve_micros: ArrayLike = 0,
    squash: float = 1.0,
    eligible: ArrayLike | None = None,
    tie_break: ArrayLike | None = None,
) -> Outcome:
    """Vickrey-Clarke-Groves in the position model: a click costs the harm done to the bidders below.

    The price of slot s is ``(1 / x_s) * sum_{t=s..K} (x_t - x_{t+1}) * max(score_{t+1} / weight_s, reserve)`` with
    ``x_{K+1} = 0`` and score 0 for a missing candidate: the threshold payment of Myerson (1981) under a reserve per
    click, and Edelman, Ostrovsky and Schwarz (2007) without one. It is rounded up to the micro (after rounding to
    1/1024 micro, so that exact answers stay exact), and is never above the GSP price of the slot nor below the reserve.
    A slot with effect 0 costs the reserve. Arguments and errors are those of ``gsp``.

    Clicks 200 and 100, bids 10, 4 and 2: the first takes 100 clicks from the second and 100 from the third, so it pays
    ``(100 * 4 + 100 * 2) / 200 = 3`` a click.

    >>> vcg([[10, 4, 2]], [[1.0, 1.0, 1.0]], [200, 100]).price_micros
    array([[3, 2]])
    """
    return _run(VCG, bids_micros, quality, slot_effects, reserve_micros, squash, eligible, tie_break)


def first_price(
    bids_micros: ArrayLike,
    quality: ArrayLike,
    slot_effects: ArrayLike,
    *,
    reserve_micros: ArrayLike = 0,
    squash: float = 1.0,
    eligible: ArrayLike | None = None,
    tie_break: ArrayLike | None = None,
) -> Outcome:
    """First price: a click costs the winner's own bid. Arguments and errors are those of ``gsp``.

    >>> first_price([[10, 4, 2]], [[1.0, 1.0, 1.0]], [200, 100]).price_micros
    array([[10,  4]])
    """
    return _run(FIRST_PRICE, bids_micros, quality, slot_effects, reserve_micros, squash, eligible, tie_break)


AUCTIONS: dict[str, Auction] = {"first_price": first_price, "gsp": gsp, "vcg": vcg}
"""The mechanisms by the name that a scenario file gives them."""


def auction_named(name: str) -> Auction:
    """The mechanism of that name.

    >>> auction_named("gps")
    Traceback (most recent call last):
    ValueError: no auction named 'gps'; choose first_price, gsp or vcg
    """
    if name not in AUCTIONS:
        raise ValueError(f"no auction named {name!r}; choose first_price, gsp or vcg")
    return AUCTIONS[name]
