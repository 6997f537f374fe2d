"""What each part of search does to users, platform and sellers: factors, shadow bid, learnt weights, floors with prices.

python scripts/search_claims.py                                    # some minutes: 12 worlds
python scripts/search_claims.py --seeds 0 1 --results found.json   # some worlds; more can be added to the file later
python scripts/search_claims.py --plot front.svg                   # also the front of platform and user with the floors

Each world has its own items, sellers and queries; all rankings of a world meet the same searches, and what they bring is
worked out from the true rates (no draws), so differences are of the ranking alone. Changes are in percent of the
scenario's own ranking, with Student's 95 % intervals over worlds, of which there have to be two; nothing here was tuned on
these worlds. Weights are learnt from the clicks of one day on the even queries and judged on another day's odd ones.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.envs.search.config import Mobile, Prices, Search
from tribid.envs.search.factors import NAMES
from tribid.envs.search.scene import SearchScene
from tribid.envs.search.world import own_items, search_world
from tribid.evaluation.floor_plot import draw_front
from tribid.evaluation.floors import Indices, front, in_order_by_share
from tribid.evaluation.search_floors import REACHED, choices, described
from tribid.evaluation.search_sides import Market
from tribid.evaluation.statistics import Interval, t_interval
from tribid.files import read_json, write_atomically, write_json
from tribid.models.search.click_log import ClickLog, attention, collect
from tribid.models.search.weights import SearchWeights

Floats = NDArray[np.float64]
Found = dict[str, dict[str, dict[str, float]]]

ALPHAS = (0.0, 100_000.0, 400_000.0, 1_000_000.0, 4_000_000.0, 100_000_000.0)
SIDES = (
    "user nDCG", "user nDCG of orders", "user clicks", "user CVR", "user bounce", "platform revenue", "platform GMV",
    "seller net", "seller fairness",
)  # fmt: skip
OWN = "the scenario's own"
RULES = ("price floor", "desktop carried to mobile", "mobile's discount")
WAYS = ("listwise, corrected", "pairwise, corrected", "listwise, raw clicks", "relevance alone")
ROWS = {"without": (OWN, *NAMES, *RULES), "alpha": tuple(f"{a:,.0f}" for a in ALPHAS), "learnt": (OWN, *WAYS)}
"""The variants of each group, the one that others are compared with first."""


def main() -> None:
    """Measure every world, print the tables."""
    options = arguments()
    found: Found = read_json(options.results) if options.results and options.results.exists() else {}
    new = [seed for seed in options.seeds if str(seed) not in found]
    for seed in track(new, description="worlds", console=Console(stderr=True)):
        found[str(seed)] = measured(seed, options)
        if options.results:
            write_json(options.results, found)
    if options.plot:
        write_atomically(options.plot, plotted(options))
    console = Console()
    if len(found) < 2:
        console.print("one world bears no interval; add others")
        return
    for title, group in (
        ("Without a factor or rule, change in %", "without"),
        ("Shadow bid (micros per click that stays), change in % from 0", "alpha"),
        ("Learnt weights on queries never learnt on, change in %", "learnt"),
    ):
        console.print(table(found, title, group))
    for side in SIDES:
        told = changes(found, f"learnt|{WAYS[2]}", f"learnt|{WAYS[0]}", side)
        console.print(f"{WAYS[0]} against {WAYS[2]}, {side}: {marked(told)} %")
    console.print(floor_table(found))


def measured(seed: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All measures of one world, by ``group|name``."""
    scene = SearchScene.of(Search(), seed, count=options.items)
    market = Market(scene, scene.searches(seed + 1, 1, options.searches))
    told = {f"without|{name}": market_.outcome(w).sides() for name, market_, w in lacking(scene, market, options)}
    for alpha in ALPHAS:
        told[f"alpha|{alpha:,.0f}"] = market.outcome(scene.weights, alpha).sides()
    told |= learning(scene, seed, options)
    return told | floors(choices(scene, market))


def lacking(scene: SearchScene, market: Market, options: argparse.Namespace) -> Iterator[tuple[str, Market, Floats]]:
    """The scenario's ranking, then without each factor, without the price floor, and with other discounts to mobile."""
    yield OWN, market, scene.weights
    for k, name in enumerate(NAMES):
        yield name, market, np.where(np.arange(len(NAMES)) == k, 0.0, scene.weights)
    world, searches = scene.world, market.searches
    changed: tuple[dict[str, Prices | Mobile], ...] = (
        {"prices": Prices(floor_share=0.0)}, {"mobile": Mobile(discount=0.0)}, {"mobile": Mobile(discount=1.0)}
    )  # fmt: skip
    for name, rule in zip(RULES, changed, strict=True):
        search = scene.search.model_copy(update=rule)
        other = SearchScene(search_world(world.seed, search, own_items(world.seed, options.items, 6)))
        yield name, Market(other, searches), other.weights


def learning(scene: SearchScene, seed: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Learnt on one day's even queries, with and without correction, both losses; judged on another day's odd ones."""
    day = scene.searches(seed + 2, 2, options.searches * 8)
    even = np.flatnonzero(day.query % 2 == 0)
    log = collect(scene, day)
    log = ClickLog(log.features[even], log.clicked[even], log.ordered[even], log.there[even])
    seen = attention(collect(scene, scene.searches(seed + 3, 3, options.searches), shuffled=True))
    test = scene.searches(seed + 4, 4, options.searches * 2)
    market = Market(scene, test.part(np.flatnonzero(test.query % 2 == 1)))
    only = np.isin(NAMES, ("keyword", "category", "attribute")) * scene.weights
    listwise, pairwise = SearchWeights().fit(log, seen), SearchWeights(loss="pairwise").fit(log, seen)
    weights = (scene.weights, listwise.points(), pairwise.points(), SearchWeights().fit(log).points(), only)
    return {f"learnt|{n}": market.outcome(w).sides() for n, w in zip(ROWS["learnt"], weights, strict=True)}


def floors(indices: Indices) -> dict[str, dict[str, float]]:
    """What the order user, platform, seller reaches and its prices: per search, and as one mixture for all searches."""
    mean = Indices(
        **{side: getattr(indices, side).mean(axis=0, keepdims=True) for side in ("user", "platform", "seller")}
    )
    rule = Search()
    told = {}
    for way, given in (("one mixture", mean), ("per search", indices)):
        for user in (0.9, 0.95, rule.user_floor):
            ranks = in_order_by_share(given, user=user, platform=rule.platform_floor)
            told[f"floors|{way}, user {user:.0%}"] = described(ranks)
    return told


def plotted(options: argparse.Namespace) -> str:
    """The front of the platform's index over the user's floor in the first world."""
    scene = SearchScene.of(Search(), options.seeds[0], count=options.items)
    indices = choices(scene, Market(scene, scene.searches(options.seeds[0] + 1, 1, options.searches)))
    best = float(indices.user.max(axis=1).mean())
    chosen = in_order_by_share(indices, user=scene.search.user_floor, platform=scene.search.platform_floor).platform
    return draw_front(front(indices, "platform", "user", best * np.linspace(0.85, 1.0, 16)), "user", chosen)


def changes(found: Found, base: str, name: str, side: str) -> Interval:
    """The change of one measure in percent of its base, over worlds."""
    return t_interval(np.array([100.0 * (of[name][side] / of[base][side] - 1.0) for of in found.values()]))


def table(found: Found, title: str, group: str) -> Table:
    """A row a variant, a column a measure; the first row is the base, in absolute numbers."""
    shown = Table("variant", *SIDES, title=title)
    base, *others = (f"{group}|{name}" for name in ROWS[group])
    shown.add_row(ROWS[group][0], *(f"{np.mean([of[base][side] for of in found.values()]):.4g}" for side in SIDES))
    for name in others:
        shown.add_row(name.split("|")[1], *(marked(changes(found, base, name, side)) for side in SIDES))
    return shown


def floor_table(found: Found) -> Table:
    """What each floor leaves, and the floors' prices, with intervals over worlds."""
    names = sorted(name for name in next(iter(found.values())) if name.startswith("floors|"))
    shown = Table("floors", *REACHED, title="User, then platform, then seller; clicks that stay and micros per search")
    for name in names:
        cells = (t_interval(np.array([of[name][column] for of in found.values()])) for column in REACHED)
        shown.add_row(name.split("|")[1], *map(str, cells))
    return shown


def marked(change: Interval) -> str:
    """The interval, with a star where it leaves 0 out."""
    return f"{change.point:+.2f} [{change.low:+.2f}, {change.high:+.2f}]{' *' if change.low > 0 or change.high < 0 else ''}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(12)), help="worlds to measure")
    parser.add_argument("--searches", type=int, default=3000, help="searches that rankings are compared on")
    parser.add_argument("--items", type=int, default=2000, help="items of a world")
    parser.add_argument(
        "--results", type=Path, help="JSON file of measures; worlds that it holds are not measured again"
    )
    parser.add_argument("--plot", type=Path, help="SVG file for the front of the first world")
    return parser.parse_args()


if __name__ == "__main__":
    main()
