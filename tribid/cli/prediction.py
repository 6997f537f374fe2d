"""Learn to predict: ``tribid log`` writes what a shop's market shows, ``tribid fit`` learns from it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tribid.cli.options import ScenarioName, names, one_of
from tribid.cli.terminal import console, job_bar, progress_bar, readable_errors
from tribid.envs.scenario import load_scenario


def log(
    scenario: ScenarioName = "shop",
    out: Annotated[
        Path, typer.Option(help="Folder for the Parquet files; docs/prediction.md has their columns.")
    ] = Path("runs/log"),
    days: Annotated[int, typer.Option(help="Days to play.")] = 30,
    first_day: Annotated[int, typer.Option(help="Number of the first day.")] = 0,
    seed: Annotated[
        int, typer.Option(help="Decides who comes and what they do (below 1000000: for training).")
    ] = 500_000,
    bidders: Annotated[str, typer.Option(help="Who bids, in turn, comma-separated.")] = "pid,dual_pacing,truthful",
    explore: Annotated[float, typer.Option(help="Share of the requests in which chance decides what is shown.")] = 0.05,
    candidates: Annotated[bool, typer.Option(help="Also write all candidates of every request.")] = False,
) -> None:
    """Play days of a shop and write down what was shown to whom, what came of it, and what users did before.

    Example: `tribid log --days 30 --out runs/log`, then `tribid fit ctr --log runs/log --model din --out runs/din`.
    """
    with readable_errors():
        from tribid.agents.log_policy import log_policy
        from tribid.agents.rivals import rivals_in_turn
        from tribid.envs.impressions import LogPlan, write_log

        plan = LogPlan(
            scenario=load_scenario(scenario), days=days, first_day=first_day, seed=seed, explore=explore,
            candidates=candidates,
        )  # fmt: skip
        lineup = rivals_in_turn(names(bidders), plan.scenario)
        with progress_bar("days played") as tell:
            rows = write_log(plan, out, policy=log_policy(lineup), progress=tell)
        told = ", ".join(f"{count:,} {name}" for name, count in rows.items())
        console.print(f"wrote [bold]{out}[/]: {told}", soft_wrap=True)


fit_app = typer.Typer(
    no_args_is_help=True, help="Learn models of clicks, orders, states, retrieval and creatives from a log."
)

Log = Annotated[Path, typer.Option("--log", help="Folder that `tribid log` wrote, or a public log with --format.")]
Format = Annotated[str, typer.Option("--format", help="shop, or a public log's format; docs/prediction.md lists them.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the model, name=value (JSON), such as --set width=16.")
]
Kept = Annotated[int, typer.Option(help="Last days of the log, kept to measure on.")]
Run = Annotated[Path, typer.Option("--out", help="Folder of the run; started again, training goes on there.")]
Epochs = Annotated[int, typer.Option(help="Times that every impression is seen, at most.")]
Rate = Annotated[float, typer.Option(help="Adam's.")]
BatchSize = Annotated[int, typer.Option(help="Impressions a step.")]
Penalty = Annotated[float, typer.Option("--l2", help="Penalty of touched embedding rows.")]
Patience = Annotated[int, typer.Option(help="Checks without gain before training stops; 0: never early.")]
TrainingSeed = Annotated[int, typer.Option("--seed", help="Of all chance in training.")]
Threads = Annotated[int, typer.Option(help="Of torch; on a machine that is busy, one is fastest.")]
Calibration = Annotated[str, typer.Option(help="beta, isotonic, platt or none; on the validation days.")]


@fit_app.command("ctr")
def fit_ctr(
    log: Log = Path("runs/log"),
    model: Annotated[str, typer.Option(help="lr, wide_deep, deepfm, din, dien or cross_media.")] = "din",
    out: Run = Path("runs/din"),
    log_format: Format = "shop",
    epochs: Epochs = 1,
    learning_rate: Rate = 1e-3,
    batch_size: BatchSize = 1024,
    l2: Penalty = 0.0,
    patience: Patience = 0,
    seed: TrainingSeed = 0,
    threads: Threads = 1,
    calibration: Calibration = "beta",
    test_days: Kept = 2,
    settings: Settings = None,
    picture_size: Annotated[int, typer.Option(help="cross_media: pixels a side, as pictures are learnt from.")] = 32,
    scenario: Annotated[
        str, typer.Option("--scenario", "-s", help="cross_media: the log's scenario, where its name does not find it.")
    ] = "",
) -> None:
    """Learn the chance of a click. Watch it with `tensorboard --logdir runs`.

    Example: `tribid fit ctr --log runs/log --model dien --out runs/dien`.
    """
    _fit_rates(
        "click", log, model, out, log_format, calibration, test_days, settings,
        {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "l2": l2, "patience": patience,
         "seed": seed, "threads": threads},
        {"size": picture_size, "scenario": scenario},
    )  # fmt: skip


@fit_app.command("cvr")
def fit_cvr(
    log: Log = Path("runs/log"),
    model: Annotated[str, typer.Option(help="click_only, esmm, esm2, escm2_ips or escm2_dr.")] = "esmm",
    out: Run = Path("runs/esmm"),
    log_format: Format = "shop",
    epochs: Epochs = 2,
    learning_rate: Rate = 1e-3,
    batch_size: BatchSize = 1024,
    l2: Penalty = 0.0,
    patience: Patience = 0,
    seed: TrainingSeed = 0,
    threads: Threads = 1,
    calibration: Calibration = "none",
    test_days: Kept = 2,
    settings: Settings = None,
) -> None:
    """Learn the chance of an order after a click, on all impressions (ESMM and its like) or on clicks alone.

    Example: `tribid fit cvr --log runs/log --model esmm --out runs/esmm`.
    """
    _fit_rates(
        "order", log, model, out, log_format, calibration, test_days, settings,
        {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "l2": l2, "patience": patience,
         "seed": seed, "threads": threads},
    )  # fmt: skip


@fit_app.command("state")
def fit_state(
    log: Log = Path("runs/log"),
    model: Annotated[str, typer.Option(help="sequence, or counts.")] = "sequence",
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/state"),
    label: Annotated[str, typer.Option(help="truth (only a simulator has it), order or cart.")] = "truth",
    test_days: Kept = 2,
    settings: Settings = None,
) -> None:
    """Learn whether a visit browses or buys, from what it did before its first page."""
    with readable_errors():
        from tribid.models.fit.data import LogSource
        from tribid.models.fit.state import StateFit
        from tribid.models.fit.state import fit_state as fit

        plan = StateFit(
            source=LogSource(path=log, test_days=test_days), model=model, label=one_of(label, "truth", "order", "cart"),
            settings=settings_of(settings),
        )  # fmt: skip
        with console.status("learning"):
            measures = fit(plan, out)
        _tell(out, measures)


@fit_app.command("tdm")
def fit_tdm(
    log: Log = Path("runs/log"),
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/tdm"),
    count: Annotated[int, typer.Option(help="Items that are found where it is measured.")] = 200,
    test_days: Kept = 2,
    settings: Settings = None,
) -> None:
    """Learn a tree over the catalogue and a scorer of its nodes, from what users met next."""
    with readable_errors():
        from tribid.models.fit.data import LogSource
        from tribid.models.fit.retrieval import RetrievalFit, fit_retrieval

        plan = RetrievalFit(
            source=LogSource(path=log, test_days=test_days), count=count, settings=settings_of(settings)
        )
        plan.fresh()
        with console.status("reading the log"):
            cut = plan.cut()
        with progress_bar("epochs") as tell:
            measures = fit_retrieval(plan, out, cut=cut, progress=tell)
        _tell(out, measures)


@fit_app.command("creative")
def fit_creative(
    log: Log = Path("runs/log"),
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/creative"),
    test_days: Kept = 2,
    settings: Settings = None,
) -> None:
    """Learn which of its creatives to show for each ad and user, from pictures and explored impressions (VAM-HBM)."""
    with readable_errors():
        from tribid.models.fit.creative import CreativeFit
        from tribid.models.fit.creative import fit_creative as fit
        from tribid.models.fit.data import LogSource

        with console.status("learning"):
            measures = fit(
                CreativeFit(source=LogSource(path=log, test_days=test_days), settings=settings_of(settings)), out
            )
        _tell(out, measures)


def _fit_rates(
    event: str, log: Path, model: str, out: Path, log_format: str, calibration: str, test_days: int,
    settings: list[str] | None, training: dict[str, Any], pictures: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    with readable_errors():
        from pydantic import ValidationError

        from tribid.models.fit.data import LogSource
        from tribid.models.fit.gallery import PicturePlan
        from tribid.models.fit.rates import CALIBRATORS, CLICK_MODELS, ORDER_MODELS, RateFit, fit_rates
        from tribid.models.trainer import FitSettings, TrainingDivergedError

        models = CLICK_MODELS if event == "click" else ORDER_MODELS
        try:
            checked = FitSettings(**training)
        except ValidationError as error:
            bad = error.errors()[0]
            raise ValueError(f"{bad['loc'][0]} is {bad['input']!r}: {bad['msg']}") from None
        plan = RateFit(
            source=LogSource(path=log, format=log_format, test_days=test_days), model=one_of(model, *models),
            settings=settings_of(settings), training=checked, calibration=one_of(calibration, *CALIBRATORS, "none"),
            pictures=PicturePlan(**pictures or {}),
        )  # fmt: skip
        plan.fresh()
        with console.status("reading the log"):
            cut = plan.source.cut()
        with job_bar("steps") as tell:
            try:
                measures = fit_rates(
                    plan, out, cut=cut, progress=lambda done, total, loss: tell(done, total, f"loss {loss:.4f}")
                )
            except TrainingDivergedError as error:
                raise ValueError(f"{error}; a lower --learning-rate may help") from None
        _tell(out, measures)


def settings_of(given: list[str] | None) -> dict[str, Any]:
    """``name=value`` pairs; values are JSON, and what is no JSON is text."""
    found: dict[str, Any] = {}
    for one in given or ():
        name, equals, text = one.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--set is {one!r}; allowed is name=value, such as width=16")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found


def _tell(out: Path, measures: dict[str, float]) -> None:
    table = Table("on the days kept to measure", "")
    for name, value in measures.items():
        table.add_row(name.replace("_", " "), f"{value:,.4f}")
    console.print(table)
    console.print(f"wrote [bold]{out}[/]", soft_wrap=True)


def bench_prediction(
    plan: Annotated[
        str, typer.Argument(help="A plan's name (quick, full) or a YAML file; docs/prediction.md.")
    ] = "quick",
    out: Annotated[Path, typer.Option(help="Folder of the work; started again, a run goes on there.")] = Path(
        "runs/prediction"
    ),
    page: Annotated[Path | None, typer.Option(help="Where to write the results page; by default in --out.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the work.")] = 2,
) -> None:
    """Fit every prediction model on one log, and say how good each is and what it is worth to the three sides.

    Example: `tribid bench-prediction quick`. What was done is kept: after Ctrl-C only the rest is done.
    """
    with readable_errors():
        from tribid.evaluation.prediction.plan import load_plan
        from tribid.evaluation.prediction.run import fit_all, write_results

        chosen = load_plan(plan)
        with job_bar("fits") as tell:
            fit_all(chosen, out, workers=workers, progress=tell)
        with progress_bar("days played") as advance:
            written = write_results(
                chosen, out, page or out / "prediction-results.md", workers=workers, progress=advance
            )
        console.print(f"wrote [bold]{written}[/]", soft_wrap=True)
