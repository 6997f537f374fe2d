"""What a journey's parts are worth: ``tribid bench-journey``."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tribid.cli.options import names
from tribid.cli.terminal import console, job_bar, readable_errors

WIDE = 132
"""The least columns of a terminal at which the table is printed as one; on a narrower one each row is a block of lines."""


def bench_journey(
    scenario: Annotated[str, typer.Option(help="A scenario of kind journey: a name or a YAML file.")] = "journey",
    days: Annotated[int, typer.Option(help="Days played on end of each seed; what users remember goes on.")] = 2,
    seeds: Annotated[
        int, typer.Option(help="Held-out seeds, over which intervals are taken; under 10 nothing is concluded.")
    ] = 20,
    worlds: Annotated[
        str,
        typer.Option(
            help="Blocks of the table, comma-separated: journey, search, channels, sequential, actions. Left out, all."
        ),
    ] = "",
    bidders: Annotated[str, typer.Option(help="Who bids, comma-separated; the advertisers take turns.")] = "truthful",
    out: Annotated[Path, typer.Option(help="Folder of the work; started again, a run goes on there.")] = Path(
        "runs/bench-journey"
    ),
    page: Annotated[
        Path | None, typer.Option(help="Where to write the page (its picture lies beside it); by default in --out.")
    ] = None,
    machine: Annotated[str, typer.Option(help="The machine's class, as the page names it; left out, as found.")] = "",
) -> None:
    """Say what each part of a journey is worth to platform, advertisers and users: with it and without, in one table.

    Both meet the same users and the same draws, and the advertisers bid as before, so a difference is the part's own. A
    cell is the mean difference over seeds and half of its 95 % interval; a star says that the interval leaves out 0. Parts
    of the scenario: candidates after an order, cap, what predictions know, contents by stage, messages and triggers, the
    rule of credit. Search, the channels' budget, sequential delivery and next best actions are played in worlds of their
    own.

    Example: `tribid bench-journey --page journey-results.md` (some minutes), or for a first look
    `tribid bench-journey --days 1 --seeds 10 --worlds journey`. What was played is kept: after Ctrl-C, or with more
    seeds, only the rest is played.
    """
    with readable_errors():
        from tribid.envs.scenario import load_scenario
        from tribid.evaluation.bench.command import shown_argument
        from tribid.evaluation.journey.jobs import ALL_WORLDS, JourneyPlan, run_jobs
        from tribid.evaluation.journey.page import write_page
        from tribid.evaluation.journey.table import SIDES, block_text, differences, side_text

        plan = JourneyPlan(
            scenario=load_scenario(scenario), days=days, seeds=seeds, worlds=tuple(names(worlds)) or ALL_WORLDS,
            bidders=tuple(names(bidders)),
        )  # fmt: skip
        with job_bar("played") as tell:
            run_jobs(plan, out, tell)
        rows = differences(plan, out)
        if console.width >= WIDE:
            shown = Table("part", "against", "world", *SIDES, show_lines=True)
            for one in rows:
                row = one.row
                shown.add_row(row.part, row.against, row.world, *(side_text(one, side, plan.seeds) for side in SIDES))
            console.print(shown)
        else:
            for one in rows:
                console.print(Text(block_text(one, plan.seeds, console.width)), end="\n\n")
        console.print("± half of the 95 % interval, * leaves out 0; all numbers are on the page", soft_wrap=True)
        command = shlex.join([Path(sys.argv[0]).name, *map(shown_argument, sys.argv[1:])])
        for path in write_page(plan, out, page or out / "journey-results.md", command, machine):
            console.print(f"wrote [bold]{path}[/]", soft_wrap=True)
