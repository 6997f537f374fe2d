"""Returns on a campaign's own scale: quantiles of its days, and the same numbers when they are served."""

import numpy as np
import pytest
import torch

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.score import LEAST_SPREAD, Prospect, prospect32
from tribid.agents.offline.learner import Lesson
from tribid.agents.offline.returns import ScaledReturns, fit_prospect
from tribid.agents.offline.trajectories import Trajectories
from tribid.envs.observation import field_index

SPACE = BidderSpace(n_ticks=2)


def days_of(size: float, scores: np.ndarray) -> Trajectories:
    """Days of two ticks of campaigns whose budget alone differs: 0.3 by day, or ``size`` for every other."""
    count = len(scores)
    seen = np.full((count, 2, 36), 0.3, np.float32)
    seen[..., field_index("value_day")] = 0.0
    seen[1::2, :, field_index("budget_size")] = size
    rewards = np.stack([np.zeros(count), scores], axis=1).astype(np.float32)
    nothing = np.zeros((count, 2), np.float32)
    return Trajectories(
        observations=seen, actions=np.zeros((count, 2, 1), np.float32), rewards=rewards,
        state16=np.zeros((count, 2, 16), np.float32), conversions=nothing, cost=nothing, length=np.full(count, 2),
        advertiser=np.full(count, "a"), bidder=np.full(count, "b"), seed=np.arange(count),
        day=np.zeros(count, np.int64), budget=np.ones(count), target_cpa=np.zeros(count), target_roas=np.zeros(count),
        space=SPACE, scenario="made up", scenario_hash="0" * 16,
    )  # fmt: skip


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e3])
def test_a_low_and_a_high_day_are_quantiles_of_each_campaigns_own_days(unit: float) -> None:
    rng = np.random.default_rng(0)
    scores = unit * rng.uniform(1.0, 2.0, 400)
    scores[1::2] *= 3.0
    returns = ScaledReturns(Lesson(days_of(0.6, scores)), torch.Generator().manual_seed(0))
    for first, factor in ((0, 1.0), (1, 3.0)):
        low, high = np.quantile(scores[first::2], [0.1, 0.9])
        assert returns.low[first] == pytest.approx(low, abs=0.05 * unit * factor)
        assert returns.high[first] == pytest.approx(
            max(high, low + LEAST_SPREAD), abs=0.05 * unit * factor + LEAST_SPREAD
        )
        if unit >= 1.0:
            assert np.quantile(returns.day[first::2], [0.1, 0.9]) == pytest.approx([0.0, 1.0], abs=0.07)


def test_the_return_to_go_starts_with_the_days_return_above_a_low_day() -> None:
    rng = np.random.default_rng(0)
    returns = ScaledReturns(Lesson(days_of(0.6, rng.uniform(1.0, 2.0, 40))), torch.Generator().manual_seed(0))
    spread = returns.high - returns.low
    np.testing.assert_allclose(returns.to_go(2.0)[:, 0], returns.day + returns.low / spread, rtol=1e-5)


def test_the_served_prospect_is_the_fitted_one() -> None:
    terms = torch.randn(60, 7, generator=torch.Generator().manual_seed(1))
    network = fit_prospect(terms, terms[:, 0] + 3.0, torch.Generator().manual_seed(0))
    weights = {f"prospect.{name}": weight.numpy() for name, weight in network.state_dict().items()}
    served, hidden, out = Prospect.of(weights), np.empty(32, np.float32), np.empty(2, np.float32)
    with torch.no_grad():
        wanted = network(terms).numpy()
    for row in range(60):
        prospect32(terms[row].numpy(), served, hidden, out)
        assert out[0] == pytest.approx(wanted[row, 0], abs=1e-5)
        assert out[1] == pytest.approx(max(wanted[row, 1], wanted[row, 0] + LEAST_SPREAD), abs=1e-5)
