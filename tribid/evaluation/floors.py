"""First the user, then the platform, then the seller: an order of interests as explicit constraints, with their prices.

Each of Q searches is answered by one of M rankings, or by a mixture of them. The platform's index is made as large as
possible subject to a floor of the user's; then the seller's subject to both floors. Both are linear programs, solved by
HiGHS. A floor's price is its dual: what the index below gains if the floor is lowered by one unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]

SIDES = ("user", "platform", "seller")
"""The sides in their order of rank."""

TOLERANCE = 1e-9
"""Floors are kept to this part of a side's largest index, so that the very best can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Indices:
    """Each side's index of answering search q by ranking m, [Q, M]. ``ValueError`` names one with a number that is none."""

    user: Floats
    platform: Floats
    seller: Floats

    def __post_init__(self) -> None:
        for side in SIDES:
            table = np.asarray(getattr(self, side), np.float64)
            if table.ndim != 2 or 0 in table.shape or table.shape != np.shape(self.user):
                raise ValueError(
                    f"{side} has shape {table.shape}; allowed is [searches, rankings], alike for all sides"
                )
            wrong = ~np.isfinite(table)
            if wrong.any():
                raise ValueError(f"{side} holds {table[wrong][0]}; allowed are finite numbers")
            object.__setattr__(self, side, table)

    def of(self, mix: Floats) -> dict[str, float]:
        """Each side's mean index under a mixture [Q, M]."""
        return {side: float((getattr(self, side) * mix).sum() / len(mix)) for side in SIDES}


@dataclass(frozen=True)
class Mixture:
    """The best of ``side``'s index above the ``floors``: the share [Q, M] of each ranking, and what every side reaches.

    ``price`` of a floor is 0 or more: what ``side`` gives up for one more unit of it; 0 wherever more than the floor is
    reached.
    """

    side: str
    mix: Floats
    reached: dict[str, float]
    floors: dict[str, float]
    price: dict[str, float]


@dataclass(frozen=True)
class Ranks:
    """The two programs one after the other: ``platform`` subject to the user's floor, ``seller`` subject to both."""

    platform: Mixture
    seller: Mixture


def best_above(indices: Indices, side: str, floors: dict[str, float]) -> Mixture:
    """The mixture with the largest index of ``side`` of all that keep the floors of other sides' mean indices.

    ``ValueError`` says by how much floors are too high: by themselves, or together.

    >>> two = Indices(user=np.array([[1.0, 0.0]]), platform=np.array([[0.0, 10.0]]), seller=np.zeros((1, 2)))
    >>> half = best_above(two, "platform", {"user": 0.5})
    >>> round(half.reached["platform"], 6), half.price["user"]
    (5.0, 10.0)
    """
    _check(side, floors)
    rows, columns = indices.user.shape
    names = sorted(floors, key=SIDES.index)
    unit = {name: float(np.abs(getattr(indices, name)).max()) or 1.0 for name in SIDES}
    scaled = {name: getattr(indices, name).ravel() / unit[name] for name in SIDES}  # so one tolerance is for all units
    found = linprog(
        -scaled[side], A_ub=csr_matrix(np.stack([-scaled[name] for name in names])) if names else None,
        b_ub=[rows * (TOLERANCE - floors[name] / unit[name]) for name in names] or None,
        A_eq=_one_each(rows, columns), b_eq=np.ones(rows), bounds=(0.0, None), method="highs",
    )  # fmt: skip
    if found.status == 2:
        raise ValueError(_out_of_reach(indices, floors))
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    mix = np.clip(found.x, 0.0, 1.0).reshape(rows, columns)
    mix /= mix.sum(axis=1, keepdims=True)
    duals = -np.asarray(found.ineqlin.marginals) if names else np.zeros(0)
    price = {name: max(0.0, float(dual)) * unit[side] / unit[name] for name, dual in zip(names, duals, strict=True)}
    return Mixture(side, mix, indices.of(mix), dict(floors), price)


def in_order(indices: Indices, *, user_floor: float, platform_floor: float) -> Ranks:
    """User, then platform, then seller, by floors of the mean indices themselves."""
    platform = best_above(indices, "platform", {"user": user_floor})
    seller = best_above(indices, "seller", {"user": user_floor, "platform": platform_floor})
    return Ranks(platform, seller)


def in_order_by_share(indices: Indices, *, user: float, platform: float) -> Ranks:
    """``in_order`` with floors as shares of the best that can be reached, as a scenario has them.

    The user's is a share of the best user index of all; the platform's a share of the best platform index above the
    user's floor. ``ValueError`` for shares outside 0 to 1 and for a best below 0, of which a share would be above it.
    """
    for name, share in (("user", user), ("platform", platform)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} is {share}; allowed is a share from 0 to 1")
    best_user = indices.user.max(axis=1).mean()
    floor = _share_of("user", user, float(best_user))
    first = best_above(indices, "platform", {"user": floor})
    second = _share_of("platform", platform, first.reached["platform"])
    return Ranks(first, best_above(indices, "seller", {"user": floor, "platform": second}))


def front(
    indices: Indices, side: str, over: str, floors: ArrayLike, fixed: dict[str, float] | None = None
) -> list[Mixture]:
    """The best of ``side`` at each floor of ``over``; the ``fixed`` floors hold throughout."""
    return [best_above(indices, side, (fixed or {}) | {over: float(floor)}) for floor in np.asarray(floors, np.float64)]


def _check(side: str, floors: dict[str, float]) -> None:
    if side not in SIDES:
        raise ValueError(f"no side named {side!r}; choose {', '.join(SIDES)}")
    for name, floor in floors.items():
        if name not in SIDES or name == side:
            raise ValueError(
                f"no floor of {name!r} when {side} is made best; choose of the other sides, {', '.join(SIDES)}"
            )
        if not np.isfinite(floor):
            raise ValueError(f"floor of {name} is {floor}; allowed is a finite number")


def _one_each(rows: int, columns: int) -> csr_matrix:
    """The constraint that the shares of each search's rankings sum to 1."""
    at = np.arange(rows * columns)
    return csr_matrix((np.ones(rows * columns), (at // columns, at)), shape=(rows, rows * columns))


def _share_of(name: str, share: float, best: float) -> float:
    if best < 0.0:
        raise ValueError(f"the best {name} index is {best}; allowed is 0 or more where floors are shares of it")
    return share * best


def _out_of_reach(indices: Indices, floors: dict[str, float]) -> str:
    """Which floor cannot be reached and by how much: the first that fails above those of higher rank."""
    kept: dict[str, float] = {}
    for name in sorted(floors, key=SIDES.index):
        most = best_above(indices, name, kept).reached[name]
        if floors[name] > most:
            above = "".join(f" above a {side} floor of {floor:.6g}" for side, floor in kept.items())
            return (
                f"floor of {name} is {floors[name]:.6g}; allowed is at most {most:.6g}{above}, "
                f"so it is too high by {floors[name] - most:.6g}"
            )
        kept[name] = floors[name]
    return f"floors {floors} cannot be kept together, by less than the solver's tolerance; lower one of them"
