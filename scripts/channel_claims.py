"""Channels, one user: what a learnt split of the budget is worth, and what one frequency cap over all channels does.

python scripts/channel_claims.py --results found.json --pictures pictures     # all three parts; some tens of minutes
python scripts/channel_claims.py --parts curves                               # seconds: channels with known curves
python scripts/channel_claims.py --parts market --train 7200 --policies a.safetensors b.safetensors

curves: channels without carry-over, whose best split is known exactly. Regret against that split over the days.
market: the multi-channel market, in which a touch changes a consumer's stage and weariness. The bound there is the best
    fixed split in hindsight, on a grid of quarters, of each seed on its own chance; "tuned" is the fixed split that was
    best on the other seeds. PPO learns on other seeds before, once for each of --policies, which the seeds take in turns;
    all others learn during the days that are judged. So PPO is held against the split tuned on other seeds, too. Its
    interval is over seeds of the market alone, and holds none of the luck of its few trainings.
caps: one cap over all channels against caps apart, with the same number and with the same sum, on equal chance and splits.

Intervals are Student's, 95 %, over seeds, of which there have to be two; ratios are paired by seed.

Settings of the bandit and of the fitted split were chosen on curves 1000 to 1007 and on no other.
"""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.agents.channel_split import ppo
from tribid.agents.channel_split.bandit import SplitBandit
from tribid.agents.channel_split.fitted import FittedSplit
from tribid.agents.channel_split.knapsack import exact, greedy, integer_part, relaxed
from tribid.agents.channel_split.play import levels_of, play_curves, play_market
from tribid.agents.channel_split.splitter import FixedSplit, ReturnSplit, Splitter
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.config import Caps
from tribid.envs.channels.curves import drawn_curves
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.scenario import MICROS
from tribid.evaluation.statistics import claim_verdict, t_interval
from tribid.files import read_json, write_json

C = len(CHANNELS)
CURVE_DAYS, CURVE_BUDGET = 60, 60 * MICROS
QUARTERS = [parts for parts in itertools.product(range(5), repeat=C) if sum(parts) == 4]
Scores = dict[str, dict[str, dict[str, float]]]
Make = Callable[[int], Splitter]

ONLINE: dict[str, tuple[Make, str]] = {
    "equal": (lambda seed: FixedSplit.equal(C), "linear"),
    "return, last touch": (lambda seed: ReturnSplit(C), "last"),
    "return, linear": (lambda seed: ReturnSplit(C), "linear"),
    "bandit, UCB": (lambda seed: SplitBandit(C, rule="ucb", seed=seed), "linear"),
    "bandit, Thompson": (lambda seed: SplitBandit(C, seed=seed), "linear"),
    "fitted curves": (lambda seed: FittedSplit(C, seed=seed), "linear"),
    "fitted to totals": (lambda seed: FittedSplit(C, joint=True, seed=seed), "linear"),
}
TUNED = "fixed, tuned on other seeds"
LABELS = {"PPO": "PPO, trained before, on other seeds"}
"""What a reader has to know of a method beside its name."""

CAPS = {
    "one cap of 3": Caps(per_day=3, per_channel=(3, 3, 3, 3)),
    "a cap of 3 for each": Caps(per_day=None, per_channel=(3, 3, 3, 3)),
    "one cap of 4": Caps(per_day=4, per_channel=(4, 4, 4, 4)),
    "one cap of 1": Caps(per_day=1, per_channel=(1, 1, 1, 1)),
    "a cap of 1 for each": Caps(per_day=None, per_channel=(1, 1, 1, 1)),
    "no cap": Caps(per_day=None, per_channel=(1000, 1000, 1000, 1000)),
}


def main() -> None:
    """Play what is missing, print tables, draw pictures."""
    options = arguments()
    found: Scores = read_json(options.results) if options.results and options.results.exists() else {}
    console = Console()
    for part in options.parts:
        if part == "market":
            fill(found, "fixed", options.seeds, partial(fixed_scores, days=options.days), options.results)
        seeds = list(range(options.curve_seeds)) if part == "curves" else options.seeds
        fill(found, part, seeds, partial(PLAYED[part], options=options), options.results)
        scores = with_fixed(found["market"], found["fixed"]) if part == "market" else found[part]
        if len(scores) < 2:
            console.print(f"{part}: one seed bears no interval; add others")
            continue
        console.print(TABLES[part](scores))
        for claim in CLAIMS[part](scores):
            console.print(claim)
    if options.pictures:
        pictures(options)


def fill(
    found: Scores, part: str, seeds: list[int], play: Callable[[int], dict[str, float]], results: Path | None
) -> None:
    """Play the seeds that a part has not yet, and keep each one's scores at once."""
    new = [seed for seed in seeds if str(seed) not in found.setdefault(part, {})]
    for seed in track(new, description=part, console=Console(stderr=True)):
        found[part][str(seed)] = play(seed)
        if results:
            write_json(results, found)


def curves_scores(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Orders of each method over the days, all and of the last third, and the bounds of a day, on curves of this seed."""
    curves = drawn_curves(seed)
    offers = levels_of(curves, CURVE_BUDGET, 100)
    bound, best, steep = (solve(offers, CURVE_BUDGET) for solve in (relaxed, exact, greedy))
    scores = {
        "LP bound": bound.value,
        "exact": best.value,
        "exact, late": best.value,
        "greedy": integer_part(offers, steep).value,
    }
    for name, (make, _) in ONLINE.items():
        days = play_curves(curves, make(seed), seed, CURVE_DAYS, CURVE_BUDGET)
        scores[name] = float(days.orders.mean())
        scores[f"{name}, late"] = float(days.orders[-CURVE_DAYS // 3 :].mean())
    return scores


def market_scores(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Orders a day of each method in the market of this seed, all and of the last third."""
    methods = dict(ONLINE)
    if options.policies:
        policy = ppo.load(options.policies[seed % len(options.policies)])
        methods["PPO"] = (lambda _: policy, "linear")
    scores = {}
    for name, (make, credit) in methods.items():
        days = play_market(ChannelWorldConfig(days=options.days), make(seed), seed, credit=credit)
        scores[name] = float(days.orders.mean())
        scores[f"{name}, late"] = float(days.orders[-options.days // 3 :].mean())
    return scores


def fixed_scores(seed: int, days: int) -> dict[str, float]:
    """Orders a day of every fixed split in quarters of the budget, all and of the last third."""
    scores = {}
    for parts in QUARTERS:
        orders = play_market(ChannelWorldConfig(days=days), FixedSplit(np.array(parts) / 4), seed).orders
        scores[str(parts)] = float(orders.mean())
        scores[f"{parts}, late"] = float(orders[-days // 3 :].mean())
    return scores


def with_fixed(market: dict[str, dict[str, float]], fixed: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The market's scores with the fixed split that is best in hindsight, and the one that was best on the other seeds."""
    names, told = [str(parts) for parts in QUARTERS], {}
    for seed, scores in market.items():
        others = [theirs for other, theirs in fixed.items() if other != seed] or [fixed[seed]]
        tuned = max(names, key=lambda name: sum(theirs[name] for theirs in others))
        own = fixed[seed]
        told[seed] = scores | {
            TUNED: own[tuned],
            f"{TUNED}, late": own[f"{tuned}, late"],
            "best fixed, hindsight": max(own[name] for name in names),
            "best fixed, hindsight, late": max(own[f"{name}, late"] for name in names),
        }
    return told


def caps_scores(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """What each cap leads to over the days, with money for all: orders, cost, touches, clicks, leavers."""
    scores = {}
    for name, caps in CAPS.items():
        days = play_market(ChannelWorldConfig(caps=caps, budget=16.0, days=options.days), FixedSplit.equal(C), seed)
        spent = days.charged_micros.sum() / MICROS
        for what, value in (
            ("orders", days.orders.sum()), ("cost", spent), ("touches", days.touches.sum()),
            ("clicks per opened touch, %", 100.0 * days.clicks.sum() / max(days.opened.sum(), 1)),
            ("unsubscribed", days.unsubscribed.sum()), ("cost per order", spent / max(days.orders.sum(), 1.0)),
        ):  # fmt: skip
            scores[f"{name}: {what}"] = float(value)
    return scores


def column(found: dict[str, dict[str, float]], name: str) -> NDArray[np.float64]:
    """One score, a number for each seed."""
    return np.array([scores[name] for scores in found.values()])


def methods_of(found: dict[str, dict[str, float]]) -> list[str]:
    """The names of what was played over days."""
    names = next(iter(found.values()))
    return [name for name in names if f"{name}, late" in names]


def regrets(found: dict[str, dict[str, float]], best: str, title: str) -> Table:
    """Each method's orders a day and what it lacks to the best, over all days and the last third, in percent."""
    shown = Table("split", "orders a day", f"regret to {best}, %", "in the last third, %", title=title)
    bound = column(found, best)
    late_bound = column(found, f"{best}, late")
    for name in methods_of(found):
        if name == best:
            continue
        lost = 100.0 * (1.0 - column(found, name) / bound)
        late = 100.0 * (1.0 - column(found, f"{name}, late") / late_bound)
        shown.add_row(
            LABELS.get(name, name), *map(str, (t_interval(column(found, name)), t_interval(lost), t_interval(late)))
        )
    shown.add_row(best, str(t_interval(bound)), "0", "")
    return shown


def gain(found: dict[str, dict[str, float]], name: str, over: str) -> str:
    """The gain of one method over another in percent, paired by seed, and what its interval says."""
    ratio, late = (column(found, f"{name}{end}") / column(found, f"{over}{end}") for end in ("", ", late"))
    all_days, last_third = t_interval(100.0 * (ratio - 1.0)), t_interval(100.0 * (late - 1.0))
    claim = f"{LABELS.get(name, name)} earns more orders than {over}"
    return f"{claim}: {claim_verdict(all_days)} ({all_days} %; last third {last_third} %)"


def gains(found: dict[str, dict[str, float]]) -> list[str]:
    """Each method's gain over equal split, and what was trained before over what was tuned before."""
    told = [gain(found, name, "equal") for name in methods_of(found) if name != "equal"]
    return told + [gain(found, name, TUNED) for name in LABELS if name in methods_of(found)]


def bounds(found: dict[str, dict[str, float]]) -> list[str]:
    """The gains, and how far the relaxation and the greedy are from the optimum."""
    gaps = [100.0 * np.abs(column(found, name) / column(found, "exact") - 1.0).max() for name in ("LP bound", "greedy")]
    return [*gains(found), f"from the optimum at most: LP bound {gaps[0]:.3g} % above, greedy {gaps[1]:.3g} % below"]


def caps_table(found: dict[str, dict[str, float]]) -> Table:
    """What each cap leads to."""
    whats = [name.split(": ")[1] for name in next(iter(found.values())) if name.startswith("no cap: ")]
    shown = Table("cap per user, brand and day", *whats, title="caps")
    for name in CAPS:
        shown.add_row(name, *(str(t_interval(column(found, f"{name}: {what}"))) for what in whats))
    return shown


def caps_claims(found: dict[str, dict[str, float]]) -> list[str]:
    """What one cap changes against caps apart, in percent, paired by seed: with the same number, with the same sum."""
    told = []
    for one, each in (("one cap of 3", "a cap of 3 for each"), ("one cap of 4", "a cap of 1 for each")):
        for what in ("orders", "cost", "cost per order", "touches", "clicks per opened touch, %", "unsubscribed"):
            change = column(found, f"{one}: {what}") / column(found, f"{each}: {what}") - 1.0
            told.append(f"{one} against {each}, {what}: {t_interval(100.0 * change)} %")
    return told


PLAYED = {"curves": curves_scores, "market": market_scores, "caps": caps_scores}
TABLES: dict[str, Callable[[dict[str, dict[str, float]]], Table]] = {
    "curves": lambda found: regrets(found, "exact", "channels with known curves"),
    "market": lambda found: regrets(found, "best fixed, hindsight", "the multi-channel market"),
    "caps": caps_table,
}
CLAIMS = {"curves": bounds, "market": gains, "caps": caps_claims}


def pictures(options: argparse.Namespace) -> None:
    """The split over the days of three methods, and the market's response to each channel's money, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    options.pictures.mkdir(parents=True, exist_ok=True)
    config = ChannelWorldConfig(days=options.days)
    shown: dict[str, Splitter] = {name: ONLINE[name][0](0) for name in ("bandit, UCB", "fitted to totals")}
    if options.policies:
        shown["PPO"] = ppo.load(options.policies[0])
    figure, panels = pyplot.subplots(1, len(shown), figsize=(4 * len(shown), 3), sharey=True, layout="constrained")
    for panel, (name, splitter) in zip(np.atleast_1d(panels), shown.items(), strict=True):
        days = play_market(config, splitter, 0)
        panel.stackplot(np.arange(options.days), days.split_micros.T / MICROS, labels=CHANNELS)
        panel.set(title=name, xlabel="day", ylabel="money a day")
    np.atleast_1d(panels)[0].legend(loc="lower left", fontsize="small")
    figure.savefig(options.pictures / "channel-split.svg")
    figure, panel = pyplot.subplots(figsize=(5, 3.5), layout="constrained")
    shares = np.linspace(0.0, 1.0, 6)
    for index, name in enumerate(CHANNELS):
        panel.plot(shares * config.budget, [alone(config, index, share) for share in shares], marker=".", label=name)
    panel.set(xlabel="money a day, all in one channel", ylabel="orders a day", title="response of each channel alone")
    panel.legend()
    figure.savefig(options.pictures / "channel-response.svg")


def alone(config: ChannelWorldConfig, channel: int, share: float) -> float:
    """Orders a day with a share of the budget in one channel and nothing in the others, over two seeds."""
    split = FixedSplit(share * np.eye(C)[channel])
    return float(np.mean([play_market(config, split, seed).orders.mean() for seed in range(2)]))


def arguments() -> argparse.Namespace:
    """The command line; with ``--train`` the policy is learnt and written first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="+", choices=("curves", "market", "caps"), default=["curves", "market", "caps"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)), help="seeds of market and caps")
    parser.add_argument("--curve-seeds", type=int, default=24, help="how many sets of curves")
    parser.add_argument("--days", type=int, default=30, help="days of the market")
    parser.add_argument(
        "--policies", type=Path, nargs="+", default=[], help="trained splits; seeds take turns with them"
    )
    parser.add_argument(
        "--train", type=int, default=0, help="days to train a PPO for, one for each of --policies, first"
    )
    parser.add_argument("--results", type=Path, help="JSON file of scores; seeds that it holds are not played again")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    options = parser.parse_args()
    for seed, path in enumerate(options.policies if options.train else ()):
        Console(stderr=True).print(f"training {path} for {options.train} days")
        ppo.train(ChannelWorldConfig(days=options.days), steps=options.train, seed=seed).save(path)
    return options


if __name__ == "__main__":
    main()
