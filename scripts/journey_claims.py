"""The journey's switches, each against the shipped world on the same users and draws: what is shown after an order, caps,
and what predictions know. Prints one table; everybody bids the unit bid unless --bidder names another.

python scripts/journey_claims.py                      # 10 days; about three minutes
python scripts/journey_claims.py --days 20 --parts after
python scripts/journey_claims.py --bidder pid --json found.json

A number is the mean over the days of the paired difference to the base, with a 95 % t-interval; * where it excludes 0.
"after" compares complementary candidates with the plain feed's in the scenes after an order, in several settings: by the
complements' effect on clicks (an assumption; how strong it has to be is the finding), where predictions do not know of the
order, and where there are ten times the brands, so that a plain feed seldom holds what goes with it.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.scenario import MICROS, Scenario, load_scenario
from tribid.envs.world import build_world
from tribid.evaluation.day import DayRecord, play_day
from tribid.evaluation.statistics import Interval, t_interval

HELD_OUT = 1_000_000
MEASURES = (
    "after: CTR %", "after: CVR %", "after: GMV a page", "after: revenue", "CTR %", "CVR %", "revenue", "GMV", "orders",
    "visits left",
)  # fmt: skip
PARTS = ("after", "cap", "known")
SETTINGS: dict[str, dict[str, object]] = {
    "effect 0": {"world__complements__ctr": 0.0},
    "effect 0.75": {"world__complements__ctr": 0.75},
    "as shipped (1.5)": {},
    "effect 2.25": {"world__complements__ctr": 2.25},
    "orders not known": {"world__complements__known": False},
    "600 brands": {"generated__count": 600, "world__catalogue__items": 4000, "world__retrieval__cells": 64},
}
"""Where complementary candidates are compared with the plain feed's: by the effect on clicks, and by what is known."""


def variants(part: str) -> dict[str, dict[str, object]]:
    """What each comparison changes, the base first."""
    if part == "after":
        found: dict[str, dict[str, object]] = {}
        for name, changes in SETTINGS.items():
            found[f"plain, {name}"] = changes | {"world__complements__retrieved": False}
            found[name] = changes
        return found
    if part == "cap":
        caps = {"cap 5 (base)": 5, "no cap": None, "cap 2": 2, "cap 1": 1}
        return {name: {"world__fatigue__cap": cap} for name, cap in caps.items()}
    known = {"all known (base)": (), "stages not known": ("stages",), "fatigue not known": ("fatigue",),
             "orders not known": ("complements",), "nothing known": ("stages", "fatigue", "complements")}  # fmt: skip
    return {name: {f"world__{part}__known": False for part in parts} for name, parts in known.items()}


def measured(record: DayRecord, scenario: Scenario) -> NDArray[np.float64]:
    """The measures of a day, in the order of ``MEASURES``."""
    assert record.journey is not None and isinstance(scenario.world, JourneyWorld)
    sums = record.journey.scenes.sums
    after = sums[[scene.moment == "after" for scene in scenario.world.scenes]].sum(axis=0)
    whole = sums.sum(axis=0)
    return np.array([
        100 * after[2] / after[1], 100 * after[3] / after[2], after[4] / after[0] / MICROS, after[5] / MICROS,
        100 * whole[2] / whole[1], 100 * whole[3] / whole[2], whole[5] / MICROS, whole[4] / MICROS, whole[3],
        record.leaves,
    ])  # fmt: skip


def days_of(scenario: Scenario, bidder: str, days: int) -> NDArray[np.float64]:
    """The measures of each day, [days, measures]."""
    found, count = [], len(build_world(scenario).advertisers)
    for day in range(days):
        lineup = Lineup.of(make_bidder(bidder, BidderSpace.of(scenario)), count)
        found.append(measured(play_day(scenario, lineup, HELD_OUT + day), scenario))
    return np.array(found)


def compared(base: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, Interval]:
    """The paired differences to the base, by measure."""
    return {name: t_interval(other[:, k] - base[:, k]) for k, name in enumerate(MEASURES)}


def table(title: str, rows: dict[str, dict[str, Interval]], levels: dict[str, float]) -> Table:
    """The comparisons of one part."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("measure")
    shown.add_column("base", justify="right")
    for name in rows:
        shown.add_column(name, justify="right")
    for measure in MEASURES:
        cells = []
        for row in rows.values():
            cell = row[measure]
            star = "*" if cell.low > 0 or cell.high < 0 else ""
            cells.append(f"{cell.point:+,.2f} ({cell.low:+,.2f} to {cell.high:+,.2f}){star}")
        shown.add_row(measure, f"{levels[measure]:,.2f}", *cells)
    return shown


def main() -> None:
    """Play, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="journey", help="a scenario of kind journey")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--days", type=int, default=10, help="held-out days, 5 or more")
    parser.add_argument("--bidder", default="truthful", help="who drives all advertisers")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    arguments = parser.parse_args()
    if arguments.days < 5:
        parser.error(f"--days is {arguments.days}; allowed is 5 or more, for an interval means little on fewer")
    scenario, console, found = load_scenario(arguments.scenario), Console(width=200), {}
    for part in arguments.parts:
        played = {}
        for name, changes in track(variants(part).items(), description=part, transient=True):
            played[name] = days_of(scenario.with_changes(**changes), arguments.bidder, arguments.days)
        names = list(played)
        pairs = (
            {other: base for base, other in zip(names[::2], names[1::2], strict=True)}
            if part == "after"
            else dict.fromkeys(names[1:], names[0])
        )
        rows = {other: compared(played[base], played[other]) for other, base in pairs.items()}
        first = played[names[0]].mean(axis=0)
        levels = dict(zip(MEASURES, first.tolist(), strict=True))
        console.print(table(f"{part}: {arguments.days} days; levels of {names[0]}", rows, levels))
        means = {name: dict(zip(MEASURES, days.mean(axis=0).tolist(), strict=True)) for name, days in played.items()}
        differences = {name: {measure: asdict(cell) for measure, cell in row.items()} for name, row in rows.items()}
        found[part] = {"means": means, "differences": differences}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
