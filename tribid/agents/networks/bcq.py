"""A policy that generates a few likely actions, moves each a little, and takes the one that its critic values most.

Fujimoto, Meger and Precup, "Off-policy deep reinforcement learning without exploration" (ICML 2019). The latent draws of
the generator are fixed and part of the weights, so that the answer for an observation is always the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.arithmetic import dense32, normalise32, tanh32
from tribid.agents.networks.card import MOST_WEIGHTS, MOST_WORK, NetworkCard, checked_rows
from tribid.agents.networks.weights import check_reach, checked_weights

NETWORKS = ("decoder", "perturbation", "critic")
"""The three networks, as their tensors are named."""

Size = Annotated[int, Field(ge=1, le=4096)]
Hidden = Annotated[tuple[Size, ...], Field(max_length=14)]


class BcqCard(NetworkCard):
    """Sizes of a ``BcqPolicy``: ``observed`` numbers, ``actions``, latent ``draws`` of ``latent`` numbers, hidden layers."""

    kind: Literal["bcq"] = "bcq"
    observed: Size
    actions: Annotated[int, Field(ge=1, le=64)]
    latent: Annotated[int, Field(ge=1, le=256)]
    draws: Annotated[int, Field(ge=1, le=1024)]
    decoder: Hidden
    perturbation: Hidden
    critic: Hidden
    reach: float = Field(ge=0, le=2, allow_inf_nan=False)
    observation_clip: float = Field(gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _not_too_many(self) -> "BcqCard":
        count = sum(int(np.prod(shape)) for shape in self.tensors().values())
        work = self.draws * sum(a * b for name in NETWORKS for a, b in pairwise(self.sizes(name)))
        if count > MOST_WEIGHTS or work > MOST_WORK:
            raise ValueError(
                f"the sizes make {count} weights and {work} multiplications a row; "
                f"allowed are {MOST_WEIGHTS} and {MOST_WORK}"
            )
        return self

    def sizes(self, network: str) -> tuple[int, ...]:
        """The layers of one of ``NETWORKS``, from what goes in to what comes out."""
        beside = self.latent if network == "decoder" else self.actions
        out = 1 if network == "critic" else self.actions
        return (self.observed + beside, *getattr(self, network), out)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """A normaliser, the latent draws, and a weight [out, in] and a bias for each layer of each network."""
        shapes: dict[str, tuple[int, ...]] = {
            "normaliser.mean": (self.observed,),
            "normaliser.std": (self.observed,),
            "draws": (self.draws, self.latent),
        }
        for network in NETWORKS:
            for i, (into, out) in enumerate(pairwise(self.sizes(network))):
                shapes |= {f"{network}.layer{i}.weight": (out, into), f"{network}.layer{i}.bias": (out,)}
        return shapes

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "BcqPolicy":
        """The policy with these weights."""
        return BcqPolicy(space=space, sizes=self, weights=dict(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class BcqPolicy:
    """Actions in [-1, 1] for observations; satisfies ``Bidder``, carries no state and draws nothing.

    For each latent draw z, ``a = tanh(decoder(s, z))`` and ``a' = a + reach * tanh(perturbation(s, a))``, cut to [-1, 1];
    the answer is the a' with the highest ``critic(s, a')``, the first of equals. Hidden layers end in relu; s is the
    normalised observation. ``sizes`` is the card and ``weights`` are its tensors. ``ValueError`` for what does not fit.
    """

    space: BidderSpace
    sizes: BcqCard
    weights: dict[str, NDArray[np.float32]]
    _nets: "tuple[_Net, _Net, _Net]" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        card, wanted = self.sizes, (self.space.observation_size, self.space.segments)
        if (card.observed, card.actions) != wanted:
            raise ValueError(
                f"the network maps {card.observed} numbers to {card.actions}; allowed is {wanted[0]} to {wanted[1]}"
            )
        kept = checked_weights(card, self.weights)
        object.__setattr__(self, "weights", kept)
        start = max(card.observation_clip, float(np.abs(kept["draws"]).max()), 1.0)
        for name in NETWORKS:
            layers = range(len(card.sizes(name)) - 1)
            weights, biases = ([kept[f"{name}.layer{i}.{part}"] for i in layers] for part in ("weight", "bias"))
            check_reach(name, weights, biases, start, False)
        decoder, perturbation, critic = (_net(card, kept, name) for name in NETWORKS)
        object.__setattr__(self, "_nets", (decoder, perturbation, critic))

    def act(self, observation: Any) -> Actions:
        """Actions [n, d] for observations [n, D]; ``ValueError`` for another shape and for what is not finite."""
        seen = checked_rows(observation, self.sizes.observed)
        out = np.empty((len(seen), self.sizes.actions), np.float32)
        kept = self.weights
        _act_rows(
            seen, kept["normaliser.mean"], kept["normaliser.std"], np.float32(self.sizes.observation_clip), kept["draws"],
            np.float32(self.sizes.reach), *self._nets, out,
        )  # fmt: skip
        return out

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The action [n, d] of each row; there is nothing to carry on."""
        return self.act(observation), None

    def card(self) -> BcqCard:
        """Its sizes and settings."""
        return self.sizes

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Normaliser, draws, weights and biases."""
        return dict(self.weights)


class _Net(NamedTuple):
    """A network for the kernel: weights turned to [in, out] and biases in one array, and the layers' sizes."""

    flat: NDArray[np.float32]
    sizes: NDArray[np.int64]


def _net(card: BcqCard, weights: Mapping[str, NDArray[np.float32]], name: str) -> _Net:
    sizes = card.sizes(name)
    layers = [f"{name}.layer{i}" for i in range(len(sizes) - 1)]
    flat = [part for layer in layers for part in (weights[f"{layer}.weight"].T.ravel(), weights[f"{layer}.bias"])]
    return _Net(np.concatenate(flat), np.array(sizes, np.int64))


@njit(cache=True, error_model="numpy")
def _run(net: Any, now: Any, after: Any, out: Any) -> None:
    """``out`` is the last layer's numbers for what stands in ``now``, which is overwritten as ``after`` is."""
    start, layers = 0, net.sizes.shape[0] - 1
    for layer in range(layers):
        n_in, n_out = net.sizes[layer], net.sizes[layer + 1]
        bias = start + n_in * n_out
        dense32(now, net.flat[start:bias].reshape(n_in, n_out), net.flat[bias : bias + n_out], after)
        for j in range(n_out):
            after[j] = after[j] if layer == layers - 1 else max(after[j], np.float32(0.0))
        now, after = after, now
        start = bias + n_out
    for j in range(out.shape[0]):
        out[j] = now[j]


@njit(cache=True, error_model="numpy")
def _act_rows(
    observation: Any, mean: Any, std: Any, clip: Any, draws: Any, reach: Any, decoder: Any, perturbation: Any,
    critic: Any, out: Any,
) -> None:  # fmt: skip
    observed, actions = observation.shape[1], out.shape[1]
    widest = max(decoder.sizes.max(), perturbation.sizes.max(), critic.sizes.max())
    now, after = np.empty(widest, np.float32), np.empty(widest, np.float32)
    seen, action, move, q = (
        np.empty(observed, np.float32), np.empty(actions, np.float32), np.empty(actions, np.float32),
        np.empty(1, np.float32),
    )  # fmt: skip
    for row in range(observation.shape[0]):
        normalise32(observation[row], mean, std, clip, seen)
        best = np.float32(0.0)
        for draw in range(draws.shape[0]):
            now[:observed] = seen
            now[observed : observed + draws.shape[1]] = draws[draw]
            _run(decoder, now, after, action)
            for j in range(actions):
                action[j] = tanh32(action[j])
            now[:observed] = seen
            now[observed : observed + actions] = action
            _run(perturbation, now, after, move)
            for j in range(actions):
                action[j] = min(max(action[j] + reach * tanh32(move[j]), np.float32(-1.0)), np.float32(1.0))
            now[:observed] = seen
            now[observed : observed + actions] = action
            _run(critic, now, after, q)
            if draw == 0 or q[0] > best:
                best = q[0]
                out[row] = action
