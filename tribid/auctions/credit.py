"""Who is credited for a reward that bidders earned together: MAAB (Wen et al., WSDM 2022).

Bidders that share all reward collude on low bids; bidders that share none breed an oligarch. The temperature moves
between the two, and a bar below which a bid earns nothing keeps the platform's revenue up.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.auctions.bids import checked_reals


def temperature_credit(bids: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Credit weights ``softmax(bids / temperature)`` over the last axis; each row sums to 1 (MAAB, TRCA).

    ``bids`` [..., n] may have any unit; ``temperature`` >= 0 has the same. At infinity all share equally; at 0 the
    highest bid takes all, and equal highest bids share.

    >>> temperature_credit([3.0, 1.0], float("inf"))
    array([0.5, 0.5])
    >>> temperature_credit([3.0, 1.0], 0.0)
    array([1., 0.])
    """
    amounts = checked_reals("bids", bids)
    if amounts.ndim == 0 or amounts.shape[-1] == 0:
        raise ValueError(f"bids has shape {list(amounts.shape)}; allowed: [..., n] with at least one bidder")
    if isinstance(temperature, bool) or not temperature >= 0.0:
        raise ValueError(f"temperature is {temperature}; allowed: 0 to infinity")
    gap = amounts - amounts.max(axis=-1, keepdims=True)
    if temperature == 0.0:
        share = (gap == 0.0).astype(np.float64)
    elif math.isinf(temperature):
        share = np.ones_like(gap)
    else:
        share = np.exp(np.maximum(gap / max(temperature, 1e-290), -700.0))
        share = np.where(gap / max(temperature, 1e-290) < -700.0, 0.0, share)
    return np.asarray(share / share.sum(axis=-1, keepdims=True), np.float64)


def passes_bar(bids: ArrayLike, bar_bid: ArrayLike) -> NDArray[np.bool_]:
    """The gate of MAAB's bar agent: True where a bid reaches the bar; below it a training reward is 0.

    >>> passes_bar([1.0, 2.0, 3.0], 2.0)
    array([False,  True,  True])
    """
    return np.asarray(checked_reals("bids", bids) >= checked_reals("bar_bid", bar_bid), np.bool_)


def shared_reward(
    bids: ArrayLike, total_reward: ArrayLike, temperature: float, bar_bid: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """What each bidder learns from: its credit of ``total_reward`` [...], or 0 where its bid is below the bar.

    >>> shared_reward([2.0, 2.0], 10.0, 1.0), shared_reward([2.0, 2.0], 10.0, 1.0, bar_bid=3.0)
    (array([5., 5.]), array([0., 0.]))
    """
    total = np.asarray(total_reward, np.float64)
    return temperature_credit(bids, temperature) * total[..., np.newaxis] * passes_bar(bids, bar_bid)
