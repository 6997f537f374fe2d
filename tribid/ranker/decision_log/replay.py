"""Logged decisions, made again: the same inputs through the same code must give the same bytes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.score import MAX_MICROS
from tribid.envs.advertisers import Advertisers
from tribid.envs.decision import Decision, decide
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import Rules, Scenario, load_scenario
from tribid.envs.world import build_world
from tribid.ranker.decision_log.files import LogReader, find_scenario
from tribid.ranker.decision_log.rows import Logged, scores
from tribid.ranker.scenes import rules_by_scene

FIELDS = ("bid_micros", "candidate_score", "winner", "price_micros", "score", "runner_up", "runner_up_score")
"""What is compared, bit for bit."""


class Difference(NamedTuple):
    """A value that came out otherwise: ``place`` is the candidate's or slot's, -1 where the field is one number."""

    where: str
    id: str
    release: str
    field: str
    place: int
    logged: float
    again: float


class Replayed(NamedTuple):
    """How a log came out: decisions of each release and how many of them differ, and the first differences.

    ``by_release`` maps ``"NAME@VERSION"`` to (decisions, different); ``versions`` are those of tribid that decided;
    ``lost`` is how many decisions the log says that it lacks.
    """

    by_release: dict[str, tuple[int, int]]
    differences: tuple[Difference, ...]
    versions: tuple[str, ...]
    lost: int

    @property
    def decisions(self) -> int:
        """All decisions that were made again."""
        return sum(count for count, _ in self.by_release.values())

    @property
    def different(self) -> int:
        """Those with at least one difference."""
        return sum(different for _, different in self.by_release.values())


class Rulebook(NamedTuple):
    """What of a scenario decides: its rules, those of each scene's pages (``rules_by_scene``), and its advertisers."""

    scenario: Scenario
    scenes: dict[str | None, Rules]
    advertisers: Advertisers

    @property
    def rules(self) -> Rules:
        """The rules of the market; only slots are the scene's own."""
        return self.scenario.rules


def rulebook(scenario: str | Path | Scenario) -> Rulebook:
    """The scenario's rules and advertisers."""
    loaded = load_scenario(scenario)
    return Rulebook(loaded, rules_by_scene(loaded), build_world(loaded).advertisers)


def replay(
    path: str | Path, scenario: str | Path | Scenario | None = None, *, show: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:  # fmt: skip
    """Make every decision of a folder (or one file) again and compare it, keeping the first ``show`` differences.

    Without ``scenario``, that of each decision is found by its hash: beside the log, or in the package. With one,
    decisions of any other are refused. ``progress`` is called with the decisions done and their number.
    Raises ``ValueError`` for another scenario, and for a log that is damaged, foreign or absent.
    """
    reader = LogReader(path)
    books = {} if scenario is None else _one(rulebook(scenario))
    by_release: dict[str, tuple[int, int]] = {}
    versions: set[str] = set()
    first: list[Difference] = []
    for done, logged in enumerate(reader, 1):
        decided = logged.decided
        if decided.scenario not in books:
            if scenario is not None:
                raise ValueError(
                    f"{logged.where} was decided in scenario {decided.scenario}; allowed is {', '.join(books)}, as given"
                )
            books[decided.scenario] = rulebook(find_scenario(reader.folder, decided.scenario))
        found = list(differences(logged, books[decided.scenario]))
        first += found[: show - len(first)]
        count, different = by_release.get(decided.release, (0, 0))
        by_release[decided.release] = (count + 1, different + bool(found))
        versions.add(logged.tribid)
        if progress is not None:
            progress(done, reader.rows)
    return Replayed(dict(sorted(by_release.items())), tuple(first), tuple(sorted(versions)), reader.lost)


def decide_again(logged: Logged, book: Rulebook) -> Decision:
    """The decision [1, ...] that the row's inputs give; ``ValueError`` names inputs that nothing can be decided from."""
    decided = logged.decided
    _check_inputs(logged, book)
    ads = decided.ads
    multipliers, left = np.zeros((len(book.advertisers), 1)), np.zeros(len(book.advertisers), np.int64)
    multipliers[ads, 0], left[ads] = decided.multiplier, decided.left_micros
    zero = np.zeros(1, np.int64)  # the page's multipliers are the only segment here
    requests = Requests(
        decided.day, decided.tick, np.array([decided.request], np.int64), zero - 1, zero, zero,
        np.array([decided.reserve_micros], np.int64), np.ascontiguousarray(ads[None]),
        None if np.isnan(decided.buying) else np.array([decided.buying], np.float32),
    )  # fmt: skip
    predicted = Rates(decided.pctr[None], decided.pcvr[None])
    rules = book.scenes[decided.scene]
    return decide(rules, book.advertisers, multipliers, left, requests, predicted, decided.seed)


def differences(logged: Logged, book: Rulebook) -> Iterator[Difference]:
    """Where the row and the decision made again are not the same bytes."""
    decided, again = logged.decided, decide_again(logged, book)
    reserve = np.full(len(decided.ads), decided.reserve_micros)
    fresh = {name: getattr(again, name)[0] for name in FIELDS if name != "candidate_score"}
    fresh["candidate_score"] = scores(book.rules, again.bid_micros[0], decided.pctr, decided.pcvr, reserve)
    for name in FIELDS:
        kept = logged.candidate_score if name == "candidate_score" else getattr(decided, name)
        one, two = np.atleast_1d(np.asarray(kept, fresh[name].dtype)), np.atleast_1d(fresh[name])
        for place in np.flatnonzero(_bits(one) != _bits(two)).tolist():
            yield Difference(
                where=logged.where,
                id=decided.id,
                release=decided.release,
                field=name,
                place=place if np.ndim(kept) else -1,
                logged=one[place].item(),
                again=two[place].item(),
            )


def _one(book: Rulebook) -> dict[str, Rulebook]:
    return {book.scenario.hash: book}


def _bits(values: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.ascontiguousarray(values).view(np.int64)


def _check_inputs(logged: Logged, book: Rulebook) -> None:
    """Kernels do not look at their inputs: nothing reaches them that a ranker could not have decided from."""
    decided = logged.decided
    if decided.scene not in book.scenes:
        allowed = ", ".join(map(str, book.scenes))
        raise ValueError(f"{logged.where}: scene is {decided.scene!r:.80}; allowed is {allowed}")
    slots = len(book.scenes[decided.scene].slot_effects)
    if len(decided.winner) != slots:
        raise ValueError(f"{logged.where}: winner has {len(decided.winner)} slots; allowed is {slots}")
    for name, most in (("reserve_micros", MAX_MICROS), ("day", 2**32 - 2), ("request", 2**32 - 1)):
        if not 0 <= getattr(decided, name) <= most:
            raise ValueError(f"{logged.where}: {name} is {getattr(decided, name)}; allowed is 0 to {most}")
    most = len(book.advertisers) - 1
    if len(decided.ads) and not 0 <= min(decided.ads) <= max(decided.ads) <= most:
        raise ValueError(f"{logged.where}: ads hold {min(decided.ads)} to {max(decided.ads)}; allowed is 0 to {most}")
    if len(set(decided.ads.tolist())) < len(decided.ads):
        raise ValueError(f"{logged.where}: ads hold an advertiser twice; allowed is each once")
    cap = book.rules.max_multiplier * (1 + 1e-9)  # the action map is rounded
    for name, highest in (("buying", 1.0), ("pctr", 1.0), ("pcvr", 1.0), ("multiplier", cap)):
        values = np.atleast_1d(getattr(decided, name))
        wrong = np.flatnonzero(~((values >= 0) & (values <= highest)) & ~((name == "buying") & np.isnan(values)))
        if len(wrong):
            raise ValueError(f"{logged.where}: {name} {wrong[0]} is {values[wrong[0]]}; allowed is 0 to {highest:g}")
