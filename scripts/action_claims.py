"""What learnt propensities are worth: in simulated shops whose true ones are known, over seeds, with intervals.

python scripts/action_claims.py                                     # some minutes: 10 worlds
python scripts/action_claims.py --seeds 0 1 --results found.json    # some worlds; more can be added to the file later
python scripts/action_claims.py --visits 6000                       # a smaller log

In each world a log of randomly ordered proposals is learnt from. The propensities are then judged on new users against the
truth: AUC, calibration, and what the user takes when the first action that each policy proposes is the only one. Last, what
the log alone would have said of the network's policy, by off-policy evaluation with the logged chances, against the truth.
Intervals are Student's, 95 %, over worlds, of which there have to be two.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.evaluation.off_policy import dr, effective_sample_size, importance_weights, ips, snips
from tribid.evaluation.statistics import claim_verdict, t_interval
from tribid.files import read_json, write_json
from tribid.models.actions.examples import DAY_MS, KINDS, TAKEN, ActionExamples, examples_of
from tribid.models.actions.log import ActionLog, Happened, Listed, events_of
from tribid.models.actions.next_best_action import NextBestAction
from tribid.models.actions.ranking import name_ranks, ranked
from tribid.models.actions.world import START_MS, ActionWorld, ActionWorldRule
from tribid.models.calibration_measures import cal_n
from tribid.models.ranking_measures import expected_auc

Floats = NDArray[np.float64]
Found = dict[str, dict[str, float]]

TEST_USERS = 5_000
POLICIES = ("random", "popularity", "most valuable", "logistic", "network", "truth")


def main() -> None:
    """Play every world, print the tables and the claims."""
    options = arguments()
    found: Found = read_json(options.results) if options.results and options.results.exists() else {}
    new = [seed for seed in options.seeds if str(seed) not in found]
    for seed in track(new, description="worlds", console=Console(stderr=True)):
        found[str(seed)] = judged(seed, options.visits)
        if options.results:
            write_json(options.results, found)
    console = Console()
    if len(found) < 2:
        console.print("one world bears no interval; add others")
        return
    for table in (quality(found), worth(found), from_the_log(found)):
        console.print(table)
    for claim, told in claims(found).items():
        console.print(f"{claim}: {told}")


def judged(seed: int, visits: int) -> dict[str, float]:
    """All measures in one world, by name."""
    world = ActionWorld(ActionWorldRule(users=visits // 3, visits=visits), seed)
    examples = learnt_from(world, list(world.log()))
    models = {
        kind: NextBestAction(model=kind).fit(examples, world.rules.names, world.names)
        for kind in ("logistic", "network")
    }
    user = 1_000_000 + np.arange(TEST_USERS)
    features = world.features(user)
    truth = world.chance(features)
    may = np.array([world.rules.reasons(world.standing(row, {}), START_MS) == 0 for row in features])
    told = {kind: model.predict(features).astype(np.float64) for kind, model in models.items()}
    scores: dict[str, float] = {}
    for kind, rates in {**told, "truth": truth}.items():
        scores |= {f"{kind} {name}": value for name, value in measured(rates, truth, may).items()}
    taken = np.bincount(examples.action, examples.label, minlength=len(world.rules))
    popular = np.tile(taken / np.maximum(np.bincount(examples.action, minlength=len(world.rules)), 1), (TEST_USERS, 1))
    by_policy = {
        "popularity": popular,
        "most valuable": np.tile(world.rules.value, (TEST_USERS, 1)),
        **told,
        "truth": truth,
    }
    for policy, rates in by_policy.items():
        for weighted in (False, True):
            first = firsts(world, rates * world.rules.value if weighted else rates, may)
            scores |= earned(policy, weighted, truth, first, world.rules.value)
    chance = may / may.sum(axis=1, keepdims=True)
    for weighted in (False, True):
        scores |= {
            f"random {weighted} taken": float((truth * chance).sum() / TEST_USERS),
            f"random {weighted} value": float((truth * chance * world.rules.value).sum() / TEST_USERS),
        }
    return scores | off_policy(models["network"], seed, visits)


def learnt_from(world: ActionWorld, records: list[Listed | Happened]) -> ActionExamples:
    """The examples of a log, at its end."""
    listings = {(one.user, one.id): one for one in records if isinstance(one, Listed)}
    log = ActionLog(world.names, listings, tuple(one for one in records if isinstance(one, Happened)), 0, 0)
    until_ms = START_MS + round(world.rule.days * DAY_MS)
    return examples_of(events_of(log, world.rules.names).events, len(world.rules), until_ms=until_ms)


def measured(rates: Floats, truth: Floats, may: NDArray[np.bool_]) -> dict[str, float]:
    """Expected AUC (mean over actions), PCOC, Cal-10 and root mean squared error on those who may be proposed each."""
    areas = [expected_auc(truth[row, one], rates[row, one]) for one, row in enumerate(may.T)]
    return {
        "AUC": float(np.mean(areas)), "PCOC": float(rates[may].sum() / truth[may].sum()),
        "Cal-10": cal_n(rates[may], truth[may]), "RMSE": float(np.sqrt(np.mean((rates[may] - truth[may]) ** 2))),
    }  # fmt: skip


def firsts(world: ActionWorld, score: Floats, may: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first action [U] that each user is proposed: ranked as the ranker ranks."""
    rank = name_ranks(world.rules.names)
    return np.array(
        [
            ranked(row, world.rules.value, rank, np.flatnonzero(allowed))[0]
            for row, allowed in zip(score, may, strict=True)
        ]
    )


def earned(policy: str, weighted: bool, truth: Floats, first: NDArray[np.int64], value: Floats) -> dict[str, float]:
    """Takings and their value per user, expected, where each user is proposed ``first`` [U]."""
    chance = truth[np.arange(len(first)), first]
    name = f"{policy} {weighted}"
    return {f"{name} taken": float(chance.mean()), f"{name} value": float((chance * value[first]).mean())}


def off_policy(model: NextBestAction, seed: int, visits: int) -> dict[str, float]:
    """What a fresh log says of the model's policy: takings of its first action per user, by three estimators.

    Every user comes once and is shown one action, so that what is seen depends on that action alone.
    """
    rule = ActionWorldRule(users=visits, visits=visits, shown=1, answered=1.0)
    world = ActionWorld(rule, seed)
    rows: dict[str, Listed] = {}
    taken: set[str] = set()
    for one in world.log(first_user=2_000_000):
        if isinstance(one, Listed):
            rows.setdefault(one.user, one)
        elif KINDS.index(one.kind) == TAKEN and one.listing == rows[one.user].id:
            taken.add(one.user)
    listed = list(rows.values())
    features = np.array([one.features for one in listed], np.float32)
    may = np.array([world.rules.reasons(world.standing(row, {}), START_MS) == 0 for row in features])
    rates = model.predict(features).astype(np.float64)
    first = firsts(world, rates, may)
    target = np.zeros(rates.shape)
    target[np.arange(len(first)), first] = 1.0
    shown = np.array([world.rules.place[one.actions[0]] for one in listed])
    logging = np.array([one.first_chances[0] for one in listed])
    reward = np.array([float(one.user in taken) for one in listed])
    wanted = target[np.arange(len(first)), shown]
    return {
        "log truth": float(world.chance(features)[np.arange(len(first)), first].mean()),
        "log ips": ips(reward, logging, wanted), "log snips": snips(reward, logging, wanted),
        "log dr": dr(reward, shown, logging, target, rates), "log plain mean": float(reward.mean()),
        "log effective": effective_sample_size(importance_weights(logging, wanted)),
    }  # fmt: skip


def column(found: Found, name: str) -> Floats:
    """One measure, a number for each world."""
    return np.array([scores[name] for scores in found.values()])


def quality(found: Found) -> Table:
    """How well the models know the truth."""
    shown = Table("propensities", "AUC", "PCOC", "Cal-10", "RMSE")
    for kind in ("logistic", "network", "truth"):
        shown.add_row(
            kind, *(str(t_interval(column(found, f"{kind} {name}"))) for name in ("AUC", "PCOC", "Cal-10", "RMSE"))
        )
    return shown


def worth(found: Found) -> Table:
    """What each policy earns with its first action, and ranked by score times value."""
    shown = Table("policy", "taken, % of users", "value", "taken, times value", "value, times value")
    for policy in POLICIES:
        cells: list[Any] = [
            t_interval((100.0 if what == "taken" else 1.0) * column(found, f"{policy} {weighted} {what}"))
            for weighted in (False, True)
            for what in ("taken", "value")
        ]
        shown.add_row(policy, *map(str, cells))
    return shown


def from_the_log(found: Found) -> Table:
    """Estimates of the network policy's takings from the log, and their error against the truth, in points."""
    shown = Table("estimate of the network's policy", "taken, % of users", "off the truth, points")
    truth = 100.0 * column(found, "log truth")
    for name in ("truth", "ips", "snips", "dr", "plain mean"):
        told = 100.0 * column(found, f"log {name}")
        shown.add_row(name, str(t_interval(told)), str(t_interval(told - truth)))
    shown.add_row("effective sample size", str(t_interval(column(found, "log effective"))), "")
    return shown


def claims(found: Found) -> dict[str, str]:
    """Each claim, paired by world, and what its interval says of it."""
    stated = [
        ("the network's propensities earn more takings than popularity", "network False taken", "popularity False taken"),
        ("popularity earns more takings than random", "popularity False taken", "random False taken"),
        ("the network earns more takings than logistic regression", "network False taken", "logistic False taken"),
        ("the network orders users better than logistic regression (AUC)", "network AUC", "logistic AUC"),
        ("the network's calibration error is above logistic regression's", "network Cal-10", "logistic Cal-10"),
        ("propensity times value earns more value than propensity alone", "network True value", "network False value"),
        ("propensity times value earns more value than value alone", "network True value", "most valuable False value"),
        ("propensity alone earns more takings than times value", "network False taken", "network True taken"),
        ("the truth earns more takings than the network", "truth False taken", "network False taken"),
    ]  # fmt: skip
    told = {}
    for claim, better, worse in stated:
        gain = t_interval(column(found, better) - column(found, worse))
        told[claim] = f"{claim_verdict(gain)} ({gain})"
    return told


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="worlds to play")
    parser.add_argument("--visits", type=int, default=18_000, help="visits of a world's log")
    parser.add_argument("--results", type=Path, help="JSON file of scores; worlds that it holds are not played again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
