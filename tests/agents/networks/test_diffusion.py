"""The served DiffBid: the noise schedule's closed forms, DDIM and guidance as written down, and a row's own bits."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.diffusion import DiffusionCard, DiffusionPolicy, cosine_alpha_bar, visited_levels
from tribid.agents.networks.weights import MOST_SIZE
from tribid.agents.testing import check_bidder, random_observations
from tribid.envs.observation import field_index

SPACE = BidderSpace(segments=2, n_ticks=24)
PLANNED = ("budget_left", "win_rate_last_tick", "value_day")
SIZES: dict[str, Any] = {
    "planned": PLANNED, "horizon": 4, "levels": 50, "steps": 6, "embedding": 8, "width": 32, "layers": 2,
    "inverse_width": 16, "guidance": 1.5, "target_return": 1.0, "observation_clip": 5.0, "plan_clip": 3.0,
}  # fmt: skip


def card_of(space: BidderSpace, **changes: Any) -> DiffusionCard:
    return DiffusionCard(**{"observed": space.observation_size, "actions": space.segments, **SIZES, **changes})


def weights_of(card: DiffusionCard, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in card.tensors().items():
        drawn = rng.normal(size=shape) / math.sqrt(shape[-1] if len(shape) > 1 else 4)
        weights[name] = (1.0 + 0.2 * np.abs(drawn) if name.endswith(".std") else drawn).astype(np.float32)
    return weights | {"noise.alpha_bar": cosine_alpha_bar(card.levels).astype(np.float32)}


def policy_of(space: BidderSpace = SPACE, seed: int = 0, **changes: Any) -> DiffusionPolicy:
    card = card_of(space, **changes)
    return card.policy(space, weights_of(card, seed))


def perceptron(weights: dict[str, NDArray[np.float32]], name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    layers = sorted(int(key.split(".")[1]) for key in weights if key.startswith(name) and key.endswith("weight"))
    for layer in layers:
        x = x @ weights[f"{name}.{layer}.weight"].T.astype(np.float64) + weights[f"{name}.{layer}.bias"]
        x = x if layer == layers[-1] else np.maximum(x, 0)
    return x


def by_hand(policy: DiffusionPolicy, seen: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Actions and normalised plans of Song et al.'s equation 12 with sigma 0, written with the noise and in float64."""
    card, weights = policy.network, policy.tensors()
    normal = np.clip((seen - weights["normaliser.mean"].astype(np.float64)) / weights["normaliser.std"], -5, 5)
    x, n = np.zeros((len(seen), card.horizon * len(card.planned))), len(seen)
    levels = visited_levels(card.levels, card.steps)
    share = weights["noise.alpha_bar"].astype(np.float64)
    for now, after in zip(levels, [*levels[1:], None], strict=True):
        noise = []
        for told in (1.0, 0.0):
            about = np.concatenate([np.tile(weights["noise.embed"][now], (n, 1)), np.full((n, 2), told)], axis=1)
            about[:, -2] *= card.target_return
            start = perceptron(weights, "denoiser", np.concatenate([x, normal, about], axis=1))
            noise.append((x - math.sqrt(share[now]) * start) / math.sqrt(1 - share[now]))
        guided = noise[0] + card.guidance * (noise[0] - noise[1])
        start = np.clip(
            (x - math.sqrt(1 - share[now]) * guided) / math.sqrt(share[now]), -card.plan_clip, card.plan_clip
        )
        guided = (x - math.sqrt(share[now]) * start) / math.sqrt(1 - share[now])
        x = start if after is None else math.sqrt(share[after]) * start + math.sqrt(1 - share[after]) * guided
    first = x[:, : len(card.planned)]
    return np.tanh(perceptron(weights, "inverse", np.concatenate([normal, first], axis=1))), x


@pytest.mark.parametrize("levels", [1, 10, 100, 1000])
def test_the_cosine_schedule_is_a_product_of_shares_that_are_kept(levels: int) -> None:
    alpha_bar = cosine_alpha_bar(levels)
    f = [math.cos((k / levels + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(levels + 1)]
    product = 1.0
    for k in range(levels):
        product *= 1.0 - min(1.0 - f[k + 1] / f[k], 0.999)
        assert alpha_bar[k] == pytest.approx(product, rel=1e-9)
        # Without the cut at 0.999, which only the last level reaches, the product telescopes.
        if k < levels - 1:
            assert alpha_bar[k] == pytest.approx(f[k + 1] / f[0], rel=1e-9)
    assert (np.diff(alpha_bar) < 0).all() and alpha_bar[-1] > 0 and alpha_bar[0] < 1


def test_serving_visits_levels_from_the_noisiest_to_the_cleanest() -> None:
    for levels, steps in ((100, 10), (7, 7), (1, 1), (50, 2), (1000, 999)):
        visited = visited_levels(levels, steps)
        assert len(visited) == steps
        assert visited[0] == levels - 1
        assert steps == 1 or visited[-1] == 0
        assert (np.diff(visited) < 0).all()


@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("steps", [1, 6])
def test_it_samples_as_ddim_is_written(guidance: float, steps: int) -> None:
    policy = policy_of(guidance=guidance, steps=steps, target_return=0.7)
    seen = random_observations(SPACE, 40)
    actions, plans = by_hand(policy, seen)
    assert np.abs(policy.predict(seen)[0] - actions).max() < 1e-4
    at = [field_index(name, 2) for name in PLANNED]
    weights = policy.tensors()
    wanted = seen[:, None, at] + weights["plan.mean"] + weights["plan.std"] * plans.reshape(40, 4, 3)
    assert np.abs(policy.plan(seen) - wanted).max() < 1e-4
    assert len(np.unique(policy.predict(seen)[0])) > 70


def test_without_guidance_it_is_the_conditional_model() -> None:
    # What the model says without a return must not matter: no weight leads from the flag 'told' but those of told = 1.
    card = card_of(SPACE, guidance=0.0, steps=1)
    weights = weights_of(card)
    seen = random_observations(SPACE, 20)
    plain = card.policy(SPACE, weights).plan(seen)
    moved = weights["denoiser.0.weight"].copy()
    moved[:, -1] += 1.0
    shifted = weights | {"denoiser.0.weight": moved, "denoiser.0.bias": weights["denoiser.0.bias"] - 1.0}
    assert np.abs(card.policy(SPACE, shifted).plan(seen) - plain).max() < 1e-5
    guided = card_of(SPACE, guidance=1.0, steps=1)
    assert np.abs(guided.policy(SPACE, shifted).plan(seen) - guided.policy(SPACE, weights).plan(seen)).max() > 1e-2


def test_a_model_that_always_means_one_plan_gets_there_in_any_number_of_steps() -> None:
    for steps in (1, 2, 7):
        card = card_of(SPACE, steps=steps)
        weights = {name: np.zeros_like(values) for name, values in weights_of(card).items()}
        wanted = np.linspace(-2.0, 2.0, 12).astype(np.float32)
        weights |= {"denoiser.4.bias": wanted, "noise.alpha_bar": cosine_alpha_bar(50).astype(np.float32)}
        weights |= {name: np.ones_like(weights[name]) for name in ("normaliser.std", "plan.std")}
        seen = random_observations(SPACE, 3)
        now = seen[:, None, [field_index(name, 2) for name in PLANNED]]
        np.testing.assert_allclose(
            card.policy(SPACE, weights).plan(seen) - now, np.tile(wanted.reshape(4, 3), (3, 1, 1)), atol=1e-5
        )


def test_a_row_gives_the_same_bits_in_any_batch() -> None:
    policy = policy_of()
    seen = random_observations(SPACE, 200)
    together = policy.predict(seen)[0]
    assert policy.predict(seen[::-1])[0][::-1].tobytes() == together.tobytes()
    alone = np.concatenate([policy.predict(seen[row : row + 1])[0] for row in range(200)])
    assert alone.tobytes() == together.tobytes()


def test_it_keeps_the_contract_of_bidders() -> None:
    check_bidder(policy_of)


def test_a_card_and_its_tensors_bring_the_policy_back() -> None:
    policy = policy_of()
    card = DiffusionCard.model_validate_json(json.dumps(policy.card().model_dump(mode="json")))
    tensors = policy.tensors()
    assert {name: values.shape for name, values in tensors.items()} == card.tensors()
    seen = random_observations(SPACE, 20)
    assert (
        card.policy(SPACE, tensors | {"probe.action": np.zeros(3, np.float32)}).predict(seen)[0].tobytes()
        == policy.predict(seen)[0].tobytes()
    )


def test_the_largest_weights_allowed_still_give_actions_within_the_bounds() -> None:
    card = card_of(SPACE, layers=4, width=256, observation_clip=1000.0, plan_clip=1000.0, guidance=100.0)
    rng = np.random.default_rng(2)
    weights = {name: rng.choice([-MOST_SIZE, MOST_SIZE], shape) for name, shape in card.tensors().items()}
    weights |= {"normaliser.std": np.full(37, 1e-6), "plan.std": np.full((4, 3), MOST_SIZE)}
    weights |= {"noise.alpha_bar": np.linspace(1 - 1e-6, 1e-30, 50).astype(np.float32)}
    policy = card.policy(SPACE, weights)
    assert (np.abs(policy.predict(random_observations(SPACE, 30))[0]) <= 1).all()
    assert np.isfinite(policy.plan(random_observations(SPACE, 30))).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 51}, "steps 51 of levels 50"),
        ({"planned": ("value_day", "value_day")}, "a field planned twice"),
        ({"planned": ()}, "at least 1 item"),
        ({"width": 1024, "layers": 4, "steps": 900, "levels": 1000}, "multiplications; allowed are"),
        ({"guidance": -0.1}, "greater than or equal to 0"),
        ({"plan_clip": float("inf")}, "finite"),
    ],
)
def test_a_card_out_of_bounds_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        card_of(SPACE, **changes)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("inverse.4.bias", np.array([np.inf, 0.0]), "inverse.4.bias has shape"),
        ("noise.alpha_bar", np.linspace(1.0, 0.5, 50), "noise.alpha_bar ranges from"),
        ("noise.alpha_bar", np.linspace(0.5, 0.0, 50), "noise.alpha_bar ranges from"),
        ("plan.std", np.zeros((4, 3)), "plan.std holds 0"),
    ],
)
def test_weights_that_cannot_be_run_are_refused(name: str, value: NDArray[np.float64], told: str) -> None:
    card = card_of(SPACE)
    with pytest.raises(ValueError, match=told):
        card.policy(SPACE, weights_of(card) | {name: value.astype(np.float32)})


def test_a_field_that_no_observation_has_and_another_space_are_refused() -> None:
    unknown = card_of(SPACE, planned=("budget_left", "mood", "value_day"))
    with pytest.raises(ValueError, match="no observation field named 'mood'"):
        unknown.policy(SPACE, weights_of(unknown))
    card = card_of(SPACE)
    with pytest.raises(ValueError, match=r"observed and actions are \(37, 2\); allowed is \(36, 1\)"):
        card.policy(BidderSpace(n_ticks=24), weights_of(card))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_observation_that_is_not_finite_is_refused(bad: float) -> None:
    seen = random_observations(SPACE, 2)
    seen[1, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        policy_of().predict(seen)
