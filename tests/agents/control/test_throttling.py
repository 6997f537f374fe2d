from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.control.throttling import Rates, Throttling
from tribid.agents.rules import RandomBidder
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index

SPACE = BidderSpace(n_ticks=24)


def seen(rows: int, traffic_so_far: float, spent: float, space: BidderSpace = SPACE) -> np.ndarray:
    observation = np.zeros((rows, space.observation_size), np.float32)
    observation[:, field_index("traffic_after", space.segments)] = 1.0 - traffic_so_far
    observation[:, field_index("budget_left", space.segments)] = 1.0 - spent
    return observation


def test_the_rate_starts_at_a_tenth_and_moves_by_a_tenth_along_the_allocation() -> None:
    bidder = Throttling(space=SPACE)
    state: Rates | None = None
    rates = []
    for traffic, spent in ((0.0, 0.0), (0.1, 0.05), (0.2, 0.3), (0.3, 0.3), (0.4, 0.3)):
        _, state = bidder.predict(seen(1, traffic, spent), state)
        rates.append(float(state.rate[0]))
    # 0.3 of traffic allocates 0.3 * 24 / 22 = 0.327 of the budget, so 0.3 spent is not too much.
    assert rates == pytest.approx([0.1, 0.11, 0.099, 0.1089, 0.11979])


def test_the_rate_never_exceeds_one() -> None:
    bidder, state = Throttling(space=SPACE, initial_rate=0.95), None
    for tick in range(5):
        _, state = bidder.predict(seen(1, tick / 24, 0.0), state)
    assert state is not None
    assert state.rate[0] == 1.0


def test_a_fast_finish_allocates_all_before_the_last_two_hours() -> None:
    rates = {}
    for finish in (22 / 24, 1.0):
        bidder = Throttling(space=SPACE, initial_rate=0.5, finish=finish)
        _, state = bidder.predict(seen(1, 0.9, 0.95))
        _, state = bidder.predict(seen(1, 0.93, 0.96), state)
        rates[finish] = float(state.rate[0])
    assert rates[22 / 24] == pytest.approx(0.55)
    assert rates[1.0] == pytest.approx(0.45)


def test_it_bids_the_unit_value_or_stays_out_as_often_as_its_rate_says() -> None:
    space = BidderSpace(segments=2, n_ticks=24)
    bidder = Throttling(space=space, initial_rate=0.3)
    actions, state = bidder.predict(seen(4000, 0.0, 0.0, space))
    later, _ = bidder.predict(seen(4000, 0.0, 0.0, space), state)
    for played, rate in ((actions, 0.3), (later, 0.33)):
        multipliers = to_multiplier(played, space.max_multiplier)
        assert set(np.unique(multipliers)) == {0.0, 1.0}
        assert multipliers.mean(axis=0) == pytest.approx([rate, rate], abs=0.03)
    one, other = actions[:, 0] > -1, actions[:, 1] > -1
    assert np.mean(one & other) == pytest.approx(0.09, abs=0.02)  # segments are drawn apart
    assert np.mean((actions[:, 0] > -1) & (later[:, 0] > -1)) == pytest.approx(0.3 * 0.33, abs=0.02)  # so are ticks


def test_draws_are_those_of_the_seed_and_nobody_elses() -> None:
    observation = seen(500, 0.0, 0.0)
    one, _ = Throttling(space=SPACE, initial_rate=0.5, seed=1).predict(observation)
    again, _ = Throttling(space=SPACE, initial_rate=0.5, seed=1).predict(observation)
    other, _ = Throttling(space=SPACE, initial_rate=0.5, seed=2).predict(observation)
    chance, _ = RandomBidder(space=SPACE, seed=1).predict(observation)
    assert (one == again).all()
    assert 0.4 < np.mean(one == other) < 0.6
    assert 0.4 < np.mean((one > -1) == (chance < 0)) < 0.6


def test_a_spend_that_needs_two_fifths_of_the_auctions_gets_about_that_participation(course: Any) -> None:
    space = BidderSpace(n_ticks=480)
    gaps = [course(Throttling(space=space, seed=seed), 0.4) for seed in range(5)]
    plan = np.arange(1, 481) / 480
    assert max(abs(gap[-1]) for gap in gaps) < 0.01  # all is spent,
    before = [gap[np.searchsorted(plan, 0.5)] for gap in gaps]
    assert np.mean(before) == pytest.approx(0.0, abs=0.12)  # and not in the morning


@pytest.mark.parametrize(
    "changes", [{"rate_step": 0.0}, {"rate_step": 1.0}, {"initial_rate": 0.0}, {"finish": 1.1}, {"seed": -1}]
)
def test_arguments_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Throttling(space=SPACE, **changes)
