"""Make logged decisions again: ``tribid replay-decisions``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tribid.cli.terminal import console, progress_bar, readable_errors


def replay_decisions(
    log: Annotated[
        Path, typer.Argument(help="The folder of a decision log (`tribid serve --decision-log`), or one of its files.")
    ],
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario", "-s", help="A scenario's name or a YAML file; by default found by its hash, beside the log."
        ),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many differences to show.")] = 10,
) -> None:
    """Make every logged decision again, offline, and compare bids, scores, winners and prices bit for bit.

    Leaves with 0 if all are equal, 1 if any differs, 2 if the log cannot be read or belongs to another scenario.

    Example: `tribid replay-decisions runs/decisions`.
    """
    with readable_errors():
        from tribid.ranker.decision_log import replay

        with progress_bar("decisions made again") as tell:
            result = replay(log, scenario, show=show, progress=tell)
        console.print(_by_release(result))
        if result.lost:
            console.print(f"at least {result.lost:,} more were decided and are not in the log: it says so itself")
        if result.differences:
            console.print(_differences(result))
            console.print(f"decided by tribid {', '.join(result.versions)}", highlight=False)
    if result.different:
        raise typer.Exit(1)


def _by_release(result: Any) -> Table:
    table = Table(title=f"{result.decisions:,} decisions made again", title_justify="left")
    for column in ("release", "decisions", "equal", "different"):
        table.add_column(column, justify="left" if column == "release" else "right", overflow="fold")
    for release, (count, different) in result.by_release.items():
        table.add_row(release, f"{count:,}", f"{count - different:,}", f"{different:,}")
    return table


def _differences(result: Any) -> Table:
    table = Table(title="the first differences", title_justify="left")
    for column in ("row", "decision", "release", "field", "logged", "made again"):
        table.add_column(column, overflow="fold")
    for one in result.differences:
        field = one.field if one.place < 0 else f"{one.field} {one.place}"
        table.add_row(one.where, one.id, one.release, field, repr(one.logged), repr(one.again))
    return table
