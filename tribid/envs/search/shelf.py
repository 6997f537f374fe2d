"""What a search scene knows of its items: titles, prices, sellers, and the counts of what people did with them.

All of it is checked when a shelf is made; what the factors take from it is worked out once.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs.search.config import Prices, Search
from tribid.envs.search.factors import listed

Counts = NDArray[np.int64]

_WITHIN = (
    ("orders", "clicks"), ("returned", "orders"), ("rated", "orders"), ("praised", "rated"), ("bounced", "clicks"),
    ("favourited", "clicks"), ("carted", "clicks"), ("week_orders", "orders"), ("mobile_clicks", "clicks"),
    ("mobile_orders", "orders"), ("mobile_orders", "mobile_clicks"),
)  # fmt: skip
"""Which count is never more than which."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """I items of S sellers. ``ValueError`` names a field of another length, or with a number that cannot be.

    ``words`` [I, W] marks the words of a title, ``attributes`` [I, T] are values, ``interests`` [I, d] directions. An item
    goes off the shelf, and on again, at hour ``shelf_hour`` and every shelf period after. ``service_scores`` [S, 3] are 1
    to 5. The counts are of visits by a click and what followed; ``dwell_s`` is seconds of all visits.
    """

    category: NDArray[np.int32]
    price_micros: Counts
    seller: NDArray[np.int32]
    words: NDArray[np.bool_]
    attributes: NDArray[np.int8]
    interests: NDArray[np.float32]
    shelf_hour: NDArray[np.float64]
    service_scores: NDArray[np.float64]
    clicks: Counts
    orders: Counts
    returned: Counts
    rated: Counts
    praised: Counts
    bounced: Counts
    dwell_s: NDArray[np.float64]
    favourited: Counts
    carted: Counts
    week_orders: Counts
    mobile_clicks: Counts
    mobile_orders: Counts
    mobile_ready: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for field in fields(self):
            values = np.asarray(getattr(self, field.name))
            if field.name != "service_scores" and len(values) != len(self.category):
                raise ValueError(
                    f"{field.name} has {len(values)} items; allowed is {len(self.category)}, as category has"
                )
            least, most = {"service_scores": (1.0, 5.0), "interests": (-1e6, 1e6)}.get(field.name, (0.0, 1e15))
            wrong = ~((values >= least) & (values <= most))
            if wrong.any():
                raise ValueError(f"{field.name} holds {values[wrong].flat[0]}; allowed is {least:g} to {most:g}")
        if len(self.category) and int(self.seller.max()) >= len(self.service_scores):
            raise ValueError(f"seller holds {self.seller.max()}; allowed is below {len(self.service_scores)} sellers")
        for part, whole in _WITHIN:
            more = getattr(self, part) > getattr(self, whole)
            if more.any():
                i = int(more.argmax())
                raise ValueError(
                    f"{part} is {getattr(self, part)[i]} for item {i}; allowed is at most its {whole}, "
                    f"{getattr(self, whole)[i]}"
                )

    def __len__(self) -> int:
        return len(self.category)

    @cached_property
    def usual(self) -> dict[str, float]:
        """The shop's mean rates, to which rates of items with a short past are drawn."""
        return {
            "usual_conversion": _rate(self.orders, self.clicks),
            "usual_returns": _rate(self.returned, self.orders),
            "usual_praise": _rate(self.praised, self.rated),
            "usual_bounce": _rate(self.bounced, self.clicks),
            "usual_favourites": _rate(self.favourited, self.clicks),
            "usual_carts": _rate(self.carted, self.clicks),
            "usual_mobile_conversion": _rate(self.mobile_orders, self.mobile_clicks),
        }

    def facts(self, items: NDArray[np.int64], hour: NDArray[np.float64], search: Search, prices: "PriceModel") -> Any:
        """What the factors take of these items [B, N] at these hours [B], by name; the scene adds the query's."""
        own = [field.name for field in fields(self) if field.name != "service_scores"]
        known: dict[str, Any] = {name: getattr(self, name)[items] for name in own}
        period = 24.0 * search.shelf_days
        known |= self.usual | {
            "service_scores": self.service_scores[known["seller"]],
            "hours_left": hours_left(known["shelf_hour"], hour[:, None], period),
            "shelf_hours": period,
            "smoothing": search.smoothing,
            "half_sales": search.half_sales,
            "half_week_sales": search.half_sales / 10.0,
            "half_dwell_s": search.half_dwell_s,
            "band_low": prices.low_micros[known["category"]],
            "band_high": prices.high_micros[known["category"]],
            "median_price": prices.median_micros[known["category"]],
        }
        return known


@dataclass(frozen=True)
class PriceModel:
    """Of each category [C], in micros: the floor below which nothing is listed, the usual band, and the median price."""

    floor_micros: Counts
    low_micros: NDArray[np.float64]
    high_micros: NDArray[np.float64]
    median_micros: NDArray[np.float64]

    def listed(self, shelf: Shelf) -> NDArray[np.bool_]:
        """Which items of a shelf may be listed, [I]."""
        return listed(shelf.price_micros, self.floor_micros[shelf.category])


def price_model(shelf: Shelf, rule: Prices) -> PriceModel:
    """A shelf's price model by a scenario's rule. ``ValueError`` for floors of more categories than there are."""
    count = int(shelf.category.max()) + 1 if len(shelf) else 0
    if len(rule.floors) > count:
        raise ValueError(
            f"prices.floors has {len(rule.floors)} floors; allowed is at most one for each of {count} categories"
        )
    low, middle, high = np.zeros((3, count))
    for c in range(count):
        prices = shelf.price_micros[shelf.category == c]
        if len(prices):
            low[c], middle[c], high[c] = np.quantile(prices, [rule.band_low, 0.5, rule.band_high])
    floor = np.ceil(rule.floor_share * middle).astype(np.int64)
    floor[: len(rule.floors)] = np.ceil(np.array(rule.floors) * 1e6)
    return PriceModel(floor, low, high, middle)


def hours_left(shelf_hour: Any, hour: Any, shelf_hours: float) -> NDArray[np.float64]:
    """Hours until an item next goes off the shelf, up to the period; then it is put on again.

    >>> hours_left(10.0, [4.0, 10.0, 11.0], 168.0).tolist()
    [6.0, 168.0, 167.0]
    """
    left: NDArray[np.float64] = shelf_hours - (np.asarray(hour, np.float64) - shelf_hour) % shelf_hours
    return left


def _rate(events: Counts, trials: Counts) -> float:
    """The mean rate, half an event added so that it is never 0."""
    return float((events.sum() + 0.5) / (trials.sum() + 1.0))
