"""Say what bidders were worth: ``tribid evaluate``, ``tribid bench-bidders``, and ``tribid report``."""

from pathlib import Path
from typing import Annotated

import typer

from tribid.cli.options import RIVALS, Rivals, ScenarioName, names
from tribid.cli.replay import evaluate_log
from tribid.cli.terminal import console, job_bar, progress_bar, readable_errors
from tribid.envs.scenario import load_scenario

BIDDERS = "pid,truthful,fixed_lambda,dual_pacing"


def evaluate(
    scenario: ScenarioName = "feed",
    bidders: Annotated[
        str,
        typer.Option(
            help="Contestants, comma-separated: names of bidders (docs/bidders.md), fixed:M, policy files, run folders."
        ),
    ] = "",
    focal: Annotated[
        str, typer.Option(help="Who is judged: half, all, or names; with a run's policies, its learners.")
    ] = "half",
    rivals: Rivals = RIVALS,
    days: Annotated[int, typer.Option(help="Held-out days; every contestant plays the same ones.")] = 20,
    first_seed: Annotated[
        int, typer.Option(help="First evaluation seed (from 1000000 on; lower ones are for training).")
    ] = 1_000_000,
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.html.")] = Path("runs/evaluation"),
    workers: Annotated[int, typer.Option(help="Processes that play days side by side.")] = 2,
    own: Annotated[
        list[Path] | None,
        typer.Option(help="A Python file with bidders of your own, which --bidders may name; it is run."),
    ] = None,
    forecaster: Annotated[
        str,
        typer.Option(
            help="Runs of `tribid fit ctr` and `fit cvr`, comma-separated: their rates replace the shop's own."
        ),
    ] = "",
    retrieval: Annotated[str, typer.Option(help="A run of `tribid fit tdm`: it finds the shop's candidates.")] = "",
    creatives: Annotated[
        str, typer.Option(help="A run of `tribid fit creative` or `fit ctr`: it picks the creatives.")
    ] = "",
    state: Annotated[str, typer.Option(help="A run of `tribid fit state`: it tells buying visits.")] = "",
    replay: Annotated[Path | None, typer.Option(help="Replay this impression log instead of a scenario.")] = None,
    info: Annotated[
        Path | None, typer.Option(help="Training statistics of the log (N.info.json); found beside an iPinYou log.")
    ] = None,
    train_log: Annotated[
        Path | None, typer.Option(help="Log to fit click rates on, for a log that has no predictions.")
    ] = None,
    budget_share: Annotated[
        float, typer.Option(help="Replay: budget as a share of what all rows cost at the mean price.")
    ] = 0.125,
    log_format: Annotated[str, typer.Option("--format", help="Replay: auto, csv, parquet, theta or ipinyou.")] = "auto",
    on_bad_row: Annotated[str, typer.Option(help="Replay: raise, or skip (counts and reports bad rows).")] = "raise",
) -> None:
    """Judge bidders on held-out days for the platform, the advertisers and the users, with intervals.

    Example: `tribid evaluate --bidders pid,fixed:0.8,runs/ppo`. On a real log:
    `tribid evaluate --replay 2997.test.theta.txt --bidders linear,fixed_lambda,pid,dual_pacing`.
    """
    with readable_errors():
        from tribid.agents.own import load_own

        load_own(own or ())
        if replay is not None:
            evaluate_log(replay, names(bidders), info, train_log, budget_share, log_format, on_bad_row, out)
            return
        from tribid.evaluation.platform.parts import load_parts, parts_of
        from tribid.evaluation.run import judge, write_report

        world = load_scenario(scenario)
        parts = parts_of(names(forecaster), retrieval=retrieval, creative=creatives, state=state)
        load_parts(world, parts)  # bad ones are refused before a bar is drawn
        with progress_bar("days played") as tell:
            results = judge(
                world, names(bidders or BIDDERS), focal=focal, rivals=names(rivals),
                eval_seeds=range(first_seed, first_seed + days), workers=workers, progress=tell, parts=parts,
            )  # fmt: skip
        write_report(results, out, console)


def bench_bidders(
    plan: Annotated[str, typer.Argument(help="A plan's name (quick, full) or a YAML file; docs/bidders.md.")] = "quick",
    out: Annotated[Path, typer.Option(help="Folder of the work; started again, a run goes on there.")] = Path(
        "runs/bench"
    ),
    page: Annotated[Path | None, typer.Option(help="Where to write the results page; by default in --out.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the work.")] = 2,
    market: Annotated[list[str] | None, typer.Option(help="Only this market of the plan; more than once.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method of the plan; more than once.")] = None,
    own: Annotated[
        list[Path] | None, typer.Option(help="A Python file with bidders of your own, which join; it is run.")
    ] = None,
    rtb_log: Annotated[
        Path | None,
        typer.Option(help="Add the published per-auction replay of an iPinYou theta log (N.info.json beside)."),
    ] = None,
) -> None:
    """Compare ways to bid: train them, play held-out days in several markets, and write one page with intervals.

    Example: `tribid bench-bidders quick --own my_bidder.py`. What was done is kept: after Ctrl-C, or with more methods,
    only the rest is done.
    """
    with readable_errors():
        from tribid.evaluation.bench.command import bench

        with job_bar("jobs") as tell:
            failed = bench(
                plan, out, markets=market or (), methods=method or (), own=own or (), workers=workers, tell=tell
            )
        for what, wrong in failed.items():
            console.print(f"failed: {what}: {wrong}", markup=False)
        from tribid.evaluation.bench.command import finish

        for path in finish(plan, out, page, markets=market or (), methods=method or (), own=own or (), rtb_log=rtb_log):
            console.print(f"wrote [bold]{path}[/]", soft_wrap=True)


def report(
    results: Annotated[Path, typer.Argument(help="A results.json, or the folder that holds it.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the HTML; by default report.html beside it.")] = None,
) -> None:
    """Make the HTML report of a results.json: one file, no external request."""
    with readable_errors():
        from tribid.evaluation.report import report_from_file

        source = results / "results.json" if results.is_dir() else results
        target = out or source.with_name("report.html")
        report_from_file(source, target)
        console.print(f"wrote [bold]{target}[/]")
