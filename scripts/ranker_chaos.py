"""Kill a serving ranker at random moments, and let 64 clients at one nearly empty budget: is every micro accounted for?

    python scripts/ranker_chaos.py                         # 100 kills, then the rush; some minutes
    python scripts/ranker_chaos.py --kills 10 --json runs/chaos.json

Ends with code 1 where a single event was lost or doubled, a debit has no credit, or a budget was overspent. The work is
``tribid.benchmark.chaos``; its tests are ``tests/ranker/test_chaos.py``.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from tribid.benchmark.chaos.crashes import crash_trial
from tribid.benchmark.chaos.rush import rush
from tribid.cli.terminal import job_bar
from tribid.files import write_json

console = Console()


def main() -> None:
    """Kill, rush, and tell."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=100, help="how often the server is killed")
    arguments.add_argument("--clients", type=int, default=64, help="how many rush at the nearly empty budget")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments of the kills and of what clients do")
    arguments.add_argument("--json", type=Path, help="write both reports here")
    given = arguments.parse_args()

    with job_bar("kills") as tell:
        crashes = crash_trial(given.kills, seed=given.seed, tell=tell)
    with console.status("rush"):
        rushed = rush(clients=given.clients, seed=given.seed)
    reports = {"crashes": msgspec.to_builtins(crashes), "rush": msgspec.to_builtins(rushed)}
    for name, report in reports.items():
        show(name, report)
    if given.json is not None:
        write_json(given.json, reports)
    sys.exit(1 if crashes.problem_count or rushed.problem_count else 0)


def show(name: str, report: dict[str, Any]) -> None:
    """One report's numbers, and its problems."""
    told = {key: value for key, value in report.items() if key != "problems"}
    console.print(f"[bold]{name}[/]: " + ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in told.items()))
    for problem in report["problems"]:
        console.print(f"  [red]{problem}[/]")


if __name__ == "__main__":
    main()
