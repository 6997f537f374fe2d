"""A served network with memory: LSTM layers and a multilayer perceptron after them, a row's bits the same in any batch.

Hochreiter and Schmidhuber, "Long short-term memory" (Neural Computation, 1997), with the forget gate of Gers,
Schmidhuber and Cummins (2000), as torch's ``LSTM`` computes it: ``i, f, o = sigmoid(...)``, ``g = tanh(...)``,
``c' = f c + i g``, ``h' = o tanh(c')``. What a policy has seen earlier in the day travels with the state, never in the
policy, so that one policy may drive any number of days at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tribid.agents.bidder import Actions, BidderSpace, fresh_rows
from tribid.agents.networks.arithmetic import dense32, normalise32, sigmoid32, tanh32
from tribid.agents.networks.card import MOST_WEIGHTS, NetworkCard, checked_rows, float32_tensor
from tribid.agents.networks.mlp import OUTPUTS
from tribid.agents.networks.perceptron import ACTIVATIONS
from tribid.agents.networks.weights import check_reach

_GATES = 4


class LstmCard(NetworkCard):
    """``observed`` numbers enter ``depth`` LSTM layers of ``hidden`` cells; ``layers`` are the sizes from there on."""

    kind: Literal["lstm"] = "lstm"
    observed: int = Field(ge=1, le=4096)
    hidden: int = Field(ge=1, le=4096)
    depth: int = Field(ge=1, le=4)
    layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=2, max_length=16)
    activation: Literal["tanh", "relu"]
    output: Literal["tanh", "clip"]
    observation_clip: float = Field(gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "LstmCard":
        if self.layers[0] != self.hidden:
            raise ValueError(f"layers begin with {self.layers[0]}; allowed is hidden, {self.hidden}")
        cells = sum(_GATES * self.hidden * (into + self.hidden) for into in self._into())
        weights = cells + sum(a * b for a, b in pairwise(self.layers))
        if weights > MOST_WEIGHTS:
            raise ValueError(f"observed, hidden, depth and layers make {weights} weights; allowed are {MOST_WEIGHTS}")
        return self

    def _into(self) -> tuple[int, ...]:
        """How many numbers go into each LSTM layer."""
        return (self.observed, *(self.hidden,) * (self.depth - 1))

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """A normaliser, two weights [4 H, in] and [4 H, H] and a bias per LSTM layer, and a weight and a bias per layer."""
        gates = _GATES * self.hidden
        shapes: dict[str, tuple[int, ...]] = {
            "normaliser.mean": (self.observed,), "normaliser.std": (self.observed,),
        }  # fmt: skip
        for i, into in enumerate(self._into()):
            shapes |= {f"lstm{i}.weight": (gates, into), f"lstm{i}.recurrent": (gates, self.hidden)}
            shapes |= {f"lstm{i}.bias": (gates,)}
        for i, (into, out) in enumerate(pairwise(self.layers)):
            shapes |= {f"layer{i}.weight": (out, into), f"layer{i}.bias": (out,)}
        return shapes

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "LstmPolicy":
        """The network with these weights."""
        cells, layers = range(self.depth), range(len(self.layers) - 1)
        return LstmPolicy(
            space=space,
            mean=tensors["normaliser.mean"],
            std=tensors["normaliser.std"],
            clip=self.observation_clip,
            cells=tuple(
                Cell(tensors[f"lstm{i}.weight"], tensors[f"lstm{i}.recurrent"], tensors[f"lstm{i}.bias"]) for i in cells
            ),
            weights=tuple(tensors[f"layer{i}.weight"] for i in layers),
            biases=tuple(tensors[f"layer{i}.bias"] for i in layers),
            activation=self.activation,
            output=self.output,
        )


class Cell(NamedTuple):
    """One LSTM layer of H cells: ``weight`` [4 H, in], ``recurrent`` [4 H, H] and ``bias`` [4 H].

    The gates stand in torch's order i, f, g, o. Torch has two biases that it adds; here they are one.
    """

    weight: NDArray[np.float32]
    recurrent: NDArray[np.float32]
    bias: NDArray[np.float32]


class LstmState(NamedTuple):
    """What is carried from tick to tick: outputs ``h`` and cells ``c``, each [n, layers, H] float32."""

    h: NDArray[np.float32]
    c: NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class LstmPolicy:
    """LSTM layers and a multilayer perceptron from observations to actions in [-1, 1]; satisfies ``Bidder``.

    Normaliser, ``weights``, ``biases``, ``activation`` and ``output`` are those of ``MlpPolicy``, the first layer taking the
    last LSTM layer's output. A day starts from h = c = 0. Arrays are kept as read-only float32.

    >>> space = BidderSpace.of("tiny")
    >>> one = Cell(np.zeros((4, 36)), np.zeros((4, 1)), np.array([20.0, 20.0, 20.0, 20.0]))
    >>> policy = LstmPolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0, cells=(one,), weights=(np.full((1, 1), 0.5),),
    ...     biases=(np.zeros(1),),
    ... )
    >>> first, state = policy.predict(np.zeros((1, 36)))
    >>> second, _ = policy.predict(np.zeros((1, 36)), state)
    >>> first.round(3).tolist(), second.round(3).tolist()  # tanh(1) / 2, then tanh(2) / 2
    ([[0.38100001215934753]], [[0.4819999933242798]])
    """

    space: BidderSpace
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    clip: float
    cells: tuple[Cell, ...]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    activation: str = "tanh"
    output: str = "clip"
    _recurrent: NDArray[np.float32] = field(init=False, repr=False)
    _dense: NDArray[np.float32] = field(init=False, repr=False)
    _sizes: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, float32_tensor(name, getattr(self, name), 1))
        for name, dimensions in (("weights", 2), ("biases", 1)):
            parts = (float32_tensor(f"{name}[{i}]", part, dimensions) for i, part in enumerate(getattr(self, name)))
            object.__setattr__(self, name, tuple(parts))
        cells = (
            Cell(*(float32_tensor(f"cells[{i}].{part}", values, dimensions) for part, values, dimensions in
                   zip(Cell._fields, cell, (2, 2, 1), strict=True)))
            for i, cell in enumerate(self.cells)
        )  # fmt: skip
        object.__setattr__(self, "cells", tuple(cells))
        self._check()
        turned = [part for cell in self.cells for part in (cell.weight.T.ravel(), cell.recurrent.T.ravel(), cell.bias)]
        dense = [part for pair in zip(self.weights, self.biases, strict=True) for part in (pair[0].T.ravel(), pair[1])]
        object.__setattr__(self, "_recurrent", np.concatenate(turned))
        object.__setattr__(self, "_dense", np.concatenate(dense))
        object.__setattr__(self, "_sizes", np.array(self.sizes, np.int64))

    @property
    def hidden(self) -> int:
        """Cells of each LSTM layer, H."""
        return int(self.cells[0].recurrent.shape[1])

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers out of the LSTM, out of each hidden layer after it, and out of the network."""
        return (self.hidden, *(len(bias) for bias in self.biases))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, LstmState]:
        """The mean action [n, d] of each row, and what to carry on; rows with ``episode_start`` [n] begin from zeros.

        Raises ``ValueError`` for an observation or a state of another shape, and for what is not finite.
        """
        seen = checked_rows(observation, len(self.mean))
        after = self._begun(state, episode_start, len(seen))
        out = np.empty((len(seen), self.sizes[-1]), np.float32)
        relu, cut = self.activation == "relu", self.output == "clip"
        _forward_rows(
            seen, self.mean, self.std, np.float32(self.clip), self._recurrent, self._dense, self._sizes, relu, cut,
            after.h, after.c, out,
        )  # fmt: skip
        return out, after

    def card(self) -> LstmCard:
        """Its sizes and settings."""
        return LstmCard(
            observed=len(self.mean),
            hidden=self.hidden,
            depth=len(self.cells),
            layers=self.sizes,
            activation=self.activation,  # type: ignore[arg-type]
            output=self.output,  # type: ignore[arg-type]
            observation_clip=float(self.clip),
        )

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Normaliser, LSTM layers, and the weights and biases after them."""
        tensors = {"normaliser.mean": self.mean, "normaliser.std": self.std}
        for i, cell in enumerate(self.cells):
            tensors |= {f"lstm{i}.{part}": values for part, values in zip(Cell._fields, cell, strict=True)}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors |= {f"layer{i}.weight": weight, f"layer{i}.bias": bias}
        return tensors

    def _begun(self, state: Any, episode_start: Any, rows: int) -> LstmState:
        """The state at the tick's beginning, in arrays of its own: the kernel writes the one after it into them."""
        shape = (rows, len(self.cells), self.hidden)
        if state is None:
            return LstmState(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        fresh = fresh_rows(episode_start, rows)
        begun = LstmState(*(np.array(part, np.float32, order="C") for part in state))
        for name, part in zip(LstmState._fields, begun, strict=True):
            if part.shape != shape or not np.isfinite(part).all():
                raise ValueError(f"state.{name} has shape {part.shape}; allowed are finite numbers of shape {shape}")
            part[fresh] = 0.0
        return begun

    def _check(self) -> None:
        for name, allowed in (("activation", ACTIVATIONS), ("output", OUTPUTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"no {name} named {getattr(self, name)!r}; choose {', '.join(allowed)}")
        if not 0 < self.clip < np.inf:
            raise ValueError(f"clip is {self.clip!r}; allowed is a finite number above 0")
        if not self.cells or not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(
                f"{len(self.cells)} LSTM layers, {len(self.weights)} weights and {len(self.biases)} biases; allowed is at "
                "least one LSTM layer, and a pair per layer after it"
            )
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(f"std has shape {self.std.shape}; allowed are numbers above 0 of shape {self.mean.shape}")
        into, gates = len(self.mean), _GATES * self.hidden
        for i, cell in enumerate(self.cells):
            shapes, wanted = tuple(part.shape for part in cell), ((gates, into), (gates, self.hidden), (gates,))
            if shapes != wanted:
                raise ValueError(f"cells[{i}] has shapes {shapes}; allowed are {wanted}")
            into = self.hidden
        for i, (weight, first, last) in enumerate(zip(self.weights, self.sizes[:-1], self.sizes[1:], strict=True)):
            if weight.shape != (last, first):
                raise ValueError(f"weights[{i}] has shape {weight.shape}; allowed is {(last, first)}")
        start = float(self.clip)
        for i, cell in enumerate(self.cells):
            check_reach(f"cells[{i}]", (cell.weight, cell.recurrent), (cell.bias, cell.bias), start, True)
            start = 1.0
        check_reach("the layers after the LSTM", self.weights, self.biases, 1.0, self.activation == "tanh")
        ends, fits = (len(self.mean), self.sizes[-1]), (self.space.observation_size, self.space.segments)
        if ends != fits:
            raise ValueError(f"the network maps {ends[0]} numbers to {ends[1]}; allowed is {fits[0]} to {fits[1]}")


@njit(cache=True, error_model="numpy")
def _forward_rows(
    observation: Any, mean: Any, std: Any, clip: Any, recurrent: Any, dense: Any, sizes: Any, relu: Any, cut: Any, h: Any,
    c: Any, out: Any,
) -> None:  # fmt: skip
    """``h`` and ``c`` [n, layers, H] hold the state before and take the one after; ``out`` [n, d] takes the actions."""
    size = mean.shape[0]
    seen, gates = np.empty(size, np.float32), np.empty(_GATES * h.shape[2], np.float32)
    widest = 0
    for layer in range(sizes.shape[0]):
        widest = max(widest, sizes[layer])
    now, after = np.empty(widest, np.float32), np.empty(widest, np.float32)
    for row in range(observation.shape[0]):
        normalise32(observation[row], mean, std, clip, seen)
        _cells_row(seen, recurrent, gates, h[row], c[row])
        now[: sizes[0]] = h[row, h.shape[1] - 1]
        start = 0
        for layer in range(sizes.shape[0] - 1):
            into, onto = sizes[layer], sizes[layer + 1]
            bias = start + into * onto
            dense32(now[:into], dense[start:bias].reshape(into, onto), dense[bias : bias + onto], after)
            last = layer == sizes.shape[0] - 2
            for j in range(onto):
                if last and cut:
                    after[j] = min(max(after[j], np.float32(-1.0)), np.float32(1.0))
                elif last or not relu:
                    after[j] = tanh32(after[j])
                else:
                    after[j] = max(after[j], np.float32(0.0))
            now, after = after, now
            start = bias + onto
        for j in range(out.shape[1]):
            out[row, j] = now[j]


@njit(cache=True, error_model="numpy")
def _cells_row(seen: Any, weights: Any, gates: Any, h: Any, c: Any) -> None:
    """One tick of one row through all LSTM layers: ``h`` and ``c`` [layers, H] become those after it."""
    cells, into, start = h.shape[1], seen.shape[0], 0
    four = gates.shape[0]
    for layer in range(h.shape[0]):
        own = start + into * four
        bias = own + cells * four
        if layer == 0:
            dense32(seen, weights[start:own].reshape(into, four), weights[bias : bias + four], gates)
        else:
            dense32(h[layer - 1], weights[start:own].reshape(into, four), weights[bias : bias + four], gates)
        for i in range(cells):
            for j in range(four):
                gates[j] += h[layer, i] * weights[own + i * four + j]
        for j in range(cells):
            keep, add = sigmoid32(gates[cells + j]), sigmoid32(gates[j])
            c[layer, j] = keep * c[layer, j] + add * tanh32(gates[2 * cells + j])
            h[layer, j] = sigmoid32(gates[3 * cells + j]) * tanh32(c[layer, j])
        into, start = cells, bias + four
