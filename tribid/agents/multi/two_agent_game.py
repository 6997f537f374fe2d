"""Two bidders with budgets in repeated second-price auctions: the small world in which MAAB's claims can be seen.

Wen et al. (WSDM 2022) let two Q-learners meet in a game of normal values with mean 0.5 and variance 1, a total budget B0
and the richer bidder's share of it. Here values are truncated to [0, 1], where the bids are, and the budget is in the unit
of the values. Many games are played at once; nothing here knows of the market.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from tribid.agents.multi.q_learning import QLearner
from tribid.agents.multi.shared_credit import Floats, MaabSettings, bar_reward, training_reward

OBSERVED = ("value", "budget_left", "time_left", "pace")
"""What a bidder sees before a round: its value, what is left of its budget and of the rounds, and budget left per round
left over the total budget per round, ``x / (1 + x)``."""


@dataclass(frozen=True, kw_only=True)
class TwoAgentGame:
    """``rounds`` auctions of two bidders with ``total_budget``, of which the first bidder has the share ``richer``."""

    rounds: int = 100
    total_budget: float = 25.0
    richer: float = 0.5
    mean: float = 0.5
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.total_budget > 0 or not self.deviation > 0 or not 0 < self.richer < 1:
            raise ValueError(
                f"{self!r} is no game; allowed: rounds from 1, money and deviation above 0, share in (0, 1)"
            )

    @property
    def budgets(self) -> Floats:
        """What each bidder may spend, [2]."""
        return self.total_budget * np.array([self.richer, 1.0 - self.richer])


class Sale(NamedTuple):
    """A round's outcome, each [G, 2]: who won, and what it pays."""

    won: NDArray[np.bool_]
    payment: Floats


class Outcome(NamedTuple):
    """Means over games: values won per 100 rounds (``value`` [2], ``welfare`` their sum); revenue in % of the budgets."""

    welfare: float
    revenue: float
    value: tuple[float, float]


def draw_values(game: TwoAgentGame, games: int, rng: np.random.Generator) -> Floats:
    """Values [rounds, G, 2] in [0, 1], normal and truncated to it."""
    low, high = ndtr((np.array([0.0, 1.0]) - game.mean) / game.deviation)
    drawn = rng.random((game.rounds, games, 2))
    return np.asarray(np.clip(game.mean + game.deviation * ndtri(low + drawn * (high - low)), 0.0, 1.0), np.float64)


def sell(bids: Floats, left: Floats, coins: Floats) -> Sale:
    """Second-price auctions [G] of bids [G, 2], each cut to what its bidder has left [G, 2]; ``coins`` [G] decide ties.

    >>> sell(np.array([[0.5, 0.75]]), np.array([[9.0, 9.0]]), np.zeros(1)).payment.tolist()
    [[0.0, 0.5]]
    """
    offered = np.minimum(bids, left)
    first = np.where(offered[:, 0] == offered[:, 1], coins < 0.5, offered[:, 0] > offered[:, 1])
    won = np.stack([first, ~first], axis=1)
    return Sale(won, np.where(won, offered.min(axis=1, keepdims=True), 0.0))


def observe_round(game: TwoAgentGame, number: int, values: Floats, left: Floats) -> NDArray[np.float32]:
    """What both see before round ``number``: values and money left [G, 2] as [G, 2, 4], in the order of ``OBSERVED``."""
    time = 1.0 - number / game.rounds
    pace = left / (game.rounds - number) * game.rounds / game.total_budget
    seen = (values, left / game.budgets, np.full_like(left, time), pace / (1.0 + pace))
    return np.stack(seen, axis=-1).astype(np.float32)


Bids = Callable[[int, NDArray[np.float32]], Floats]
"""Bids [G, 2] for a round's number and what both see [G, 2, 4]."""


def play(game: TwoAgentGame, values: Floats, bid: Bids, coins: Floats) -> tuple[Floats, list[Sale]]:
    """Games of ``values`` and ``coins`` [rounds, G]: the bids [rounds, G, 2] and the sales."""
    left = np.repeat(game.budgets[None], values.shape[1], axis=0)
    offered, sales = np.empty_like(values), []
    for number in range(game.rounds):
        offered[number] = bid(number, observe_round(game, number, values[number], left))
        sales.append(sell(offered[number], left, coins[number]))
        left = np.maximum(left - sales[-1].payment, 0.0)
    return offered, sales


def outcome_of(game: TwoAgentGame, values: Floats, sales: list[Sale]) -> Outcome:
    """What came of games."""
    per_game = 100.0 / (game.rounds * values.shape[1])
    value = np.array([(values[t] * sale.won).sum(axis=0) for t, sale in enumerate(sales)]).sum(axis=0) * per_game
    paid = sum(float(sale.payment.sum()) for sale in sales) / values.shape[1]
    return Outcome(float(value.sum()), 100.0 * paid / game.total_budget, (float(value[0]), float(value[1])))


class Pair:
    """Two independent Q-learners (and their bar agents) that learn the game by one of the methods of ``maab``."""

    def __init__(self, game: TwoAgentGame, settings: MaabSettings, seed: int) -> None:
        self.game, self.settings = game, settings
        self.levels = np.linspace(0.0, 1.0, settings.choices)
        self._draws = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        learners = [
            QLearner(len(OBSERVED), 1, settings.choices, rule=settings.rule, generator=self._draws) for _ in range(4)
        ]
        self.bidders, self.bars = learners[:2], learners[2:] if settings.bar == "learnt" else []

    def learn(self, days: int, games: int) -> None:
        """Play ``games`` games a day and learn from them; random choices fall from ``exploring`` over two thirds."""
        for day in range(days):
            left = max(0.05, 1.0 - day / max(1, days * 2 // 3))
            self._day(games, self.settings.exploring * left)
            for agent in (*self.bidders, *self.bars):
                agent.learn()

    def judge(self, games: int, seed: int) -> Outcome:
        """The greedy bids in games of a seed of their own."""
        rng = np.random.default_rng(seed)
        values = draw_values(self.game, games, rng)
        coins = rng.random(values.shape[:2])
        _, sales = play(self.game, values, lambda _, seen: self.levels[self._chosen(self.bidders, seen, 0.0)], coins)
        return outcome_of(self.game, values, sales)

    def _day(self, games: int, exploring: float) -> None:
        values = draw_values(self.game, games, self._rng)
        saw, chose, barred = [], [], []

        def bid(_: int, seen: NDArray[np.float32]) -> Floats:
            saw.append(seen)
            chose.append(self._chosen(self.bidders, seen, exploring))
            if self.bars:
                barred.append(self._chosen(self.bars, seen, exploring))
            return np.asarray(self.levels[chose[-1]], np.float64)

        bids, sales = play(self.game, values, bid, self._rng.random(values.shape[:2]))
        own = values * np.array([sale.won for sale in sales])
        bars = self.levels[np.array(barred)] if self.bars else np.full(bids.shape, self.settings.fixed_bar)
        earned = training_reward(self.settings, own, np.ones(2), bids, bars)
        paid = bar_reward(np.array([sale.payment for sale in sales]), bids, bars)
        seen = np.array(saw)
        for agents, choices, rewards in ((self.bidders, chose, earned), (self.bars, barred, paid)):
            for place, agent in enumerate(agents):
                chosen = np.array(choices)[..., place, None]
                agent.remember(np.ascontiguousarray(seen[:, :, place]), chosen, rewards[..., place])

    @staticmethod
    def _chosen(agents: list[QLearner], seen: NDArray[np.float32], exploring: float) -> NDArray[np.int64]:
        """The choice of each agent in each game, [G, 2]."""
        rows = [np.ascontiguousarray(seen[:, place]) for place in range(len(agents))]
        return np.concatenate([agent.choose(own, exploring) for agent, own in zip(agents, rows, strict=True)], axis=1)


def train_and_judge(game: TwoAgentGame, settings: MaabSettings, seed: int, *, days: int, games: int) -> Outcome:
    """What a pair trained under ``seed`` brings in 200 games, the same for every method and seed."""
    pair = Pair(game, settings, seed)
    pair.learn(days, games)
    return pair.judge(200, seed=1_000_000)
