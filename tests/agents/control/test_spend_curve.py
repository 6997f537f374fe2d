import math
from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.control.spend_curve import Mystique, TaPid, fit_mystique, learned_slopes
from tribid.agents.pid import Gains
from tribid.agents.rules import FixedMultiplier
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index
from tribid.envs.scenario import Scenario, load_scenario

SPACE = BidderSpace(n_ticks=24)


def seen(tick: int, spent: float, *, traffic: float | None = None) -> np.ndarray:
    """Before this hour of an even day (or with this share of traffic passed), after this share of the budget."""
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    passed = tick / 24 if traffic is None else traffic
    numbers = {
        "time_left": 1 - tick / 24,
        "budget_left": 1 - spent,
        "traffic_now": 0.25,
        "traffic_after": 1 - passed - 1 / 24,
    }
    for name, number in numbers.items():
        observation[0, field_index(name)] = number
    return observation


def multiplier(actions: np.ndarray) -> float:
    return float(to_multiplier(actions, SPACE.max_multiplier)[0, 0])


def hours(bidder: Any, spent: list[float], first: int = 0) -> tuple[list[float], Any]:
    """The multipliers of some hours with this spend before each, and the last state."""
    state, bids = None, []
    for tick, share in enumerate(spent, first):
        actions, state = bidder.predict(seen(tick, share), state)
        bids.append(multiplier(actions))
    return bids, state


def test_ta_pid_moves_the_bid_by_a_power_of_six_fifths_after_two_ticks() -> None:
    bidder = TaPid(space=SPACE, gains=Gains(2.0, 3.0, 0.05))
    bids, _ = hours(bidder, [8 / 24, 8 / 24, 8 / 24], first=8)
    errors = [1 - (8 / 24) / (hour / 24) for hour in (8, 9, 10)]
    integral = 3.0 * (errors[1] + errors[2]) / 24
    output = 2.0 * errors[2] + integral + 0.05 * (errors[2] - errors[1]) * 24
    assert bids[:2] == [1.0, 1.0]
    assert bids[2] == pytest.approx(1.2**output, rel=1e-4)


def test_ta_pid_on_plan_keeps_its_bid() -> None:
    bids, _ = hours(TaPid(space=SPACE), [hour / 24 for hour in range(24)])
    assert bids == pytest.approx([1.0] * 24, abs=1e-4)


def test_ta_pid_moves_a_fifth_as_much_at_night() -> None:
    bidder = TaPid(space=SPACE, gains=Gains(1.0, 0.0, 0.0))
    moved = {}
    for hour in (3, 12):
        state: Any = None
        for tick in (hour - 2, hour - 1, hour):
            observation = seen(tick, 0.25, traffic=0.5 + (tick - hour) / 100)
            actions, state = bidder.predict(observation, state)
        moved[hour] = math.log(multiplier(actions))
    assert moved[3] == pytest.approx(moved[12] / 5, rel=1e-3)
    assert moved[12] == pytest.approx(0.5 * math.log(1.2), rel=1e-3)


def test_ta_pid_moves_no_more_than_seven_steps_down_or_four_up() -> None:
    bidder = TaPid(space=BidderSpace(n_ticks=24, max_multiplier=100.0), gains=Gains(1000.0, 0.0, 0.0))
    for spent, steps in ((1.0, -7), (0.0, 4)):
        state: Any = None
        for tick in (12, 13, 14):
            actions, state = bidder.predict(seen(tick, spent), state)
        assert to_multiplier(actions, 100.0)[0, 0] == pytest.approx(1.2**steps, rel=1e-4)


def test_mystique_corrects_by_the_distance_and_by_the_slope() -> None:
    bidder = Mystique(space=SPACE, start=0.5)
    # 0.1 ahead of the curve, and the last hour spent half a day's budget per day too fast: both halves of 0.025.
    spent = [6 / 24 + 0.1 - 0.5 / 24, 7 / 24 + 0.1]
    bids, _ = hours(bidder, spent, first=6)
    fall = 0.5 * 0.025 * (0.1 / 0.25) + 0.5 * max(0.01, 0.025 * 0.5 / 1.5)
    assert bids == pytest.approx([0.5, 0.5 - fall], rel=1e-5)


def test_mystique_weighs_the_distance_by_the_ticks_until_the_curve_is_met() -> None:
    bidder = Mystique(space=SPACE, start=0.5)
    # 0.05 behind and catching up by 0.4 a day: 3 hours until the curve is met, weights 0.6 and 0.4.
    spent = [6 / 24 - 0.05 - 0.4 / 24, 7 / 24 - 0.05]
    bids, _ = hours(bidder, spent, first=6)
    rise = 0.6 * 0.025 * (0.05 / 0.25) - 0.4 * max(0.01, 0.025 * 0.4 / 1.5)
    assert bids[1] == pytest.approx(0.5 + rise, rel=1e-4)


def test_mystique_on_its_curve_keeps_its_signal() -> None:
    for slopes in (None, [1.0, 1.0]):
        bids, _ = hours(Mystique(space=SPACE, start=0.7, slopes=slopes), [0.0])
        assert bids == pytest.approx([0.7])
    curve = Mystique(space=SPACE, start=0.7, slopes=[1.0, 3.0])
    planned = [hour / 48 if hour <= 12 else 0.25 + (hour - 12) / 16 for hour in range(24)]
    observed, slope = curve._curve(curve._gauge.read(np.concatenate([seen(hour, 0.0) for hour in range(24)])))
    assert observed == pytest.approx(planned, abs=1e-6)
    assert slope == pytest.approx([0.5] * 12 + [1.5] * 12, abs=1e-5)


def test_a_runaway_stops_for_a_tick_and_resumes_from_its_last_signal() -> None:
    bidder = Mystique(space=SPACE, start=0.5)
    bids, _ = hours(bidder, [0.0, 0.6, 0.6], first=4)
    assert bids[1] == 0.0  # 0.6 of the budget in an hour: a slope of 14.4 a day
    assert 0.4 < bids[2] < 0.5


def test_a_budget_that_is_gone_freezes_the_signal_and_signals_stay_in_their_bounds() -> None:
    bids, state = hours(Mystique(space=SPACE, start=0.5), [1.0, 1.0, 1.0])
    assert bids == pytest.approx([0.5, 0.5, 0.5])
    bids, state = hours(Mystique(space=SPACE, correction=1.0), [0.0] * 24)
    assert max(bids) == pytest.approx(8.0)
    bids, state = hours(Mystique(space=SPACE, most=1.0), [0.0] * 24)
    assert bids == pytest.approx([1.0] * 24)
    _, state = hours(Mystique(space=SPACE, correction=1.0), [0.9 + tick / 1000 for tick in range(24)])
    assert state.signal[0] >= 1e-4


def test_learned_slopes_move_the_spend_to_where_the_signal_was_low() -> None:
    signal = np.array([0.5] * 4 + [1.0] * 4)  # mean 0.75: the first half was bought at half the bid
    slopes = learned_slopes(np.ones(4), signal, np.ones(8, np.bool_))
    low, high = 0.75 / 1.0, 0.75 / 0.5
    assert slopes == pytest.approx([0.75 * high + 0.25 * low] * 2 + [0.75 * low + 0.25 * high] * 2)


def test_learned_slopes_are_bounded_and_stay_where_nothing_was_bid() -> None:
    signal, all_day = np.array([1e-3] * 4 + [1.0] * 4), np.ones(8, np.bool_)
    slopes = np.ones(4)
    for _ in range(40):
        slopes = learned_slopes(slopes, signal, all_day)
    assert slopes.max() <= 12.0
    assert slopes.min() >= 0.1
    assert learned_slopes(np.ones(4), np.zeros(8), all_day).tolist() == [1.0] * 4
    assert learned_slopes(np.ones(4), signal, ~all_day).tolist() == [1.0] * 4


def small(share: float = 0.1) -> Scenario:
    return load_scenario("tiny").with_changes(world__traffic__requests=200, generated__budget_share=share)


def rivals(scenario: Scenario) -> Lineup:
    return Lineup.of(FixedMultiplier(1.0, space=BidderSpace.of(scenario)), 5)


def test_a_fit_starts_lower_where_the_budget_is_scarce_and_learns_a_curve() -> None:
    starts = []
    for share in (0.02, 1.0):
        scenario = small(share)
        [fitted] = fit_mystique(scenario, range(6), advertisers=[0], rivals=rivals(scenario))
        assert isinstance(fitted, Mystique)
        assert fitted.slopes is not None
        assert len(set(fitted.slopes)) > 1
        starts.append(fitted.start)
    assert starts[0] < 1.0 < starts[1]


def test_a_fit_is_the_same_twice_and_refuses_evaluation_days() -> None:
    scenario = small()
    one, other = (fit_mystique(scenario, [3, 4], advertisers=[2], rivals=rivals(scenario))[0] for _ in range(2))
    assert (one.start, one.slopes) == (other.start, other.slopes)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="training seeds"):
        fit_mystique(scenario, [2_000_000], advertisers=[2], rivals=rivals(scenario))


@pytest.mark.parametrize(
    "changes",
    [{"start": 0.0}, {"most": 9.0}, {"correction": 2.0, "most": 1.0}, {"slopes": []}, {"slopes": [1.0, -1.0]}],
)
def test_arguments_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Mystique(space=SPACE, **changes)
    with pytest.raises(ValueError, match="gains"):
        TaPid(space=SPACE, gains=Gains(1.0, math.nan, 0.0))
