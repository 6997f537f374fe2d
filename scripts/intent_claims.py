"""Does the purchase intent index rank who will buy, and does its lift find what a campaign did? In worlds that know.

python scripts/intent_claims.py                                          # a few minutes: 12 seeds of two worlds
python scripts/intent_claims.py --seeds 0 1 --results found.json         # more seeds can be added to the file later

"shoppers" (tribid.envs.attribution.shoppers) have all eight behaviours, of which some show interest more than others, each
industry in its own way. "shop" are the histories of the scenario shop: views, favourites and carts of categories, of kinds
that are drawn alike for everybody, so that there only how much was done, and how lately, can tell who orders. In both, all
is learnt before a moment, and the orders of the week after it are to be ranked; AUC is within industries.

The campaign is all ads of the shoppers' world, and a third of the pairs, by hash, is spared. Its lift on the index, with
95 % intervals against these, is held against the truth: the same people with and without ads, on the same coin flips.

Intervals over seeds are Student's, 95 %, and seeds have to be two or more; how often the lift's own interval holds the
truth is told with its exact interval, for a few seeds tell little of it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from tribid.envs.attribution.control_group import held_out
from tribid.envs.attribution.histories import TouchesAndOrders, of_histories
from tribid.envs.attribution.shoppers import Lived, ShopperLaw, live
from tribid.envs.attribution.touches import joined
from tribid.envs.scenario import load_scenario
from tribid.envs.shop import Shop
from tribid.envs.world import build_world
from tribid.evaluation.lift import lift
from tribid.evaluation.statistics import Interval, t_interval
from tribid.files import read_json, write_json
from tribid.models.intent.behaviour import behaviour_at
from tribid.models.intent.index import PurchaseIntentIndex
from tribid.models.intent.quality import fit_index, ranking_quality

LAW = ShopperLaw(pairs=4000, days=50)
INDUSTRY = np.arange(len(LAW.rate))
CUT_HOURS = 24.0 * 43
OTHERS = ("last_touch_weights", "equal_weights", "regression")
Found = dict[str, dict[str, dict[str, float]]]


def main() -> None:
    """Measure every seed of both worlds and the campaign, and print what was found."""
    options = arguments()
    found: Found = read_json(options.results) if options.results and options.results.exists() else {}
    parts = {"shoppers": of_shoppers, "shop": of_shop, "campaign": campaign}
    jobs = [(name, str(seed)) for name in parts for seed in options.seeds if str(seed) not in found.get(name, {})]
    for name, seed in track(jobs, description="seeds", console=Console(stderr=True)):
        found.setdefault(name, {})[seed] = parts[name](int(seed))
        if options.results:
            write_json(options.results, found)
    console = Console()
    if min(map(len, found.values())) < 2:
        console.print("one seed bears no interval; add others")
        return
    for world in ("shoppers", "shop"):
        console.print(qualities(world, list(found[world].values())))
    console.print(lifts(list(found["campaign"].values())))


def of_shoppers(seed: int) -> dict[str, float]:
    """AUCs in the shoppers' world."""
    lived = live(LAW, seed)
    return ranking_quality(lived.behaviours, lived.orders, INDUSTRY, hours=CUT_HOURS)


def of_shop(seed: int) -> dict[str, float]:
    """AUCs on six weeks of 3,000 users of the shop; a brand is a category, and an industry of its own."""
    world = build_world(load_scenario("shop"))
    assert isinstance(world, Shop)
    weeks = [of_week(world, seed, day) for day in (7, 14, 21, 28, 35, 42)]
    touches = joined(*(week.touches for week in weeks))
    orders = joined(*(week.orders for week in weeks))
    return ranking_quality(touches, orders, np.arange(world.config.categories), hours=24.0 * 35)


def of_week(world: Shop, seed: int, day: int) -> TouchesAndOrders:
    """What 3,000 users did in the week before a day; hours count from day 0."""
    log = of_histories(world.past.histories(seed, day, np.arange(3000)), np.arange(3000))
    touches, orders = (
        log.touches.where(log.touches.time_hours >= -168.0),
        log.orders.where(log.orders.time_hours >= -168.0),
    )
    return TouchesAndOrders(
        replace(touches, time_hours=touches.time_hours + 24.0 * day),
        replace(orders, time_hours=orders.time_hours + 24.0 * day),
    )


def campaign(seed: int) -> dict[str, float]:
    """The lift of all ads on the index, with its interval, and the truth."""
    spared = held_out(np.arange(LAW.pairs), share=1 / 3, salt=f"campaign {seed}")
    before, during, never = live(LAW, seed + 1000), live(LAW, seed, spared=spared), live(LAW, seed, without=range(4))
    index = fit_index(PurchaseIntentIndex(), before.behaviours, before.orders, INDUSTRY, CUT_HOURS)
    treated, control = told(index, during, CUT_HOURS)[~spared], told(index, during, CUT_HOURS)[spared]
    truth = float((treated - told(index, never, CUT_HOURS)[~spared]).mean())
    found = lift(treated, control)
    assert found.relative is not None
    return {
        "truth": truth, "lift": found.difference.point, "low": found.difference.low, "high": found.difference.high,
        "relative": found.relative.point,
    }  # fmt: skip


def told(index: PurchaseIntentIndex, lived: Lived, hours: float) -> NDArray[np.float64]:
    """The index of every pair [P]; 0 for one that never did anything."""
    now = behaviour_at(lived.behaviours, hours)
    out = np.zeros(len(lived.industry))
    out[now.user] = index.predict(now.counts, now.age_days, INDUSTRY[now.brand])
    return out


def qualities(world: str, found: list[dict[str, float]]) -> Table:
    """AUC of each way to rank, and what the index has over it, with intervals over seeds."""
    table = Table("", "AUC", "the index has more, paired", title=f"{world}: orders of the week after")
    own = column(found, "index")
    for name in ("index", "index_over_all"):
        table.add_row(name.replace("_", " "), str(t_interval(column(found, name))), "")
    for name in OTHERS:
        theirs = column(found, name)
        table.add_row(name.replace("_", " "), str(t_interval(theirs)), str(t_interval(own - theirs)))
    return table


def lifts(found: list[dict[str, float]]) -> Table:
    """The campaign's lift on the index against the truth."""
    table = Table("", "", title="shoppers: lift of all ads on the index, points of 100")
    held = sum(one["low"] <= one["truth"] <= one["high"] for one in found)
    for name in ("truth", "lift", "relative"):
        table.add_row(name, str(t_interval(column(found, name))))
    table.add_row("95 % intervals that hold the truth", f"{held} of {len(found)}: {proportion(held, len(found))} %")
    return table


def proportion(hits: int, tries: int) -> Interval:
    """The percentage of hits with its exact 95 % interval (Clopper and Pearson, Biometrika 1934)."""
    limits = binomtest(hits, tries).proportion_ci(0.95, method="exact")
    return Interval(100.0 * hits / tries, 100.0 * limits.low, 100.0 * limits.high)


def column(found: list[dict[str, float]], name: str) -> NDArray[np.float64]:
    """One measure, a number for each seed."""
    return np.array([one[name] for one in found])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(12)), help="seeds to measure")
    parser.add_argument(
        "--results", type=Path, help="JSON file of measures; seeds that it holds are not measured again"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
