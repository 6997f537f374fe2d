import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.control.gauge import Gauge, carried
from tribid.agents.control.waterlevel import Levels
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play
from tribid.envs.market import reset
from tribid.envs.observation import field_index, observe
from tribid.envs.scenario import load_scenario


def test_a_reading_is_what_the_market_did() -> None:
    feed = load_scenario("feed")
    space = BidderSpace.of(feed)
    state, ticks = play(feed, 3, Lineup.of(FixedMultiplier(1.0, space=space), len(reset(feed, 0).advertisers)))
    share, budget = state.day.expected_share, state.advertisers.budget_micros
    for tick in ticks[5:8]:
        reading = Gauge(space).read(observe(tick.before))
        spent = tick.before.recent[0].spend_micros / (budget * share[tick.number - 1])
        np.testing.assert_allclose(reading.budget_left, tick.before.left_micros / budget, rtol=1e-6)
        np.testing.assert_allclose(reading.traffic_left, share[tick.number :].sum(), rtol=1e-5)
        np.testing.assert_allclose(reading.traffic_now, share[tick.number], rtol=1e-5)
        np.testing.assert_allclose(reading.time_left, 1 - tick.number / 96, rtol=1e-6)
        np.testing.assert_allclose(reading.overspend, np.minimum(spent, 20) - 1, rtol=1e-3, atol=1e-4)
        assert (reading.targeted == [bool(t) for t in targeted(state.advertisers.objective)]).all()


def targeted(objective: np.ndarray) -> np.ndarray:
    return objective >= 3


def test_a_wild_overspend_reads_as_nineteen_times_the_plan_and_no_spend_as_minus_one() -> None:
    seen = np.zeros((3, 36), np.float32)
    seen[:, field_index("spend_pace")] = [1.0, -0.5, -1.0]
    assert Gauge(BidderSpace()).read(seen).overspend.tolist() == pytest.approx([19.0, -1.0, -1.0])


def test_a_row_carries_what_it_had_unless_its_day_starts() -> None:
    start, state = Levels(np.zeros(3), np.zeros(3)), Levels(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    kept = carried(start, state, np.array([False, True, False]))
    assert isinstance(kept, Levels)
    assert kept.budget.tolist() == [1.0, 0.0, 3.0]
    assert kept.target.tolist() == [4.0, 0.0, 6.0]
    assert carried(start, None, None) is start
    assert state.budget.tolist() == [1.0, 2.0, 3.0]
