"""What DCMAB's paper claims of its methods, put to results of one's own: whichever way each claim falls.

Jin, Song, Li, Gai, Wang and Zhang (CIKM 2018), tables 2 and 3. Numbers depend on the market; the shape of the claims does
not have to.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

METHODS = ("manual", "bandit", "a2c", "ddpg", "dcmab")
"""In the paper's order, the worst total first: 5347, 6003, 8477, 16359 and 18199 CNY."""

COORDINATED = "dcmab total"
"""DCMAB where every cluster is paid the total."""


class Claim(NamedTuple):
    """A claim, what was measured, and whether it holds."""

    text: str
    measured: str
    holds: bool


def judge(revenue: Mapping[str, NDArray[np.float64]]) -> list[Claim]:
    """The claims, from each method's revenue by training seed and cluster, [seeds, N] (manual: [1, N], or the same).

    Means over the seeds are compared, and for the spread the standard deviation of the total over the seeds (0 where
    there is one seed); how sure one may be with few seeds is not told.
    """
    lacking = [name for name in (*METHODS, COORDINATED) if name not in revenue]
    if lacking:
        raise ValueError(f"revenue lacks {', '.join(lacking)}; allowed is one table for each method")
    total = {name: float(table.sum(axis=1).mean()) for name, table in revenue.items()}
    learnt = [name for name in total if name != "manual"]
    return [
        Claim(
            "every learnt method has a higher total than manual bids",
            ", ".join(f"{name} {100 * total[name] / total['manual']:.0f} %" for name in learnt),
            all(total[name] > total["manual"] for name in learnt),
        ),
        Claim(
            f"totals rise in the order {' < '.join(METHODS)}",
            " < ".join(sorted(METHODS, key=lambda name: total[name])),
            all(total[low] < total[high] for low, high in pairwise(METHODS)),
        ),
        _steadier(revenue),
        _coordination(revenue),
    ]


def spread(table: NDArray[np.float64]) -> float:
    """The standard deviation over seeds of the total of a table [seeds, N]; 0 for one seed.

    >>> spread(np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]))
    1.0
    """
    totals = table.sum(axis=1)
    return float(totals.std(ddof=1)) if len(totals) > 1 else 0.0


def _steadier(revenue: Mapping[str, NDArray[np.float64]]) -> Claim:
    central, alone = spread(revenue["dcmab"]), spread(revenue["ddpg"])
    seeds = len(revenue["dcmab"])
    return Claim(
        "totals vary less over training seeds with the centralised critic than with independent DDPG",
        f"{central:.2f} against {alone:.2f} over {seeds} seed{'s' * (seeds != 1)}",
        seeds > 1 and central < alone,
    )


def _coordination(revenue: Mapping[str, NDArray[np.float64]]) -> Claim:
    own, total = (revenue[name].mean(axis=0) for name in ("dcmab", COORDINATED))
    losers = [f"C{place}" for place, lost in enumerate(total < own, start=1) if lost]
    return Claim(
        "coordination (paid the total) lifts the total, while some cluster loses",
        f"total {own.sum():.2f} to {total.sum():.2f} ({_split(own)} to {_split(total)}); "
        + (f"lower for {', '.join(losers)}" if losers else "lower for none"),
        bool(total.sum() > own.sum()) and bool(losers),
    )


def _split(parts: Sequence[float] | NDArray[np.float64]) -> str:
    return " / ".join(f"{part:.2f}" for part in parts)
