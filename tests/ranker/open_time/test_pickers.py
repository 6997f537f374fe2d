import asyncio
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.ranker.open_time.house import START_MS, a_stock
from tribid.ranker.open_time.pickers import PopularityBuckets, ProfilePicker
from tribid.ranker.profile.messages import Profile

POPULARITY = np.array([1, 9, 5, 4, 2, 6, 3, 8, 7, 10, 11, 12], float)  # items 0..11, category is item % 3


class Known:
    """A profile store of one user."""

    def __init__(self, **known: Any) -> None:
        self._profile = Profile(user="42", **known)

    async def profile(self, user: str) -> Profile | None:
        return self._profile if user == "42" else None


def picked(
    user: str = "42", slot: int = 0, most: int = 5, complements: dict[int, list[int]] | None = None, **known: Any
) -> list[int]:
    stock = a_stock()
    picker = ProfilePicker(Known(**known), stock, PopularityBuckets(stock, POPULARITY), complements)
    return list(islice(asyncio.run(picker.pick(user, slot, START_MS)), most))


def test_buckets_are_sorted_by_popularity_and_slots_go_round_them() -> None:
    buckets = PopularityBuckets(a_stock(), POPULARITY)
    assert [list(buckets.bucket(kind)) for kind in range(4)] == [
        [9, 3, 6, 0],
        [10, 1, 7, 4],
        [11, 8, 5, 2],
        [],
    ]
    # By their items' sums the buckets stand in the order 1 (30), 2 (30), 0 (18); equal sums go by the category's number.
    assert list(islice(buckets.ranked(0), 6)) == [10, 11, 9, 1, 8, 3]
    assert list(islice(buckets.ranked(1), 3)) == [11, 9, 10]
    for slot in range(7):
        assert sorted(buckets.ranked(slot)) == list(range(12))


def test_equal_popularity_goes_by_number() -> None:
    assert list(PopularityBuckets(a_stock()).ranked(0)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_popularity_must_be_one_number_above_zero_for_each_item() -> None:
    for wrong in (np.ones(11), np.zeros(12), np.full(12, np.nan), -np.ones(12)):
        with pytest.raises(ValueError, match="popularity"):
            PopularityBuckets(a_stock(), wrong)


def test_what_goes_with_an_order_the_cart_what_was_viewed_and_favourites_take_turns() -> None:
    known = {"orders": [(3, 9)], "cart": {4: 1, 7: 2}, "viewed": [(8, 5), (4, 4)], "favourites": {2: 1, 5: 3}}
    assert picked(most=10, complements={0: [2]}, **known) == [11, 7, 8, 5, 4, 2, 10, 11, 9, 1]
    assert picked(most=6, **known) == [7, 8, 5, 4, 2, 10]


def test_what_was_ordered_is_not_offered_again_from_the_profile() -> None:
    assert picked(orders=[(4, 9)], viewed=[(4, 5), (7, 4)], cart={4: 1}, most=1) == [7]


def test_strangers_and_those_who_opted_out_get_the_buckets() -> None:
    plain = list(islice(PopularityBuckets(a_stock(), POPULARITY).ranked(2), 5))
    assert picked(user="43", slot=2, viewed=[(4, 1)]) == plain
    assert picked(slot=2, viewed=[(4, 1)], refused=True) == plain
    assert picked(slot=2) == plain


def test_items_that_a_profile_knows_and_the_shop_no_longer_has_do_no_harm() -> None:
    assert picked(orders=[(999, 1)], viewed=[(500, 1), (7, 1)], complements={0: [1]}, most=2) == [500, 7]
