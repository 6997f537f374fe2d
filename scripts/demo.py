"""The main job in a few minutes: train bidders on the feed, judge them on held-out days, and write the report.

    make demo                                     # what the README promises
    python scripts/demo.py --steps 600000         # train longer
    python scripts/demo.py --days 40              # narrower intervals

Writes runs/demo/ppo/ (policies, TensorBoard logs), runs/demo/results.json and runs/demo/report.html, lets a learnt policy
answer one request through the ranker, and prints the headline table.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from tribid.agents.seeds import train_seeds
from tribid.agents.training import TrainingPlan
from tribid.cli import progress_bar, seed_bars
from tribid.envs.scenario import load_scenario
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.run import chosen_advertisers, judge, write_report
from tribid.ranker import Ranker, decode_request

RIVALS = ("pid", "dual_pacing", "truthful")
CONTESTANTS = ("pid", "truthful", "fixed_lambda", "dual_pacing")


def main() -> int:
    """Train, judge, rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="feed", help="a scenario's name or a YAML file (default: feed)")
    parser.add_argument("--steps", type=int, default=240_000, help="advertiser-steps of training per seed")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds, side by side")
    parser.add_argument("--days", type=int, default=50, help="held-out days that every contestant plays")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where everything is written")
    options = parser.parse_args()
    console, started = Console(), time.perf_counter()
    scenario = load_scenario(options.scenario)
    run = options.out / "ppo"
    shutil.rmtree(run, ignore_errors=True)

    console.rule(f"1. Train {options.seeds} policies on {scenario.name}, from PID's example on")
    plan = TrainingPlan(
        scenario=scenario, learners=chosen_advertisers("half", scenario), rivals=RIVALS, steps=options.steps
    )
    seeds = list(range(options.seeds))
    with seed_bars(seeds) as tell:
        finished = train_seeds(plan, seeds, run, workers=2, progress=tell)
    if not finished:
        console.print("stopped early; the policies so far are in", run)
        return 130

    console.rule(f"2. Judge them on {options.days} held-out days")
    with progress_bar("days played") as count:
        results = judge(
            scenario, (*CONTESTANTS, str(run)), rivals=RIVALS, workers=2, progress=count,
            eval_seeds=range(HELD_OUT, HELD_OUT + options.days),
        )  # fmt: skip
    write_report(results, options.out, console)

    console.rule("3. A learnt policy answers a request")
    ranker = Ranker(scenario, run / "seed-0" / "policies")
    request = json.dumps({"request": 1, "user": 42, "tick": 0, "state": "buying"})
    console.print("request ", request)
    for slot in ranker.rank(decode_request(request)).slots:
        console.print(f"  slot {slot.slot}: {slot.advertiser} at {slot.price_micros / 1e6:.4f} a click, {slot.why}")
    console.print(
        f"\nall of it took {time.perf_counter() - started:.0f} s; open [bold]{options.out / 'report.html'}[/]"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
