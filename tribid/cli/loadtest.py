"""Ask a running ranker for many pages at their due times: ``tribid loadtest``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tribid.cli.options import ScenarioName
from tribid.cli.terminal import console, job_bar, readable_errors

if TYPE_CHECKING:
    from tribid.envs.scenario import Scenario

_CANDIDATES = 16


def loadtest(
    url: Annotated[str, typer.Argument(help="Where the ranker answers, such as http://127.0.0.1:8080.")],
    scenario: ScenarioName = "feed",
    rate: Annotated[float, typer.Option(help="Requests that are due a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(help="How long, after the warm-up.")] = 10.0,
    warmup: Annotated[float, typer.Option(help="Seconds at the same rate that are not counted.")] = 2.0,
    arrivals: Annotated[str, typer.Option(help="poisson, or constant: evenly spaced.")] = "poisson",
    candidates: Annotated[
        int | None,
        typer.Option(
            help="Advertisers that each page brings, with random rates. "
            f"[default: {_CANDIDATES}, or all where the scenario has fewer]"
        ),
    ] = None,
    pages: Annotated[
        bool, typer.Option("--pages", help="Bring no candidates: the server retrieves and predicts.")
    ] = False,
    events: Annotated[int, typer.Option(help="Of each visit before its page, for a state model.")] = 0,
    batch: Annotated[int, typer.Option(help="Pages of a request.")] = 1,
    clicks: Annotated[float, typer.Option(help="Share of the answered pages that are clicked afterwards.")] = 0.0,
    connections: Annotated[int, typer.Option(help="Open at once; a request that waits for one counts its wait.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds after which an answer is given up.")] = 10.0,
    token_file: Annotated[
        Path | None, typer.Option(help="Holds the server's bearer token (or set TRIBID_TOKEN).")
    ] = None,
    first: Annotated[int | None, typer.Option(help="Number of the first page (random: each is sold once).")] = None,
    day: Annotated[int | None, typer.Option(help="Day of the pages (the server's).")] = None,
    tick: Annotated[int | None, typer.Option(help="Tick of the pages (the server's).")] = None,
    seed: Annotated[int, typer.Option(help="Of arrivals, users, candidates and clicks.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw percentiles and latency over time (.svg or .png).")] = None,
) -> None:
    """Measure how a running ranker answers under load, as its users would.

    Requests are sent when they are due, whatever the server does, and latencies count from then: a server that hangs
    for a moment is charged for everybody who came meanwhile. Ends with code 1 where anything was not answered.

    Example: `tribid loadtest http://127.0.0.1:8080 --rate 500 --clicks 0.05 --plot load.svg`.
    """
    with readable_errors():
        from tribid.benchmark.loadtest.asks import AskPages
        from tribid.benchmark.loadtest.generator import run_load
        from tribid.benchmark.loadtest.load import Load
        from tribid.benchmark.loadtest.pages import pages_of
        from tribid.benchmark.loadtest.report import as_json, load_table, report_of, summary
        from tribid.envs.scenario import load_scenario
        from tribid.files import write_json
        from tribid.ranker.service.settings import token_of

        if plot is not None:
            _check_plot(plot)
        load = Load(
            url=url, rate=rate, seconds=seconds, warmup=warmup, arrivals=arrivals, batch=batch, connections=connections,
            timeout_s=timeout, clicks=clicks, token=token_of(token_file), seed=seed,
        )  # fmt: skip
        world = load_scenario(scenario)
        asked = pages_of(
            world, load, candidates=0 if pages else _candidates(candidates, world), events=events, first=first, day=day,
            tick=tick,
        )  # fmt: skip
        with job_bar("load") as tell:
            loaded = run_load(load, AskPages(load, asked), tell)
        report = report_of(loaded)
        console.print(load_table(report))
        for line in summary(report):
            console.print(line, highlight=False, soft_wrap=True)
        if json is not None:
            write_json(json, as_json(report))
            console.print(f"wrote [bold]{json}[/]", soft_wrap=True)
        if plot is not None:
            from tribid.benchmark.loadtest.plot import load_plot

            load_plot(loaded, plot)
            console.print(f"wrote [bold]{plot}[/]", soft_wrap=True)
        if report.failed:
            raise typer.Exit(1)


def _candidates(given: int | None, scenario: "Scenario") -> int:
    """How many advertisers a page brings where nobody says; a scenario of no feed is left to ``pages_of`` to refuse."""
    from tribid.envs.world import build_world
    from tribid.envs.worlds import FeedWorld

    if given is not None or not isinstance(scenario.world, FeedWorld):
        return _CANDIDATES if given is None else given
    return min(_CANDIDATES, len(build_world(scenario).advertisers.names))


def _check_plot(plot: Path) -> None:
    """Before the load, not after it: can the picture be drawn at all?"""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ImportError("a plot needs matplotlib: pip install 'tribid[loadtest]'")
    if plot.suffix not in (".svg", ".png"):
        raise ValueError(f"plot is {plot}; allowed is a file that ends in .svg or .png")
