"""``Decided``: everything that one decision was made of and what came out, enough to make it again."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Decided(NamedTuple):
    """One page that was decided for N candidates and K slots.

    ``id`` is ``"DAY.REQUEST"``; ``arm`` says why this policy decided: ``active``, ``split`` or ``shadow`` (decided, but
    never shown nor reserved); ``release`` is ``"NAME@VERSION"``. ``user`` is -1 where the request named nobody, ``buying``
    the belief that the decision used (NaN: none). ``ads`` [N] are the candidates, ``creative`` [N] (-1: none),
    ``multiplier`` [N] those of the page's segment, ``left_micros`` [N] what each could still promise; ``bid_micros`` [N]
    after OCPC, ``winner`` [K] (-1 for an empty slot), ``price_micros`` [K] and ``score`` [K] of the slots, ``runner_up``
    (-1: nobody) and its score; ``propensity`` [N] the chance, over the split of users among policies, that a candidate is
    on the page. ``scene`` is where in a journey the page is, which has K slots there; None where there are no scenes.
    """

    id: str
    time_ms: int
    day: int
    tick: int
    request: int
    user: int
    scenario: str
    seed: int
    release: str
    arm: str
    segment: int
    reserve_micros: int
    buying: float
    ads: NDArray[np.int32]
    pctr: NDArray[np.float32]
    pcvr: NDArray[np.float32]
    creative: NDArray[np.int8]
    multiplier: NDArray[np.float64]
    left_micros: NDArray[np.int64]
    bid_micros: NDArray[np.int64]
    propensity: NDArray[np.float32]
    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    score: NDArray[np.float64]
    runner_up: int
    runner_up_score: float
    fallbacks: tuple[str, ...]
    stage_ms: dict[str, float]
    scene: str | None = None
