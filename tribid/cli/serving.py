"""Answer requests: ``tribid rank``."""

import sys
from typing import Annotated

import typer

from tribid.cli.options import AnyScenario, ScenarioName
from tribid.cli.terminal import readable_errors


def rank(
    scenario: ScenarioName = "feed",
    policies: Annotated[
        str, typer.Option(help="A folder with policy files (runs/ppo/seed-0/policies), or a bidder's name.")
    ] = "pid",
    request: Annotated[
        str, typer.Option(help='JSON such as {"request": 1, "user": 42, "tick": 50}; "-" reads lines from stdin.')
    ] = ('{"request": 1, "user": 42, "tick": 5, "state": "buying"}'),
    any_scenario: AnyScenario = False,
    seed: Annotated[int, typer.Option(help="Names the stand-in forecaster's errors and the tie-breaks.")] = 0,
) -> None:
    """Answer requests with learnt policies: who is shown, at what price, and why. One JSON line per request.

    The simulated day first runs up to the request's tick, so that budgets and multipliers are those of that hour.
    """
    with readable_errors():
        import msgspec

        from tribid.ranker import Ranker, decode_request

        ranker = Ranker(scenario, policies, any_scenario=any_scenario, seed=seed)
        for line in sys.stdin if request == "-" else [request]:
            if line.strip():
                asked = decode_request(line)
                ranker.play_to(asked.tick or 0)
                typer.echo(msgspec.json.encode(ranker.rank(asked)).decode())
