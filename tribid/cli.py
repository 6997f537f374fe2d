"""The ``tribid`` command: train, evaluate, report, simulate, rank, scenario, benchmark.

Each subcommand reads its options and calls one function of the package; scripts/ call the same functions.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

import tribid
from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.divergence import DivergenceError
from tribid.envs.scenario import load_scenario, scenario_names

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train bidders in a simulated feed-ad market, judge them for all three sides, and let them answer requests.",
)
scenario_app = typer.Typer(
    no_args_is_help=True, help="List, show and check scenarios (YAML files that describe a market)."
)
app.add_typer(scenario_app, name="scenario")
console = Console()

Scenario_ = Annotated[
    str, typer.Option("--scenario", "-s", help="A scenario's name (see `tribid scenario list`) or a YAML file.")
]
Rivals = Annotated[str, typer.Option(help="Bidders of the advertisers that are not judged, in turn, comma-separated.")]
RIVALS = "pid,dual_pacing,truthful"
BIDDERS = "pid,truthful,fixed_lambda,dual_pacing"


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        console.print(f"tribid {tribid.__version__}")
        raise typer.Exit


@app.command()
def train(
    scenario: Scenario_ = "feed",
    out: Annotated[Path, typer.Option(help="Folder of the run; its last part names it in reports.")] = Path("runs/ppo"),
    algorithm: Annotated[str, typer.Option(help=f"How to learn: {', '.join(ALGORITHMS)}.")] = "ppo",
    data: Annotated[str, typer.Option(help="Recorded trajectories, for algorithms that learn offline.")] = "",
    mapping: Annotated[
        str, typer.Option(help="Who shares a policy: shared, independent, by_objective, or adv_00=a,*=b.")
    ] = "shared",
    learners: Annotated[str, typer.Option(help="Who learns: half (every second advertiser), all, or names.")] = "half",
    rivals: Rivals = RIVALS,
    seeds: Annotated[str, typer.Option(help="Training seeds, comma-separated: each gives its own policies.")] = "0",
    steps: Annotated[int, typer.Option(help="Advertiser-steps of each policy (one learner, one tick).")] = 300_000,
    markets: Annotated[int, typer.Option(help="Days that run side by side.")] = 4,
    rounds: Annotated[int, typer.Option(help="With several policies: how often each takes its turn to learn.")] = 1,
    self_play: Annotated[
        int, typer.Option(help="Past snapshots of a policy kept as rivals (needs --rounds 2 or more); 0 for none.")
    ] = 0,
    warm_start: Annotated[str, typer.Option(help="Bidder that policies imitate first; '' for none.")] = "pid",
    outcomes: Annotated[
        str, typer.Option(help="Rewards from 'expected' or 'sampled' clicks and conversions.")
    ] = "expected",
    workers: Annotated[int, typer.Option(help="Seeds that train side by side (on a GPU: one after the other).")] = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto: a GPU where torch sees one.")] = "cpu",
    engine: Annotated[
        str, typer.Option(help="sb3 (CPU), device (markets and PPO on --device), or auto: device on a GPU.")
    ] = "auto",
) -> None:
    """Train policies and write them as safetensors with a JSON card.

    Example: `tribid train --scenario feed --seeds 0,1 --out runs/ppo`, then
    `tribid evaluate --bidders pid,fixed,runs/ppo --out runs/first`. Watch it with `tensorboard --logdir runs/ppo`.
    Ctrl-C stops early and leaves policies that can be used.
    """
    with _readable_errors():
        from tribid.agents.plan import TrainingPlan
        from tribid.agents.seeds import train_seeds

        loaded = load_scenario(scenario)
        plan = TrainingPlan(
            scenario=loaded, algorithm=algorithm, data=data, mapping=mapping,
            learners=_focal(learners, loaded), rivals=_names(rivals), steps=steps, num_markets=markets, rounds=rounds,
            self_play=self_play, warm_start=warm_start, outcomes=_one_of(outcomes, "sampled", "expected"),
            engine=_one_of(engine, "auto", "sb3", "device"), device=device,
        )  # fmt: skip
        chosen = [_whole("seeds", text) for text in _names(seeds)]
        with seed_bars(chosen) as tell:
            finished = train_seeds(plan, chosen, out, workers=workers, progress=tell)
        console.print(f"policies are in [bold]{out}[/]; judge them with:")
        console.print(
            f"  tribid evaluate --scenario {scenario} --bidders pid,fixed,{out}", markup=False, soft_wrap=True
        )
        if not finished:
            console.print("stopped early: the policies hold what was learnt so far")
            raise typer.Exit(130)


@app.command()
def collect(
    scenario: Scenario_ = "feed",
    out: Annotated[Path, typer.Option(help="Folder for the part files; it must hold none yet.")] = Path("runs/days"),
    bidders: Annotated[
        str, typer.Option(help="Who bids, in turn; the turn moves on by one each day.")
    ] = "pid,dual_pacing,fixed",
    days: Annotated[int, typer.Option(help="Days, each of its own training seed.")] = 60,
    first_seed: Annotated[int, typer.Option(help="First of the training seeds (below 1000000).")] = 1000,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise on actions.")] = 0.15,
    outcomes: Annotated[str, typer.Option(help="What is recorded: 'sampled' or 'expected' outcomes.")] = "sampled",
    workers: Annotated[int, typer.Option(help="Processes that play days side by side.")] = 1,
) -> None:
    """Record days of named bidders, with noise, as trajectories that offline algorithms learn from.

    Example: `tribid collect --days 60 --out runs/days`, then `tribid train --algorithm iql --data runs/days`.
    """
    with _readable_errors():
        from tribid.agents.offline.collect import collect as record

        loaded = load_scenario(scenario).with_changes(rules__outcomes=_one_of(outcomes, "sampled", "expected"))
        with progress_bar("days recorded") as tell:
            found = record(
                loaded, _names(bidders), range(first_seed, first_seed + days), out=out, noise=noise, progress=tell,
                workers=workers,
            )  # fmt: skip
        scores = ", ".join(f"{name} {score:.3f}" for name, score in found.score.items())
        console.print(f"{found.days} days, {found.rows} rows are in [bold]{out}[/]; mean scores: {scores}")


@app.command()
def evaluate(
    scenario: Scenario_ = "feed",
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
    with _readable_errors():
        from tribid.agents.own import load_own

        load_own(own or ())
        if replay is not None:
            _evaluate_log(replay, _names(bidders), info, train_log, budget_share, log_format, on_bad_row, out)
            return
        from tribid.evaluation.run import judge, write_report

        with progress_bar("days played") as tell:
            results = judge(
                load_scenario(scenario), _names(bidders or BIDDERS), focal=focal, rivals=_names(rivals),
                eval_seeds=range(first_seed, first_seed + days), workers=workers, progress=tell,
            )  # fmt: skip
        write_report(results, out, console)


@app.command()
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
    with _readable_errors():
        from tribid.evaluation.bench.command import bench

        with _told("jobs") as tell:
            failed = bench(
                plan, out, markets=market or (), methods=method or (), own=own or (), workers=workers, tell=tell
            )
        for what, wrong in failed.items():
            console.print(f"failed: {what}: {wrong}", markup=False)
        from tribid.evaluation.bench.command import finish

        for path in finish(plan, out, page, markets=market or (), methods=method or (), own=own or (), rtb_log=rtb_log):
            console.print(f"wrote [bold]{path}[/]", soft_wrap=True)


@app.command()
def replay_rtb(
    log: Annotated[Path, typer.Argument(help="Lines of 'click price theta', such as iPinYou's 2997.test.theta.txt.")],
    info: Annotated[
        Path | None, typer.Option(help="Training statistics; by default N.info.json beside the log.")
    ] = None,
    c0: Annotated[list[float] | None, typer.Option(help="Budget as a share of what buys all; more than once.")] = None,
    episode: Annotated[int, typer.Option(help="Auctions that share a budget.")] = 1000,
    linear_base: Annotated[float, typer.Option(help="Lin's bid at the mean click rate.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON here.")] = None,
) -> None:
    """Replay a real log auction by auction, as published: SS-MDP, Mcpc, Lin and RLB (Cai et al., WSDM 2017).

    Example: `tribid replay-rtb 2997.test.theta.txt --c0 0.03125`. `tribid evaluate --replay` judges bidders that act by
    the tick on the same logs.
    """
    with _readable_errors():
        from tribid.evaluation.replayed import info_beside
        from tribid.evaluation.rtb_log import replay_rtb as replay
        from tribid.evaluation.rtb_log import rtb_table
        from tribid.files import write_json

        statistics = info or info_beside(log)
        if statistics is None:
            raise ValueError(f"{log} has no N.info.json beside it; give --info")
        shares = c0 or [1 / 32]
        found = [replay(log, statistics, c0=share, episode=episode, linear_base=linear_base) for share in shares]
        console.print(rtb_table(found))
        if out is not None:
            write_json(out, [one.as_data() for one in found])
            console.print(f"wrote [bold]{out}[/]")


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="A results.json, or the folder that holds it.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the HTML; by default report.html beside it.")] = None,
) -> None:
    """Make the HTML report of a results.json: one file, no external request."""
    with _readable_errors():
        from tribid.evaluation.report import report_from_file

        source = results / "results.json" if results.is_dir() else results
        target = out or source.with_name("report.html")
        report_from_file(source, target)
        console.print(f"wrote [bold]{target}[/]")


@app.command()
def simulate(
    scenario: Scenario_ = "feed",
    multiplier: Annotated[float, typer.Option(help="Everybody bids this many times its unit bid.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Decides who comes and what they do.")] = 0,
    day: Annotated[int, typer.Option(help="Which day of the seed.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Write a Parquet file with a row for each ad shown.")] = None,
) -> None:
    """Play a day of a feed in flat memory, however long it is, and say what the three sides had of it.

    The log's columns are documented in docs/environment.md; it takes its name when the day is over.
    """
    with _readable_errors():
        from tribid.envs.stream import stream_day

        with progress_bar("ticks") as advance:
            state = stream_day(scenario, seed, day, multiplier=multiplier, log=log, progress=advance)
        counts, spend = state.total.counts, int(state.total.spend_micros.sum())
        console.print(
            f"shown {counts.wins.sum():,.0f}, clicks {counts.clicks.sum():,.0f}, conversions "
            f"{counts.conversions.sum():,.0f}, paid {spend / 1e6:,.2f} of budgets "
            f"{state.advertisers.budget_micros.sum() / 1e6:,.2f}"
        )
        if log is not None:
            console.print(f"wrote [bold]{log}[/]")


@app.command()
def rank(
    scenario: Scenario_ = "feed",
    policies: Annotated[
        str, typer.Option(help="A folder with policy files (runs/ppo/seed-0/policies), or a bidder's name.")
    ] = "pid",
    request: Annotated[
        str, typer.Option(help='JSON such as {"request": 1, "user": 42, "tick": 50}; "-" reads lines from stdin.')
    ] = ('{"request": 1, "user": 42, "tick": 5, "state": "buying"}'),
    seed: Annotated[int, typer.Option(help="Names the stand-in forecaster's errors and the tie-breaks.")] = 0,
) -> None:
    """Answer requests with learnt policies: who is shown, at what price, and why. One JSON line per request.

    The simulated day first runs up to the request's tick, so that budgets and multipliers are those of that hour.
    """
    with _readable_errors():
        from tribid.ranker import Ranker, parse_request

        ranker = Ranker(scenario, policies, seed=seed)
        for line in sys.stdin if request == "-" else [request]:
            if line.strip():
                asked = parse_request(line)
                ranker.play_to(asked.tick)
                typer.echo(ranker.rank(asked).model_dump_json())


@app.command()
def benchmark(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work, for a first look.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json and the plots (SVG; needs matplotlib).")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="An earlier benchmark.json: what is slower than then?")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Of bare, days, markets, vector, pettingzoo, retrieval, stream, startup, gpu, growth; more than once."
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Replace the measured blocks of this page.")] = None,
    read: Annotated[Path | None, typer.Option(help="Show this benchmark.json in place of measuring anew.")] = None,
) -> None:
    """Measure this machine and the market on it, each figure beside its read bandwidth and plain numpy.

    Example: `tribid benchmark --out runs/speed`, and after a change `tribid benchmark --compare
    runs/speed/benchmark.json`, which compares ratios first: they carry over to other machines. A whole run takes some
    minutes; leave the machine alone meanwhile.
    """
    with _readable_errors():
        from tribid.benchmark.report import show, write
        from tribid.benchmark.results import load_results
        from tribid.benchmark.suite import checked_groups, run_benchmark

        groups = [name for given in only or [] for name in _names(given)]
        checked_groups(groups)
        if page is not None and (groups or quick):
            raise ValueError("--page shows a whole run; allowed is neither --only nor --quick with it")
        baseline = load_results(compare) if compare is not None else None
        if read is not None:
            results = load_results(read)
        else:
            command = "tribid benchmark" + " --quick" * quick + "".join(f" --only {name}" for name in groups)
            with _steps() as tell:
                results = run_benchmark(quick=quick, only=groups, command=command, tell=tell)
        show(results, console, baseline, str(compare))
        for path in write(results, out, page):
            console.print(f"wrote [bold]{path}[/]", soft_wrap=True)


@scenario_app.command("list")
def scenario_list() -> None:
    """Names and descriptions of the scenarios that ship with the package."""
    table = Table("name", "hash", "description")
    for name in scenario_names():
        loaded = load_scenario(name)
        table.add_row(name, loaded.hash, loaded.description.strip())
    console.print(table)


@scenario_app.command("show")
def scenario_show(name: Annotated[str, typer.Argument(help="A name or a YAML file.")]) -> None:
    """The whole scenario with every default filled in, as YAML that can be edited and used."""
    with _readable_errors():
        typer.echo(
            yaml.safe_dump(json.loads(load_scenario(name).model_dump_json()), sort_keys=False, width=100), nl=False
        )


@scenario_app.command("check")
def scenario_check(file: Annotated[Path, typer.Argument(help="A YAML file.")]) -> None:
    """Say whether a file is a valid scenario, or everything that is wrong with it."""
    with _readable_errors():
        loaded = load_scenario(file)
        console.print(f"{file} is a valid scenario: {loaded.name}, hash {loaded.hash}")


def _evaluate_log(
    log: Path, bidders: tuple[str, ...], info: Path | None, train_log: Path | None, budget_share: float, log_format: str,
    on_bad_row: str, out: Path,
) -> None:  # fmt: skip
    from tribid.evaluation.run import judge_log, replay_table
    from tribid.files import write_json

    started = time.perf_counter()
    result = judge_log(
        log, bidders, info=info, train_log=train_log, budget_share=budget_share, log_format=log_format,
        on_bad_row=_one_of(on_bad_row, "raise", "skip"),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "replay.json", result.as_data())
    console.print(replay_table(result))
    if result.skipped:
        console.print(f"{result.skipped} bad rows were left out, such as:")
        for reason in result.skipped_reasons:
            console.print(f"  {reason}", markup=False, highlight=False)
    console.print(f"wrote [bold]{out / 'replay.json'}[/] ({time.perf_counter() - started:.1f} s)")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _focal(text: str, scenario: Any) -> tuple[int, ...]:
    from tribid.evaluation.run import chosen_advertisers

    return chosen_advertisers(text, scenario)


def _one_of(value: str, *allowed: str) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} is not known; choose {' or '.join(allowed)}")
    return value


def _whole(name: str, text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{name} holds {text!r}; allowed are whole numbers from 0, comma-separated")
    return int(text)


@contextmanager
def _readable_errors() -> Iterator[None]:
    """One clear line for what the user can mend; a traceback only for what is our fault."""
    try:
        yield
    except (ValueError, ImportError, OSError, DivergenceError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped")
        raise typer.Exit(130) from None


def _columns() -> tuple[Any, ...]:
    return (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told what is done and the total."""
    with Progress(*_columns(), console=console) as progress:
        task = progress.add_task(what, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _told(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar that is told what is done, the total, and what was done last."""
    with Progress(*_columns(), console=console) as progress:
        task = progress.add_task(what, total=None, note="")
        yield lambda done, total, last: progress.update(task, completed=done, total=total, note=last)


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is told what is being measured; drawn only then, for a bar that draws itself would be measured too."""
    with Progress(*_columns(), console=console, auto_refresh=False) as progress:
        task = progress.add_task("measuring", total=None, note="")

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, note=what, refresh=True)

        yield tell


@contextmanager
def seed_bars(seeds: list[int]) -> Iterator[Callable[[int, int, int, float | None], None]]:
    """A bar per training seed, told the seed, the steps done, the total and the latest score."""
    with Progress(*_columns(), console=console) as progress:
        tasks: dict[int, TaskID] = {seed: progress.add_task(f"seed {seed}", total=None, note="") for seed in seeds}

        def tell(seed: int, done: int, total: int, score: float | None) -> None:
            note = "imitating first" if score is None else f"score {score:.3f}"
            progress.update(tasks[seed], completed=done, total=total, note=note)

        yield tell


if __name__ == "__main__":
    app()
