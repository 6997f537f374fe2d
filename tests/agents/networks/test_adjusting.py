"""A policy that moves its multiplier within a reach: the rule, its bounds, and the arithmetic beneath it."""

import math
from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.adjusting import AdjustingCard, AdjustingPolicy, adjusted
from tribid.agents.networks.arithmetic import log64
from tribid.agents.testing import check_bidder, random_observations, random_policy
from tribid.envs.action import to_action, to_multiplier

SPACE = BidderSpace(segments=2)


def policy(space: BidderSpace = SPACE, **changes: Any) -> AdjustingPolicy:
    drawn = random_policy(space, activation="relu")
    settings: dict[str, Any] = {
        name: getattr(drawn, name) for name in ("mean", "std", "clip", "weights", "biases", "activation")
    }
    return AdjustingPolicy(space=space, **{**settings, **changes})


def test_it_keeps_the_contract_of_a_bidder() -> None:
    check_bidder(policy)


def test_each_tick_multiplies_by_one_plus_the_reach_times_the_tanh_of_the_number() -> None:
    mover = policy(reach=0.3, start=2.0)
    state, multiplier = None, np.full((4, 2), 2.0)
    for tick in range(10):
        seen = random_observations(SPACE, 4, tick)
        multiplier *= 1.0 + 0.3 * np.tanh(mover.numbers(seen).astype(np.float64))
        multiplier = np.clip(multiplier, 1 / 8, 8.0)
        actions, state = mover.predict(seen, state)
        np.testing.assert_allclose(state, multiplier, rtol=1e-5)
        np.testing.assert_allclose(to_multiplier(actions, 8.0), multiplier, rtol=2e-5)
    assert np.ptp(multiplier) > 0.1


@pytest.mark.parametrize(("bias", "bound"), [(9.0, 8.0), (-9.0, 1.0 / 8.0)])
def test_multipliers_stay_between_one_over_the_cap_and_the_cap(bias: float, bound: float) -> None:
    flat = tuple(np.zeros_like(weight) for weight in policy().weights)
    mover = policy(weights=flat, biases=(np.zeros(8), np.zeros(8), np.full(2, bias)))
    state = None
    for tick in range(40):
        actions, state = mover.predict(random_observations(SPACE, 2, tick), state)
    assert state is not None
    assert (state == np.float32(bound)).all()
    np.testing.assert_allclose(actions, to_action(bound, 8.0), atol=1e-6)


def test_its_actions_are_those_of_the_action_map() -> None:
    for cap in (1.5, 8.0, 10_000.0):
        multiplier = np.geomspace(1.01 / cap, cap * 0.999, 4001).astype(np.float32)[:, None]
        actions, kept = adjusted(multiplier, np.ones_like(multiplier), cap)
        assert (kept == multiplier).all()
        np.testing.assert_allclose(actions, to_action(multiplier, cap), atol=3e-7)
        assert (np.diff(actions[:, 0]) >= 0).all()


def test_the_logarithm_is_the_machines_but_for_its_last_bits() -> None:
    for x in np.geomspace(1e-4, 1e4, 5000):
        assert log64(x) == pytest.approx(math.log(x), abs=1e-14)
    assert log64(1.0) == 0.0


def test_extreme_weights_still_give_actions_within_the_bounds() -> None:
    mover = policy(std=np.full(SPACE.observation_size, 1e-30), clip=1e30)
    state = None
    for _ in range(3):
        actions, state = mover.predict(np.full((3, SPACE.observation_size), 1e30, np.float32), state)
        assert (np.abs(actions) <= 1).all()


def test_its_card_and_tensors_make_the_same_policy() -> None:
    mover = policy(reach=0.1, start=0.5)
    card = AdjustingCard.model_validate_json(mover.card().model_dump_json())
    assert card.kind == "adjusting"
    assert card.tensors() == {name: tensor.shape for name, tensor in mover.tensors().items()}
    again = card.policy(SPACE, mover.tensors())
    seen = random_observations(SPACE, 50)
    assert all(
        one.tobytes() == other.tobytes() for one, other in zip(mover.predict(seen), again.predict(seen), strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reach": 1.0}, "reach is 1.0"),
        ({"reach": 0.0}, "reach is 0.0"),
        ({"start": 0.1}, "start is 0.1; allowed is a number from 0.125 to 8"),
        ({"space": BidderSpace(segments=1)}, "the network maps 37 numbers to 2; allowed is 36 to 1"),
    ],
)
def test_a_policy_that_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdjustingPolicy(**{**{name: getattr(policy(), name) for name in ARGUMENTS}, **changes})


ARGUMENTS = ("space", "mean", "std", "clip", "weights", "biases", "activation", "reach", "start")


def test_a_cap_that_is_one_in_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed is a number above 1 in float32"):
        policy(BidderSpace(segments=2, max_multiplier=1.00000001))
