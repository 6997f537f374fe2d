"""Ask a running ranker for many pages at their due times: ``tribid loadtest``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tribid.cli.options import ScenarioName, one_of
from tribid.cli.terminal import console, job_bar, readable_errors

if TYPE_CHECKING:
    from tribid.benchmark.loadtest.asks import Asks
    from tribid.benchmark.loadtest.load import Load
    from tribid.envs.scenario import Scenario

_CANDIDATES = 16


def loadtest(
    url: Annotated[str, typer.Argument(help="Where the ranker answers, such as http://127.0.0.1:8080.")],
    scenario: ScenarioName = "feed",
    what: Annotated[
        str,
        typer.Option(
            help="pages: asked of POST /v1/rank; slots: pictures of mails (needs --slots-key); profiles: an event, and then "
            "the profile that has to hold it."
        ),
    ] = "pages",
    slots_key: Annotated[Path | None, typer.Option(help="The server's key file of slots.")] = None,
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
        from tribid.benchmark.loadtest.generator import run_load
        from tribid.benchmark.loadtest.load import Load
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
        if one_of(what, "pages", "slots", "profiles") == "pages":
            from tribid.benchmark.loadtest.asks import AskPages
            from tribid.benchmark.loadtest.pages import pages_of

            shown = 0 if pages else _candidates(candidates, world)
            asked: Asks = AskPages(
                load, pages_of(world, load, candidates=shown, events=events, first=first, day=day, tick=tick)
            )
        else:
            asked = _of_consumers(what, load, world, slots_key)
        with job_bar("load") as tell:
            loaded = run_load(load, asked, tell)
        report = report_of(loaded)
        console.print(load_table(report))
        for line in summary(report, pages=what == "pages"):
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


def _of_consumers(what: str, load: "Load", scenario: "Scenario", slots_key: Path | None) -> "Asks":
    """Requests for a service's consumers' side: users of the scenario, items of its catalogue."""
    from tribid.benchmark.loadtest.asks import AskProfiles, AskSlots
    from tribid.envs.worlds import FeedWorld, ShopWorld
    from tribid.ranker.open_time.tokens import Signer, read_keys

    world = scenario.world
    if not isinstance(world, FeedWorld):
        raise ValueError(f"scenario {scenario.name} is no feed; allowed is the one that the server serves")
    if what == "slots":
        if slots_key is None:
            raise ValueError("--slots-key is missing; --what slots seals its slots with the server's key")
        return AskSlots(load, Signer(read_keys(slots_key)), users=world.users.count, now_ms=time.time_ns() // 1_000_000)
    items = world.catalogue.items if isinstance(world, ShopWorld) else 1
    return AskProfiles(load, users=world.users.count, items=items)


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
