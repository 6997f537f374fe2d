"""``Catalogue``: what profiles, triggers and slots ask of a scenario and of the stock that is served."""

from collections.abc import Sequence
from itertools import islice

from tribid.envs.journey.world import Journey
from tribid.envs.scenario import Scenario
from tribid.envs.world import build_world
from tribid.ranker.open_time.pickers import PopularityBuckets
from tribid.ranker.stock.source import ShopStock

_GOES_WITH = 4
"""Items of each complementary category that a trigger may choose from: some may have been ordered already."""


class Catalogue:
    """Categories, brands, prices and complements of a stock's items; ``has_items``: the stock is the scenario's own.

    ``buckets`` are its items by popularity, ``pairs`` the categories that go with each, ``brands`` the advertisers' names.
    """

    def __init__(self, scenario: Scenario, shop: ShopStock, *, has_items: bool) -> None:
        self._stock, self.has_items = shop.stock, has_items
        self.buckets = PopularityBuckets(shop.stock, shop.popularity)
        world = build_world(scenario)
        self.brands = frozenset(world.advertisers.names)
        self._names = world.advertisers.names
        self._seller: Sequence[int] = range(len(self._names)) if has_items else ()
        self.pairs: dict[int, tuple[int, ...]] = {}
        if isinstance(world, Journey):
            self._seller = world.categories.seller.tolist() if has_items else ()
            self.pairs = {
                category: tuple(other for other in row if other >= 0)
                for category, row in enumerate(world.categories.pairs.tolist())
            }

    def category_of(self, item: int) -> int | None:
        """The item's category; None for an item that there is not."""
        return self._stock.item(item).category if item < len(self._stock) else None

    def brand_of(self, item: int) -> str | None:
        """The advertiser whose item it is."""
        brand = self._seller[item] if item < len(self._seller) else -1
        return self._names[brand] if brand >= 0 else None

    def on_sale(self, item: int) -> tuple[int, int] | None:
        """Price in micros and number of an item as of now."""
        if item >= len(self._stock):
            return None
        now = self._stock.item(item)
        return now.price_micros, now.count

    def complements(self, item: int) -> list[int]:
        """The most popular items that can be had of each category that goes with the item's, the best first."""
        kind = self.category_of(item)
        found: list[int] = []
        for other in self.pairs.get(kind, ()) if kind is not None else ():
            found += islice(filter(self._stock.is_available, self.buckets.bucket(other)), _GOES_WITH)
        return found
