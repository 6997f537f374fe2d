"""The served Decision Transformer: torch's numbers, a row's own bits, and a return to go that the observation tells."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.networks.attention import layer_norm32, softmax32
from tribid.agents.networks.score import power32, scores_so_far
from tribid.agents.networks.transformer import MOST_RETURN, Context, TransformerCard, TransformerPolicy
from tribid.agents.networks.weights import MOST_SIZE
from tribid.agents.offline.decision_transformer import Gpt, Windows
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import check_bidder, random_observations
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index, observe
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import load_scenario

SPACE = BidderSpace(segments=2, n_ticks=24)
SIZES: dict[str, Any] = {
    "context": 5, "width": 16, "layers": 2, "heads": 4, "hidden": 32, "terms": 8, "observation_clip": 5.0,
    "target_return": 1.0, "penalty_exponent": 2.0,
}  # fmt: skip


def card_of(space: BidderSpace, **changes: Any) -> TransformerCard:
    ends = {"observed": space.observation_size, "actions": space.segments, "ticks": space.n_ticks}
    return TransformerCard(**{**ends, **SIZES, **changes})


def weights_of(card: TransformerCard, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in card.tensors().items():
        drawn = rng.normal(size=shape) / math.sqrt(shape[-1] if len(shape) > 1 else 4)
        positive = name.endswith(("norm.weight", ".std"))
        weights[name] = (1.0 + 0.2 * np.abs(drawn) if positive else drawn).astype(np.float32)
    return weights


def policy_of(space: BidderSpace = SPACE, seed: int = 0, **changes: Any) -> TransformerPolicy:
    card = card_of(space, **changes)
    return card.policy(space, weights_of(card, seed))


def day_of(policy: TransformerPolicy, rows: int, ticks: int) -> list[NDArray[np.float32]]:
    seen = [random_observations(policy.space, rows, tick) for tick in range(ticks)]
    for tick, observation in enumerate(seen):
        observation[:, field_index("time_left", policy.space.segments)] = 1.0 - tick / policy.space.n_ticks
    return seen


def played(policy: TransformerPolicy, seen: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], list[Context]]:
    state, actions, states = None, [], []
    for observation in seen:
        action, state = policy.predict(observation, state)
        actions.append(action)
        states.append(state)
    return np.stack(actions), states


@pytest.mark.parametrize("layers", [1, 3])
def test_it_gives_the_numbers_of_the_torch_network(layers: int) -> None:
    policy = policy_of(layers=layers)
    card, size = policy.network, SPACE.observation_size
    network = Gpt(card, torch.Generator())
    network.load_state_dict({name: torch.tensor(policy.tensors()[name]) for name in network.state_dict()})
    actions, states = played(policy, day_of(policy, 7, 12))
    for given, state in zip(actions, states, strict=True):
        past = torch.from_numpy(state.past)
        there = torch.arange(card.context) < torch.from_numpy(state.length)[:, None]
        windows = Windows(
            returns=past[..., 0], observations=past[..., 1 : 1 + size], actions=past[..., 1 + size :],
            ticks=torch.from_numpy(state.ticks), there=there,
        )  # fmt: skip
        with torch.no_grad():
            wanted = network(windows)[np.arange(7), state.length - 1].numpy()
        assert np.abs(given - wanted).max() < 1e-5
    assert np.abs(np.diff(actions, axis=0)).max() > 0.1


def test_a_row_gives_the_same_bits_in_any_batch() -> None:
    policy = policy_of()
    seen = day_of(policy, 50, 8)
    together, _ = played(policy, seen)
    backwards, _ = played(policy, [observation[::-1] for observation in seen])
    assert backwards[:, ::-1].tobytes() == together.tobytes()
    for row in (0, 17, 49):
        alone, _ = played(policy, [observation[row : row + 1] for observation in seen])
        assert alone[:, 0].tobytes() == together[:, row].tobytes()
    assert len(np.unique(together)) > 100


def test_it_keeps_the_contract_of_bidders() -> None:
    check_bidder(policy_of)


def test_only_the_ticks_of_the_context_count() -> None:
    policy = policy_of()
    seen, other = day_of(policy, 4, 12), day_of(policy, 4, 12)
    for tick in range(12 - policy.network.context):
        other[tick] = other[tick][::-1]
    # The first ticks differ, so do the actions given there; both leave the context.
    assert (played(policy, seen)[0][-2] != played(policy, other)[0][-2]).any()
    states = [played(policy, days[:-5])[1][-1] for days in (seen, other)]
    for state in states:
        state.past[..., -SPACE.segments :] = 0.25
    for observation in seen[-5:]:
        states = [policy.predict(observation, state)[1] for state in states]
        for state in states:
            state.past[..., -SPACE.segments :] = 0.25
    assert states[0].past.tobytes() == states[1].past.tobytes()


def test_the_tick_is_read_from_the_clock_so_a_day_may_be_joined_late() -> None:
    policy = policy_of()
    seen = day_of(policy, 3, 24)
    for tick in (0, 9, 23):
        _, state = policy.predict(seen[tick])
        assert state.ticks[:, 0].tolist() == [tick] * 3
        assert state.length.tolist() == [1] * 3
    _, states = played(policy, seen)
    assert states[-1].ticks[0].tolist() == [19, 20, 21, 22, 23]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.5])
def test_the_observation_tells_the_score_that_the_rewards_have_paid(exponent: float) -> None:
    # Little margin and high bids: targets are missed.
    scenario = load_scenario("tiny").with_changes(reward__penalty_exponent=exponent, generated__margin=0.02)
    space = BidderSpace.of(scenario)
    lineup = Lineup.of(FixedMultiplier(8.0, space=space), 5)
    penalised = False
    for seed in range(6):
        state, states, paid = market.reset(scenario, seed), dict[str, Any](), np.zeros(5)
        while not state.done:
            told = scores_so_far(observe(state), 1, exponent)
            np.testing.assert_allclose(told, paid, rtol=2e-3, atol=1e-5)
            actions, states = lineup.act(observe(state), states)
            before = state
            state, _ = market.step(before, to_multiplier(actions, scenario.rules.max_multiplier))
            paid = paid + REWARDS["own"](before, state, scenario.reward)
        value = state.advertisers.money_value(state.total.counts.clicks, state.total.counts.conversions)
        penalised |= bool((paid < 0.9 * value / state.advertisers.budget_micros)[3:].any())
    assert penalised == (exponent > 0)


def test_the_return_to_go_falls_by_what_has_been_earned() -> None:
    policy = policy_of(target_return=1.5)
    seen = np.repeat(random_observations(SPACE, 1, 5), 3, axis=0)
    value, objective = field_index("value_day", 2), field_index("objective_target_cpa", 2)
    seen[:, [objective, objective + 1]] = 0.0
    seen[:, value] = [0.0, 0.2, 1.0]
    _, state = policy.predict(seen)
    weights = policy.tensors()
    at = [field_index("budget_size", 2) + place for place in range(7)]
    terms = np.clip((seen[0] - weights["normaliser.mean"]) / weights["normaliser.std"], -5, 5)[at].astype(np.float64)
    hidden = np.maximum(weights["prospect.0.weight"] @ terms + weights["prospect.0.bias"], 0)
    low, high = weights["prospect.2.weight"] @ hidden + weights["prospect.2.bias"]
    spread = max(high - low, 1e-3)
    wanted = 1.5 - (np.array([0.0, 0.25, 9999.0]) - low) / spread
    np.testing.assert_allclose(state.past[:, 0, 0], np.clip(wanted, -MOST_RETURN, MOST_RETURN), rtol=1e-3)
    assert state.past[2, 0, 0] == -MOST_RETURN


def test_the_kernels_are_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    x, gain, bias = (rng.normal(size=33).astype(np.float32) for _ in range(3))
    out = np.empty(33, np.float32)
    layer_norm32(x, gain, bias, out)
    wanted = torch.nn.functional.layer_norm(
        *(torch.from_numpy(v) for v in (x,)), (33,), *map(torch.from_numpy, (gain, bias))
    )
    assert np.abs(out - wanted.numpy()).max() < 1e-5
    scores = (30 * rng.normal(size=20)).astype(np.float32)
    shares = scores.copy()
    softmax32(shares, 12)
    np.testing.assert_allclose(shares[:12], torch.from_numpy(scores[:12]).softmax(0).numpy(), atol=1e-6)
    assert (shares[12:] == scores[12:]).all()
    for base in (1.0, 0.999, 0.5, 0.1, 1e-6):
        for exponent in (0.0, 0.5, 2.0, 3.5):
            given = power32(np.float32(base), np.float32(exponent))
            assert given == pytest.approx(float(np.float32(base)) ** exponent, rel=1e-5)
    assert power32(np.float32(0), np.float32(0)) == 1 and power32(np.float32(0), np.float32(2)) == 0


def test_a_card_and_its_tensors_bring_the_policy_back() -> None:
    policy = policy_of()
    card = TransformerCard.model_validate_json(json.dumps(policy.card().model_dump(mode="json")))
    tensors = policy.tensors()
    assert {name: values.shape for name, values in tensors.items()} == card.tensors()
    again = card.policy(SPACE, tensors | {"probe.action": np.zeros(3, np.float32)})  # as a policy file has it
    seen = day_of(policy, 5, 7)
    assert played(again, seen)[0].tobytes() == played(policy, seen)[0].tobytes()


def test_the_largest_weights_allowed_still_give_actions_within_the_bounds() -> None:
    card = card_of(SPACE, width=32, hidden=64, observation_clip=1000.0)
    rng = np.random.default_rng(2)
    weights = {name: rng.choice([-MOST_SIZE, MOST_SIZE], shape) for name, shape in card.tensors().items()}
    weights["normaliser.std"] = np.full(SPACE.observation_size, 1e-6)
    policy = card.policy(SPACE, weights)
    state = None
    for tick in range(7):
        actions, state = policy.predict(random_observations(SPACE, 9, tick), state)
        assert (np.abs(actions) <= 1).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heads": 3}, "width 16 does not divide by heads 3"),
        ({"width": 512, "context": 128, "hidden": 2048, "layers": 12}, "multiplications; allowed are"),
        ({"target_return": float("nan")}, "finite"),
        ({"context": 0}, "greater than or equal to 1"),
        ({"ticks": 10_001}, "less than or equal to 10000"),
        ({"observation_clip": 0.0}, "greater than 0"),
    ],
)
def test_a_card_out_of_bounds_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        card_of(SPACE, **changes)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("head.bias", np.array([np.nan, 0.0]), "head.bias has shape"),
        ("head.bias", np.array([0.0, 2 * MOST_SIZE]), "numbers up to 20000"),
        ("head.bias", np.zeros(3), r"head.bias has shape \(3,\)"),
        ("normaliser.std", np.zeros(SPACE.observation_size), "above 0"),
    ],
)
def test_weights_that_cannot_be_run_are_refused(name: str, value: NDArray[np.float64], told: str) -> None:
    card = card_of(SPACE)
    with pytest.raises(ValueError, match=told):
        card.policy(SPACE, weights_of(card) | {name: value.astype(np.float32)})


def test_a_missing_tensor_and_another_space_are_refused() -> None:
    card = card_of(SPACE)
    weights = weights_of(card)
    with pytest.raises(ValueError, match=r"weights lack head\.bias; a network of this card has normaliser.mean"):
        card.policy(SPACE, {name: values for name, values in weights.items() if name != "head.bias"})
    with pytest.raises(ValueError, match=r"observed, actions and ticks are \(37, 2, 24\); allowed is \(37, 2, 12\)"):
        card.policy(BidderSpace(segments=2, n_ticks=12), weights)


def test_an_observation_or_a_state_of_another_shape_is_refused() -> None:
    policy = policy_of()
    with pytest.raises(ValueError, match="observation has shape"):
        policy.predict(np.zeros((2, 3)))
    _, state = policy.predict(random_observations(SPACE, 2))
    with pytest.raises(ValueError, match="what predict returned for 3 rows"):
        policy.predict(random_observations(SPACE, 3), state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_refused(bad: float) -> None:
    seen = random_observations(SPACE, 2)
    seen[1, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        policy_of().predict(seen)
