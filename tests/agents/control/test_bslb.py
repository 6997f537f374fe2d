import math

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.control.bslb import Bslb
from tribid.agents.control.bslb_fit import fit_bslb
from tribid.agents.fixed_lambda import fit_fixed_multipliers
from tribid.agents.rules import FixedMultiplier
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index
from tribid.envs.scenario import load_scenario

SPACE = BidderSpace(n_ticks=10)


def bid(bidder: Bslb, **numbers: float) -> float:
    seen = np.zeros((1, SPACE.observation_size), np.float32)
    for name, number in numbers.items():
        seen[0, field_index(name)] = number
    return float(to_multiplier(bidder.predict(seen)[0], SPACE.max_multiplier)[0, 0])


@pytest.mark.parametrize(("budget", "time"), [(1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (0.6, 0.2)])
def test_the_bid_is_the_value_over_lambda_times_budget_left_over_time_left(budget: float, time: float) -> None:
    bidder = Bslb(space=SPACE, multiplier=0.8, clock="time")
    assert bid(bidder, budget_left=budget, time_left=time) == pytest.approx(0.8 * budget / time, rel=1e-5)


def test_the_clock_decides_what_counts_as_left() -> None:
    seen = {"budget_left": 0.5, "time_left": 0.25, "traffic_after": 0.75, "traffic_now": 0.25 * 10 / 4}
    assert bid(Bslb(space=SPACE, multiplier=1.0, clock="time"), **seen) == pytest.approx(2.0, rel=1e-5)
    assert bid(Bslb(space=SPACE, multiplier=1.0, clock="traffic"), **seen) == pytest.approx(0.5, rel=1e-5)


def test_the_last_moment_and_an_empty_budget_are_no_special_cases() -> None:
    assert bid(Bslb(space=SPACE), budget_left=0.5, time_left=0.0) == pytest.approx(SPACE.max_multiplier)
    assert bid(Bslb(space=SPACE), budget_left=0.0, time_left=0.5) == 0.0
    assert bid(Bslb(space=SPACE, multiplier=0.0), budget_left=0.5, time_left=0.1) == 0.0


def test_a_fit_takes_the_best_fixed_multiplier_of_the_training_days() -> None:
    tiny = load_scenario("tiny").with_changes(world__traffic__requests=200)
    space = BidderSpace.of(tiny)
    rivals = Lineup.of(FixedMultiplier(1.0, space=space), 5)
    fitted = fit_bslb(tiny, [0, 1], advertisers=[1, 3], rivals=rivals)
    wanted = fit_fixed_multipliers(tiny, [0, 1], advertisers=[1, 3], rivals=rivals)
    assert [bidder.multiplier for bidder in fitted] == wanted.tolist()  # type: ignore[attr-defined]
    assert all(multiplier > 0 for multiplier in wanted)


@pytest.mark.parametrize("multiplier", [-0.1, math.nan, math.inf])
def test_arguments_are_checked(multiplier: float) -> None:
    with pytest.raises(ValueError, match="multiplier"):
        Bslb(space=SPACE, multiplier=multiplier)
    with pytest.raises(ValueError, match="choose time, traffic"):
        Bslb(space=SPACE, clock="sun")  # type: ignore[arg-type]
