"""Policies of every kind of network with random weights, and their files."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.card import NetworkCard, ServedPolicy
from tribid.agents.networks.diffusion import cosine_alpha_bar
from tribid.agents.policy_card import Network
from tribid.agents.policy_file import PolicyFile, read_policy, save_policy
from tribid.envs.scenario import load_scenario

SPACE = BidderSpace(segments=2, n_ticks=24)
SIZE = SPACE.observation_size
PERCEPTRON = {"layers": (SIZE, 16, 8, 2), "activation": "relu", "observation_clip": 5.0}
TRANSFORMER = {
    "kind": "transformer", "observed": SIZE, "actions": 2, "ticks": 24, "context": 5, "width": 16, "layers": 2, "heads": 4,
    "hidden": 32, "terms": 8, "observation_clip": 5.0, "target_return": 1.0, "penalty_exponent": 2.0,
}  # fmt: skip
DIFFUSION = {
    "kind": "diffusion", "observed": SIZE, "actions": 2, "planned": ("budget_left", "value_day"), "horizon": 4,
    "levels": 50, "steps": 6, "embedding": 8, "width": 32, "layers": 2, "inverse_width": 16, "guidance": 1.5,
    "target_return": 1.0, "observation_clip": 5.0, "plan_clip": 3.0,
}  # fmt: skip
BCQ = {
    "kind": "bcq", "observed": SIZE, "actions": 2, "latent": 4, "draws": 10, "decoder": (17, 8), "perturbation": (9,),
    "critic": (16, 16), "reach": 0.1, "observation_clip": 5.0,
}  # fmt: skip
LSTM = {
    "kind": "lstm", "observed": SIZE, "hidden": 16, "depth": 2, "layers": (16, 8, 2), "activation": "tanh",
    "output": "tanh", "observation_clip": 5.0,
}  # fmt: skip
DISCRETE = {**PERCEPTRON, "kind": "discrete", "layers": (SIZE, 16, 10), "choices": 5, "adjusts": False, "start": 1.0}
CARDS: dict[str, dict[str, Any]] = {
    "mlp": {**PERCEPTRON, "kind": "mlp", "output": "tanh"},
    "mlp, cut": {**PERCEPTRON, "kind": "mlp", "output": "clip", "activation": "tanh"},
    "mlp, one layer": {**PERCEPTRON, "kind": "mlp", "output": "clip", "layers": (SIZE, 2)},
    "lstm": LSTM,
    "lstm, one layer cut": {**LSTM, "depth": 1, "layers": (16, 2), "output": "clip"},
    "discrete": DISCRETE,
    "discrete, adjusting": {**DISCRETE, "adjusts": True, "start": 2.0},
    "scaled": {**PERCEPTRON, "kind": "scaled", "reach": 0.9},
    "scaled, to nothing": {**PERCEPTRON, "kind": "scaled", "reach": 1.0},
    "adjusting": {**PERCEPTRON, "kind": "adjusting", "reach": 0.4, "start": 1.3},
    "transformer": TRANSFORMER,
    "transformer, no memory": {**TRANSFORMER, "context": 1, "layers": 1, "penalty_exponent": 0.0},
    "transformer, three layers": {**TRANSFORMER, "context": 2, "layers": 3, "heads": 1},
    "diffusion": DIFFUSION,
    "diffusion, unguided": {**DIFFUSION, "steps": 1, "guidance": 0.0, "layers": 1},
    "bcq": BCQ,
    "bcq, no hidden layers": {**BCQ, "decoder": (), "perturbation": (), "critic": (), "draws": 1},
}
"""Cards by what is special about them; before the comma stands the kind."""


def weights_of(card: NetworkCard, seed: int) -> dict[str, Any]:
    rng, made = np.random.default_rng(seed), {}
    for name, shape in card.tensors().items():
        drawn = rng.normal(size=shape) / math.sqrt(shape[-1] if len(shape) > 1 else 4)
        positive = name.endswith((".std", "norm.weight"))
        made[name] = (0.5 + np.abs(drawn) if positive else drawn).astype(np.float32)
        if name == "noise.alpha_bar":
            made[name] = cosine_alpha_bar(shape[0]).astype(np.float32)
        if name == "choices":
            made[name] = np.linspace(-0.5, 0.5, *shape).astype(np.float32)
    return made


@pytest.fixture(scope="session")
def policy_like() -> Callable[..., ServedPolicy]:
    """A policy of one of ``CARDS``, with weights of this seed."""

    def made(name: str, seed: int = 0) -> ServedPolicy:
        card: Any = TypeAdapter(Network).validate_python(CARDS[name])
        policy: ServedPolicy = card.policy(SPACE, weights_of(card, seed))
        return policy

    return made


@pytest.fixture
def file_like(policy_like: Callable[..., ServedPolicy], tmp_path: Path) -> Callable[..., PolicyFile]:
    """The same, saved and loaded again."""

    def made(name: str, seed: int = 0) -> PolicyFile:
        path = tmp_path / f"policy-{seed}.safetensors"
        save_policy(policy_like(name, seed), path, name=name, scenario=load_scenario("tiny"))
        return read_policy(path)

    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "like" in metafunc.fixturenames:
        metafunc.parametrize("like", CARDS)
