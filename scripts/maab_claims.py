"""MAAB's claims in the game of two bidders: what each way of sharing reward does to welfare and to the platform's revenue.

python scripts/maab_claims.py                          # a few minutes: 5 trainings of each method
python scripts/maab_claims.py --seeds 10 --days 120    # narrower
python scripts/maab_claims.py --richer 0.7             # one bidder has 70 % of the money: does it win most?

Wen et al. (WSDM 2022) report that competing learners let the richer bidder win most, that cooperating ones raise welfare and
cut revenue, and that bars bring revenue back. Prints the means with Student's 95 % intervals over trainings, and for each
claim whether these runs show it, deny it, or cannot tell.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.agents.multi.q_learning import QRule
from tribid.agents.multi.shared_credit import VARIANTS
from tribid.agents.multi.two_agent_game import Outcome, TwoAgentGame, train_and_judge
from tribid.evaluation.statistics import claim_verdict, t_interval

NAMES = {"cm_il": "CM-IL", "co_il": "CO-IL", "mix_il": "MIX-IL", "maab_fix": "MAAB, fixed bar", "maab": "MAAB"}
RULE = QRule(
    hidden=(32, 32), learning_rate=2e-3, gamma=1.0, returns=10, batch=512, updates=20, follow=0.05, replay=50_000
)


def main() -> None:
    """Train every method under every seed, judge all on the same games, print the table and the claims."""
    options = arguments()
    if options.seeds < 2:
        raise SystemExit(f"--seeds is {options.seeds}; one training bears no interval, ask for 2 or more")
    torch.set_num_threads(1)
    game = TwoAgentGame(rounds=options.rounds, total_budget=options.budget * options.rounds, richer=options.richer)
    settings = {
        name: replace(
            VARIANTS[name], rule=RULE, choices=11, exploring=0.3, temperature=options.temperature, fixed_bar=options.bar
        )
        for name in NAMES
    }
    found: dict[str, list[Outcome]] = {name: [] for name in NAMES}
    jobs = [(name, seed) for seed in range(options.seeds) for name in NAMES]
    for name, seed in track(jobs, description="trainings", console=Console(stderr=True)):
        found[name].append(train_and_judge(game, settings[name], seed, days=options.days, games=options.games))
    Console().print(table(found))
    for claim, told in claims(found, options.richer).items():
        print(f"{claim}: {told}")


def table(found: dict[str, list[Outcome]]) -> Table:
    """Welfare, revenue and both bidders' values of each method, with intervals over trainings."""
    shown = Table("method", "welfare", "revenue, % of budgets", "value of bidder 1", "value of bidder 2")
    for name, outcomes in found.items():
        columns = np.array([[one.welfare, one.revenue, *one.value] for one in outcomes]).T
        shown.add_row(NAMES[name], *(str(t_interval(column)) for column in columns))
    return shown


def claims(found: dict[str, list[Outcome]], richer: float) -> dict[str, str]:
    """Each claim's difference (paired by seed), and what its interval says of it."""
    welfare = {name: np.array([one.welfare for one in outcomes]) for name, outcomes in found.items()}
    revenue = {name: np.array([one.revenue for one in outcomes]) for name, outcomes in found.items()}
    stated = {
        "cooperation raises welfare over competition": welfare["co_il"] - welfare["cm_il"],
        "cooperation cuts revenue below competition": revenue["cm_il"] - revenue["co_il"],
        "the mixed reward brings revenue back over cooperation": revenue["mix_il"] - revenue["co_il"],
        "a fixed bar adds revenue to the mixed reward": revenue["maab_fix"] - revenue["mix_il"],
        "learnt bars add revenue to the mixed reward": revenue["maab"] - revenue["mix_il"],
        "MAAB's revenue is above cooperation's": revenue["maab"] - revenue["co_il"],
        "MAAB's welfare is above competition's": welfare["maab"] - welfare["cm_il"],
    }
    if richer != 0.5:
        value = np.array([one.value for one in found["cm_il"]])
        stated["among competing bidders the richer wins most"] = (value[:, 0] - value[:, 1]) * np.sign(richer - 0.5)
    measured = {claim: t_interval(difference) for claim, difference in stated.items()}
    return {claim: f"{claim_verdict(gain)} ({gain})" for claim, gain in measured.items()}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each method")
    parser.add_argument("--days", type=int, default=60, help="days of a training")
    parser.add_argument("--games", type=int, default=64, help="games played side by side each day")
    parser.add_argument("--rounds", type=int, default=30, help="auctions of a game")
    parser.add_argument("--budget", type=float, default=0.25, help="both budgets together, for each round")
    parser.add_argument("--richer", type=float, default=0.5, help="the first bidder's share of the budget")
    parser.add_argument("--temperature", type=float, default=4.0, help="temperature of the mixed reward")
    parser.add_argument("--bar", type=float, default=0.2, help="the fixed bar, a bid from 0 to 1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
