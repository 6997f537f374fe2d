"""What holds for every rule and controller of the package."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.control.bslb import Bslb
from tribid.agents.control.mpid import MultivariablePid
from tribid.agents.control.ortb import Ortb
from tribid.agents.control.spend_curve import Mystique, TaPid
from tribid.agents.control.throttling import Throttling
from tribid.agents.control.waterlevel import Waterlevel
from tribid.agents.pacing import DualPacing
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import check_bidder, play, random_observations
from tribid.envs.action import to_multiplier
from tribid.envs.market import reset
from tribid.envs.observation import field_index
from tribid.envs.scenario import load_scenario

Make = Callable[[BidderSpace], Bidder]

MAKERS: dict[str, Make] = {
    "ortb": lambda space: Ortb(space=space),
    "bslb": lambda space: Bslb(space=space),
    "bslb by traffic": lambda space: Bslb(space=space, clock="traffic"),
    "waterlevel": lambda space: Waterlevel(space=space),
    "mpid": lambda space: MultivariablePid(space=space),
    "throttling": lambda space: Throttling(space=space),
    "ta_pid": lambda space: TaPid(space=space),
    "mystique": lambda space: Mystique(space=space),
    "mystique with a curve": lambda space: Mystique(space=space, slopes=(1.0, 3.0, 2.0)),
    "additive value pacing": lambda space: DualPacing(space=space, update="additive"),
    "surplus pacing": lambda space: DualPacing(space=space, utility="surplus"),
    "multiplicative surplus pacing": lambda space: DualPacing(space=space, utility="surplus", update="multiplicative"),
}
FOLLOWERS = ("waterlevel", "mpid", "ta_pid", "mystique")

each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@each
def test_it_keeps_the_contract(make: Make) -> None:
    check_bidder(make)


@each
def test_a_scarce_budget_is_never_overspent(make: Make) -> None:
    scarce = load_scenario("tiny").with_changes(generated__budget_share=0.02)
    bidder = make(BidderSpace.of(scarce))
    for seed in range(5):
        state, ticks = play(scarce, seed, Lineup.of(bidder, len(reset(scarce, 0).advertisers)))
        spent = np.sum([tick.ledger.spend_micros for tick in ticks], axis=0)
        assert (spent <= state.advertisers.budget_micros).all()
        assert spent.sum() > 0


@pytest.mark.parametrize("make", [m for n, m in MAKERS.items() if n != "throttling"])
def test_a_row_is_answered_with_the_same_bits_alone_and_among_others(make: Make) -> None:
    space = BidderSpace(segments=2, n_ticks=8)
    bidder = make(space)
    days = [random_observations(space, 9, tick) for tick in range(4)]
    state: Any = None
    together = []
    for seen in days:
        actions, state = bidder.predict(seen, state)
        together.append(actions)
    for row in range(9):
        state = None
        for seen, all_rows in zip(days, together, strict=True):
            alone, state = bidder.predict(seen[row : row + 1], state)
            assert alone.tobytes() == all_rows[row : row + 1].tobytes()


@each
def test_an_observation_of_another_shape_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="allowed"):
        make(BidderSpace(n_ticks=8)).predict(np.zeros((2, 35), np.float32))


@pytest.mark.parametrize("name", FOLLOWERS)
@pytest.mark.parametrize("needed", [0.6, 1.4])
def test_a_follower_brings_the_spend_to_the_plan(name: str, needed: float, course: Any) -> None:
    space = BidderSpace(n_ticks=96)
    followed = course(MAKERS[name](space), needed)
    fixed = course(FixedMultiplier(1.0, space=space), needed)
    assert np.abs(followed).mean() < 0.5 * np.abs(fixed).mean()
    assert followed[-1] == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_follower_whose_budget_is_gone_early_bids_less_than_one_that_has_it_all(name: str) -> None:
    space = BidderSpace(n_ticks=8)
    bids = {}
    for left in (0.2, 1.0):
        state: Any = None
        for tick in range(1, 6):
            seen = np.zeros((1, space.observation_size), np.float32)
            numbers = {
                "time_left": 1 - tick / 8,
                "budget_left": 1 - (1 - left) * min(1, tick / 4),
                "spend_pace": 0.375 if left < 1 and tick <= 4 else -0.5,
                "traffic_now": 0.25,
                "traffic_after": 1 - (tick + 1) / 8,
            }
            for field, number in numbers.items():
                seen[0, field_index(field)] = number
            actions, state = MAKERS[name](space).predict(seen, state)
        bids[left] = float(to_multiplier(actions, space.max_multiplier)[0, 0])
    assert bids[0.2] < bids[1.0]
