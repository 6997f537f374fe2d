"""User, then platform, then seller in a search world: what each floor leaves to the next side, and its price."""

import numpy as np

from tribid.envs.search.config import Search
from tribid.envs.search.factors import NAMES
from tribid.envs.search.scene import SearchScene
from tribid.evaluation.floors import Indices, Ranks, in_order_by_share
from tribid.evaluation.search_sides import Market
from tribid.evaluation.statistics import Interval, t_interval

REACHED = (
    "user", "platform alone", "platform", "seller", "price of user floor to platform", "price of user floor to seller",
    "price of platform floor to seller",
)  # fmt: skip
"""What is told of each pair of floors; indices per search, prices per unit of the floor's own index."""

USER_FLOORS = (0.9, 0.95)
"""Shares of the best that is to be had for users, beside the scenario's own floor."""


def choices(scene: SearchScene, market: Market) -> Indices:
    """The sides' indices of each search under twelve rankings: four sets of weights at three shadow bids.

    The user's index is clicks that stay, the platform's its income, the sellers' what they keep.
    """
    names = np.array(NAMES)
    own = scene.weights
    dear = np.where(names == "order_value", 30.0, own)
    rotating = np.where(names == "off_shelf", 40.0, own)
    liked = np.where(np.isin(names, ("bounce", "dwell", "favourites", "personal")), 3.0 * own, own)
    ranks = [market.outcome(w, alpha) for w in (own, dear, rotating, liked) for alpha in (0.0, 1e6, 1e8)]
    user, platform, seller = (
        np.stack([getattr(rank, field) for rank in ranks], axis=1) for field in ("satisfied", "income", "net")
    )
    return Indices(user=user, platform=platform, seller=seller)


def described(ranks: Ranks) -> dict[str, float]:
    """The numbers of both programs."""
    first, second = ranks.platform, ranks.seller
    reached, price = second.reached, second.price
    numbers = (
        reached["user"], first.reached["platform"], reached["platform"], reached["seller"],
        first.price["user"], price["user"], price["platform"],
    )  # fmt: skip
    return dict(zip(REACHED, numbers, strict=True))


def floor_prices(seeds: int, searches: int = 400) -> dict[float, dict[str, Interval]]:
    """For each floor of the user's, the numbers of ``REACHED`` as means over search worlds ``0`` to ``seeds - 1``.

    Each search has a ranking of its own; the platform's floor is the scenario's share of what it can reach above the user's.
    """
    rule = Search()
    shares = (*USER_FLOORS, rule.user_floor)
    found: dict[float, list[dict[str, float]]] = {share: [] for share in shares}
    for seed in range(seeds):
        scene = SearchScene.of(rule, seed)
        indices = choices(scene, Market(scene, scene.searches(seed + 1, 1, searches)))
        for share in shares:
            found[share].append(described(in_order_by_share(indices, user=share, platform=rule.platform_floor)))
    return {
        share: {name: t_interval(np.array([one[name] for one in told])) for name in REACHED}
        for share, told in found.items()
    }
