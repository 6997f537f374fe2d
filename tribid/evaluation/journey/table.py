"""The journey's records as rows: each part's difference to its base for the three sides, with what its interval says."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np

from tribid.evaluation.journey.jobs import JourneyPlan, days_of
from tribid.evaluation.journey.measures import MEASURES, Measure
from tribid.evaluation.journey.variants import Row
from tribid.evaluation.platform.worth import Days
from tribid.evaluation.statistics import Interval, t_interval

ENOUGH = 10
"""The least seeds on which gain and loss are named."""

SIDES = ("platform", "advertiser", "user")

_TIED = "\N{NO-BREAK SPACE}"


class Difference(NamedTuple):
    """What a part did to all measures that its world has: the mean paired difference and its 95 % t-interval."""

    row: Row
    cells: Mapping[str, Interval]


def differences(plan: JourneyPlan, out: Path) -> list[Difference]:
    """All chosen rows; ``ValueError`` where a job is missing."""
    return [
        Difference(row, compared(days_of(plan, row, row.switched, out), days_of(plan, row, row.base, out)))
        for row in plan.chosen
    ]


def compared(switched: Days, base: Days) -> dict[str, Interval]:
    """The differences by measure: in percent of the base's mean, or as they are of absolute ones.

    A measure that a day lacks is left out, and so are percents of a base that is not above 0.
    """
    told: dict[str, Interval] = {}
    for place, measure in enumerate(MEASURES):
        both = np.stack([switched.table[:, place], base.table[:, place]])
        if not np.isfinite(both).all():
            continue
        if measure.absolute:
            told[measure.name] = t_interval(both[0] - both[1])
        elif both[1].mean() > 0:
            told[measure.name] = switched.against(base, place)
    return told


def said(measure: Measure, cell: Interval, seeds: int) -> str:
    """What an interval says: gain, loss, more, less, unchanged, or not told apart."""
    if cell.low == cell.high == 0.0:
        return "unchanged"
    if seeds < ENOUGH or cell.low <= 0.0 <= cell.high:
        return "not told apart"
    sign = 1 if cell.low > 0 else -1
    if measure.better == 0:
        return "more" if sign > 0 else "less"
    return "gain" if sign == measure.better else "loss"


def cell_text(measure: Measure, cell: Interval) -> str:
    """The difference with half its interval, as people read it.

    >>> cell_text(MEASURES[0], Interval(1.25, 1.0, 1.5))
    '+1.25 ± 0.25'
    """
    if cell.low == cell.high == 0.0:
        return "0"
    half = (cell.high - cell.low) / 2.0
    places = 0 if max(abs(cell.point), half) >= 100 else 2
    return f"{cell.point:+,.{places}f} ± {half:,.{places}f}"


def side_text(difference: Difference, side: str, seeds: int) -> str:
    """A side's measures of a row, a line each, those that are told apart marked with a star."""
    return "\n".join(_side_cells(difference, side, seeds))


def block_text(difference: Difference, seeds: int, width: int) -> str:
    """A row as a block of lines of up to ``width`` characters: what was switched, then each side's measures, none cut."""
    row = difference.row
    lines = wrap(f"{row.part}, against: {row.against} (world: {row.world})", width)
    for side in SIDES:
        cells = "; ".join(cell.replace(" ", _TIED) for cell in _side_cells(difference, side, seeds))
        start, after = f"  {side:<12}", " " * 14
        lines += wrap(cells, width, initial_indent=start, subsequent_indent=after, break_long_words=False)
    return "\n".join(lines).replace(_TIED, " ")


def _side_cells(difference: Difference, side: str, seeds: int) -> list[str]:
    """The side's measures that changed, a text each; a star marks one that is told apart."""
    lines = []
    for measure in MEASURES:
        cell = difference.cells.get(measure.name)
        if measure.side == side and cell is not None and not cell.low == cell.high == 0.0:
            unit = " %" if measure.unit == "%" else ""
            star = "" if said(measure, cell, seeds) == "not told apart" else " *"
            lines.append(f"{measure.name} {cell_text(measure, cell)}{unit}{star}")
    return lines


def reading(difference: Difference, seeds: int) -> str:
    """A row in words, side by side: which measures gain, lose or are not told apart."""
    parts = []
    for side in SIDES:
        by: dict[str, list[str]] = {}
        for measure in MEASURES:
            cell = difference.cells.get(measure.name)
            if measure.side == side and cell is not None:
                verdict = said(measure, cell, seeds)
                if verdict == "unchanged" and measure.absolute:
                    continue  # nothing of it on either side
                amount = f" {cell.point:+,.2f}{' %' if measure.unit == '%' else ''}"
                told = measure.name + (amount if verdict not in ("unchanged", "not told apart") else "")
                by.setdefault(verdict, []).append(told)
        order = ("gain", "loss", "more", "less", "not told apart", "unchanged")
        words = [f"{verdict} in {', '.join(by[verdict])}" for verdict in order[:2] if verdict in by]
        words += [f"{verdict}: {', '.join(by[verdict])}" for verdict in order[2:] if verdict in by]
        if words:
            parts.append(f"{side}: {'; '.join(words)}")
    row = difference.row
    return f"**{row.part}** against {row.against}. " + ". ".join(parts) + "."
