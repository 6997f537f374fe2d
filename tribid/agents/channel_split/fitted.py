"""A split learnt by fitting each channel's response curve; every next coin goes where the curves are steepest. Ours."""

import numpy as np
from scipy.optimize import nnls

from tribid.agents.channel_split.knapsack import greedy, menu
from tribid.agents.channel_split.splitter import Floats, Ints, Seen, whole

_SCALES = np.array([0.03, 0.1, 0.3, 1.0, 3.0])
"""How fast the curves' parts saturate, in budgets."""


class FittedSplit:
    """Concave curves through 0, sums of ``1 - exp(-x / s)`` with weights of 0 or more, fitted by least squares.

    The split is the greedy one over the fitted curves; as they are concave that is where no coin would earn more
    elsewhere. ``explore`` is the share of the budget that is spread by chance in the first days; it falls as
    ``1 / sqrt(1 + day / 5)``. ``forget`` weighs a day by how long ago it was. With ``joint`` the curves are fitted to the
    day's whole value at once, as marketing-mix models do, and how it was credited to the channels does not matter.
    """

    def __init__(
        self, channels: int, *, joint: bool = False, explore: float = 0.5, forget: float = 0.98, levels: int = 100,
        seed: int = 0,
    ) -> None:  # fmt: skip
        if not 0 <= explore <= 1 or not 0 < forget <= 1 or levels < 1:
            raise ValueError(
                f"explore is {explore}, forget {forget}, levels {levels}; allowed are 0 to 1, above 0 to 1, and 1 or more"
            )
        self.joint = joint
        self.channels, self.explore, self.forget, self.levels = channels, explore, forget, levels
        self._random = np.random.default_rng(seed)
        self._shares: list[Floats] = []
        self._values: list[Floats] = []
        self._budget = 1

    def split(self, seen: Seen) -> Ints:
        """The greedy split over the curves, some of it spread by chance."""
        self._budget = max(seen.budget_micros, 1)
        spread = self._random.dirichlet(np.ones(self.channels))
        if len(self._shares) < 2 or seen.budget_micros < self.levels:
            return whole(spread, seen.budget_micros)
        explored = self.explore / np.sqrt(1.0 + len(self._shares) / 5.0)
        return whole((1.0 - explored) * self.best(seen.budget_micros) + explored * spread, seen.budget_micros)

    def best(self, budget_micros: int) -> Floats:
        """The shares [C] of the budget that are best on the fitted curves."""
        at = np.arange(self.levels + 1) / self.levels
        offers = menu(np.arange(self.levels + 1) * (budget_micros // self.levels), self.curves(at))
        found = greedy(offers, budget_micros)
        share = (found.weight * at).sum(axis=1)
        return np.asarray(share / max(float(share.sum()), 1.0))

    def curves(self, share: Floats) -> Floats:
        """Fitted value [C, L] of each channel at shares [L] of the budget."""
        shares, values = np.array(self._shares), np.array(self._values)
        weight = np.sqrt(self.forget ** np.arange(len(shares) - 1, -1, -1))[:, None]
        parts = np.stack([_parts(shares[:, c]) for c in range(self.channels)], axis=1)
        if self.joint:
            flat = parts.reshape(len(parts), -1)
            found = nnls(flat * weight, values.sum(axis=1) * weight[:, 0])[0].reshape(self.channels, -1)
        else:
            fits = (nnls(parts[:, c] * weight, values[:, c] * weight[:, 0])[0] for c in range(self.channels))
            found = np.array(list(fits))
        return np.asarray(found @ _parts(share).T)

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """Keep the day."""
        self._shares.append(split_micros / self._budget)
        self._values.append(np.asarray(value, np.float64))


def _parts(share: Floats) -> Floats:
    return np.asarray(-np.expm1(-share[:, None] / _SCALES))
