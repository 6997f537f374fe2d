"""Training days played for a fit: the ticks of a day, and what one advertiser scores with a bidder of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.envs.action import to_multiplier
from tribid.envs.market import MarketState, Tick, reset, step
from tribid.envs.observation import observe
from tribid.envs.reward import score
from tribid.envs.scenario import Scenario
from tribid.envs.world import build_world

_FIRST_EVALUATION_SEED = 1_000_000


def played(scenario: Scenario, seed: int, lineup: Lineup) -> Iterator[tuple[MarketState, Tick]]:
    """One day, tick by tick: the state after each tick, and its record."""
    state = reset(scenario, seed)
    states: dict[str, Any] = {}
    while not state.done:
        actions, states = lineup.act(observe(state), states)
        state, tick = step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        yield state, tick


def with_own(rivals: Lineup, advertiser: int, bidder: Bidder) -> Lineup:
    """The lineup in which one advertiser has a bidder of its own."""
    own = f"own of {advertiser}"
    mapping = [own if place == advertiser else name for place, name in enumerate(rivals.mapping)]
    return Lineup({**rivals.bidders, own: bidder}, mapping)


def mean_score(scenario: Scenario, seeds: Sequence[int], advertiser: int, bidder: Bidder, rivals: Lineup) -> float:
    """The advertiser's mean score over the days when it bids with ``bidder`` and everybody else with ``rivals``."""
    scores = []
    for seed in seeds:
        *_, (state, _) = played(scenario, seed, with_own(rivals, advertiser, bidder))
        scores.append(score(state.advertisers, state.total, scenario.reward.penalty_exponent)[advertiser])
    return float(np.mean(scores))


def check_fit(scenario: Scenario, seeds: Sequence[int], advertisers: Sequence[int], rivals: Lineup) -> BidderSpace:
    """The scenario's space, or the ``ValueError`` that says which argument of a fit is wrong."""
    count = len(build_world(scenario).advertisers)
    if not seeds or not all(0 <= seed < _FIRST_EVALUATION_SEED for seed in seeds):
        raise ValueError(f"seeds are {list(seeds)}; allowed are training seeds, from 0 to {_FIRST_EVALUATION_SEED - 1}")
    if not all(0 <= index < count for index in advertisers):
        raise ValueError(f"advertisers are {list(advertisers)}; allowed are indices from 0 to {count - 1}")
    if len(rivals) != count:
        raise ValueError(f"rivals drive {len(rivals)} advertisers; allowed are the scenario's {count}")
    return BidderSpace.of(scenario)
