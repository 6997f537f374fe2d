"""Which rule of credit is nearest to what channels really did, in worlds where that is known?

python scripts/attribution_claims.py                                          # a minute or two: three worlds, 12 seeds each
python scripts/attribution_claims.py --seeds 0 1 --results found.json         # more seeds can be added to the file later
python scripts/attribution_claims.py --seeds 0 --log runs/touches.parquet     # also write a log for `tribid attribution`

A world (tribid.envs.attribution.shoppers) is lived through with every set of its four channels, with the same consumers and
the same coin flips. That gives two truths: a channel's removal effect, the orders that are lost without it, and its Shapley
value in the game whose worths are the orders that each set of channels brings about beyond none. Every rule sees only the
log with all channels on. Its error is half the sum of the differences between its shares of credit and the truth's: the part
of the credit that would have to move. Intervals are Student's, 95 %, over seeds, of which there have to be two.

In the world "even" channels meet anybody alike. In "targeted" they follow interest, each in its own measure, as retargeting
and paid search do; what works most is targeted most. In "misled" display is targeted most and works least: who meets it
would have bought anyway, which no rule that only sees who was met and who ordered can know.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.envs.attribution.accounting import attributed
from tribid.envs.attribution.credit import METHODS
from tribid.envs.attribution.shapley import shapley_values
from tribid.envs.attribution.shoppers import CHANNEL_NAMES, ShopperLaw, live
from tribid.envs.attribution.touch_file import write_touch_log
from tribid.envs.attribution.touches import joined
from tribid.evaluation.statistics import t_interval
from tribid.files import read_json, write_json

WORLDS = {
    "even": ShopperLaw(targeting=(0.0, 0.0, 0.0, 0.0)),
    "targeted": ShopperLaw(),
    "misled": ShopperLaw(targeting=(0.2, 0.2, 0.2, 1.2)),
}
TRUTHS = ("Shapley", "removal")
LOOKBACK_HOURS = 24.0 * 14
Found = dict[str, dict[str, dict[str, list[float]]]]
"""By world and seed: credit or effect of each channel, under each rule and truth; ``orders`` are all of them."""


def main() -> None:
    """Live through every world, print what each rule said and how far that is from the truth."""
    options = arguments()
    found: Found = read_json(options.results) if options.results and options.results.exists() else {}
    jobs = [(world, str(seed)) for world in WORLDS for seed in options.seeds if str(seed) not in found.get(world, {})]
    for world, seed in track(jobs, description="worlds", console=Console(stderr=True)):
        found.setdefault(world, {})[seed] = told(WORLDS[world], int(seed))
        if options.results:
            write_json(options.results, found)
    console = Console()
    for world in WORLDS:
        console.print(shares(world, found[world]))
        if len(found[world]) < 2:
            console.print(f"{world}: one seed bears no interval; add others")
            continue
        console.print(errors(world, found[world]))
        for claim in claims(found[world]):
            console.print(f"{world}: {claim}")
    if options.log:
        lived = live(WORLDS["targeted"], options.seeds[0])
        own = replace(lived.behaviours, channel=np.full(len(lived.behaviours), len(CHANNEL_NAMES)))
        write_touch_log(
            options.log, joined(lived.ads, own), lived.orders, channels=(*CHANNEL_NAMES, "shop"), industry=np.arange(3)
        )
        console.print(f"wrote {options.log}")


def told(law: ShopperLaw, seed: int) -> dict[str, list[float]]:
    """Credit by channel under every rule, and both truths, of one seed."""
    channels = len(CHANNEL_NAMES)
    everything = live(law, seed, behaviours=False)
    out = {
        method: attributed(
            everything.ads, everything.orders, brands=len(law.rate), channels=channels, method=method,
            lookback_hours=LOOKBACK_HOURS,
        ).conversions.sum(axis=0).tolist()
        for method in METHODS
    }  # fmt: skip
    worth = np.zeros(2**channels)
    for coalition in range(2**channels):
        off = [c for c in range(channels) if not coalition >> c & 1]
        worth[coalition] = len(live(law, seed, without=off, behaviours=False).orders)
    out["removal"] = [float(worth[-1] - worth[-1 - (1 << c)]) for c in range(channels)]
    out["Shapley"] = shapley_values(worth).tolist()
    out["orders"] = [float(worth[-1])]
    return out


def share(found: Mapping[str, dict[str, list[float]]], name: str) -> NDArray[np.float64]:
    """Shares [seeds, channels] of the credit, or of the effect, under a name."""
    credit = np.array([one[name] for one in found.values()])
    part: NDArray[np.float64] = credit / credit.sum(axis=1, keepdims=True)
    return part


def error(found: Mapping[str, dict[str, list[float]]], method: str, truth: str) -> NDArray[np.float64]:
    """Percent of the credit [seeds] that would have to move; the truth is that of all seeds together."""
    right = np.array([one[truth] for one in found.values()]).sum(axis=0)
    wrong: NDArray[np.float64] = 50.0 * np.abs(share(found, method) - right / right.sum()).sum(axis=1)
    return wrong


def shares(world: str, found: Mapping[str, dict[str, list[float]]]) -> Table:
    """What each rule says and what is true, in percent of the whole; then how much of all orders that whole is."""
    table = Table("", *CHANNEL_NAMES, "% of all orders", title=f"{world}: shares, %")
    orders = np.array([one["orders"][0] for one in found.values()])
    for name in (*TRUTHS, *METHODS):
        whole = np.array([sum(one[name]) for one in found.values()]) / orders
        table.add_row(
            name, *(f"{100 * part:.1f}" for part in share(found, name).mean(axis=0)), f"{100 * whole.mean():.0f}"
        )
    return table


def errors(world: str, found: Mapping[str, dict[str, list[float]]]) -> Table:
    """How far each rule's shares are from either truth's."""
    table = Table("rule", *(f"against {truth}" for truth in TRUTHS), title=f"{world}: % of the credit misplaced")
    for method in METHODS:
        table.add_row(method, *(str(t_interval(error(found, method, truth))) for truth in TRUTHS))
    return table


def claims(found: Mapping[str, dict[str, list[float]]]) -> list[str]:
    """Which rule is nearest to each truth, and whether it is nearer than each other rule beyond chance."""
    said = []
    for truth in TRUTHS:
        wrong = {method: error(found, method, truth) for method in METHODS}
        best = min(wrong, key=lambda method: float(wrong[method].mean()))
        gaps = {other: t_interval(wrong[other] - wrong[best]) for other in METHODS if other != best}
        close = [other for other, gap in gaps.items() if gap.low <= 0]
        said.append(f"nearest to {truth} is {best}; not told apart from it: {', '.join(close) or 'none'}")
    return said


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(12)), help="seeds to live through")
    parser.add_argument("--results", type=Path, help="JSON file of credit; seeds that it holds are not lived again")
    parser.add_argument("--log", type=Path, help="where to write the touches and orders of the first seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
