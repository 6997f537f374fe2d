"""MSBCB's claim on small worlds of consumer journeys: a budget spent by long-run value for cost brings more than by others.

python scripts/sequential_claims.py --out docs/sequential-results.md              # half an hour: 6 worlds, 2 seeds each
python scripts/sequential_claims.py --worlds 0 1 --results a.json                 # some worlds, kept for later
python scripts/sequential_claims.py --worlds --results a.json b.json --out p.md   # a page from what was kept
python scripts/sequential_claims.py --worlds 0 1 --seeds 0 --consumers 4000 --methods manual "MSBCB (table)"

Hao et al. (ICML 2020) report, as shares of the offline optimum: manual 43.5 %, contextual bandit 84.2, PPO 69.3, DDPG 83.2,
DQN 79.1, greedy + DQN 94.2, MSBCB 98.5, enumeration 99.96. Here each world draws its own laws, every method learns from as
many consumers, and all are judged on the same other consumers with the same luck. MSBCB, the bandit under its threshold and
MSBCB with a single content go on moving the threshold while they are judged; greedy + DQN does not, nor does "threshold
frozen". All settings were chosen on worlds 1000 to 1003 and on no other. Intervals are Student's, 95 %, over worlds; what
was played in one world alone is kept, but has none and is not shown.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from tribid.agents.sequential.baselines import ContextualBandit, manual, myopic_greedy
from tribid.agents.sequential.choices import Choices, efficient
from tribid.agents.sequential.deep_q import DeepQ
from tribid.agents.sequential.greedy_dqn import GreedyDqn
from tribid.agents.sequential.lessons import LessonPlan
from tribid.agents.sequential.msbcb import Msbcb
from tribid.agents.sequential.optimum import EnumeratedOptimum, enumerated
from tribid.agents.sequential.sb3_journeys import Sb3Plan, train_sb3
from tribid.agents.sequential.tabular_q import TabularQ
from tribid.envs.sequential.campaign import Strategy, run_campaign
from tribid.envs.sequential.consumers import ConsumerWorld, make_world
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.sequential.moves import best_table, true_moves, without, worth
from tribid.envs.sequential.play import Consumers, draw_consumers
from tribid.evaluation.results import commit, machine
from tribid.evaluation.statistics import claim_verdict, t_interval
from tribid.files import read_json, write_json

CONSUMERS, BUDGET_SHARE, FIRST_JUDGED_SEED = 2000, 0.35, 1_000_000
Found = dict[str, dict[str, Any]]


class Task(NamedTuple):
    """A world, the budget in currency units a consumer, what is learnt from, and the training seed."""

    world: ConsumerWorld
    budget: float
    plan: LessonPlan
    seed: int

    def taught(self, strategy: Msbcb | GreedyDqn) -> Strategy:
        """The strategy after its lessons."""
        return strategy.fit(self.world, self.plan, self.seed)

    def single(self) -> str:
        """The content that brings most if it is the only one, at its own optimum."""
        return max(CONTENTS, key=lambda name: best_value(self.world, self.budget, only(name)))


def only(content: str) -> NDArray[np.bool_]:
    """The actions that show this content or nothing."""
    return np.array([True, *(name == content for name in CONTENTS)])


def msbcb_with_single(task: Task) -> Strategy:
    """MSBCB that may show the best single content alone."""
    allowed = only(task.single())
    return Msbcb(TabularQ(task.world, allowed), task.budget).fit(task.world, task.plan, task.seed, allowed=allowed)


def sb3(name: str) -> Callable[[Task], Strategy]:
    """A learner of Stable-Baselines3."""
    return lambda task: train_sb3(name, task.world, task.budget, Sb3Plan(consumers=task.plan.consumers), task.seed)


FROZEN, FROZEN_DQN = "MSBCB (table), threshold frozen", "MSBCB (DQN), threshold frozen"
METHODS: dict[str, Callable[[Task], Strategy]] = {
    "manual": lambda task: manual(task.world),
    "myopic greedy": lambda task: myopic_greedy(task.world, task.budget),
    "contextual bandit": lambda task: task.taught(Msbcb(ContextualBandit(task.world), task.budget)),
    "PPO": sb3("ppo"),
    "DDPG": sb3("ddpg"),
    "DQN": sb3("dqn"),
    "greedy + DQN": lambda task: task.taught(GreedyDqn(DeepQ(task.world, task.seed), task.budget)),
    "greedy + Q (table)": lambda task: task.taught(GreedyDqn(TabularQ(task.world), task.budget)),
    "MSBCB, best single content": msbcb_with_single,
    "MSBCB (DQN)": lambda task: task.taught(Msbcb(DeepQ(task.world, task.seed), task.budget)),
    "MSBCB (table)": lambda task: task.taught(Msbcb(TabularQ(task.world), task.budget)),
    FROZEN_DQN: lambda task: task.taught(Msbcb(DeepQ(task.world, task.seed), task.budget, frozen=True)),
    FROZEN: lambda task: task.taught(Msbcb(TabularQ(task.world), task.budget, frozen=True)),
}
OPTIMUM = "enumerated optimum"
RIVALS = ("greedy + DQN", "contextual bandit", "PPO", "DDPG", "DQN", "myopic greedy")
CLAIMS = (
    *(("MSBCB (DQN)", rival) for rival in RIVALS), *(("MSBCB (table)", rival) for rival in RIVALS),
    ("MSBCB (table)", "greedy + Q (table)"), ("MSBCB (table)", "MSBCB, best single content"),
    ("MSBCB (DQN)", FROZEN_DQN), ("MSBCB (table)", FROZEN), (FROZEN_DQN, "greedy + DQN"), (FROZEN, "greedy + DQN"),
    (FROZEN, "greedy + Q (table)"),
)  # fmt: skip


def main() -> None:
    """Play every world, keep what was found, print the table and the claims, write the page."""
    options = arguments()
    torch.set_num_threads(1)
    found: Found = {}
    for part in [read_json(path) for path in options.results if path.exists()]:
        keep(found, part)
    runs = [(f"{world}/{seed}", world, seed) for world in options.worlds for seed in options.seeds]
    for key, world, seed in track(runs, description="runs", console=Console(stderr=True)):
        known = found.get(key, {"methods": {}})["methods"]
        missing = [name for name in options.methods if name not in known]
        if missing:
            keep(found, {key: played(world, seed, missing, options)})
        if missing and options.results:
            write_json(options.results[0], found)
    if len({key.split("/")[0] for key in found}) < 2:
        print("fewer than two worlds bear no interval: add --worlds, or --results of others that are kept")
        return
    text = page(found, options)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
        picture(found).savefig(options.out.with_suffix(".svg"), metadata={"Date": None})


def keep(found: Found, more: Found) -> None:
    """Add runs to those found; a run may be found in parts, with other methods in each."""
    for key, run in more.items():
        known = found.get(key, run)
        if (known["consumers"], known["campaigns"]) != (run["consumers"], run["campaigns"]):
            raise SystemExit(f"the results' parts of run {key} differ in --consumers or --campaigns; keep such apart")
        found[key] = run | {"methods": known["methods"] | run["methods"]}


def played(world_seed: int, seed: int, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """What every method brings in one world after one training: mean value of a campaign, share spent, CPU-seconds."""
    world = make_world(world_seed)
    moves = true_moves(world)
    budget_micros = int(BUDGET_SHARE * float(worth(moves, best_table(moves, 0.0)).cost @ world.share) * CONSUMERS * 1e6)
    task = Task(world, budget_micros / CONSUMERS / 1e6, LessonPlan(consumers=options.consumers), seed)
    first = FIRST_JUDGED_SEED + 1000 * world_seed
    judged = [draw_consumers(world, first + campaign, CONSUMERS) for campaign in range(options.campaigns)]
    choices = [efficient(moves, kind) for kind in range(len(world.share))]
    methods: dict[str, dict[str, float]] = {OPTIMUM: optimum(task, choices, judged, budget_micros)}
    for name in names:
        start = time.process_time()
        strategy = METHODS[name](task)
        methods[name] = {"seconds": time.process_time() - start} | judge(strategy, world, judged, budget_micros)
    alone = {name: best_value(world, task.budget, only(name)) for name in CONTENTS}
    together = best_value(world, task.budget, np.ones(world.actions, bool))
    return {
        "consumers": options.consumers, "campaigns": options.campaigns, "methods": methods,
        "single": {name: value / together for name, value in alone.items()},
    }  # fmt: skip


def judge(
    strategy: Strategy, world: ConsumerWorld, judged: Sequence[Consumers], budget_micros: int
) -> dict[str, float]:
    """Mean value of the campaigns in currency units, and the share of the budget spent, never more than 1."""
    results = [run_campaign(world, strategy, consumers, budget_micros) for consumers in judged]
    spent = max(result.spent_micros for result in results)
    if spent > budget_micros:
        raise AssertionError(f"spent {spent} micros of {budget_micros}; no campaign may exceed its budget")
    return {
        "value": float(np.mean([result.value_micros for result in results])) / 1e6,
        "spent": float(np.mean([result.spent_micros for result in results])) / budget_micros,
    }


def optimum(task: Task, choices: list[Choices], judged: Sequence[Consumers], budget_micros: int) -> dict[str, float]:
    """The enumerated optimum played, and in expectation (``expected``), and the linear bound (``bound``)."""
    told, numbers = [], []
    for consumers in judged:
        counts = np.bincount(consumers.kind, minlength=len(choices)).tolist()
        best = EnumeratedOptimum(task.world, counts, budget_micros, choices)
        told.append(judge(best, task.world, [consumers], budget_micros))
        numbers.append((best.optimum.value, best.bound.value))
    means = {name: float(np.mean([one[name] for one in told])) for name in ("value", "spent")}
    expected, bound = np.mean(numbers, axis=0).tolist()
    return means | {"expected": expected, "bound": bound, "seconds": 0.0}


def best_value(world: ConsumerWorld, budget: float, allowed: NDArray[np.bool_]) -> float:
    """The linear bound of a mean consumer's value with these actions."""
    moves = without(true_moves(world), allowed)
    choices = [efficient(moves, kind) for kind in range(len(world.share))]
    return enumerated(choices, world.share.tolist(), budget, whole=False).value


def share(found: Found, name: str, of: str = "value") -> NDArray[np.float64]:
    """A method's value over the optimum's, a number for each world: the mean of its trainings there."""
    worlds: dict[str, list[float]] = {}
    for key, run in found.items():
        if name in run["methods"]:
            ratio = run["methods"][name]["value"] / run["methods"][OPTIMUM][of]
            worlds.setdefault(key.split("/")[0], []).append(ratio)
    return np.array([np.mean(ratios) for ratios in worlds.values()])


def claims(found: Found) -> list[str]:
    """Each claim, what the worlds say of it, and the paired difference in percent of the optimum."""
    told = []
    for better, worse in CLAIMS:
        both = {key: run for key, run in found.items() if {better, worse} <= run["methods"].keys()}
        if len(share(both, better)) > 1:
            gain = t_interval(100.0 * (share(both, better) - share(both, worse)))
            told.append(f"* {better} above {worse}: **{claim_verdict(gain)}**, by {gain} points.")
    for name in ("MSBCB (DQN)", "MSBCB (table)", FROZEN_DQN, FROZEN):
        for of, what in (("value", "the enumerated optimum, played alike"), ("bound", "the linear bound")):
            if len(ratios := 100.0 * share(found, name, of)) > 1:
                near = t_interval(ratios)
                told.append(f"* {name} within 3 % of {what}: **{claim_verdict(near, 97.0)}**, {near} %.")
    return told


def table(found: Found) -> list[str]:
    """A row for each method: its share of the played optimum and of the bound, what it spent, its CPU-seconds, its runs."""
    rows = [
        "| method | % of the optimum | % of the bound | % of the budget spent | CPU-s a training | trainings |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*METHODS, OPTIMUM):
        runs = [run["methods"][name] for run in found.values() if name in run["methods"]]
        if len(share(found, name)) > 1:
            cells = [t_interval(100.0 * share(found, name, of)) for of in ("value", "bound")]
            spent, seconds = (np.mean([run[key] for run in runs]) for key in ("spent", "seconds"))
            rows.append(f"| {name} | {cells[0]} | {cells[1]} | {100 * spent:.1f} | {seconds:.1f} | {len(runs)} |")
    return rows


def page(found: Found, options: argparse.Namespace) -> str:
    """The results page."""
    worlds, seeds = (sorted({key.split("/")[place] for key in found}, key=int) for place in (0, 1))
    any_run = next(iter(found.values()))
    spent = sum(told["seconds"] for run in found.values() for told in run["methods"].values())
    by_world = {key.split("/")[0]: run["single"] for key, run in found.items()}
    singles = {name: t_interval(np.array([100.0 * told[name] for told in by_world.values()])) for name in CONTENTS}
    lines = [
        "# Sequential delivery: results", "",
        "Made by one command; the methods are those of Hao et al. (ICML 2020), the worlds and all numbers in them ours.", "",
        "* command: `python scripts/sequential_claims.py --out docs/sequential-results.md`",
        f"* machine: {options.machine}",
        f"* date: {datetime.now(UTC).date().isoformat()}, commit {commit() or 'unknown'}",
        f"* worlds {', '.join(worlds)}, of 6 types, 6 requests, 4 stages and 4 counts of exposures; "
        f"training seeds {', '.join(seeds)}",
        f"* every method learns from {any_run['consumers']:,} consumers a training and is judged on {any_run['campaigns']} "
        f"campaigns of {CONSUMERS:,} others, under {100 * BUDGET_SHARE:.0f} % of what the policy of most value would cost",
        f"* work: {spent / 60:.0f} CPU-minutes of training; settings were chosen on worlds 1000 to 1003", "",
        "The optimum knows the laws and expects to spend the budget; a method that adapts while it plays can come out above "
        "it, for chance leaves a part of its budget or stops it early. The bound cannot be exceeded in expectation. MSBCB, "
        "and the bandit and the single content under its threshold, go on moving the threshold while they are judged; "
        "greedy + DQN and greedy + Q serve the shares that they learnt. PPO, DDPG and DQN see the time and "
        "the budget that are left. *Threshold frozen* is MSBCB after the same training, but it keeps the threshold learnt: "
        "the claims on it tell how much of MSBCB's lead is owed to moving the threshold during the campaign. "
        "Intervals are Student's, 95 %, over worlds.", "",
        f"![Share of the enumerated optimum]({options.out.stem if options.out else 'results'}.svg)", "", *table(found), "",
        "## Claims", "", *claims(found), "",
        "At the optimum, a single content brings, in % of contents by stage: "
        + ", ".join(f"{name} {told}" for name, told in singles.items()) + ".", "",
    ]  # fmt: skip
    return "\n".join(lines)


def picture(found: Found) -> Figure:
    """Each method's share of the optimum: its worlds, their mean and interval."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sequential", "font.size": 9.0}):
        names = [name for name in METHODS if len(share(found, name)) > 1]
        figure = Figure(figsize=(6.4, 0.6 + 0.32 * len(names)), layout="constrained")
        axes = figure.subplots()
        for place, name in enumerate(names):
            ratios = 100.0 * share(found, name)
            mean = t_interval(ratios)
            axes.plot(ratios, np.full(len(ratios), place), "|", color="#667182", markersize=7)
            axes.plot([mean.low, mean.high], [place, place], "-", color="#0072b2", linewidth=2)
            axes.plot(mean.point, place, "o", color="#0072b2", markersize=5)
        axes.axvline(100.0, color="#d55e00", linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("value in % of the enumerated optimum (|: a world)")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="*", default=list(range(6)), help="worlds to play")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="training seeds in each world")
    parser.add_argument("--consumers", type=int, default=30_000, help="journeys that every method learns from")
    parser.add_argument("--campaigns", type=int, default=20, help="campaigns that judge in each world")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="methods to play")
    parser.add_argument(
        "--results", type=Path, nargs="+", default=[], help="JSON of runs: all are read, the first is written"
    )
    parser.add_argument("--out", type=Path, help="the page to write, in Markdown; its picture lies beside it")
    parser.add_argument("--machine", default=machine(), help="the class of the machine, as the page names it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
