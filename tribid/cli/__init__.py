"""The ``tribid`` command: train, collect, export, evaluate, log, fit, retrain, simulate, rank, serve, benchmark and others.

Each subcommand reads its options and calls one function of the package; scripts/ call the same functions. To add one,
write a function in the module of its group or in a new module beside them, and name it in ``COMMANDS`` below. ``options``
holds what several commands take, ``terminal`` what they all show. What is slow to import (torch, polars, the learners) is
imported inside the function, so that ``tribid --help`` answers at once.
"""

from typing import Annotated

import typer

import tribid
from tribid.cli.actions import fit_actions
from tribid.cli.export import export
from tribid.cli.intent import attribution, fit_intent
from tribid.cli.journey import bench_journey
from tribid.cli.judging import bench_bidders, evaluate, report
from tribid.cli.ledger import ledger_app
from tribid.cli.loadtest import loadtest
from tribid.cli.mail import mail
from tribid.cli.market import scenario_app, simulate
from tribid.cli.prediction import bench_prediction, fit_app, log
from tribid.cli.profile import profile_app
from tribid.cli.replay import replay_rtb
from tribid.cli.replay_decisions import replay_decisions
from tribid.cli.retraining import retrain
from tribid.cli.serve import serve
from tribid.cli.serving import rank
from tribid.cli.speed import benchmark
from tribid.cli.terminal import console, progress_bar, seed_bars
from tribid.cli.training import collect, train

__all__ = ["COMMANDS", "app", "console", "progress_bar", "seed_bars"]

# Every subcommand, in the order of ``tribid --help``; its name is the function's, with dashes.
COMMANDS = (
    train,
    collect,
    export,
    evaluate,
    bench_bidders,
    replay_rtb,
    report,
    log,
    bench_prediction,
    bench_journey,
    retrain,
    simulate,
    rank,
    serve,
    mail,
    attribution,
    replay_decisions,
    loadtest,
    benchmark,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train bidders in a simulated feed-ad market, judge them for all three sides, and let them answer requests.",
)
app.add_typer(scenario_app, name="scenario")
fit_app.command("intent")(fit_intent)
fit_app.command("actions")(fit_actions)
app.add_typer(fit_app, name="fit")
app.add_typer(ledger_app, name="ledger")
app.add_typer(profile_app, name="profile")
for _command in COMMANDS:
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        console.print(f"tribid {tribid.__version__}")
        raise typer.Exit
