"""Growth curves: CPU seconds against impressions, candidates, advertisers (of whom 200 are candidates) and markets."""

import statistics
from collections.abc import Iterator, Sequence

from tribid.benchmark.bare import bare_seconds
from tribid.benchmark.clock import REPETITIONS, cpu_seconds
from tribid.benchmark.days import play_day, scenario_of
from tribid.benchmark.markets import TICKS, opened, ticks
from tribid.benchmark.results import Curve, Point
from tribid.benchmark.retrieval import CANDIDATES, crowd, two_ticks
from tribid.envs import market


def growth_curves(*, quick: bool, repetitions: int = REPETITIONS) -> Iterator[Curve]:
    """The four curves; quick ones end earlier."""
    yield Curve(
        name="impressions", x="impressions of a day", y="CPU seconds of the day",
        points=[_day(n, repetitions) for n in _part((10_000, 30_000, 100_000, 300_000, 1_000_000), quick)],
    )  # fmt: skip
    yield Curve(
        name="candidates", x="candidates of a bare auction", y="CPU seconds of a million impressions",
        points=[_bare(n, quick, repetitions) for n in _part((8, 16, 32, 48, 64, 100, 200, 500, 1000, 3000, 10_000), quick)],
    )  # fmt: skip
    yield Curve(
        name="advertisers", x="advertisers, 200 of them candidates", y="CPU seconds of a million impressions",
        points=[_crowd(n, repetitions) for n in _part((200, 500, 1000, 3000, 10_000), quick)],
    )  # fmt: skip
    yield Curve(
        name="markets", x="markets in one call", y="CPU seconds of a tick",
        points=[_markets(n, repetitions) for n in _part((1, 2, 4, 8, 16), quick)],
    )  # fmt: skip


def _part(sizes: Sequence[int], quick: bool) -> Sequence[int]:
    return sizes[: len(sizes) // 2 + 1] if quick else sizes


def _point(x: float, seconds: Sequence[float]) -> Point:
    return Point(x=float(x), seconds=statistics.median(seconds), low=min(seconds), high=max(seconds))


def _day(impressions: int, repetitions: int) -> Point:
    scenario = scenario_of("feed_without_ocpc", impressions)
    return _point(impressions, cpu_seconds(lambda: play_day(scenario, 0), repetitions))


def _bare(candidates: int, quick: bool, repetitions: int) -> Point:
    count, seconds = bare_seconds(candidates, quick=quick, repetitions=repetitions)
    return _point(candidates, [1e6 * taken / count for taken in seconds])


def _crowd(advertisers: int, repetitions: int) -> Point:
    play = two_ticks(market.reset(crowd(advertisers, ocpc=False), 0))
    count = float(play().total.counts.served.sum()) / CANDIDATES
    return _point(advertisers, [1e6 * taken / count for taken in cpu_seconds(play, repetitions)])


def _markets(markets: int, repetitions: int) -> Point:
    taken = cpu_seconds(ticks(opened("feed_without_ocpc", markets)), repetitions)
    return _point(markets, [seconds / TICKS for seconds in taken])
