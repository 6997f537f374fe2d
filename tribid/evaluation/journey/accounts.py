"""Target CPA by attributed conversions: what an account that pays for some channels says under one rule of credit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.accounting import Attributed, attributed, cpa_account
from tribid.envs.attribution.reward import log_of_journey
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.market import MarketState
from tribid.evaluation.journey.measures import row_of

USUAL = "last"
"""The rule from which a brand's CPA is said to move."""


def credited_numbers(
    state: MarketState, method: str, spend_micros: NDArray[np.int64], *, paid: Sequence[int]
) -> list[float]:
    """The numbers that an account knows, with conversions credited by ``method`` to the ``paid`` channels.

    ``state`` is that at the end of the log's days, ``spend_micros`` [A] what the auctions cost over them.
    """
    ads = state.advertisers
    conversions, value_micros = _credited(state, method).paid(paid)
    account = cpa_account(ads, spend_micros, conversions)
    usual = cpa_account(ads, spend_micros, _credited(state, USUAL).paid(paid)[0])
    moved = np.abs(account.cpa_micros / usual.cpa_micros - 1.0)
    return row_of(
        ROI=value_micros.sum() / spend_micros.sum(),
        over_target=100.0 * account.violated.sum() / (ads.target_cpa_micros > 0).sum(),
        CPA_moved=100.0 * moved[np.isfinite(moved)].mean(),
    )


def _credited(state: MarketState, method: str) -> Attributed:
    log = log_of_journey(state)
    return attributed(
        log.touches, log.orders, brands=len(state.advertisers), channels=len(CHANNELS), method=method, since_hours=0.0
    )
