"""The Decision Transformer as it is served: it reads the last ticks of a day and what is still wanted of it.

Chen et al., "Decision Transformer: reinforcement learning via sequence modeling" (NeurIPS 2021). Each tick gives three
tokens, the return to go, the observation and the action; the action is read from the observation's token. The network is
small (GPT-2's blocks with ReLU, see ``attention``), so the whole context is computed anew in every tick, one row at a
time in one order: a row's bits do not depend on the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tribid.agents.bidder import Actions, BidderSpace, fresh_rows
from tribid.agents.networks.arithmetic import dense32, normalise32, tanh32
from tribid.agents.networks.attention import Blocks, blocks32, layer_norm32, make_room
from tribid.agents.networks.card import MOST_WEIGHTS, MOST_WORK, NetworkCard, checked_rows
from tribid.agents.networks.score import TERMS, Prospect, prospect32, score32, score_places, term_places
from tribid.agents.networks.weights import checked_weights, turned
from tribid.envs.observation import field_index

MOST_RETURN = 10.0
"""Returns to go are cut to plus and minus this many distances between a low and a high day."""

Size = Annotated[int, Field(ge=1, le=1024)]


class TransformerCard(NetworkCard):
    """Sizes and settings of a Decision Transformer.

    ``observed`` numbers are seen per tick and ``actions`` given; ``context`` ticks are remembered; ``ticks`` have an
    embedding each. ``width``, ``layers``, ``heads`` and ``hidden`` (of a block's ReLU layer) are the network's, ``terms``
    the hidden units of ``score.Prospect``. ``target_return`` is what is wanted of a day, where 0 is a low day of such a
    campaign and 1 a high one; ``penalty_exponent`` the scenario's, for the score so far.
    """

    kind: Literal["transformer"] = "transformer"
    observed: Size
    actions: Annotated[int, Field(ge=1, le=64)]
    ticks: Annotated[int, Field(ge=1, le=10_000)]
    context: Annotated[int, Field(ge=1, le=128)]
    width: Annotated[int, Field(ge=1, le=512)]
    layers: Annotated[int, Field(ge=1, le=12)]
    heads: Annotated[int, Field(ge=1, le=16)]
    hidden: Annotated[int, Field(ge=1, le=2048)]
    terms: Annotated[int, Field(ge=1, le=256)]
    observation_clip: float = Field(gt=0, le=1e3, allow_inf_nan=False)
    target_return: float = Field(ge=-MOST_RETURN, le=MOST_RETURN, allow_inf_nan=False)
    penalty_exponent: float = Field(ge=0, le=10, allow_inf_nan=False)

    @model_validator(mode="after")
    def _within_bounds(self) -> "TransformerCard":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide by heads {self.heads}")
        weights = sum(prod(shape) for shape in self.tensors().values())
        per_token = self.layers * self.width * (4 * self.width + 2 * self.hidden + 6 * self.context)
        work = 3 * self.context * (per_token + self.width * self.observed)
        if weights > MOST_WEIGHTS or work > MOST_WORK:
            raise ValueError(
                f"the sizes make {weights} weights and {work} multiplications; "
                f"allowed are {MOST_WEIGHTS} and {MOST_WORK}"
            )
        return self

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Normaliser, prospect, embeddings, blocks and head; a weight is [out, in], as in torch's ``Linear``."""
        w, seen = self.width, self.observed
        shapes: dict[str, tuple[int, ...]] = {
            "normaliser.mean": (seen,), "normaliser.std": (seen,),
            "prospect.0.weight": (self.terms, len(TERMS)), "prospect.0.bias": (self.terms,),
            "prospect.2.weight": (2, self.terms), "prospect.2.bias": (2,),
            "embed_return.weight": (w, 1), "embed_return.bias": (w,),
            "embed_state.weight": (w, seen), "embed_state.bias": (w,),
            "embed_action.weight": (w, self.actions), "embed_action.bias": (w,),
            "embed_tick.weight": (self.ticks, w),
            "embed_norm.weight": (w,), "embed_norm.bias": (w,),
        }  # fmt: skip
        for i in range(self.layers):
            shapes |= {
                f"blocks.{i}.attend_norm.weight": (w,), f"blocks.{i}.attend_norm.bias": (w,),
                f"blocks.{i}.qkv.weight": (3 * w, w), f"blocks.{i}.qkv.bias": (3 * w,),
                f"blocks.{i}.out.weight": (w, w), f"blocks.{i}.out.bias": (w,),
                f"blocks.{i}.think_norm.weight": (w,), f"blocks.{i}.think_norm.bias": (w,),
                f"blocks.{i}.up.weight": (self.hidden, w), f"blocks.{i}.up.bias": (self.hidden,),
                f"blocks.{i}.down.weight": (w, self.hidden), f"blocks.{i}.down.bias": (w,),
            }  # fmt: skip
        return shapes | {
            "last_norm.weight": (w,), "last_norm.bias": (w,),
            "head.weight": (self.actions, w), "head.bias": (self.actions,),
        }  # fmt: skip

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "TransformerPolicy":
        """The network with these weights."""
        return TransformerPolicy(space=space, network=self, weights=tensors)


class Context(NamedTuple):
    """What is carried from tick to tick, of n rows and C ticks of context: ``length`` [n] of them are filled, oldest first.

    ``past`` [n, C, 1 + D + S] holds the return to go, the normalised observation and the action given; ``ticks`` [n, C]
    the ticks' numbers.
    """

    past: NDArray[np.float32]
    ticks: NDArray[np.int64]
    length: NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class TransformerPolicy:
    """A Decision Transformer that bids; satisfies ``Bidder`` and carries the day's last ticks in a ``Context``.

    The return to go needs no memory: the observation tells the score so far (``score.scores_so_far``), the campaign's
    terms tell a low and a high day's score, and the return to go is ``target_return`` minus the score so far on that
    scale. The tick's number is read from ``time_left``. So a day may be joined at any tick. ``weights`` are named as
    ``network.tensors()`` lists them, kept as read-only float32.
    """

    space: BidderSpace
    network: TransformerCard
    weights: Mapping[str, NDArray[np.float32]]
    _kernel: "_Kernel" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wanted = (self.space.observation_size, self.space.segments, self.space.n_ticks)
        given = (self.network.observed, self.network.actions, self.network.ticks)
        if given != wanted:
            raise ValueError(f"the network's observed, actions and ticks are {given}; allowed is {wanted}")
        object.__setattr__(self, "weights", checked_weights(self.network, self.weights))
        object.__setattr__(self, "_kernel", _kernel_of(self.network, self.weights, self.space.segments))

    def predict(
        self, observation: Any, state: Context | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Context]:
        """Actions [n, S] and the context to carry on."""
        seen, card = checked_rows(observation, self.network.observed), self.network
        after = self._carried(state, episode_start, len(seen))
        room = make_room(3 * card.context, card.width, card.hidden)
        out = np.empty((len(seen), card.actions), np.float32)
        _act_rows(seen, after, self._kernel, room, np.empty(card.terms, np.float32), out)
        return out, after

    def card(self) -> TransformerCard:
        """Its sizes and settings."""
        return self.network

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All weights by name."""
        return dict(self.weights)

    def _carried(self, state: Context | None, episode_start: Any, rows: int) -> Context:
        """A copy of the state to write the tick into; empty for rows that start a day."""
        card = self.network
        shape = (rows, card.context, 1 + card.observed + card.actions)
        if state is None:
            return Context(np.zeros(shape, np.float32), np.zeros(shape[:2], np.int64), np.zeros(rows, np.int64))
        if state.past.shape != shape:
            raise ValueError(f"state has shape {state.past.shape}; allowed is what predict returned for {rows} rows")
        after = Context(state.past.copy(), state.ticks.copy(), state.length.copy())
        after.length[fresh_rows(episode_start, rows)] = 0
        return after


class _Kernel(NamedTuple):
    """What the kernel reads: turned weights, and where the observation's fields stand."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    clip: np.float32
    term_at: NDArray[np.int64]
    score_at: NDArray[np.int64]
    time_at: int
    ticks: int
    exponent: np.float32
    target: np.float32
    prospect: Prospect
    of_return: NDArray[np.float32]
    of_return_bias: NDArray[np.float32]
    of_state: NDArray[np.float32]
    of_state_bias: NDArray[np.float32]
    of_action: NDArray[np.float32]
    of_action_bias: NDArray[np.float32]
    of_tick: NDArray[np.float32]
    norms: NDArray[np.float32]
    blocks: Blocks
    heads: int
    head: NDArray[np.float32]
    head_bias: NDArray[np.float32]


def _kernel_of(card: TransformerCard, weights: Mapping[str, NDArray[np.float32]], segments: int) -> _Kernel:
    layers = range(card.layers)
    before = [
        [weights[f"blocks.{i}.{n}_norm.{p}"] for n in ("attend", "think") for p in ("weight", "bias")] for i in layers
    ]
    parts: list[NDArray[np.float32]] = [np.array(before)]
    for name in ("qkv", "out", "up", "down"):
        pairs = [turned(weights, f"blocks.{i}.{name}") for i in layers]
        parts += [np.stack(part) for part in zip(*pairs, strict=True)]
    norms = [weights[f"{name}_norm.{part}"] for name in ("embed", "last") for part in ("weight", "bias")]
    return _Kernel(
        weights["normaliser.mean"], weights["normaliser.std"], np.float32(card.observation_clip),
        term_places(segments), score_places(segments), field_index("time_left", segments), card.ticks,
        np.float32(card.penalty_exponent), np.float32(card.target_return), Prospect.of(weights),
        *turned(weights, "embed_return"), *turned(weights, "embed_state"), *turned(weights, "embed_action"),
        weights["embed_tick.weight"], np.stack(norms), Blocks(*parts), card.heads,
        *turned(weights, "head"),
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _act_rows(seen: Any, after: Any, kernel: Any, room: Any, hidden: Any, out: Any) -> None:
    context, width, observed = after.past.shape[1], kernel.norms.shape[1], seen.shape[1]
    tokens, terms = np.empty((3 * context, width), np.float32), np.empty(kernel.term_at.shape[0], np.float32)
    outlook = np.empty(2, np.float32)
    for row in range(seen.shape[0]):
        past, ticks = after.past[row], after.ticks[row]
        if after.length[row] == context:
            past[: context - 1] = past[1:].copy()
            ticks[: context - 1] = ticks[1:].copy()
            after.length[row] -= 1
        last = after.length[row]
        now = past[last]
        normalise32(seen[row], kernel.mean, kernel.std, kernel.clip, now[1 : 1 + observed])
        for i in range(terms.shape[0]):
            terms[i] = now[1 + kernel.term_at[i]]
        prospect32(terms, kernel.prospect, hidden, outlook)
        now[0] = _return_to_go(seen[row], outlook, kernel)
        share = np.float32(1.0) - seen[row, kernel.time_at]
        tick = np.int64(np.floor(share * np.float32(kernel.ticks) + np.float32(0.5)))
        ticks[last] = min(max(tick, 0), kernel.ticks - 1)
        after.length[row] = last + 1
        _embed(past, ticks, last, observed, kernel, room, tokens)
        blocks32(tokens, 3 * last + 2, kernel.blocks, kernel.heads, room)
        layer_norm32(tokens[3 * last + 1], kernel.norms[2], kernel.norms[3], room.normed)
        dense32(room.normed, kernel.head, kernel.head_bias, out[row])
        for i in range(out.shape[1]):
            out[row, i] = tanh32(out[row, i])
            now[1 + observed + i] = out[row, i]


@njit(cache=True, error_model="numpy")
def _return_to_go(seen: Any, outlook: Any, kernel: Any) -> Any:
    """What is still wanted, in distances between a low and a high day."""
    spread = outlook[1] - outlook[0]
    wanted = kernel.target - (score32(seen, kernel.score_at, kernel.exponent) - outlook[0]) / spread
    return min(max(wanted, np.float32(-MOST_RETURN)), np.float32(MOST_RETURN))


@njit(cache=True, error_model="numpy")
def _embed(past: Any, ticks: Any, last: Any, observed: Any, kernel: Any, room: Any, tokens: Any) -> None:
    """The tokens of ticks 0 to ``last``, the last one's action left out: it is what is asked for."""
    for j in range(last + 1):
        dense32(past[j, :1], kernel.of_return, kernel.of_return_bias, tokens[3 * j])
        dense32(past[j, 1 : 1 + observed], kernel.of_state, kernel.of_state_bias, tokens[3 * j + 1])
        if j < last:
            dense32(past[j, 1 + observed :], kernel.of_action, kernel.of_action_bias, tokens[3 * j + 2])
        for part in range(3 if j < last else 2):
            for i in range(tokens.shape[1]):
                room.normed[i] = tokens[3 * j + part, i] + kernel.of_tick[ticks[j], i]
            layer_norm32(room.normed, kernel.norms[0], kernel.norms[1], tokens[3 * j + part])
