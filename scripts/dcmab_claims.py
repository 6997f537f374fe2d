"""Put DCMAB's claims (Jin et al., CIKM 2018) to this market: five ways to bid, and coordination, on held-out days.

python scripts/dcmab_claims.py                                    # four training seeds each, as in the paper
python scripts/dcmab_claims.py --seeds 0,1 --steps 6000           # minutes; too few seeds to trust a spread
python scripts/dcmab_claims.py --ticks 24 --requests 24000        # a whole day of hourly periods
python scripts/dcmab_claims.py --bid-form flat                    # manual is a flat bid, as the paper's
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.multi.a2c import A2cClassroom
from tribid.agents.multi.bandit import BanditClassroom
from tribid.agents.multi.budgets import paper_budgets
from tribid.agents.multi.claims import COORDINATED, judge, spread
from tribid.agents.multi.cluster_classroom import ClusterClassroom
from tribid.agents.multi.clusters import Clusters, merchant_clusters
from tribid.agents.multi.dcmab import DcmabClassroom
from tribid.agents.multi.ddpg import DdpgClassroom
from tribid.agents.plan import FIRST_EVALUATION_SEED, TrainingPlan
from tribid.agents.rules import Truthful
from tribid.envs.scenario import MICROS, Scenario, load_scenario
from tribid.evaluation.day import play_day

CLASSROOMS: dict[str, tuple[type[ClusterClassroom], str]] = {
    "bandit": (BanditClassroom, "own"),
    "a2c": (A2cClassroom, "own"),
    "ddpg": (DdpgClassroom, "own"),
    "dcmab": (DcmabClassroom, "own"),
    COORDINATED: (DcmabClassroom, "total"),
}
MEASURING_SEEDS = (0, 1)


def main() -> None:
    """Train, judge, and print the tables."""
    asked = arguments()
    scenario = the_market(asked)
    clusters = merchant_clusters(scenario, MEASURING_SEEDS, count=asked.clusters)
    days = [FIRST_EVALUATION_SEED + day for day in range(asked.days)]
    manual = Lineup.of(Truthful(space=BidderSpace.of(scenario)), sum(map(len, clusters)))
    revenue: dict[str, NDArray[np.float64]] = {"manual": revenue_of(scenario, manual, clusters, days)[None]}
    with Progress(console=Console(stderr=True)) as bar:
        jobs = {name: bar.add_task(name, total=float(len(asked.seeds))) for name in CLASSROOMS}
        for name, (classroom, reward) in CLASSROOMS.items():
            rows = []
            for place, seed in enumerate(asked.seeds):
                plan = TrainingPlan(
                    scenario=scenario.with_changes(reward__part=reward), seed=seed, steps=asked.steps,
                    num_markets=asked.markets, tensorboard=False,
                )  # fmt: skip

                def tell(done: int, total: int, _: float | None, name: str = name, place: int = place) -> None:
                    bar.update(jobs[name], completed=place + done / total)

                rows.append(revenue_of(scenario, trained(classroom, plan, clusters, tell), clusters, days))
                bar.update(jobs[name], completed=place + 1)
            revenue[name] = np.array(rows)
    show(scenario, clusters, revenue)


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2, 3])
    parser.add_argument("--steps", type=int, default=60_000, help="advertiser-steps of each policy, at least")
    parser.add_argument("--markets", type=int, default=4, help="training markets side by side")
    parser.add_argument("--days", type=int, default=20, help="held-out days")
    parser.add_argument("--ticks", type=int, default=3, help="periods of a day; the paper's episode is 3 hours")
    parser.add_argument("--requests", type=int, default=3000, help="requests of a day")
    parser.add_argument("--clusters", type=int, default=3, help="merchant clusters")
    parser.add_argument("--bid-form", choices=("value", "flat"), default="value")
    return parser.parse_args()


def the_market(asked: argparse.Namespace) -> Scenario:
    """Scenario feed with the paper's design: GSP on 3 slots without OCPC, 3 consumer clusters, budgets of CT/3, revenue."""
    scenario = load_scenario("feed").with_changes(
        world__traffic__ticks=asked.ticks,
        world__traffic__requests=asked.requests,
        world__users__clusters=3,
        rules__segments="cluster",
        rules__ocpc__strategy="off",
        rules__outcomes="expected",
        generated__objectives=("max_gmv",),
        generated__bid_form=asked.bid_form,
    )
    return paper_budgets(scenario, MEASURING_SEEDS)


def trained(
    classroom: type[ClusterClassroom], plan: TrainingPlan, clusters: Clusters, tell: Callable[..., None]
) -> Lineup:
    """Everybody driven by the exported policies of a training."""
    with tempfile.TemporaryDirectory() as folder:
        room = classroom(plan, Path(folder), tell, clusters=clusters)
        room.run()
    policies: dict[str, Any] = {name: room.snapshot(name) for name in room.roster.names}
    return Lineup(policies, list(room.roster.mapping.values()))


def revenue_of(scenario: Scenario, lineup: Lineup, clusters: Clusters, days: list[int]) -> NDArray[np.float64]:
    """Mean money value a day of each cluster, in currency units, [N]."""
    values = []
    for seed in days:
        day = play_day(scenario, lineup, seed)
        value = day.advertisers.money_value(day.total.counts.clicks, day.total.counts.conversions) / MICROS
        values.append([value[list(cluster)].sum() for cluster in clusters])
    return np.mean(values, axis=0)  # type: ignore[no-any-return]


def show(scenario: Scenario, clusters: Clusters, revenue: dict[str, NDArray[np.float64]]) -> None:
    """Revenue by method and cluster, and the claims."""
    console = Console(width=150)
    sizes = " / ".join(str(len(cluster)) for cluster in clusters)
    title = f"Money value a day, mean (standard deviation over training seeds); clusters of {sizes}; {scenario.hash}"
    table = Table("method", *(f"C{place}" for place in range(1, len(clusters) + 1)), "total", "of manual", title=title)
    manual = revenue["manual"].sum()
    for name, rows in revenue.items():
        one = [spread(rows[:, [place]]) for place in range(len(clusters))]
        cells = [f"{mean:.1f} ({sd:.1f})" for mean, sd in zip(rows.mean(axis=0), one, strict=True)]
        total = rows.sum(axis=1).mean()
        table.add_row(name, *cells, f"{total:.1f} ({spread(rows):.1f})", f"{100 * total / manual:.0f} %")
    console.print(table)
    for claim in judge(revenue):
        console.print(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}\n       {claim.measured}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
