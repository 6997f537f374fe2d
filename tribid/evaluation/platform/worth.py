"""Days of a platform with this part or that: what the three sides had of them, against a base on the same users."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.rivals import rivals_in_turn
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.shop import Shop
from tribid.envs.world import build_world
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.day import DayRecord, play_day
from tribid.evaluation.platform.parts import OWN, LearntParts, load_parts
from tribid.evaluation.statistics import Interval, t_interval
from tribid.evaluation.welfare import welfare


class Side(NamedTuple):
    """A number, whose it is, and what it says."""

    name: str
    side: str
    meaning: str


SIDES = (
    Side("RPM", "platform", "revenue per 1000 page views"),
    Side("GPM", "platform", "gross merchandise value per 1000 page views"),
    Side("PPC", "advertiser", "price per click"),
    Side("ROI", "advertiser", "gross merchandise value / cost"),
    Side("surplus", "advertiser", "value minus payment of all advertisers"),
    Side("CTR", "user", "clicks per ad seen"),
    Side("CVR", "user", "conversions per click"),
    Side("relevance", "user", "expected clicks per page"),
    Side("leaving", "user", "page views after which the user left"),
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A platform: ``changes`` to the scenario (dotted with ``__``) and learnt ``parts``. ``seed`` tells trainings apart.

    ``base`` are changes that come first, and in whose market the advertisers' bids and budgets are made: what a variant
    changes beyond them leaves those as they are, for advertisers do not budget anew with every platform.
    """

    name: str
    base: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    parts: LearntParts = OWN
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Days:
    """The numbers of ``SIDES`` on each day, [D, len(SIDES)]; of several trainings the mean over them."""

    name: str
    table: NDArray[np.float64]

    def level(self, side: int) -> Interval:
        """The mean over days with its interval."""
        return t_interval(self.table[:, side])

    def against(self, base: "Days", side: int) -> Interval:
        """Mean difference to ``base`` in percent of the base's mean, on the same days."""
        difference = t_interval(self.table[:, side] - base.table[:, side])
        per = 100.0 / base.table[:, side].mean()
        low, high = sorted((difference.low * per, difference.high * per))
        return Interval(difference.point * per, low, high)


def play_variants(
    scenario: Scenario,
    variants: Sequence[Variant],
    *,
    days: int = 10,
    first_seed: int = HELD_OUT,
    bidders: Sequence[str] = ("truthful",),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Days]:
    """Play every variant on the same held-out days, with clicks and orders in expectation.

    Everybody bids as ``bidders`` in turn. Variants of one name are trainings of one platform and are averaged.
    """
    if first_seed < HELD_OUT:
        raise ValueError(f"first_seed is {first_seed}; allowed is {HELD_OUT} or more (those below are for training)")
    jobs = [(scenario, one, seed, tuple(bidders)) for one in variants for seed in range(first_seed, first_seed + days)]
    rows = []
    for row in _results(jobs, workers):
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(jobs))
    tables = np.array(rows).reshape(len(variants), days, len(SIDES))
    names = list(dict.fromkeys(one.name for one in variants))
    of = np.array([names.index(one.name) for one in variants])
    return [Days(name=name, table=tables[of == i].mean(axis=0)) for i, name in enumerate(names)]


def _results(jobs: list[tuple[Any, ...]], workers: int) -> Any:
    if workers == 1:
        yield from (play_one(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(play_one, *zip(*jobs, strict=True))


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def play_one(scenario: Scenario, variant: Variant, seed: int, bidders: tuple[str, ...]) -> list[float]:
    """The numbers of ``SIDES`` for one day of one variant."""
    own = with_listed(scenario.with_changes(**{"rules__outcomes": "expected", **variant.base}))
    own = own.with_changes(**variant.changes) if variant.changes else own
    forecaster, platform = load_parts(own, variant.parts)
    day = play_day(own, rivals_in_turn(bidders, own), seed, forecaster=forecaster, platform=platform)
    return numbers(day)


def with_listed(scenario: Scenario) -> Scenario:
    """The same market with its generated advertisers listed one by one, bids and budgets as they are."""
    world = build_world(scenario)
    assert isinstance(world, Shop)
    return scenario.with_changes(advertisers=[one.model_dump() for one in world.feed.listed])


def numbers(day: DayRecord) -> list[float]:
    """The numbers of ``SIDES`` for a day, all advertisers taken together."""
    told = welfare(day, list(range(len(day.advertisers))))
    clicks = float(day.total.counts.clicks.sum())
    return [
        told["platform"]["rpm"],
        told["platform"]["gpm"],
        day.revenue_micros / MICROS / clicks if clicks else float("nan"),
        told["advertiser"]["roi"],
        told["advertiser"]["surplus"],
        told["user"]["ctr"],
        told["user"]["cvr"],
        told["user"]["relevance"],
        told["user"]["leave_rate"],
    ]
