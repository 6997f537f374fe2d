"""The results page: what was played, by which command, on what machine, the table, and what its intervals say."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tribid.evaluation.bench.page import Origin
from tribid.evaluation.bench.trials import line
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.journey.jobs import JOURNEY, JourneyPlan, records_of
from tribid.evaluation.journey.measures import MEASURES, NOTES
from tribid.evaluation.journey.plot import forest_svg
from tribid.evaluation.journey.table import ENOUGH, Difference, cell_text, differences, reading, said
from tribid.evaluation.results import commit, machine
from tribid.evaluation.search_floors import floor_prices
from tribid.files import write_atomically


def write_page(plan: JourneyPlan, out: Path, page: Path, command: str, machine_class: str = "") -> list[Path]:
    """Write the page and its picture beside it (the same name, ``.svg``); ``ValueError`` where a job is missing."""
    rows, picture = differences(plan, out), page.with_suffix(".svg")
    records = list(records_of(plan, out))
    commits = ", ".join(sorted({str(record["commit"]) for record in records} | {str(commit())}))
    spent = sum(float(record["cpu_seconds"]) for record in records)
    today = datetime.now(UTC).date().isoformat()
    origin = Origin(command, machine_class or machine(), today, commits, spent)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(picture, forest_svg(rows, plan.seeds))
    write_atomically(page, page_text(plan, rows, origin, picture.name))
    return [page, picture]


def page_text(plan: JourneyPlan, rows: Sequence[Difference], origin: Origin, picture: str) -> str:
    """The page as Markdown."""
    parts = [
        "# Journey: what each part is worth\n",
        "This page is written by a command; nothing in it is typed by hand.\n",
        f"* command: `{origin.command}`\n* machine: {origin.machine}\n* date: {origin.day}, commit {origin.commit}\n"
        f"* work: {origin.cpu_seconds / 60:,.1f} CPU-minutes\n",
        _protocol(plan),
        f"![Differences of all parts, with intervals]({picture})\n",
        "## The table\n",
        f"{_units()}\n",
        markdown_table(rows, plan.seeds),
        "",
        *(f"* *{one.name}* ({one.side}): {one.meaning}" for one in MEASURES),
        "",
        *(f"{note}\n" for note in NOTES),
        "## What the intervals say\n",
    ]
    if plan.seeds < ENOUGH:
        parts.append(f"Neither gain nor loss is named: {plan.seeds} seeds are too few; {ENOUGH} are the least.\n")
    parts += [f"* {reading(one, plan.seeds)}{_where(one)}" for one in rows]
    if "search" in {one.row.world for one in rows} and plan.seeds > 1:
        parts += ["", *_floors(plan.seeds)]
    return "\n".join(parts).rstrip() + "\n"


def markdown_table(rows: Sequence[Difference], seeds: int) -> str:
    """All rows; a difference whose interval leaves out 0 is bold, a measure that a world lacks a dash."""
    lines = [line(["part", "against", "world", *(one.name for one in MEASURES)]), line(["---"] * (3 + len(MEASURES)))]
    for one in rows:
        cells = []
        for measure in MEASURES:
            cell = one.cells.get(measure.name)
            text = "–" if cell is None else cell_text(measure, cell)
            told = cell is not None and said(measure, cell, seeds) not in ("not told apart", "unchanged")
            cells.append(f"**{text}**" if told else text)
        lines.append(line([one.row.part, one.row.against, one.row.world, *cells]))
    return "\n".join(lines)


def _floors(seeds: int) -> list[str]:
    """Search worlds: the platform's index above the user's floor, the sellers' above both, and each floor's price."""
    shown = (
        ("platform", "platform reaches, micros"), ("price of user floor to platform", "price of the user's floor to it"),
        ("seller", "sellers reach, micros"), ("price of platform floor to seller", "price of the platform's floor to them"),
    )  # fmt: skip
    told = [
        "## User, then platform, then seller\n",
        "In search worlds, for each search: the platform's income as large as possible above a floor of the users' (clicks "
        "that stay), then what sellers keep above both. A price is the floor's dual: what the side gains if the floor is "
        "one unit lower. Means over worlds with 95 % t-intervals; the indices are of the true rates.\n",
        line(["user's floor, of the best", *(words for _, words in shown)]),
        line(["---"] * (1 + len(shown))),
    ]
    for share, found in floor_prices(seeds).items():
        cells = (found[name] for name, _ in shown)
        told.append(line([f"{share:.0%}", *(f"{one.point:.4g} [{one.low:.4g}, {one.high:.4g}]" for one in cells)]))
    return told


def _protocol(plan: JourneyPlan) -> str:
    last, scenario = HELD_OUT + plan.seeds - 1, plan.scenario
    days = "one day" if plan.days == 1 else f"{plan.days} days on end"
    return (
        f"World `{JOURNEY}`: the scenario {scenario.name} (`{scenario.hash[:12]}`), {days} of each of {plan.seeds} held-out "
        f"seeds ({HELD_OUT} to {last}), everybody bidding as {', '.join(plan.bidders)} in turn with bids and budgets that a "
        "variant leaves as they are. Both variants of a row meet the same users and draws; auctions are counted in "
        "expectation, except in the row of target CPA, and so are the answers to messages. Messages still unopened at the "
        "end are answered as those of the next morning would be. "
        f"The other worlds are played on seeds 0 to {plan.seeds - 1} of their own.\n"
    )


def _units() -> str:
    absolute = ", ".join(f"{one.name} ({one.unit})" for one in MEASURES if one.absolute)
    return (
        "Mean paired difference, with half of its 95 % t-interval over seeds: in % of the base, except "
        f"{absolute}. Bold where the interval leaves out 0; 0 where nothing changed on any seed; – where a world has no "
        "such number."
    )


def _where(one: Difference) -> str:
    return "" if one.row.world == JOURNEY else f" World: {one.row.world}."
