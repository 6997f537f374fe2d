import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.arithmetic import tanh32
from tribid.agents.networks.mlp import MlpPolicy
from tribid.agents.testing import random_observations, random_policy

SPACE = BidderSpace(n_ticks=8)


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("output", ["tanh", "clip"])
def test_a_row_gives_the_same_bits_in_any_batch(segments: int, activation: str, output: str) -> None:
    space = BidderSpace(segments=segments)
    policy = random_policy(space, (17, 64), activation=activation, output=output)
    seen = random_observations(space, 1000)
    together = policy.act(seen)
    alone = np.concatenate([policy.act(seen[row : row + 1]) for row in range(1000)])
    assert together.tobytes() == alone.tobytes()
    assert policy.act(seen[::-1])[::-1].tobytes() == together.tobytes()
    assert policy.act(np.asfortranarray(seen)).tobytes() == together.tobytes()
    assert len(np.unique(together)) > 100


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("output", ["tanh", "clip"])
def test_the_network_is_the_textbooks(activation: str, output: str) -> None:
    policy = random_policy(SPACE, (32, 16), activation=activation, output=output, clip=0.8)
    seen = random_observations(SPACE, 200)
    hidden = np.clip((seen.astype(np.float64) - policy.mean) / policy.std, -0.8, 0.8)
    for layer, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        hidden = hidden @ weight.T.astype(np.float64) + bias
        if layer < 2:
            hidden = np.tanh(hidden) if activation == "tanh" else np.maximum(hidden, 0)
    wanted = np.tanh(hidden) if output == "tanh" else np.clip(hidden, -1, 1)
    assert np.abs(policy.act(seen) - wanted).max() < 5e-6


def test_tanh_is_within_a_few_last_bits_odd_and_never_above_one() -> None:
    x = np.concatenate([np.linspace(-12, 12, 20_001), [1e-30, 1e-8, 1e-4, 1e30]]).astype(np.float32)
    given = np.array([tanh32(v) for v in x])
    wanted = np.array([math.tanh(v) for v in x.tolist()])
    assert np.abs(given - wanted).max() < 5e-7
    assert (np.abs(given) <= 1).all()
    assert (given == -np.array([tanh32(-v) for v in x])).all()
    small = np.abs(x) < 1e-3
    assert given[small] == pytest.approx(wanted[small], rel=1e-6)


def test_extreme_weights_and_observations_still_give_actions_within_the_bounds() -> None:
    for output in ("tanh", "clip"):
        policy = random_policy(SPACE, seed=3, output=output, std=np.full(36, 1e-6), clip=1e6, activation="relu")
        actions = policy.act(np.full((3, 36), 1e30, np.float32))
        assert (np.abs(actions) <= 1).all()


def test_a_policy_is_frozen_and_its_arrays_are_read_only() -> None:
    policy = random_policy(SPACE)
    with pytest.raises(FrozenInstanceError):
        policy.clip = 5.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        policy.weights[0][0, 0] = 1.0


def test_later_changes_to_the_arrays_it_was_made_from_do_not_reach_it() -> None:
    mean = np.zeros(36, np.float32)
    policy = random_policy(SPACE, mean=mean)
    before = policy.act(random_observations(SPACE, 2))
    mean[:] = 9.0
    assert (policy.act(random_observations(SPACE, 2)) == before).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_refused(bad: float) -> None:
    seen = random_observations(SPACE, 2)
    seen[1, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        random_policy(SPACE).act(seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "gelu"}, "choose tanh, relu"),
        ({"output": "relu"}, "choose tanh, clip"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"std": np.zeros(36)}, "std"),
        ({"std": np.ones(35)}, "std has shape"),
        ({"mean": np.full(36, np.nan)}, "mean"),
        ({"mean": np.zeros(37), "std": np.ones(37)}, r"weights\[0\] has shape"),
    ],
)
def test_a_policy_that_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_policy(SPACE, **changes)


def test_a_policys_network_must_fit_its_space() -> None:
    one = random_policy(SPACE)
    with pytest.raises(ValueError, match="the network maps 36 numbers to 1; allowed is 37 to 2"):
        MlpPolicy(
            space=BidderSpace(segments=2), mean=one.mean, std=one.std, clip=1.0, weights=one.weights, biases=one.biases
        )
    with pytest.raises(ValueError, match="0 weights"):
        MlpPolicy(space=SPACE, mean=one.mean, std=one.std, clip=1.0, weights=(), biases=())
