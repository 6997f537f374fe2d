"""``FeedAuctionVecEnv``: agent-steps a CPU-second of 48 agents at 2,000 impressions a tick, every day other traffic."""

from collections.abc import Iterator

import numpy as np

from tribid.benchmark.clock import cpu_seconds
from tribid.benchmark.days import MULTIPLIER, RULES, scenario_of
from tribid.benchmark.figure import Figure, rate
from tribid.envs.action import to_action

MARKETS = (1, 4, 8)
TICKS, PER_TICK = 48, 2000


def vector_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``vector_M_RULES``; each repetition plays whole days, resets included. Needs Stable-Baselines3 (``ImportError``)."""
    from tribid.envs.vector import FeedAuctionVecEnv

    for rules, words in RULES.items():
        ticks = TICKS // (4 if quick else 1)
        scenario = scenario_of(rules, ticks * PER_TICK, ticks=ticks)
        action = float(to_action(np.array([MULTIPLIER]), scenario.rules.max_multiplier)[0])
        for markets in MARKETS:
            env = FeedAuctionVecEnv(scenario, markets)
            actions = np.full((env.num_envs, *(env.action_space.shape or ())), action, np.float32)
            env.reset()

            def play(env: FeedAuctionVecEnv = env, actions: np.ndarray = actions, ticks: int = ticks) -> None:
                for _ in range(ticks):
                    env.step(actions)

            yield rate(
                f"vector_{markets}_{rules}", f"vector env, {markets} market{'s' * (markets > 1)}, {words}",
                "agent-steps/s", cpu_seconds(play, repetitions), float(env.num_envs * ticks),
                impressions=float(markets * ticks * PER_TICK), group="vector", clock="cpu",
                note=f"48 agents, {PER_TICK:,} impressions a tick",
            )  # fmt: skip
