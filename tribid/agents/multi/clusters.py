"""Clusters: advertisers that act as one agent (merchants), and users that a policy bids apart for (consumers).

Jin, Song, Li, Gai, Wang and Zhang, "Real-time bidding with multi-agent reinforcement learning in display advertising"
(CIKM 2018). Merchants are sorted by revenue and cut so that every cluster is present in about the same number of
auctions: with three clusters theirs held 89, 6 and 5 % of the merchants. Consumers are sorted by revenue and cut to
equal requests; here that is ``rules.segments: cluster`` of a feed, with ``world.users.clusters`` clusters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.plan import Roster, TrainingPlan
from tribid.envs.feed import Feed
from tribid.envs.market import MarketState, reset_many, step_many
from tribid.envs.scenario import Scenario

CLUSTERS = 3
"""Merchant clusters of the paper's main results; its Fig. 4 finds 3 or 4 best."""

Clusters = tuple[tuple[int, ...], ...]
"""Advertiser indices of each cluster, the cluster with the lowest revenues first."""


class UnitBids(NamedTuple):
    """Means over days at the unit bid, each [A]: money value and cost in micros, and auctions taken part in."""

    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    auctions: NDArray[np.float64]


def unit_bid_days(scenario: Scenario, seeds: Sequence[int]) -> UnitBids:
    """Play day 0 of each seed at multiplier 1, clicks and conversions paid by their expectation."""
    if not seeds:
        raise ValueError("seeds are empty; allowed is one or more training seeds")
    state = reset_many(scenario.with_changes(rules__outcomes="expected"), list(seeds), [0] * len(seeds))
    while not state.done:
        state = step_many(state, np.ones_like(state.multipliers))
    counts, a = state.total.counts, state.advertisers
    value = a.money_value(counts.clicks, counts.conversions)
    return UnitBids(*(part.mean(axis=0) for part in (value, state.total.spend_micros, counts.took_part)))


def merchant_clusters(
    scenario: Scenario, seeds: Sequence[int], *, advertisers: Sequence[int] | None = None, count: int = CLUSTERS
) -> Clusters:
    """The advertisers (all, if not listed) in ``count`` clusters by their money value on training days at the unit bid.

    Fewer clusters where there are fewer advertisers. The paper's revenue is ``pctr * pcvr * price per buy``; here it is
    what clicks and conversions are worth to their advertiser.
    """
    if count < 1:
        raise ValueError(f"count is {count}; allowed is 1 or more clusters")
    days = unit_bid_days(scenario, seeds)
    who = np.arange(len(days.value)) if advertisers is None else np.asarray(advertisers, np.int64)
    order = who[np.argsort(days.value[who], kind="stable")]
    edges = cut(days.auctions[order], min(count, len(order)))
    return tuple(tuple(int(index) for index in part) for part in np.split(order, edges))


def cut(weights: ArrayLike, parts: int) -> list[int]:
    """Where to cut a row of weights into so many parts, none empty, that each has about the same sum: the inner edges.

    Each edge is as near as it can be to its share of the total; of two as near, the first.

    >>> cut([1, 1, 1, 1, 4, 8], 2)
    [5]
    >>> cut([1, 1, 1, 1, 1, 1], 3)
    [2, 4]
    """
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(weights, np.float64))])
    count = len(sums) - 1
    if not 1 <= parts <= count:
        raise ValueError(f"parts are {parts}; allowed is 1 to {count}, the number of weights")
    edges: list[int] = []
    for part in range(1, parts):
        first, last = (edges[-1] if edges else 0) + 1, count - (parts - part)
        wanted = sums[-1] * part / parts
        edges.append(first + int(np.argmin(np.abs(sums[first : last + 1] - wanted))))
    return edges


def cluster_roster(plan: TrainingPlan, clusters: Clusters) -> Roster:
    """The plan's roster with a policy ``cluster_1``, ``cluster_2``, ... for each cluster; ``plan.mapping`` is ignored."""
    roster = Roster.of(plan)
    members = [who for cluster in clusters for who in cluster]
    if sorted(members) != sorted(roster.learners) or not all(clusters):
        raise ValueError(f"clusters are {clusters}; allowed is each learner of {list(roster.learners)} in exactly one")
    rows = {f"cluster_{place}": list(cluster) for place, cluster in enumerate(clusters, start=1)}
    drivers = {who: name for name, part in rows.items() for who in part}
    learners = dict(zip(roster.learners, roster.mapping, strict=True))
    return replace(roster, rows=rows, mapping={learners[who]: drivers[who] for who in roster.learners})


def consumer_shares(state: MarketState) -> NDArray[np.float64]:
    """The share of the coming tick's requests in each user segment, [M, S] (of one day, [1, S]); 0 after the day's end.

    This is DCMAB's ``d``, over how many consumers of each cluster an agent's actions will be executed. It counts requests
    that will not come because their user leaves before. A critic may know it while it trains; no bidder is told.
    """
    days, world = state.days or (state.day,), state.world
    shares = np.zeros((len(days), world.n_segments))
    if state.done:
        return shares
    if not isinstance(world, Feed) or world.n_segments == 1:
        shares[:, 0] = 1.0
        return shares
    for own, day in zip(shares, days, strict=True):
        count = int(day.counts[state.tick])
        visits = world.n_visits(count)
        user, _, guess = world.visits(day, state.tick, visits)
        pages = np.bincount(np.arange(count) % max(visits, 1), minlength=visits)
        own += np.bincount(world.segment(user, guess), pages, world.n_segments) / max(count, 1)
    return shares
