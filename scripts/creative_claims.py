"""VAM-HBM's claim on simulated creatives: a visual prior and a hybrid bandit earn more clicks than bandits without them.

python scripts/creative_claims.py                                    # a quarter of an hour: 8 worlds
python scripts/creative_claims.py --seeds 0 1 --results found.json   # some worlds; more can be added to the file later
python scripts/creative_claims.py --impersonal                       # without the users' tastes

Wang et al. (WWW 2021) report a simulated CTR by replay, in percent, of 2.950 for uniform choice, 3.158 Thompson sampling,
3.192 LinTS, 3.195 LinUCB, 3.219 VAM-greedy, 3.293 VAM-Warmup and 3.320 VAM-HBM. Here each world has its own ads, users and
pictures; the visual model learns from the log of other ads, and all bandits then meet the same users. Clicks are counted
on the truth (as expected clicks of what was shown) and by replay. The settings of all bandits were chosen on worlds 1001 to
1003 and on no other.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tribid.evaluation.statistics import claim_verdict, t_interval
from tribid.files import read_json, write_json
from tribid.models.creatives.bandits import CreativeBandit, EpsilonGreedy, Thompson, Uniform, VisualGreedy
from tribid.models.creatives.hybrid import HybridBandit
from tribid.models.creatives.linear_bandits import LinTs, LinUcb
from tribid.models.creatives.replay_game import Game, GameRule, Learnt, best_possible, play, replay
from tribid.models.creatives.visual_prior import VisualPrior

NAMES = ("uniform", "epsilon-greedy", "Thompson", "LinUCB", "LinTS", "VAM-greedy", "VAM-Warmup", "VAM-HBM")
Found = dict[str, dict[str, list[float]]]


def main() -> None:
    """Play every world, print the table and the claims."""
    options = arguments()
    torch.set_num_threads(1)
    rule = GameRule(personal=not options.impersonal)
    found: Found = read_json(options.results) if options.results and options.results.exists() else {}
    new = [seed for seed in options.seeds if str(seed) not in found]
    for seed in track(new, description="worlds", console=Console(stderr=True)):
        found[str(seed)] = played(rule, seed)
        if options.results:
            write_json(options.results, found)
    console = Console()
    if len(found) < 2:
        console.print("one world bears no interval; add others")
        return
    console.print(table(found))
    for claim, told in claims(found).items():
        console.print(f"{claim}: {told}")


def played(rule: GameRule, seed: int) -> dict[str, list[float]]:
    """Expected clicks, those of the last third, and the rate by replay in percent, of each bandit in one world."""
    game = Game(rule, seed)
    learnt = game.learn(VisualPrior())
    scores = {"best": [best_possible(game), 0.0, 0.0]}
    for name, make in bandits(rule, learnt).items():
        direct, logged = play(make(), game, learnt), replay(make(), game, learnt)
        last = direct.by_round[-len(direct.by_round) // 3 :].sum()
        scores[name] = [direct.expected, float(last), 100.0 * logged.rate]
    return scores


def bandits(rule: GameRule, learnt: Learnt) -> dict[str, Callable[[], CreativeBandit]]:
    """All of them, fresh; those that count clicks start from the Beta prior of the log, as the others know its features."""
    counts = np.full(rule.ads, rule.creatives.count)
    mean, (alpha, beta) = learnt.prior_mean(), learnt.prior.smoothing_
    weak_intercept = np.array([100.0] + [30_000.0] * (len(mean) - 1))
    own = np.array([1_000.0] + [30_000.0] * (len(mean) - 1))

    def hybrid(turn: float) -> CreativeBandit:
        return HybridBandit(
            counts, prior_mean=mean, prior_ad=weak_intercept, prior_creative=own, turn=turn, slope=500.0
        )

    return {
        "uniform": lambda: Uniform(counts),
        "epsilon-greedy": lambda: EpsilonGreedy(counts, epsilon=0.1, alpha=alpha, beta=beta),
        "Thompson": lambda: Thompson(counts, alpha=alpha, beta=beta),
        "LinUCB": lambda: LinUcb(counts, numbers=len(mean), width=0.4, ridge=100.0),
        "LinTS": lambda: LinTs(counts, numbers=len(mean), prior=300.0),
        "VAM-greedy": lambda: VisualGreedy(counts, weights=mean),
        "VAM-Warmup": lambda: hybrid(np.inf),
        "VAM-HBM": lambda: hybrid(1_500.0),
    }


def column(found: Found, name: str, place: int) -> NDArray[np.float64]:
    """One measure of one bandit, a number for each world."""
    return np.array([scores[name][place] for scores in found.values()])


def table(found: Found) -> Table:
    """Each bandit's gain in clicks over uniform choice, also in the last third and as a share of the best possible gain.

    Then its rate by replay.
    """
    shown = Table(
        "bandit", "clicks, % over uniform", "last third, % over uniform", "% of best possible gain", "sCTR, %"
    )
    start = column(found, "uniform", 0)
    room = column(found, "best", 0) - start
    for name in NAMES:
        gain = column(found, name, 0) - start
        late = column(found, name, 1) / column(found, "uniform", 1) - 1.0
        cells = (100.0 * gain / start, 100.0 * late, 100.0 * gain / room, column(found, name, 2))
        shown.add_row(name, *(str(t_interval(cell)) for cell in cells))
    return shown


def claims(found: Found) -> dict[str, str]:
    """Each claimed gain in expected clicks, in percent and paired by world, and what its interval says of it."""
    stated = [("VAM-HBM", name) for name in ("Thompson", "LinUCB", "LinTS", "VAM-greedy", "VAM-Warmup")]
    stated += [("VAM-greedy", "Thompson"), ("VAM-Warmup", "VAM-greedy"), ("LinUCB", "Thompson")]
    told = {}
    for better, worse in stated:
        gain = t_interval(100.0 * (column(found, better, 0) / column(found, worse, 0) - 1.0))
        told[f"{better} earns more clicks than {worse}"] = f"{claim_verdict(gain)} ({gain} %)"
    return told


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)), help="worlds to play")
    parser.add_argument("--results", type=Path, help="JSON file of scores; worlds that it holds are not played again")
    parser.add_argument("--impersonal", action="store_true", help="bandits do not know the users' tastes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
