"""Floors in search worlds, as a report tells them."""

import numpy as np

from tribid.envs.search.config import Search
from tribid.envs.search.scene import SearchScene
from tribid.evaluation.search_floors import REACHED, choices, floor_prices
from tribid.evaluation.search_sides import Market


def test_a_higher_floor_of_the_users_leaves_the_platform_less_at_a_higher_price() -> None:
    told = floor_prices(2, searches=60)
    shares = sorted(told)
    assert len(shares) == 3 and all(tuple(found) == REACHED for found in told.values())
    reached = [told[share]["platform"].point for share in shares]
    price = [told[share]["price of user floor to platform"].point for share in shares]
    kept = [told[share]["user"].point for share in shares]
    assert reached == sorted(reached, reverse=True) and price == sorted(price) and kept == sorted(kept)
    assert min(price) >= 0


def test_rankings_to_choose_from_differ_and_none_is_best_for_all_sides() -> None:
    scene = SearchScene.of(Search(), 0)
    indices = choices(scene, Market(scene, scene.searches(1, 1, 60)))
    best = [getattr(indices, side).mean(axis=0).argmax() for side in ("user", "platform", "seller")]
    assert indices.user.shape == indices.platform.shape == indices.seller.shape and len(set(best)) > 1
    assert np.isfinite(indices.user).all()
