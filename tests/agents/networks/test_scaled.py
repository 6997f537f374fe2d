"""Scaled policies: the published range of bids exactly, the bits of one row in any batch, and the network torch trains."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.scaled import (
    REACH,
    ScaledCard,
    ScaledPolicy,
    exponential,
    logarithm,
    scaled_actions,
)
from tribid.agents.testing import check_bidder, random_observations, random_policy
from tribid.envs.action import to_action, to_multiplier

SPACE = BidderSpace(segments=3, n_ticks=8)


def scaled(space: BidderSpace, hidden: tuple[int, ...] = (16, 16), reach: float = REACH) -> ScaledPolicy:
    mlp = random_policy(space, hidden)
    return ScaledPolicy(
        space=space, mean=mlp.mean, std=mlp.std, clip=mlp.clip, weights=mlp.weights, biases=mlp.biases,
        activation="relu", reach=reach,
    )  # fmt: skip


def test_it_keeps_the_contract_of_a_bidder() -> None:
    check_bidder(scaled)


def test_the_ends_of_the_network_are_a_tenth_and_nineteen_tenths_of_the_unit_bid() -> None:
    for cap in (2.0, 4.0, 8.0, 1e4):
        reached = to_multiplier(scaled_actions([-1.0, 0.0, 1.0], 0.9, cap), cap)
        assert reached == pytest.approx([0.1, 1.0, 1.9], rel=1e-6)
        assert reached[1] == 1.0


def test_a_cap_below_the_reach_cuts_the_bid_and_a_reach_of_one_stays_out() -> None:
    assert to_multiplier(scaled_actions([1.0, -1.0], 1.0, 1.5), 1.5).tolist() == [1.5, 0.0]


@given(
    y=st.floats(-1, 1, width=32), reach=st.floats(0.01, 1.0), cap=st.one_of(st.just(8.0), st.floats(1.01, 1e4))
)  # fmt: skip
def test_actions_are_those_of_the_markets_action_map(y: float, reach: float, cap: float) -> None:
    wanted = float(to_action(1.0 + reach * y, cap))
    assert float(scaled_actions(y, reach, cap)) == pytest.approx(wanted, rel=1.2e-7, abs=1e-12)


def test_logarithm_and_exponential_are_within_a_few_last_bits() -> None:
    for x in np.geomspace(1e-5, 1e5, 2001):
        assert logarithm(x) == pytest.approx(math.log(x), rel=1e-14, abs=1e-15)
    for x in np.linspace(-10, 10, 2001):
        assert exponential(x) == pytest.approx(math.exp(x), rel=1e-12)
    assert (logarithm(1.0), exponential(0.0)) == (0.0, 1.0)


def test_a_change_in_the_arithmetic_is_noticed() -> None:
    # Recorded bits: whoever changes an operation or its order finds it here, not in a policy that no longer loads.
    given = scaled_actions(np.linspace(-1, 1, 9), 0.9, 8.0)
    assert given.tobytes().hex() == RECORDED


RECORDED = "755d6fbff45d0abf0c3393beca09fbbd0000000052dfc73d04f9363eca017e3e88099e3e"


def test_a_row_gives_the_same_bits_in_any_batch() -> None:
    policy = scaled(SPACE)
    seen = random_observations(SPACE, 500)
    together = policy.predict(seen)[0]
    alone = np.concatenate([policy.predict(seen[row : row + 1])[0] for row in range(500)])
    assert together.tobytes() == alone.tobytes()
    assert policy.predict(np.asfortranarray(seen[::-1]))[0][::-1].tobytes() == together.tobytes()
    assert len(np.unique(together)) > 100


def test_it_is_the_network_that_torch_trains() -> None:
    policy = scaled(SPACE, (32, 16))
    seen = random_observations(SPACE, 200)
    now = torch.from_numpy(np.clip((seen - policy.mean) / policy.std, -policy.clip, policy.clip))
    for layer, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        now = torch.nn.functional.linear(now, torch.tensor(weight), torch.tensor(bias))
        now = now.relu() if layer < 2 else now.tanh()
    wanted = 1.0 + REACH * now.double().numpy()
    given = to_multiplier(policy.predict(seen)[0], SPACE.max_multiplier)
    np.testing.assert_allclose(given, wanted, rtol=5e-6)


def test_a_card_and_tensors_make_the_same_policy_again() -> None:
    policy = scaled(SPACE, reach=0.35)
    card = ScaledCard.model_validate_json(policy.card().model_dump_json())
    assert card.kind == "scaled"
    assert {name: array.shape for name, array in policy.tensors().items()} == card.tensors()
    again = card.policy(SPACE, policy.tensors())
    seen = random_observations(SPACE, 50)
    assert again.predict(seen)[0].tobytes() == policy.predict(seen)[0].tobytes()


@pytest.mark.parametrize("reach", [0.0, -0.1, 1.01, math.nan])
def test_a_reach_that_bids_below_nothing_is_refused(reach: float) -> None:
    with pytest.raises(ValueError, match="reach is"):
        scaled(SPACE, reach=reach)


def test_a_network_must_fit_its_space() -> None:
    small = random_policy(BidderSpace(segments=3))
    with pytest.raises(ValueError, match="allowed is 39 to 4, a number per user segment"):
        ScaledPolicy(
            space=BidderSpace(segments=4), mean=np.zeros(39), std=np.ones(39), clip=1.0,
            weights=(np.zeros((3, 39)),), biases=small.biases[-1:],
        )  # fmt: skip
