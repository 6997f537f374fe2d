"""A small world of consumer journeys: an advertiser meets each consumer several times before an order, or none.

The setting is that of Hao et al., "Dynamic Knapsack Optimization Towards Efficient Multi-Channel Sequential Advertising"
(ICML 2020), whose consumers go from unaware over awareness, interest and desire to action (an order). Its simulator is not
published in numbers: all numbers here are ours. A consumer of a type makes ``steps`` requests. At each the advertiser shows
nothing, or one of ``CONTENTS`` at its cost. Then the consumer orders, or moves up a stage, or stays; without an ad it may
cool down a stage. Exposures tire: each multiplies both chances by ``fatigue``. An order ends the journey.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.given import check_whole
from tribid.envs.sequential.contents import CONTENTS

Floats = NDArray[np.float64]

JOURNEY = ("unaware", "awareness", "interest", "desire", "action")
"""The stages of a journey; who is at ``action`` has ordered, and the journey is over."""

OPEN_STAGES = len(JOURNEY) - 1

_TYPES, _PAIRS = 0, 1  # the days of the stream under which a world's laws are drawn


@dataclass(frozen=True, kw_only=True)
class ConsumerRule:
    """The size of a world, and the ranges from which its laws are drawn.

    ``tired`` is how many exposures are told apart. Of each stage's contents one suits it (show the unaware, review the
    aware, trial the interested and those who desire): its chance to move is drawn from ``suited``, that of the others is
    ``unsuited`` of it. Costs are micros an exposure, values micros an order.
    """

    types: int = 6
    steps: int = 6
    tired: int = 4
    suited: tuple[float, float] = (0.35, 0.75)
    unsuited: float = 0.35
    order: tuple[float, float, float, float] = (0.002, 0.01, 0.04, 0.30)
    order_spread: float = 0.5
    fatigue: float = 0.85
    cool: tuple[float, float] = (0.05, 0.3)
    start: tuple[float, float, float, float] = (0.55, 0.25, 0.15, 0.05)
    value_micros: tuple[int, int] = (10_000_000, 40_000_000)
    cost_micros: tuple[int, int, int] = (200_000, 350_000, 500_000)

    def __post_init__(self) -> None:
        for name, low, high in (("types", 1, 1000), ("steps", 1, 1000), ("tired", 1, 100)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; allowed is a whole number from {low} to {high}")
        for name in ("suited", "unsuited", "order", "fatigue", "cool", "start"):
            if not all(0.0 <= value <= 1.0 for value in np.atleast_1d(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; allowed are chances from 0 to 1")
        if abs(sum(self.start) - 1.0) > 1e-9:
            raise ValueError(
                f"start is {self.start}, which sums to {sum(self.start)}; allowed are chances that sum to 1"
            )
        for name in ("value_micros", "cost_micros"):
            if not all(0 < micros <= 10**12 for micros in getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; allowed are micros from 1 to 10^12")


class ConsumerWorld(NamedTuple):
    """The laws of K types: what an exposure to one of C contents does at each of the four open stages.

    ``share`` [K] sums to 1; ``start`` [4] is where journeys begin; ``order`` and ``up`` [K, 4, C] are the chances of an
    order, and of moving up where there is none; ``cool`` [K] is the chance of moving down without an ad; ``value_micros``
    [K] is an order's mean value, of which one order has 0.5 to 1.5 times as much; ``cost_micros`` [C] is an exposure's.
    """

    steps: int
    tired: int
    share: Floats
    start: Floats
    order: Floats
    up: Floats
    cool: Floats
    fatigue: float
    value_micros: NDArray[np.int64]
    cost_micros: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The states that a policy tells apart: types K, steps H, open stages 4, exposures E."""
        return len(self.share), self.steps, OPEN_STAGES, self.tired

    @property
    def actions(self) -> int:
        """0 shows nothing, a shows content a - 1."""
        return len(self.cost_micros) + 1

    @property
    def cost(self) -> Floats:
        """What each action costs, [A] in currency units."""
        return np.concatenate([[0.0], self.cost_micros / 1e6])

    def of_type(self, kind: int) -> "ConsumerWorld":
        """The world of one type alone."""
        one = slice(kind, kind + 1)
        return self._replace(
            share=np.ones(1), order=self.order[one], up=self.up[one], cool=self.cool[one],
            value_micros=self.value_micros[one],
        )  # fmt: skip


def make_world(seed: int, rule: ConsumerRule | None = None) -> ConsumerWorld:
    """The world that ``rule`` draws for ``seed``, by counters of ``Stream.CONSUMER``; ``ValueError`` for what is no seed.

    >>> make_world(0).shape
    (6, 6, 4, 4)
    """
    check_whole("seed", seed, 2**63)
    if rule is not None and not isinstance(rule, ConsumerRule):
        raise ValueError(f"rule is {rule!r:.80}; allowed is a ConsumerRule or None")
    rule = rule or ConsumerRule()
    kinds = np.arange(rule.types)
    drawn = uniforms(seed, Stream.CONSUMER, _TYPES, kinds)
    pairs = uniforms(seed, Stream.CONSUMER, _PAIRS, kinds[:, None], np.arange(OPEN_STAGES)[None])
    low, high = rule.value_micros
    value = np.exp(np.log(low) + drawn[:, 0] * (np.log(high) - np.log(low)))
    best = rule.suited[0] + pairs[..., 0] * (rule.suited[1] - rule.suited[0])
    suits = np.minimum(np.arange(OPEN_STAGES), len(CONTENTS) - 1)[:, None] == np.arange(len(CONTENTS))
    factor = np.where(suits, 1.0, rule.unsuited)
    spread = 1.0 + rule.order_spread * (2.0 * pairs[..., 1] - 1.0)
    order = np.minimum(1.0, (np.array(rule.order) * spread)[..., None] * factor)
    up = best[..., None] * factor
    up[:, -1] = 0.0  # above desire there is the order alone
    weight = 0.5 + drawn[:, 2]
    return ConsumerWorld(
        steps=rule.steps, tired=rule.tired, share=weight / weight.sum(), start=np.array(rule.start), order=order, up=up,
        cool=rule.cool[0] + drawn[:, 1] * (rule.cool[1] - rule.cool[0]), fatigue=rule.fatigue,
        value_micros=np.round(value).astype(np.int64), cost_micros=np.array(rule.cost_micros, np.int64),
    )  # fmt: skip
