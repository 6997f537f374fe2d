"""Channels without carry-over: each turns a day's money into orders by a curve of its own, the same every day. Ours.

A world in which a split's best is known exactly, beside the one of ``tribid.envs.channels.market`` in which today's
touches change tomorrow's answers. Expected orders are ``top * (1 - exp(-money / scale))``; a day's orders are Poisson.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.stats import poisson

from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.given import check_whole
from tribid.envs.worlds import Part, Positive


class Curves(Part):
    """Channels' curves: ``top`` orders a day at any price, ``scale`` the money (currency units) that brings 63 % of them."""

    tops: tuple[Positive, ...] = Field((14.0, 9.0, 4.0, 7.0), min_length=1, max_length=100)
    scales: tuple[Positive, ...] = (40.0, 25.0, 3.0, 60.0)

    @model_validator(mode="after")
    def _one_scale_each(self) -> "Curves":
        if len(self.scales) != len(self.tops):
            raise ValueError(f"scales has {len(self.scales)} numbers; allowed is one for each of {len(self.tops)} tops")
        return self

    def expected(self, money: ArrayLike) -> NDArray[np.float64]:
        """Expected orders of money [..., C] in currency units.

        >>> Curves(tops=(10.0,), scales=(5.0,)).expected([0.0]).tolist()
        [0.0]
        """
        orders: NDArray[np.float64] = -np.array(self.tops) * np.expm1(-np.asarray(money) / np.array(self.scales))
        return orders

    def orders(self, seed: int, day: int, money: ArrayLike) -> NDArray[np.int64]:
        """A day's orders of money [C]: more money never brings fewer on the same day of the same seed."""
        check_whole("seed", seed, 2**63)
        check_whole("day", day, 2**32)
        drawn = uniforms(seed, Stream.OPEN, day, 0, np.arange(len(self.tops)))[:, 0]
        return np.asarray(poisson.ppf(drawn, self.expected(money)).clip(0), np.int64)


def drawn_curves(seed: int, spread: float = 0.5) -> Curves:
    """Curves around the default ones: each number times a lognormal factor of log-scale ``spread``."""
    check_whole("seed", seed, 2**63)
    usual = Curves()
    factor = np.exp(spread * normals(seed, Stream.CONSUMER, 0, 0, np.arange(len(usual.tops)))[:, :2])
    return Curves(
        tops=tuple((np.array(usual.tops) * factor[:, 0]).tolist()),
        scales=tuple((np.array(usual.scales) * factor[:, 1]).tolist()),
    )
