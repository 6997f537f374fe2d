"""Feedback control: a PID controller keeps the spend on plan, another keeps the target, and the lower bid stands.

Zhang, Rong, Wang, Zhu and Wang, "Feedback control of real-time display advertising" (WSDM 2016): the bid is multiplied
by ``exp(phi)`` with ``phi = kP * e + kI * sum of e + kD * change of e``, cut to [-2, 5].
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Actions, BidderSpace, fresh_rows
from tribid.envs.observation import field_index

PHI_BOUNDS = (-2.0, 5.0)
"""Where Zhang et al. cut phi."""

_LEAST_SHARE = 1e-3
_ERROR_BOUND = 2.0


class Gains(NamedTuple):
    """Gains per unit of error; a day is the unit of time, so that they carry over to days of other tick counts."""

    p: float
    i: float
    d: float


class Integrals(NamedTuple):
    """What ``Pid`` carries from tick to tick, each [n]: both integral terms, and the budget's last error."""

    budget: NDArray[np.float64]
    target: NDArray[np.float64]
    error: NDArray[np.float64]


class Pid:
    """Budget pacing to the traffic plan, with a second loop for advertisers that have a CPA or ROAS target.

    The budget's error is ``log(share of budget left / share of traffic left)``: above 0 there is money to spare. The
    target's error is the slack that the observation shows. Each loop gives a phi; the lower one counts, so neither the
    plan nor the target is given up for the other. Integral terms stay within the bounds of phi (no wind-up). A day
    starts at phi 0, the unit bid.
    """

    # Chosen on scenario "feed" (hash a88fd0ad572d1ef6), training seeds alone, by the mean score of the even advertisers
    # against pid, dual_pacing and truthful in turn: 101 random trials on seeds 0 to 7, the best twelve again on seeds 8
    # to 31. These gains score 1.59 there, as well as any (standard error 0.02); the gains before, tuned by 206 trials on
    # drafts of the scenario, 1.56.
    BUDGET_GAINS = Gains(1.1, 1.8, 0.003)
    TARGET_GAINS = Gains(0.3, 2.0, 0.0)

    def __init__(
        self, *, space: BidderSpace, budget_gains: Gains = BUDGET_GAINS, target_gains: Gains = TARGET_GAINS
    ) -> None:
        for name, gains in (("budget_gains", budget_gains), ("target_gains", target_gains)):
            if len(gains) != 3 or not all(0 <= gain < math.inf for gain in gains):
                raise ValueError(f"{name} is {tuple(gains)}; allowed are three finite numbers from 0: kP, kI, kD")
        if target_gains[2] != 0:
            raise ValueError(
                f"target_gains has kD {target_gains[2]}; allowed is 0, for conversions are too rare for it"
            )
        self.space = space
        self.budget_gains = Gains(*budget_gains)
        self.target_gains = Gains(*target_gains)
        names = (
            "budget_left", "traffic_now", "traffic_after", "cpa_slack", "roas_slack",
            "objective_target_cpa", "objective_target_roas",
        )  # fmt: skip
        self._at = {name: field_index(name, space.segments) for name in names}

    def predict(
        self, observation: Any, state: Integrals | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Integrals]:
        """Actions [n, d] and the integrals to carry on."""
        seen = self.space.rows(observation)
        field = {name: seen[:, index] for name, index in self._at.items()}
        n = len(seen)
        error = self._budget_error(field)
        fresh = np.ones(n, np.bool_) if state is None else fresh_rows(episode_start, n)
        start = Integrals(np.zeros(n), np.zeros(n), error)
        kept = start if state is None else state
        before = Integrals(*(np.where(fresh, new, old) for new, old in zip(start, kept, strict=True)))
        slack = field["cpa_slack"] + field["roas_slack"]
        budget = _integrate(before.budget, self.budget_gains.i * error / self.space.n_ticks)
        target = _integrate(before.target, self.target_gains.i * slack / self.space.n_ticks)
        change = (error - before.error) * self.space.n_ticks
        phi = self.budget_gains.p * error + budget + self.budget_gains.d * change
        phi_target = self.target_gains.p * slack + target
        targeted = field["objective_target_cpa"] + field["objective_target_roas"] > 0
        phi = np.clip(np.where(targeted, np.minimum(phi, phi_target), phi), *PHI_BOUNDS)
        return self.space.actions(np.exp(phi), n), Integrals(budget, target, error)

    def _budget_error(self, field: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """``traffic_now`` is the tick's share of traffic times ticks over 4; what is left includes this tick."""
        traffic_left = field["traffic_after"] + 4.0 * field["traffic_now"] / self.space.n_ticks
        ratio = np.maximum(field["budget_left"], _LEAST_SHARE) / np.maximum(traffic_left, _LEAST_SHARE)
        return np.clip(np.log(ratio), -_ERROR_BOUND, _ERROR_BOUND)


def _integrate(integral: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(integral + change, *PHI_BOUNDS)
