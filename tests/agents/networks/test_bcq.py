from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.bcq import NETWORKS, BcqCard, BcqPolicy
from tribid.agents.testing import check_bidder, random_observations
from tribid.envs.chance import Stream, normals

SPACE = BidderSpace(n_ticks=8)


def card_for(space: BidderSpace, **changes: Any) -> BcqCard:
    settings: dict[str, Any] = {
        "observed": space.observation_size, "actions": space.segments, "latent": 2 * space.segments, "draws": 10,
        "decoder": (17, 8), "perturbation": (9,), "critic": (16, 16), "reach": 0.1, "observation_clip": 5.0, **changes,
    }  # fmt: skip
    return BcqCard(**settings)


def weights_for(card: BcqCard, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    made = {}
    for place, (name, shape) in enumerate(card.tensors().items()):
        drawn = normals(seed, Stream.POLICY, day=place, request=np.arange(int(np.prod(shape))))[:, 0].reshape(shape)
        scale = 1.5 / np.sqrt(shape[-1]) if name.endswith("weight") else 0.5
        made[name] = np.abs(drawn).astype(np.float32) if name.endswith("std") else (scale * drawn).astype(np.float32)
    return made


def policy_for(space: BidderSpace = SPACE, seed: int = 0, **changes: Any) -> BcqPolicy:
    card = card_for(space, **changes)
    return BcqPolicy(space=space, sizes=card, weights=weights_for(card, seed))


def run(policy: BcqPolicy, name: str, given: NDArray[Any]) -> NDArray[np.float64]:
    """The network's numbers by float64 matrix products, [..., out]."""
    sizes = policy.card().sizes(name)
    now = given.astype(np.float64)
    for layer in range(len(sizes) - 1):
        weight, bias = (policy.weights[f"{name}.layer{layer}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        now = now @ weight.T + bias
        now = np.maximum(now, 0.0) if layer < len(sizes) - 2 else now
    return now


def candidates(policy: BcqPolicy, seen: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each draw's action [n, draws, S] and its value [n, draws]."""
    kept, card = policy.weights, policy.card()
    normal = np.clip((seen.astype(np.float64) - kept["normaliser.mean"]) / kept["normaliser.std"], -5, 5)
    many = np.repeat(normal[:, None], card.draws, axis=1)
    z = np.broadcast_to(kept["draws"], (len(seen), *kept["draws"].shape))
    likely = np.tanh(run(policy, "decoder", np.concatenate([many, z], axis=-1)))
    move = np.tanh(run(policy, "perturbation", np.concatenate([many, likely], axis=-1)))
    moved = np.clip(likely + card.reach * move, -1, 1)
    return moved, run(policy, "critic", np.concatenate([many, moved], axis=-1))[..., 0]


@pytest.mark.parametrize("segments", [1, 3])
def test_a_row_gives_the_same_bits_in_any_batch(segments: int) -> None:
    space = BidderSpace(segments=segments)
    policy, seen = policy_for(space), random_observations(space, 300)
    together = policy.act(seen)
    alone = np.concatenate([policy.act(seen[row : row + 1]) for row in range(300)])
    assert together.tobytes() == alone.tobytes()
    assert policy.act(seen[::-1])[::-1].tobytes() == together.tobytes()
    assert len(np.unique(together)) > 30


@pytest.mark.parametrize("segments", [1, 2])
def test_the_action_is_the_candidate_of_the_highest_value(segments: int) -> None:
    space = BidderSpace(segments=segments)
    policy, seen = policy_for(space, seed=4), random_observations(space, 200)
    moved, value = candidates(policy, seen)
    best = value.argmax(axis=1)
    ordered = np.sort(value, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-4
    assert clear.mean() > 0.5
    assert policy.act(seen)[clear] == pytest.approx(moved[np.arange(len(seen)), best][clear], abs=2e-5)
    assert len(np.unique(best[clear])) > 3


def test_without_reach_the_action_is_one_that_the_decoder_makes() -> None:
    policy, seen = policy_for(reach=0.0), random_observations(SPACE, 100)
    made, _ = candidates(policy, seen)
    assert np.abs(made - policy.act(seen)[:, None]).min(axis=1).max() < 2e-5


def test_the_perturbation_moves_an_action_by_at_most_its_reach() -> None:
    seen = random_observations(SPACE, 100)
    still, moving = policy_for(reach=0.0, draws=1), policy_for(reach=0.1, draws=1)
    moved = np.abs(moving.act(seen) - still.act(seen))
    assert 0.01 < moved.max() <= 0.1 + 1e-6


def test_of_equal_values_the_first_draw_counts() -> None:
    policy = policy_for()
    flat = {name: np.zeros_like(part) if name.startswith("critic") else part for name, part in policy.weights.items()}
    first = {**flat, "draws": np.repeat(flat["draws"][:1], 10, axis=0)}
    seen = random_observations(SPACE, 20)
    both = [BcqPolicy(space=SPACE, sizes=policy.card(), weights=weights).act(seen) for weights in (flat, first)]
    assert both[0].tobytes() == both[1].tobytes()


def test_it_is_a_bidder() -> None:
    check_bidder(policy_for)


def test_its_card_gives_the_policy_back() -> None:
    policy, seen = policy_for(), random_observations(SPACE, 20)
    card = BcqCard.model_validate_json(policy.card().model_dump_json())
    assert {name: part.shape for name, part in policy.tensors().items()} == card.tensors()
    assert card.policy(SPACE, policy.tensors()).act(seen).tobytes() == policy.act(seen).tobytes()


def test_what_does_not_fit_is_refused() -> None:
    policy = policy_for()
    with pytest.raises(ValueError, match="maps 36 numbers to 1; allowed is 37 to 2"):
        BcqPolicy(space=BidderSpace(segments=2), sizes=policy.card(), weights=policy.weights)
    with pytest.raises(ValueError, match="draws"):
        policy.card().policy(SPACE, {**policy.weights, "draws": np.zeros((3, 2), np.float32)})
    with pytest.raises(ValueError, match=r"normaliser\.std"):
        policy.card().policy(SPACE, {**policy.weights, "normaliser.std": np.zeros(36, np.float32)})
    lacking = {name: part for name, part in policy.weights.items() if name != "critic.layer0.bias"}
    with pytest.raises(ValueError, match=r"critic\.layer0\.bias"):
        policy.card().policy(SPACE, lacking)
    with pytest.raises(ValueError, match="finite"):
        policy.act(np.full((1, 36), np.nan, np.float32))
    with pytest.raises(ValidationError, match=r"weights and .* multiplications a row; allowed are"):
        card_for(SPACE, decoder=(4096,) * 3)
    with pytest.raises(ValidationError, match="multiplications a row; allowed are"):
        card_for(SPACE, decoder=(2000, 2000), draws=1024)
    huge = {
        name: np.full_like(part, 1e4) if "layer" in name else part
        for name, part in weights_for(card_for(SPACE, decoder=(64,) * 9)).items()
    }
    with pytest.raises(ValueError, match=r"decoder up to layer \d can give .* allowed is 1e\+37"):
        card_for(SPACE, decoder=(64,) * 9).policy(SPACE, huge)
    with pytest.raises(ValidationError, match="reach"):
        card_for(SPACE, reach=float("nan"))


def test_every_tensor_matters() -> None:
    policy, seen = policy_for(draws=4), random_observations(SPACE, 400)
    before = policy.act(seen)
    for name, part in policy.weights.items():
        if name == f"{NETWORKS[2]}.layer2.bias":
            continue  # moves all values alike
        changed = {**policy.weights, name: part + np.float32(0.5)}
        assert (BcqPolicy(space=SPACE, sizes=policy.card(), weights=changed).act(seen) != before).any(), name
