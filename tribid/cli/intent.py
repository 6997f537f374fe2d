"""``tribid attribution``: what a touch log's orders are owed to; ``tribid fit intent``: the purchase intent index of one."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tribid.cli.options import names, one_of
from tribid.cli.prediction import settings_of
from tribid.cli.terminal import console, progress_bar, readable_errors

TouchFile = Annotated[
    Path,
    typer.Option("--log", help="Touch log, Parquet or CSV: user, brand, time_hours, event, channel, value, industry."),
]


def attribution(
    log: TouchFile = Path("runs/touches.parquet"),
    by: Annotated[str, typer.Option(help="What shares the credit: channel, brand or event.")] = "channel",
    methods: Annotated[str, typer.Option(help="Rules of credit, comma-separated; left out, all of them.")] = "",
    events: Annotated[str, typer.Option(help="Events that count as touches, comma-separated.")] = "exposure,click",
    lookback_days: Annotated[float, typer.Option(help="How old a touch may be at its order.")] = 30.0,
    value: Annotated[bool, typer.Option("--value", help="Credit of the orders' value, not of their number.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw it, as .svg or .png.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the table, as JSON.")] = None,
) -> None:
    """Say what the orders of a touch log are owed to under every rule of credit, side by side.

    Example: `tribid attribution --log runs/touches.parquet --plot credit.svg`.
    """
    with readable_errors():
        from tribid.envs.attribution.credit import METHODS
        from tribid.evaluation.credit import credit_table
        from tribid.evaluation.credit_plot import plot_credit
        from tribid.files import write_json

        one_of(by, "channel", "brand", "event")
        chosen = [one_of(name, *METHODS) for name in names(methods)] or list(METHODS)
        with progress_bar("rules") as tell:
            told = credit_table(
                log, by=by, methods=chosen, events=names(events), lookback_hours=24.0 * lookback_days, value=value,
                progress=tell,
            )  # fmt: skip
        what = "value credited" if value else "conversions credited"
        table = Table(by, *(name.replace("_", " ") for name in chosen), title=what, padding=(0, 0))
        places = 1 if max(told.credit[rule].max(initial=0.0) for rule in chosen) < 1000 else 0
        for row, name in enumerate(told.names):
            table.add_row(name, *(f"{told.credit[rule][row]:,.{places}f}" for rule in chosen))
        console.print(table)
        console.print(f"{told.orders:,} orders, {told.direct:,} of them with no touch in {lookback_days:g} days before")
        if told.hidden:
            console.print(f"{told.hidden} of the log's {by}s not told, so that nothing is said of fewer than 50 users")
        if plot is not None:
            plot_credit(plot, told.names, told.credit, what)
            console.print(f"wrote [bold]{plot}[/]", soft_wrap=True)
        if out is not None:
            write_json(out, told.as_json())
            console.print(f"wrote [bold]{out}[/]", soft_wrap=True)


def fit_intent(
    log: TouchFile = Path("runs/touches.parquet"),
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/intent"),
    test_days: Annotated[float, typer.Option(help="Last days of the log, whose orders are foretold to measure.")] = 7.0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the index, name=value (JSON), such as --set half_life_days=7."),
    ] = None,
) -> None:
    """Learn the purchase intent index of a touch log: weights of eight behaviours by industry, and the scale to 100.

    Example: `tribid fit intent --log runs/touches.parquet --out runs/intent`.
    """
    with readable_errors():
        from tribid.models.fit.intent import IntentFit
        from tribid.models.fit.intent import fit_intent as fit

        plan = IntentFit(log=log, test_days=test_days, settings=settings_of(settings))
        with console.status("learning"):
            index, measures = fit(plan, out)
        console.print(_weights(index))
        table = Table("AUC of orders of the last days", "")
        for name, reached in measures.items():
            table.add_row(name.replace("_", " "), f"{reached:.4f}")
        console.print(table)
        console.print(f"wrote [bold]{out}[/]", soft_wrap=True)


def _weights(index: Any) -> Table:
    """The learnt weights, a row for each industry."""
    from tribid.models.intent.behaviour import BEHAVIOUR_NAMES

    table = Table("industry", "paths", *(name.replace("_", " ") for name in BEHAVIOUR_NAMES), padding=(0, 0))
    for name, paths, row in zip(index.industries, index.paths_, index.weights_, strict=True):
        table.add_row(name, f"{paths:,}", *(f"{weight:.3f}" for weight in row))
    return table
