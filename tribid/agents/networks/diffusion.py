"""DiffBid as it is served: a diffusion model plans the next ticks, and inverse dynamics says what action leads there.

Guo et al., "Generative auto-bidding via conditional diffusion modeling" (DiffBid, KDD 2024), sampled by DDIM (Song, Meng
and Ermon, ICLR 2021) without noise of its own, with classifier-free guidance (Ho and Salimans, 2022) on the day's return.
Smaller than in the paper, so that a row takes under five milliseconds without a library:

* It plans a few fields over a few ticks, not all fields to the day's end by a temporal U-Net: only the first planned tick
  becomes an action, and the plan is made anew in every tick.
* It plans changes from the present tick's fields, each scaled to unit variance: the same trajectories, in a unit in which
  one tick's change of the budget is not lost beside the day's.
* The denoiser is a perceptron that sees the whole observation in place of earlier states: the observation holds the last
  tick's, the last three ticks' and the day's results.
* It predicts the plan x_0 rather than the noise. One follows from the other, and few steps bear it better (Salimans and
  Ho, ICLR 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import pi, prod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.arithmetic import dense32, normalise32, tanh32
from tribid.agents.networks.card import MOST_WEIGHTS, MOST_WORK, NetworkCard, checked_rows
from tribid.agents.networks.weights import checked_weights, turned
from tribid.envs.observation import field_index

Size = Annotated[int, Field(ge=1, le=1024)]
Limit = Annotated[float, Field(gt=0, le=1e3, allow_inf_nan=False)]
Planned = Annotated[str, Field(min_length=1, max_length=80)]


class DiffusionCard(NetworkCard):
    """Sizes and settings of a DiffBid policy.

    ``observed`` numbers are seen and ``actions`` given; ``planned`` names the observation's fields that are planned for
    ``horizon`` ticks ahead. There are ``levels`` of noise, each with ``embedding`` numbers; serving visits ``steps`` of
    them. The denoiser has ``layers`` hidden layers of ``width``, inverse dynamics two of ``inverse_width``.
    ``target_return`` is the day's return that is asked for, where 0 is a low day of such a campaign and 1 a high one.
    ``guidance`` w gives ``conditional + w (conditional - unconditional)``, so 0 is the conditional model; the paper's omega
    is 1 + w.
    """

    kind: Literal["diffusion"] = "diffusion"
    observed: Size
    actions: Annotated[int, Field(ge=1, le=64)]
    planned: tuple[Planned, ...] = Field(min_length=1, max_length=64)
    horizon: Annotated[int, Field(ge=1, le=64)]
    levels: Annotated[int, Field(ge=1, le=1000)]
    steps: Annotated[int, Field(ge=1, le=1000)]
    embedding: Annotated[int, Field(ge=1, le=128)]
    width: Size
    layers: Annotated[int, Field(ge=1, le=4)]
    inverse_width: Size
    guidance: float = Field(ge=0, le=100, allow_inf_nan=False)
    target_return: float = Field(ge=-10, le=10, allow_inf_nan=False)
    observation_clip: Limit
    plan_clip: Limit

    @model_validator(mode="after")
    def _within_bounds(self) -> "DiffusionCard":
        if self.steps > self.levels or len(set(self.planned)) < len(self.planned):
            raise ValueError(f"steps {self.steps} of levels {self.levels}, or a field planned twice: {self.planned}")
        weights = sum(prod(shape) for shape in self.tensors().values())
        work = 2 * self.steps * sum(a * b for a, b in pairwise(self.denoiser_sizes))
        if weights > MOST_WEIGHTS or work > MOST_WORK:
            raise ValueError(
                f"the sizes make {weights} weights and {work} multiplications; "
                f"allowed are {MOST_WEIGHTS} and {MOST_WORK}"
            )
        return self

    @property
    def denoiser_sizes(self) -> tuple[int, ...]:
        """From noisy plan, observation, noise level, return and whether one is asked for, to the plan."""
        plan = self.horizon * len(self.planned)
        return (plan + self.observed + self.embedding + 2, *(self.width,) * self.layers, plan)

    @property
    def inverse_sizes(self) -> tuple[int, ...]:
        """From the observation and the first planned tick to the actions."""
        return (self.observed + len(self.planned), self.inverse_width, self.inverse_width, self.actions)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Normalisers of observation and plan, noise levels, and both networks; a weight is [out, in]."""
        shapes: dict[str, tuple[int, ...]] = {
            "normaliser.mean": (self.observed,), "normaliser.std": (self.observed,),
            "plan.mean": (self.horizon, len(self.planned)), "plan.std": (self.horizon, len(self.planned)),
            "noise.alpha_bar": (self.levels,), "noise.embed": (self.levels, self.embedding),
        }  # fmt: skip
        for name, sizes in (("denoiser", self.denoiser_sizes), ("inverse", self.inverse_sizes)):
            for i, (into, out) in enumerate(pairwise(sizes)):
                shapes |= {f"{name}.{2 * i}.weight": (out, into), f"{name}.{2 * i}.bias": (out,)}
        return shapes

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "DiffusionPolicy":
        """The network with these weights."""
        return DiffusionPolicy(space=space, network=self, weights=tensors)


def cosine_alpha_bar(levels: int) -> NDArray[np.float64]:
    """``alpha_bar_k = prod over j <= k of (1 - beta_j)``, [levels]: the share of the plan's variance left at each level.

    Nichol and Dhariwal (ICML 2021), equation 17: ``f(k) = cos((k / K + 0.008) / 1.008 * pi / 2) ** 2`` and
    ``beta_k = 1 - f(k + 1) / f(k)``, at most 0.999.
    """
    f = np.cos((np.arange(levels + 1) / levels + 0.008) / 1.008 * pi / 2) ** 2
    beta = np.minimum(1.0 - f[1:] / f[:-1], 0.999)
    alpha_bar: NDArray[np.float64] = np.cumprod(1.0 - beta)
    return alpha_bar


def visited_levels(levels: int, steps: int) -> list[int]:
    """The levels that serving visits, from the noisiest to level 0.

    >>> visited_levels(100, 5)
    [99, 75, 50, 25, 0]
    """
    return [levels - 1 - i * (levels - 1) // max(steps - 1, 1) for i in range(steps)]


@dataclass(frozen=True, eq=False, kw_only=True)
class DiffusionPolicy:
    """A DiffBid policy; satisfies ``Bidder`` and carries no state.

    Sampling starts from the noise's mean, 0, and adds none, so a row always gives the same plan. ``weights`` are named as
    ``network.tensors()`` lists them, kept as read-only float32.
    """

    space: BidderSpace
    network: DiffusionCard
    weights: Mapping[str, NDArray[np.float32]]
    _kernel: "_Kernel" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wanted, given = (
            (self.space.observation_size, self.space.segments),
            (self.network.observed, self.network.actions),
        )
        if given != wanted:
            raise ValueError(f"the network's observed and actions are {given}; allowed is {wanted}")
        for name in self.network.planned:
            field_index(name, self.space.segments)
        object.__setattr__(self, "weights", checked_weights(self.network, self.weights))
        share = self.weights["noise.alpha_bar"]
        if not ((share > 0) & (share < 1)).all():
            raise ValueError(f"noise.alpha_bar ranges from {share.min()} to {share.max()}; allowed is between 0 and 1")
        object.__setattr__(self, "_kernel", _kernel_of(self.network, self.weights))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """Actions [n, S]; there is nothing to carry on."""
        return self._run(observation)[0], None

    def plan(self, observation: Any) -> NDArray[np.float32]:
        """The ``planned`` fields of the coming ticks as it means to see them, [n, horizon, planned]."""
        seen = checked_rows(observation, self.network.observed)
        at = [field_index(name, self.space.segments) for name in self.network.planned]
        change = self._run(seen)[1].reshape(len(seen), *self.weights["plan.mean"].shape)
        planned: NDArray[np.float32] = seen[:, None, at] + self.weights["plan.mean"] + self.weights["plan.std"] * change
        return planned

    def card(self) -> DiffusionCard:
        """Its sizes and settings."""
        return self.network

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All weights by name."""
        return dict(self.weights)

    def _run(self, observation: Any) -> tuple[Actions, NDArray[np.float32]]:
        seen, card = checked_rows(observation, self.network.observed), self.network
        out = np.empty((len(seen), card.actions), np.float32)
        plans = np.empty((len(seen), card.denoiser_sizes[-1]), np.float32)
        widest = max(*card.denoiser_sizes, *card.inverse_sizes)
        _act_rows(seen, self._kernel, np.empty((2, widest), np.float32), plans, out)
        return out, plans


class _Layers(NamedTuple):
    """A perceptron for ``_perceptron``: all turned weights and biases after one another, and the sizes."""

    flat: NDArray[np.float32]
    sizes: NDArray[np.int64]


class _Kernel(NamedTuple):
    """What the kernel reads."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    clip: np.float32
    levels: NDArray[np.int64]
    alpha_bar: NDArray[np.float32]
    embed: NDArray[np.float32]
    guidance: np.float32
    target: np.float32
    plan_clip: np.float32
    first: int
    denoiser: _Layers
    inverse: _Layers


def _kernel_of(card: DiffusionCard, weights: Mapping[str, NDArray[np.float32]]) -> _Kernel:
    layers = {}
    for name, sizes in (("denoiser", card.denoiser_sizes), ("inverse", card.inverse_sizes)):
        parts = [part.ravel() for i in range(len(sizes) - 1) for part in turned(weights, f"{name}.{2 * i}")]
        layers[name] = _Layers(np.concatenate(parts), np.array(sizes, np.int64))
    return _Kernel(
        weights["normaliser.mean"], weights["normaliser.std"], np.float32(card.observation_clip),
        np.array(visited_levels(card.levels, card.steps), np.int64), weights["noise.alpha_bar"], weights["noise.embed"],
        np.float32(card.guidance), np.float32(card.target_return), np.float32(card.plan_clip), len(card.planned),
        layers["denoiser"], layers["inverse"],
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _act_rows(seen: Any, kernel: Any, room: Any, plans: Any, out: Any) -> None:
    observed, planned = seen.shape[1], plans.shape[1]
    normal = np.empty(observed, np.float32)
    first = np.empty(observed + kernel.first, np.float32)
    asked = np.empty(kernel.denoiser.sizes[0], np.float32)
    given, free = np.empty(planned, np.float32), np.empty(planned, np.float32)
    for row in range(seen.shape[0]):
        normalise32(seen[row], kernel.mean, kernel.std, kernel.clip, normal)
        asked[planned : planned + observed] = normal
        plan = plans[row]
        plan[:] = np.float32(0.0)
        for step in range(kernel.levels.shape[0]):
            asked[:planned] = plan
            asked[planned + observed : asked.shape[0] - 2] = kernel.embed[kernel.levels[step]]
            _denoise(asked, kernel, room, given, free)
            _towards(plan, given, kernel, step)
        first[:observed] = normal
        first[observed:] = plan[: kernel.first]
        _perceptron(first, kernel.inverse, room, out[row])
        for i in range(out.shape[1]):
            out[row, i] = tanh32(out[row, i])


@njit(cache=True, error_model="numpy")
def _denoise(asked: Any, kernel: Any, room: Any, given: Any, free: Any) -> None:
    """``given``, the plan without noise: with the return asked for, and by ``guidance`` away from the one without."""
    asked[-2], asked[-1] = kernel.target, np.float32(1.0)
    _perceptron(asked, kernel.denoiser, room, given)
    if kernel.guidance > np.float32(0.0):
        asked[-2], asked[-1] = np.float32(0.0), np.float32(0.0)
        _perceptron(asked, kernel.denoiser, room, free)
        for i in range(given.shape[0]):
            given[i] += kernel.guidance * (given[i] - free[i])
    for i in range(given.shape[0]):
        given[i] = min(max(given[i], -kernel.plan_clip), kernel.plan_clip)


@njit(cache=True, error_model="numpy")
def _towards(plan: Any, given: Any, kernel: Any, step: Any) -> None:
    """DDIM without noise: from this level to the next, or to the plan itself after the last (Song et al., equation 12)."""
    one, last = np.float32(1.0), step == kernel.levels.shape[0] - 1
    now = kernel.alpha_bar[kernel.levels[step]]
    after = one if last else kernel.alpha_bar[kernel.levels[step + 1]]
    for i in range(plan.shape[0]):
        noise = (plan[i] - np.sqrt(now) * given[i]) / np.sqrt(one - now)
        plan[i] = given[i] if last else np.sqrt(after) * given[i] + np.sqrt(one - after) * noise


@njit(cache=True, error_model="numpy")
def _perceptron(x: Any, layers: Any, room: Any, out: Any) -> None:
    """Hidden layers end in ReLU, the last in nothing."""
    now, start = x, 0
    for layer in range(layers.sizes.shape[0] - 1):
        into, width = layers.sizes[layer], layers.sizes[layer + 1]
        weight = layers.flat[start : start + into * width].reshape(into, width)
        start += into * width + width
        last = layer == layers.sizes.shape[0] - 2
        after = out if last else room[layer % 2, :width]
        dense32(now[:into], weight, layers.flat[start - width : start], after)
        if not last:
            for j in range(width):
                after[j] = max(after[j], np.float32(0.0))
        now = after
