"""Equilibria of position auctions in closed form: what bidders of known value would bid, and what they would pay.

For tests and for research: values, bids and payments here are floats in any one unit, qualities are equal, and bidders
are sorted by value, highest first. ``slot_effects`` [K] are positive and nonincreasing, such as clicks per hour.
Sources: Edelman, Ostrovsky and Schwarz, "Internet Advertising and the Generalized Second-Price Auction" (2007), called
EOS below; Varian, "Position Auctions" (2007); Bachrach et al., "Optimising Trade-offs Among Stakeholders in Ad
Auctions" (EC 2014).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.auctions.bids import checked_reals, checked_slot_effects


def _sorted_amounts(name: str, values: ArrayLike, slots: int) -> NDArray[np.float64]:
    """Amounts sorted highest first, with zeros added up to one more than there are slots."""
    amounts = checked_reals(name, values)
    if amounts.ndim != 1:
        raise ValueError(f"{name} has shape {list(amounts.shape)}; allowed: [n], one for each bidder")
    if bool(np.any(np.diff(amounts) > 0.0)):
        raise ValueError(f"{name} is not sorted; allowed: bidders in descending order")
    return np.concatenate([amounts, np.zeros(max(0, slots + 1 - amounts.size))])


def _positive_effects(slot_effects: ArrayLike) -> NDArray[np.float64]:
    effects = checked_slot_effects(slot_effects)
    if effects[-1] <= 0.0:
        raise ValueError(f"slot_effects[{effects.size - 1}] is 0; allowed: positive effects")
    return effects


def _lost_clicks(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x_s - x_{s+1}`` with ``x_{K+1} = 0``."""
    return np.asarray(effects - np.append(effects[1:], 0.0), np.float64)


def gsp_payments(bids: ArrayLike, slot_effects: ArrayLike) -> NDArray[np.float64]:
    """Total payment of each slot [K] when sorted ``bids`` [n] meet the generalized second price (EOS).

    >>> gsp_payments([10, 4, 2], [200, 100])
    array([800., 200.])
    """
    effects = _positive_effects(slot_effects)
    amounts = _sorted_amounts("bids", bids, effects.size)
    return effects * amounts[1 : effects.size + 1]


def vcg_payments(values: ArrayLike, slot_effects: ArrayLike) -> NDArray[np.float64]:
    """Total VCG payment of each slot [K]: ``sum_{t=s..K} v_{t+1} (x_t - x_{t+1})`` (EOS).

    >>> vcg_payments([10, 4, 2], [200, 100])
    array([600., 200.])
    """
    effects = _positive_effects(slot_effects)
    amounts = _sorted_amounts("values", values, effects.size)
    harm = _lost_clicks(effects) * amounts[1 : effects.size + 1]
    return np.asarray(harm[::-1].cumsum()[::-1], np.float64)


def lowest_symmetric_bids(values: ArrayLike, slot_effects: ArrayLike) -> NDArray[np.float64]:
    """Bids [n] of the lowest symmetric Nash equilibrium (Varian's lower bound).

    ``b_s x_{s-1} = sum_{t=s..K+1} v_t (x_{t-1} - x_t)`` for s = 2..K + 1. The first bidder bids its value (any bid
    above the second does), and so do bidders beyond slot K + 1. It is the locally envy-free equilibrium B* of EOS:
    payments are those of VCG, the lowest of all such equilibria.

    >>> lowest_symmetric_bids([10, 4, 2], [200, 100])
    array([10.,  3.,  2.])
    """
    effects = _positive_effects(slot_effects)
    amounts = _sorted_amounts("values", values, effects.size)
    bids = amounts.copy()
    bids[1 : effects.size + 1] = vcg_payments(values, effects) / effects
    return bids[: np.size(values)]


def highest_symmetric_bids(values: ArrayLike, slot_effects: ArrayLike) -> NDArray[np.float64]:
    """Bids [n] of the highest symmetric Nash equilibrium (Varian's upper bound).

    The formula of the lowest with ``v_{t-1}`` for ``v_t``. Its revenue is the highest of any
    Nash equilibrium of the GSP auction.

    >>> highest_symmetric_bids([10, 4, 2], [200, 100])
    array([10.,  7.,  4.])
    """
    effects = _positive_effects(slot_effects)
    amounts = _sorted_amounts("values", values, effects.size)
    bids = amounts.copy()
    gain = _lost_clicks(effects) * amounts[: effects.size]
    bids[1 : effects.size + 1] = gain[::-1].cumsum()[::-1] / effects
    return bids[: np.size(values)]


def is_locally_envy_free(
    values: ArrayLike, bids: ArrayLike, slot_effects: ArrayLike, *, tolerance: float = 1e-9
) -> bool:
    """Whether no bidder would rather have the slot just above at the price paid there (EOS).

    ``values`` [n] and ``bids`` [n] belong to the same bidders, sorted by bid.

    >>> is_locally_envy_free([10, 4, 2], [10, 3, 2], [200, 100])
    True
    >>> is_locally_envy_free([10, 4, 2], [10, 2, 1], [200, 100])
    False
    """
    effects = _positive_effects(slot_effects)
    worth = checked_reals("values", values)
    worth = np.concatenate([worth, np.zeros(max(0, effects.size + 1 - worth.size))])[: effects.size + 1]
    clicks = np.append(effects, 0.0)
    paid = np.append(gsp_payments(bids, effects), 0.0)
    keeps = worth * clicks - paid
    envies = worth[1:] * clicks[:-1] - paid[:-1]
    return bool(np.all(keeps[1:] >= envies - tolerance * (1.0 + np.abs(envies))))


def is_nash_equilibrium(
    values: ArrayLike, bids: ArrayLike, slot_effects: ArrayLike, *, tolerance: float = 1e-9
) -> bool:
    """Whether no bidder of a GSP auction gains by moving to any other slot while the others keep their bids.

    A bidder that moves down to slot t pays the bid below it; one that moves up to slot t pays the bid that was there,
    which it has to beat: that is the asymmetry between Nash and symmetric equilibria (Varian).

    >>> is_nash_equilibrium([10, 4, 2], [10, 4, 2], [200, 100])
    True
    >>> is_nash_equilibrium([10, 4, 2], [10, 4, 2], [200, 199])
    False
    """
    effects = _positive_effects(slot_effects)
    worth, amounts = checked_reals("values", values), _sorted_amounts("bids", bids, effects.size)
    for bidder in range(worth.size):
        rivals = np.append(np.delete(amounts, bidder), 0.0)
        utility = effects * (worth[bidder] - rivals[: effects.size])
        own = float(utility[bidder]) if bidder < effects.size else 0.0
        best = max(0.0, float(utility.max()))
        if best > own + tolerance * (1.0 + abs(best)):
            return False
    return True


def stakeholder_reserve(revenue: float = 1.0, welfare: float = 0.0, clicks: float = 0.0) -> float:
    """Best reserve for values uniform on [0, 1]: ``max(0, (revenue - clicks) / (2 revenue + welfare))``.

    The three weights are what one unit of platform revenue, of total welfare and one click are worth (Bachrach et al.,
    EC 2014): the zero of ``revenue * (2 v - 1) + welfare * v + clicks``. Revenue alone gives Myerson's 1/2.

    >>> stakeholder_reserve(1, 0, 0), stakeholder_reserve(1, 0, 0.5), stakeholder_reserve(0, 1, 0)
    (0.5, 0.25, 0.0)
    """
    for name, weight in (("revenue", revenue), ("welfare", welfare), ("clicks", clicks)):
        checked_reals(name, weight, ())
    slope = 2.0 * revenue + welfare
    return max(0.0, (revenue - clicks) / slope) if slope > 0.0 else 0.0
