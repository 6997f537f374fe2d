"""The budget rule of DCMAB: a third of what an agent would spend with no budget at all."""

from collections.abc import Sequence

import numpy as np

from tribid.agents.multi.clusters import unit_bid_days
from tribid.envs.feed import Feed, generated_advertisers
from tribid.envs.scenario import MICROS, Advertiser, Scenario
from tribid.envs.world import build_world

SHARE = 1.0 / 3.0
"""The paper's budgets are CT/3, CT the cost without a limit."""

_NO_LIMIT = 1e9


def paper_budgets(scenario: Scenario, seeds: Sequence[int], *, share: float = SHARE) -> Scenario:
    """The scenario with its advertisers listed and each budget ``share`` of its cost at the unit bid without budgets.

    The cost is the mean over day 0 of the training ``seeds``, in expectation over clicks (Jin et al., CIKM 2018: budgets
    of CT/3). An agent of the paper has one budget for all its merchants; here each advertiser of a cluster has its own
    third, which nobody else may spend. Whoever has spent it stops (budgets are hard).
    """
    if not 0 < share < np.inf:
        raise ValueError(f"share is {share!r}; allowed is a finite number above 0")
    listed = _listed(scenario)
    unlimited = _with_budgets(scenario, listed, [_NO_LIMIT] * len(listed))
    cost = unit_bid_days(unlimited, seeds).cost / MICROS
    return _with_budgets(scenario, listed, [max(0.01, round(share * float(spent), 2)) for spent in cost])


def _listed(scenario: Scenario) -> tuple[Advertiser, ...]:
    """The advertisers one by one, also where the world generates them."""
    if scenario.advertisers:
        return scenario.advertisers
    world = build_world(scenario)
    assert isinstance(world, Feed)  # only a feed generates
    a = world.advertisers
    return generated_advertisers(scenario.generated, world, a.mean_pctr, a.mean_pcvr)


def _with_budgets(scenario: Scenario, listed: tuple[Advertiser, ...], budgets: Sequence[float]) -> Scenario:
    rows = [a.model_dump() | {"budget": budget} for a, budget in zip(listed, budgets, strict=True)]
    return scenario.with_changes(advertisers=rows)
