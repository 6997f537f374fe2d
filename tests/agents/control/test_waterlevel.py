import math

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.control.waterlevel import Levels, Waterlevel
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index

SPACE = BidderSpace(n_ticks=10, max_multiplier=1000.0)


def seen(**numbers: float) -> np.ndarray:
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    for name, number in numbers.items():
        observation[0, field_index(name)] = number
    return observation


def multiplier(actions: np.ndarray) -> float:
    return float(to_multiplier(actions, SPACE.max_multiplier)[0, 0])


def test_every_error_moves_phi_by_gamma_and_stays() -> None:
    bidder = Waterlevel(space=SPACE, gamma=2.0)
    actions, state = bidder.predict(seen())
    assert multiplier(actions) == 1.0
    for pace, phi in ((0.5, -0.2), (-1 / 3, -0.1), (0.0, -0.1)):  # spend 2, 1/2 and 1 times its plan
        actions, state = bidder.predict(seen(spend_pace=pace), state)
        assert state.budget[0] == pytest.approx(phi, abs=1e-6)
        assert multiplier(actions) == pytest.approx(math.exp(phi), rel=1e-5)


def test_phi_stays_where_the_paper_cuts_it() -> None:
    bidder = Waterlevel(space=SPACE, gamma=20.0)
    for pace, bound in ((-1.0, 5.0), (1.0, -2.0)):
        state: Levels | None = None
        for _ in range(20):
            actions, state = bidder.predict(seen(spend_pace=pace), state)
        assert multiplier(actions) == pytest.approx(math.exp(bound), rel=1e-4)
    actions, _ = bidder.predict(seen(spend_pace=-1.0), state)
    assert multiplier(actions) > math.exp(-2.0)  # no wind-up: one tick of the other sign shows at once


def test_a_missed_target_holds_the_bid_down_though_the_budget_has_room() -> None:
    bidder = Waterlevel(space=SPACE)
    missed = seen(spend_pace=-0.5, objective_target_cpa=1.0, cpa_slack=-0.5)
    without = seen(spend_pace=-0.5)
    _, state = bidder.predict(seen())
    assert multiplier(bidder.predict(missed, state)[0]) < 1.0 < multiplier(bidder.predict(without, state)[0])


@pytest.mark.parametrize("gamma", [-1.0, math.nan, math.inf])
def test_arguments_are_checked(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma is"):
        Waterlevel(space=SPACE, gamma=gamma)
    with pytest.raises(ValueError, match="target_gamma is"):
        Waterlevel(space=SPACE, target_gamma=gamma)
