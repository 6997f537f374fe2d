"""What bidders of the MAAB family learn from: their own reward, the total, or a credited share, gated by bars.

Wen et al., "A cooperative-competitive multi-agent framework for auto-bidding in online advertising" (WSDM 2022): the rewards
alone; ``tribid.agents.multi.maab`` learns from them in the market, ``two_agent_game`` in a small world.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.multi.q_learning import QRule
from tribid.auctions import passes_bar, temperature_credit

Floats = NDArray[np.float64]

CREDITS = ("own", "total", "mix")
BARS = ("none", "fixed", "learnt")


@dataclass(frozen=True, kw_only=True)
class MaabSettings:
    """Which of the methods, and how they learn.

    ``credit`` and ``bar`` as the module says; ``temperature`` is that of the credit, in units of bids, which are
    multipliers over the scenario's cap, from 0 to 1; ``fixed_bar`` is the multiplier of the bar ``fixed``. ``choices`` bids
    lie evenly on the action scale, from staying out to the cap. ``mean_agents`` lets the advertisers of one policy that
    have the same objective learn as one (see ``MaabClassroom``); ``one_policy`` allows one Q function alone. ``exploring``
    is the chance of a random choice at the start; it falls to a twentieth of that over two thirds of the training.
    ``taught`` is the share of the days that the plan's ``warm_start`` plays, with noise.
    """

    credit: Literal["own", "total", "mix"] = "mix"
    bar: Literal["none", "fixed", "learnt"] = "learnt"
    temperature: float = 0.25
    fixed_bar: float = 0.5
    choices: int = 21
    mean_agents: bool = False
    one_policy: bool = False
    exploring: float = 0.2
    taught: float = 0.1
    rule: QRule = field(default_factory=QRule)

    def __post_init__(self) -> None:
        for name, allowed in (("credit", CREDITS), ("bar", BARS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"no {name} named {getattr(self, name)!r}; choose {', '.join(allowed)}")
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature!r}; allowed is 0 to infinity")
        if not 0 <= self.fixed_bar < np.inf:
            raise ValueError(f"fixed_bar is {self.fixed_bar!r}; allowed is a finite multiplier from 0")
        if not 2 <= self.choices <= 1000:
            raise ValueError(f"choices is {self.choices!r}; allowed is 2 to 1000")
        for name in ("exploring", "taught"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed is 0 to 1")


VARIANTS: Mapping[str, MaabSettings] = {
    "cm_il": MaabSettings(credit="own", bar="none"),
    "co_il": MaabSettings(credit="total", bar="none"),
    "mix_il": MaabSettings(bar="none"),
    "maab_fix": MaabSettings(bar="fixed"),
    "maab": MaabSettings(),
    "dqn_s": MaabSettings(credit="own", bar="none", one_policy=True),
}
"""The method and the baselines of its paper by name."""


def training_reward(
    settings: MaabSettings, own: ArrayLike, weights: ArrayLike, bids: ArrayLike, bars: ArrayLike = 0.0
) -> Floats:
    """What n agents learn from, [..., n]: their own rewards [..., n] credited as the settings say, gated by the bars.

    ``weights`` [n] turn rewards into one currency: the total is their weighted mean. A shared total is n times an agent's
    credit of it, so that everybody learns from the whole total at an infinite temperature, as with credit ``total``.

    >>> rule = MaabSettings(credit="mix", bar="learnt", temperature=float("inf"))
    >>> training_reward(rule, [1.0, 3.0], [1.0, 1.0], bids=[0.5, 0.2], bars=[0.5, 0.3]).tolist()
    [2.0, 0.0]
    """
    earned, shares = np.asarray(own, np.float64), np.asarray(weights, np.float64)
    credited: Floats = earned
    if settings.credit != "own":
        total = (earned * shares).sum(axis=-1, keepdims=True) / shares.sum()
        credited = np.broadcast_to(total, earned.shape)
    if settings.credit == "mix":
        credited = credited * temperature_credit(bids, settings.temperature) * earned.shape[-1]
    if settings.bar != "none":
        credited = credited * passes_bar(bids, bars)
    return np.array(credited)


def bar_reward(payments: ArrayLike, bids: ArrayLike, bars: ArrayLike) -> Floats:
    """What the bar agents learn from, [..., n]: the payment where the bid reaches the bar, else 0.

    >>> bar_reward([0.3, 0.3], bids=[0.5, 0.2], bars=[0.5, 0.3]).tolist()
    [0.3, 0.0]
    """
    return np.asarray(payments, np.float64) * passes_bar(bids, bars)


def cooperation_threshold(high_value: float, low_value: float, least_bid: float, highest_bid: float) -> float:
    """The temperature from which on the bidder of the lower value gains by leaving a lone second-price auction to the other.

    Two bidders of values ``high_value >= low_value`` share the winner's value by softmax(bids / temperature). With the
    other at ``least_bid``, bidding ``least_bid`` too leaves the auction to the higher value and earns half of it; bidding
    ``highest_bid`` wins the lower value and a share ``1 / (1 + exp((least - highest) / temperature))`` of it. 0 where
    ``high_value >= 2 low_value``: then at any temperature. (The paper's equation 5 prints the reciprocal.)

    >>> round(cooperation_threshold(1.0, 0.8, 0.0, 1.0), 4)
    1.9576
    """
    if not 0 < low_value <= high_value or not least_bid <= highest_bid:
        raise ValueError(
            f"values are {high_value}, {low_value}, bids {least_bid} to {highest_bid}; allowed are values above 0, the "
            "higher first, and the least bid first"
        )
    if high_value >= 2.0 * low_value:
        return 0.0
    if high_value == low_value:
        return float("inf") if highest_bid > least_bid else 0.0
    return float((least_bid - highest_bid) / np.log(2.0 * low_value / high_value - 1.0))
