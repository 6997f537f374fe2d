"""The evaluation protocol: contestants drive the same focal advertisers on the same held-out days, rivals stay fixed.

Every contestant meets the same users and the same coin flips (common random numbers), so differences are paired. The
statistic is the interquartile mean over days and training seeds, with a two-level bootstrap interval. A winner is named
only where its interval lies strictly above every other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Bidder, Lineup
from tribid.agents.own import load_own, loaded_files
from tribid.envs.scenario import Scenario
from tribid.envs.world import build_world
from tribid.envs.worlds import ReplayWorld
from tribid.evaluation.day import DayRecord, play_day
from tribid.evaluation.flows import JourneyDay
from tribid.evaluation.platform.parts import OWN, LearntParts, check_shop, load_parts
from tribid.evaluation.statistics import Interval, two_level_bootstrap, two_level_difference, verdict
from tribid.evaluation.welfare import METRICS, advertiser_rows, welfare

HELD_OUT = 1_000_000
"""Evaluation seeds start here; training seeds are below it, so that the two never meet."""

_ENOUGH_SEEDS = 10
_ENOUGH_DAYS = 10


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A way to bid: one policy set per training seed (one unnamed set for what is not trained).

    ``bidders`` maps a training seed (-1: not trained) to the bidder, or to the policies by name with ``mapping`` giving
    each focal advertiser its policy; both by training seed, for a method may group advertisers by what it sees.
    """

    name: str
    kind: str
    bidders: Mapping[int, Bidder | Mapping[str, Bidder]]
    mapping: Mapping[int, tuple[str, ...]] | None = None
    trained_on: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Who is judged, against whom, on which days, and with which learnt parts of the platform (none: the world's own)."""

    scenario: Scenario
    focal: tuple[int, ...]
    rivals: Lineup | None
    eval_seeds: tuple[int, ...]
    hindsight: bool = True
    parts: LearntParts = OWN

    def __post_init__(self) -> None:
        if isinstance(self.scenario.world, ReplayWorld):
            raise ValueError(
                f"scenario {self.scenario.name} replays the same rows every day, so there is no held-out day to judge on; "
                "use evaluate --replay, or tribid.evaluation.replayed"
            )
        check_shop(self.scenario, self.parts)
        low = [seed for seed in self.eval_seeds if seed < HELD_OUT]
        if low or len(set(self.eval_seeds)) < 2:
            raise ValueError(
                f"eval_seeds are {list(self.eval_seeds)}; allowed are two or more different ones from {HELD_OUT} on "
                "(those below are for training)"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the focal advertisers."""
        everybody = build_world(self.scenario).advertisers.names
        return tuple(everybody[who] for who in self.focal)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One contestant's day."""

    train_seed: int
    eval_seed: int
    sides: dict[str, dict[str, float]]
    advertisers: dict[str, dict[str, Any]]
    curves: dict[str, NDArray[np.float64]]
    journey: JourneyDay | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All runs of all contestants, and what they allow one to say."""

    protocol: Protocol
    contestants: tuple[Contestant, ...]
    runs: dict[str, list[Run]]
    summary: dict[str, dict[str, Interval | None]]
    differences: dict[str, Interval]
    baseline: str
    winner: str | None
    statement: str


def evaluate(
    contestants: Sequence[Contestant],
    protocol: Protocol,
    *,
    baseline: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Judgement:
    """Play every contestant's days and judge them by the focal score.

    ``baseline`` (by default the first contestant) is what differences are taken from. ``progress`` is called with the
    days done and their total. ``workers`` processes play the days side by side; the result does not depend on how many.
    """
    names = [contestant.name for contestant in contestants]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"contestants are {names}; allowed is one or more, each name once")
    chosen = names[0] if baseline is None else baseline
    if chosen not in names:
        raise ValueError(f"baseline is {chosen!r}; choose {', '.join(names)}")
    plan = [(c, train, seed) for c in contestants for train in c.bidders for seed in protocol.eval_seeds]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for done, ((contestant, _, _), run) in enumerate(zip(plan, _played(plan, protocol, workers), strict=True), start=1):
        runs[contestant.name].append(run)
        if progress:
            progress(done, len(plan))
    summary = {name: _summary(runs[name]) for name in names}
    scores = {name: _table(runs[name], "advertiser", "score") for name in names}
    differences = {}
    for name in names if len(protocol.eval_seeds) >= _ENOUGH_DAYS else ():
        if name != chosen:
            differences[name] = two_level_difference(scores[name], scores[chosen])
    intervals = {name: summary[name]["score"] for name in names}
    known = {name: interval for name, interval in intervals.items() if interval is not None}
    winner = verdict(known) if len(protocol.eval_seeds) >= _ENOUGH_DAYS else None
    return Judgement(
        protocol=protocol,
        contestants=tuple(contestants),
        runs=runs,
        summary=summary,
        differences=differences,
        baseline=chosen,
        winner=winner,
        statement=_statement(winner, summary, differences, chosen, len(protocol.eval_seeds)) + _few_seeds(contestants),
    )


def lineup_for(contestant: Contestant, train_seed: int, protocol: Protocol) -> Lineup:
    """The full lineup of a contestant's day: its bidders for the focal advertisers, the rivals for the others."""
    given = contestant.bidders[train_seed]
    policies = dict(given) if isinstance(given, Mapping) else {"focal": given}
    mapping = contestant.mapping[train_seed] if contestant.mapping else ("focal",) * len(protocol.focal)
    count = len(build_world(protocol.scenario).advertisers)
    bidders: dict[str, Bidder] = {f"focal {name}": bidder for name, bidder in policies.items()}
    drivers = [""] * count
    if protocol.rivals is not None:
        bidders |= {f"rival {name}": bidder for name, bidder in protocol.rivals.bidders.items()}
        drivers = [f"rival {name}" for name in protocol.rivals.mapping]
    for who, policy in zip(protocol.focal, mapping, strict=True):
        drivers[who] = f"focal {policy}"
    return Lineup(bidders, drivers)


def _played(plan: list[tuple[Contestant, int, int]], protocol: Protocol, workers: int) -> Iterator[Run]:
    if workers == 1:
        yield from (play_run(contestant, train, seed, protocol) for contestant, train, seed in plan)
        return
    context, files = get_context("spawn"), loaded_files()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=load_own, initargs=(files,)) as pool:
        pending = [pool.submit(play_run, contestant, train, seed, protocol) for contestant, train, seed in plan]
        try:
            for future in pending:
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def play_run(contestant: Contestant, train_seed: int, seed: int, protocol: Protocol) -> Run:
    """One day of a contestant's policies of one training seed."""
    lineup = lineup_for(contestant, train_seed, protocol)
    wanted = protocol.focal if protocol.hindsight else ()
    forecaster, platform = load_parts(protocol.scenario, protocol.parts)
    day = play_day(protocol.scenario, lineup, seed, forecaster=forecaster, platform=platform, hindsight_for=wanted)
    return Run(
        train_seed=train_seed,
        eval_seed=seed,
        sides=welfare(day, list(protocol.focal)),
        advertisers=advertiser_rows(day),
        curves=_curves(day, list(protocol.focal)),
        journey=day.journey,
    )


def _curves(day: DayRecord, focal: list[int]) -> dict[str, NDArray[np.float64]]:
    """Per tick: share of the focal budgets spent, the mean focal multiplier, and the traffic plan."""
    spends = np.cumsum([ledger.spend_micros[focal] for ledger in day.ledgers], axis=0)
    return {
        "spent": (spends / day.advertisers.budget_micros[focal]).mean(axis=1),
        "multiplier": day.multipliers[:, focal].mean(axis=1),
        "plan": np.cumsum(day.expected_share),
    }


def _table(runs: list[Run], side: str, name: str) -> NDArray[np.float64]:
    """A metric as [days, training seeds]."""
    trained = sorted({run.train_seed for run in runs})
    columns = [[run.sides[side][name] for run in runs if run.train_seed == train] for train in trained]
    return np.array(columns).T


def _summary(runs: list[Run]) -> dict[str, Interval | None]:
    summary: dict[str, Interval | None] = {}
    for metric in METRICS:
        table = _table(runs, metric.side, metric.name)
        summary[metric.name] = two_level_bootstrap(table) if np.isfinite(table).all() else None
    return summary


def _statement(
    winner: str | None,
    summary: dict[str, dict[str, Interval | None]],
    differences: dict[str, Interval],
    baseline: str,
    days: int,
) -> str:
    best = max(summary, key=lambda name: summary[name]["score"].point)  # type: ignore[union-attr]
    if len(summary) == 1:
        return f"{best} was judged alone."
    if days < _ENOUGH_DAYS:
        return f"No winner is named: {days} days are too few to tell bidders apart; {_ENOUGH_DAYS} are the least."
    text = (
        f"{winner} has the highest score, its interval above every other."
        if winner
        else f"No winner is named: {best} has the highest score, but its interval overlaps another's."
    )
    for name, difference in differences.items():
        told = "better than" if difference.low > 0 else "worse than" if difference.high < 0 else "not told apart from"
        text += (
            f" {name} is {told} {baseline} on the same days "
            f"({difference.point:+.3f}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f})."
        )
    return text


def _few_seeds(contestants: Sequence[Contestant]) -> str:
    few = [
        f"{c.name} ({len(c.bidders)})" for c in contestants if -1 not in c.bidders and len(c.bidders) < _ENOUGH_SEEDS
    ]
    if not few:
        return ""
    return f" Few training seeds: {', '.join(few)}; fewer than {_ENOUGH_SEEDS} make intervals too narrow."
