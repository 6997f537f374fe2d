"""What advertisers are credited with: conversions and value by brand and channel under a rule, and target CPA on it.

Last click and a multi-touch rule give a brand the same orders in total; they differ in the channel, and so in what is left
of an order for the channels that the brand pays for. An account that counts only those sees its conversions, its CPA and
its violations change with the rule.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.advertisers import Advertisers
from tribid.envs.attribution.credit import CreditMethod, credit
from tribid.envs.attribution.paths import LOOKBACK_HOURS, build_paths
from tribid.envs.attribution.touches import Orders, Touches


class Attributed(NamedTuple):
    """Conversions and value credited to A brands through C channels.

    ``conversions`` and ``value`` are [A, C]; ``direct`` and ``direct_value`` [A] are orders that no touch led to. With these
    the sum over channels is the number, or the value, of the brand's orders.
    """

    conversions: NDArray[np.float64]
    value: NDArray[np.float64]
    direct: NDArray[np.float64]
    direct_value: NDArray[np.float64]

    def paid(self, channels: Sequence[int] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Conversions and value [A] of some channels, by default of all."""
        chosen = slice(None) if channels is None else list(channels)
        return self.conversions[:, chosen].sum(axis=1), self.value[:, chosen].sum(axis=1)


def attributed(
    touches: Touches,
    orders: Orders,
    *,
    brands: int,
    channels: int,
    method: str | CreditMethod = "linear",
    lookback_hours: float = LOOKBACK_HOURS,
    since_hours: float = -np.inf,
    **settings: Any,
) -> Attributed:
    """Credit of the orders from ``since_hours`` on, by brand and channel; ``settings`` are the rule's.

    Orders before that belong in the log, too: they have used touches up. ``ValueError`` for brands or channels beyond those.

    >>> touches = Touches(user=[1, 1], brand=[0, 0], time_hours=[0.0, 5.0], channel=[0, 1], event=[2, 2])
    >>> orders = Orders(user=[1, 2], brand=[0, 0], time_hours=[5.0, 6.0], value=[30.0, 8.0])
    >>> told = attributed(touches, orders, brands=1, channels=2)
    >>> told.conversions.tolist(), told.value.tolist(), told.direct.tolist()
    ([[0.5, 0.5]], [[15.0, 15.0]], [1.0])
    """
    for name, column, limit in (
        ("brand of a touch", touches.brand, brands), ("channel of a touch", touches.channel, channels),
        ("brand of an order", orders.brand, brands),
    ):  # fmt: skip
        if (column >= limit).any():
            raise ValueError(f"{name} is {column.max()}; allowed is 0 to {limit - 1}")
    paths = build_paths(touches, orders, lookback_hours=lookback_hours)
    counted = paths.converted & (paths.end_hours >= since_hours)
    share = np.where(counted[paths.path], credit(paths, method, **settings), 0.0)
    cell = paths.brand[paths.path] * channels + paths.channel
    direct = paths.brand[paths.direct & counted]

    def table(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(cell, weight, brands * channels).astype(np.float64).reshape(brands, channels)

    return Attributed(
        conversions=table(share),
        value=table(share * paths.value[paths.path]),
        direct=np.bincount(direct, minlength=brands).astype(np.float64),
        direct_value=np.bincount(direct, paths.value[paths.direct & counted], brands).astype(np.float64),
    )


class CpaAccount(NamedTuple):
    """Target CPA of A advertisers: ``cpa_micros`` (NaN where nothing converted), ``ratio`` to the target, ``violated``.

    ``ratio`` is spend over the spend that the target allows: NaN without a target, 0 where nothing was spent, infinite where
    something was spent for no conversion.
    """

    cpa_micros: NDArray[np.float64]
    ratio: NDArray[np.float64]
    violated: NDArray[np.bool_]


def cpa_account(
    advertisers: Advertisers, spend_micros: NDArray[np.int64], conversions: NDArray[np.float64]
) -> CpaAccount:
    """The account of advertisers [A] that spent this on these (attributed, so perhaps fractional) conversions."""
    target = advertisers.target_cpa_micros
    spend = spend_micros.astype(np.float64)
    allowed = target * conversions
    with np.errstate(divide="ignore", invalid="ignore"):
        cpa = np.where(conversions > 0, spend / conversions, np.nan)
        ratio = np.where(spend > 0, np.where(allowed > 0, spend / allowed, np.inf), 0.0)
    ratio = np.where(target > 0, ratio, np.nan)
    return CpaAccount(cpa, ratio, (target > 0) & (spend > allowed))
