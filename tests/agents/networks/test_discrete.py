"""Policies that choose among a few actions, or that move their multiplier: what they answer, carry on and save."""

from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.discrete import DiscreteCard, DiscretePolicy
from tribid.agents.testing import check_bidder, random_observations, random_policy
from tribid.envs.action import to_action, to_multiplier

SPACE = BidderSpace(n_ticks=8)
STEPS = np.array([-0.08, -0.03, -0.01, 0.0, 0.01, 0.03, 0.08], np.float32)
ACTIONS = np.linspace(-1, 1, 5).astype(np.float32)


def network(space: BidderSpace, out: int, hidden: tuple[int, ...] = (8, 8), seed: int = 0) -> dict[str, Any]:
    """Arguments of a network with normal weights and ``out`` numbers at its end."""
    drawn = random_policy(BidderSpace(segments=space.segments), hidden, seed)
    last = random_policy(BidderSpace(segments=out), hidden[-1:], seed)
    return {
        "space": space, "mean": drawn.mean, "std": drawn.std, "clip": 10.0,
        "weights": (*drawn.weights[:-1], last.weights[-1]), "biases": (*drawn.biases[:-1], last.biases[-1]),
    }  # fmt: skip


def policy(space: BidderSpace = SPACE, adjusts: bool = False, **changes: Any) -> DiscretePolicy:
    choices = STEPS if adjusts else ACTIONS
    settings = {**network(space, space.segments * len(choices)), "choices": choices, "adjusts": adjusts, **changes}
    return DiscretePolicy(**settings)


@pytest.mark.parametrize("adjusts", [False, True])
def test_it_keeps_the_contract_of_a_bidder(adjusts: bool) -> None:
    check_bidder(lambda space: policy(space, adjusts))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_is_the_textbooks_and_the_choice_its_argmax(activation: str) -> None:
    space = BidderSpace(segments=2)
    chooser = policy(space, activation=activation)
    seen = random_observations(space, 300)
    hidden = np.clip((seen.astype(np.float64) - chooser.mean) / chooser.std, -10.0, 10.0)
    for layer, (weight, bias) in enumerate(zip(chooser.weights, chooser.biases, strict=True)):
        hidden = hidden @ weight.T.astype(np.float64) + bias
        if layer < 2:
            hidden = np.maximum(hidden, 0) if activation == "relu" else np.tanh(hidden)
    assert np.abs(chooser.numbers(seen) - hidden).max() < 2e-5
    table = hidden.reshape(300, 2, 5)
    clear = np.diff(np.sort(table, axis=2)[:, :, -2:], axis=2)[..., 0] > 1e-4
    assert clear.mean() > 0.9
    actions = chooser.predict(seen)[0]
    assert (actions[clear] == ACTIONS[table.argmax(axis=2)][clear]).all()
    assert len(np.unique(actions)) > 2


def test_the_numbers_of_a_segment_stand_together() -> None:
    space = BidderSpace(segments=2)
    size = space.observation_size
    bias = np.array([0, 0, 1, 0, 0, 3, 0, 0, 0, 0], np.float32)
    chooser = DiscretePolicy(
        space=space, mean=np.zeros(size, np.float32), std=np.ones(size, np.float32), clip=1.0,
        weights=(np.zeros((10, size), np.float32),), biases=(bias,), choices=ACTIONS,
    )  # fmt: skip
    assert chooser.predict(np.zeros((1, size), np.float32))[0].tolist() == [[0.0, -1.0]]


@pytest.mark.parametrize("adjusts", [False, True])
def test_of_equal_numbers_the_first_choice_is_taken(adjusts: bool) -> None:
    flat = network(SPACE, 3, hidden=(4,))
    flat["weights"] = (flat["weights"][0], np.zeros((3, 4)))
    flat["biases"] = (flat["biases"][0], np.array([1.0, 2.0, 2.0]))
    chooser = DiscretePolicy(**flat, choices=np.array([-0.5, 0.5, 0.25]), adjusts=adjusts)
    multiplier = to_multiplier(chooser.predict(random_observations(SPACE, 5))[0], 8.0)
    assert multiplier == pytest.approx(1.5 if adjusts else 8.0**0.5, rel=1e-6)


@pytest.mark.parametrize("adjusts", [False, True])
@pytest.mark.parametrize("segments", [1, 3])
def test_a_row_gives_the_same_bits_in_any_batch(adjusts: bool, segments: int) -> None:
    space = BidderSpace(segments=segments)
    chooser = policy(space, adjusts)
    seen = random_observations(space, 500)
    together, carried = chooser.predict(seen)
    after, _ = chooser.predict(seen[::-1].copy(), carried)
    for row in (0, 7, 499):
        alone, state = chooser.predict(seen[row : row + 1])
        assert alone.tobytes() == together[row : row + 1].tobytes()
        again, _ = chooser.predict(seen[499 - row : 500 - row], state)
        assert again.tobytes() == after[row : row + 1].tobytes()


def test_each_tick_multiplies_the_multiplier_of_the_one_before() -> None:
    space = BidderSpace(segments=2)
    mover = policy(space, adjusts=True, start=0.5)
    state, multiplier = None, np.full((4, 2), 0.5)
    for tick in range(30):
        seen = random_observations(space, 4, tick)
        multiplier = multiplier * (1.0 + STEPS[mover.chosen(seen)].astype(np.float64))
        actions, state = mover.predict(seen, state)
        assert state is not None
        np.testing.assert_allclose(state, multiplier, rtol=1e-5)
        np.testing.assert_allclose(to_multiplier(actions, 8.0), multiplier, rtol=2e-5)
    assert np.ptp(multiplier) > 0.05


@pytest.mark.parametrize(("step", "bound"), [(0.5, 8.0), (-0.5, 1.0 / 8.0)])
def test_multipliers_stay_between_one_over_the_cap_and_the_cap(step: float, bound: float) -> None:
    mover = policy(adjusts=True, choices=np.full(7, step))
    state = None
    for tick in range(20):
        actions, state = mover.predict(random_observations(SPACE, 2, tick), state)
    assert state is not None
    assert (state == np.float32(bound)).all()
    np.testing.assert_allclose(actions, to_action(bound, 8.0), atol=1e-6)


def test_without_adjusting_nothing_is_carried() -> None:
    assert policy().predict(random_observations(SPACE, 3))[1] is None


@pytest.mark.parametrize("adjusts", [False, True])
def test_its_card_and_tensors_make_the_same_policy(adjusts: bool) -> None:
    space = BidderSpace(segments=2)
    chooser = policy(space, adjusts, start=0.75)
    card = DiscreteCard.model_validate_json(chooser.card().model_dump_json())
    assert card.kind == "discrete"
    assert card.tensors() == {name: tensor.shape for name, tensor in chooser.tensors().items()}
    again = card.policy(space, chooser.tensors())
    seen = random_observations(space, 50)
    for one, other in zip(chooser.predict(seen), again.predict(seen), strict=True):
        assert (one is None and other is None) or one.tobytes() == other.tobytes()  # type: ignore[union-attr]


def test_a_card_that_calls_for_too_many_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="weights; allowed are"):
        DiscreteCard(
            layers=(36, 4096, 4096, 5), activation="relu", observation_clip=1.0, choices=5, adjusts=False, start=1.0
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": np.linspace(-1, 1.5, 5)}, "allowed are actions from -1 to 1"),
        ({"choices": np.array([-1.0, 0, 0, 0, 0]), "adjusts": True}, "allowed are numbers above -1"),
        ({"choices": np.zeros(6)}, "the network maps 36 numbers to 5; allowed is 36 to 6"),
        ({"choices": np.array([np.nan] * 5)}, "choices has shape"),
        ({"start": 0.0}, "start is 0.0"),
        ({"start": 8.5}, "start is 8.5"),
        ({"activation": "clip"}, "choose tanh, relu"),
        ({"clip": np.inf}, "clip is inf"),
        ({"std": np.zeros(36)}, "std has shape"),
        ({"biases": (np.zeros(8),)}, "allowed is a pair per layer"),
    ],
)
def test_a_policy_that_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy(**changes)


def test_a_state_of_another_day_is_refused() -> None:
    mover = policy(adjusts=True)
    with pytest.raises(ValueError, match=r"state is float32 of shape \(2, 1\); allowed are .* \(3, 1\)"):
        mover.predict(random_observations(SPACE, 3), np.ones((2, 1), np.float32))
    with pytest.raises(ValueError, match="finite"):
        mover.predict(np.full((1, 36), np.nan, np.float32))


@pytest.mark.parametrize("adjusts", [False, True])
def test_nobody_gets_no_action(adjusts: bool) -> None:
    actions, _ = policy(adjusts=adjusts).predict(np.zeros((0, SPACE.observation_size), np.float32))
    assert actions.shape == (0, SPACE.segments)
