"""``tribid fit actions``: learn how likely users are to take each action, from the log of what was proposed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tribid.cli.prediction import Settings, settings_of
from tribid.cli.terminal import console, readable_errors

if TYPE_CHECKING:
    from tribid.models.actions.fit import FitReport


def fit_actions(
    log: Annotated[
        Path, typer.Argument(help="Folder of actions-*.jsonl that `tribid serve` wrote (or --simulate writes).")
    ] = Path("runs/actions-log"),
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("runs/actions"),
    actions: Annotated[
        Path | None, typer.Option(help="YAML or JSON file of the actions; by default actions.json in the log.")
    ] = None,
    model: Annotated[str, typer.Option(help="network, or logistic, whose weights can be read.")] = "network",
    until: Annotated[
        str, typer.Option(help="The present, such as 2026-03-01T00:00; by default the log's last event.")
    ] = "",
    period_days: Annotated[float, typer.Option(help="A view that is not followed by taken so long is a no.")] = 14.0,
    window_days: Annotated[float, typer.Option(help="How far back events count.")] = 42.0,
    skip_unknown: Annotated[bool, typer.Option(help="Pass over events of actions that there are no more.")] = False,
    simulate: Annotated[
        int, typer.Option(help="First write a log of so many visits of a simulated shop into an empty LOG.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the simulated shop.")] = 0,
    settings: Settings = None,
) -> None:
    """Learn the propensity of each action from views, refusals and takings of the last six weeks.

    Example: `tribid fit actions runs/actions-log --simulate 20000 --out runs/actions`.
    """
    with readable_errors():
        from tribid.models.actions.fit import ActionFit
        from tribid.models.actions.fit import fit_actions as fit

        if simulate:
            with console.status("simulating"):
                _simulate(log, simulate, seed)
        plan = ActionFit(
            log=log, actions=actions, until_ms=_time_ms(until), period_days=period_days, window_days=window_days,
            skip_unknown=skip_unknown, settings={"model": model} | settings_of(settings),
        )  # fmt: skip
        with console.status("learning"):
            report = fit(plan, out)
        _tell(report, out)


def _simulate(folder: Path, visits: int, seed: int) -> None:
    """Write a log and its actions; ``ValueError`` where the folder holds a log already."""
    from tribid.envs.actions import actions_json
    from tribid.files import write_json
    from tribid.models.actions.fit import CATALOGUE_FILE
    from tribid.models.actions.log import FILES, write_log
    from tribid.models.actions.world import ActionWorld, ActionWorldRule

    if folder.is_dir() and any(folder.glob(FILES)):
        raise ValueError(f"{folder} holds a log already; allowed is an empty folder, or no --simulate")
    world = ActionWorld(ActionWorldRule(users=max(1, visits // 3), visits=visits), seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CATALOGUE_FILE, actions_json(world.rules.actions))
    write_log(folder / FILES.replace("*", "simulated"), world.names, world.log())


def _time_ms(text: str) -> int | None:
    """A time in ISO 8601 as Unix milliseconds, read as UTC where it names no zone."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--until is {text!r}; allowed is a time such as 2026-03-01T00:00") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _tell(report: "FitReport", out: Path) -> None:
    table = Table("action", "taken", "not taken", "viewed", "examples", "too young", "model", "AUC", "PCOC")
    for one in report.actions:
        numbers = (one.taken, one.not_taken, one.viewed, one.examples, one.young)
        rates = ("" if value is None else f"{value:.3f}" for value in (one.auc, one.pcoc))
        table.add_row(one.name, *(f"{number:,}" for number in numbers), "yes" if one.known else "too little", *rates)
    console.print(table)
    if report.measures:
        told = ", ".join(f"{name.replace('_', ' ')} {value:,.4g}" for name, value in report.measures.items())
        console.print(f"on users kept to measure: {told}")
    for count, what in (
        (report.unknown, "events of actions that there are no more"), (report.blind, "events without features"),
        (report.repeated, "records that stood there before"), (report.torn, "unfinished last lines"),
    ):  # fmt: skip
        if count:
            console.print(f"passed over: {count:,} {what}")
    console.print(f"wrote [bold]{out}[/]", soft_wrap=True)
