"""The factors of an item's score in search: each one small function of arrays, looked up by name.

Every factor grows with what the ranking wants of an item, so a weight above 0 always means "more of it ranks higher";
returns and bounces therefore come with a minus. Arrays broadcast: [B, N] for B searches and N candidates each.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Factor(NamedTuple):
    """A factor: the function, and the names of the facts that it takes in this order."""

    of: Callable[..., Floats]
    takes: tuple[str, ...]


def keyword(asked: ArrayLike, title: ArrayLike) -> Floats:
    """The share of the words asked for, along the last axis, that the title holds; a query without words asks for none.

    >>> keyword([True, True, False], [True, False, True]).item()
    0.5
    """
    asked, both = np.asarray(asked, bool), np.logical_and(asked, title)
    words = asked.sum(axis=-1)
    found: Floats = np.where(words > 0, both.sum(axis=-1) / np.maximum(words, 1), 1.0)
    return found


def category(asked: ArrayLike, lies_in: ArrayLike) -> Floats:
    """1 where the item lies in the query's category, else 0.

    >>> category(3, [3, 4]).tolist()
    [1.0, 0.0]
    """
    same: Floats = np.equal(asked, lies_in).astype(np.float64)
    return same


def attribute(asked: ArrayLike, has: ArrayLike) -> Floats:
    """The share of the attributes asked for, along the last axis, that the item has; -1 asks for nothing.

    >>> attribute([2, -1, 0], [[2, 5, 1], [2, 5, 0]]).tolist()
    [0.5, 1.0]
    """
    asked = np.asarray(asked)
    wanted = (asked >= 0).sum(axis=-1)
    met = ((asked >= 0) & (asked == np.asarray(has))).sum(axis=-1)
    return np.where(wanted > 0, met / np.maximum(wanted, 1), 1.0)


def saturating(count: ArrayLike, half: float) -> Floats:
    """``count / (count + half)``: 0 for none, 1/2 at ``half``, never 1. For sales, of the week or so far, and dwell.

    >>> saturating([0, 50, 150], 50.0).tolist()
    [0.0, 0.5, 0.75]
    """
    counts = np.asarray(count, np.float64)
    return counts / (counts + half)


def relative_rate(events: ArrayLike, trials: ArrayLike, usual: float, smoothing: float) -> Floats:
    """A rate against the usual one, with ``smoothing`` usual trials added: 1/2 for an item as usual or without a past.

    For conversion, favourites and carts of clicks.

    >>> relative_rate([0, 4, 20], [0, 40, 80], 0.1, 20.0).round(3).tolist()  # 2/20, 6/60 and 22/100 against 0.1
    [0.5, 0.5, 0.688]
    """
    rate = (np.asarray(events, np.float64) + smoothing * usual) / (np.asarray(trials, np.float64) + smoothing)
    return rate / (rate + usual)


def good_share(events: ArrayLike, trials: ArrayLike, usual: float, smoothing: float) -> Floats:
    """A share of all trials, ``smoothing`` usual ones added: good ratings of ratings.

    >>> good_share([9, 0], [10, 0], 0.8, 10.0).tolist()
    [0.85, 0.8]
    """
    return (np.asarray(events, np.float64) + smoothing * usual) / (np.asarray(trials, np.float64) + smoothing)


def bad_share(events: ArrayLike, trials: ArrayLike, usual: float, smoothing: float) -> Floats:
    """Minus such a share: orders that come back, visits that leave at once.

    >>> bad_share([5], [10], 0.1, 10.0).tolist()
    [-0.3]
    """
    return -good_share(events, trials, usual, smoothing)


def mean_dwell(seconds: ArrayLike, visits: ArrayLike, half_s: float) -> Floats:
    """Mean seconds of a visit, saturating at ``half_s``; 0 where nobody came.

    >>> mean_dwell([600.0, 0.0], [10, 0], 60.0).tolist()
    [0.5, 0.0]
    """
    visits = np.asarray(visits, np.float64)
    return saturating(np.asarray(seconds, np.float64) / np.maximum(visits, 1.0), half_s)


def off_shelf(hours_left: ArrayLike, shelf_hours: float) -> Floats:
    """How near an item is to going off the shelf: 0 when just put on, 1 when it goes; falls with the time that is left.

    >>> off_shelf([168.0, 84.0, 0.0], 168.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return 1.0 - np.clip(np.asarray(hours_left, np.float64) / shelf_hours, 0.0, 1.0)


def service(scores: ArrayLike) -> Floats:
    """The seller's scores of 1 to 5 (as described, attitude, delivery) along the last axis, their mean put on 0 to 1.

    >>> service([[5, 5, 5], [4, 2, 3]]).tolist()
    [1.0, 0.5]
    """
    mean: Floats = (np.asarray(scores, np.float64).mean(axis=-1) - 1.0) / 4.0
    return mean


def price_band(price: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """1 within the usual prices, from ``low`` to ``high``; outside, the ratio of the price and the nearest end.

    >>> price_band([5.0, 10.0, 20.0, 40.0], 10.0, 20.0).tolist()
    [0.5, 1.0, 1.0, 0.5]
    """
    price = np.asarray(price, np.float64)
    near = np.clip(price, low, high)
    bottom = np.maximum(np.maximum(price, near), 1e-300)
    return np.where(price == near, 1.0, np.minimum(price, near) / bottom)


def order_value(price: ArrayLike, median: ArrayLike) -> Floats:
    """How much an order is worth against the category's median price: rises with the price, 1/2 at the median, below 1.

    >>> order_value([10.0, 30.0], 10.0).tolist()
    [0.5, 0.75]
    """
    price = np.asarray(price, np.float64)
    share: Floats = price / np.maximum(price + np.asarray(median, np.float64), 1e-300)
    return share


def personal(user: ArrayLike, item: ArrayLike) -> Floats:
    """The cosine of the user's and the item's interests along the last axis; 0 for a user of whom nothing is known.

    >>> personal([3.0, 4.0], [[3.0, 4.0], [-4.0, 3.0]]).tolist()
    [1.0, 0.0]
    """
    u, i = np.asarray(user, np.float64), np.asarray(item, np.float64)
    length = np.sqrt((u * u).sum(axis=-1) * (i * i).sum(axis=-1))
    return np.where(length > 0.0, (u * i).sum(axis=-1) / np.where(length > 0.0, length, 1.0), 0.0)


def as_given(flag: ArrayLike) -> Floats:
    """1 where a fact holds: an item that is made ready for mobile.

    >>> as_given([True, False]).tolist()
    [1.0, 0.0]
    """
    return np.asarray(flag, np.float64)


def carried(desktop: ArrayLike, discount: float, own: ArrayLike = 0.0, bonus: ArrayLike = 0.0) -> Floats:
    """The weight on mobile: that of the desktop at a discount, what mobile itself gave rise to, and the bonus.

    >>> carried(100.0, 0.5).item()  # the published example: +50
    50.0
    >>> carried(100.0, 0.5, own=20.0, bonus=3.0).item()
    73.0
    """
    whole: Floats = np.asarray(desktop, np.float64) * discount + np.asarray(own) + np.asarray(bonus)
    return whole


def listed(price_micros: ArrayLike, floor_micros: ArrayLike) -> NDArray[np.bool_]:
    """Whether an item may be listed: not below its category's floor.

    >>> listed([99, 100, 101], 100).tolist()
    [False, True, True]
    """
    allowed: NDArray[np.bool_] = np.asarray(price_micros) >= np.asarray(floor_micros)
    return allowed


FACTORS: dict[str, Factor] = {
    "keyword": Factor(keyword, ("asked_words", "words")),
    "category": Factor(category, ("asked_category", "category")),
    "attribute": Factor(attribute, ("asked_attributes", "attributes")),
    "sales": Factor(saturating, ("orders", "half_sales")),
    "conversion": Factor(relative_rate, ("orders", "clicks", "usual_conversion", "smoothing")),
    "returns": Factor(bad_share, ("returned", "orders", "usual_returns", "smoothing")),
    "good_ratings": Factor(good_share, ("praised", "rated", "usual_praise", "smoothing")),
    "bounce": Factor(bad_share, ("bounced", "clicks", "usual_bounce", "smoothing")),
    "dwell": Factor(mean_dwell, ("dwell_s", "clicks", "half_dwell_s")),
    "favourites": Factor(relative_rate, ("favourited", "clicks", "usual_favourites", "smoothing")),
    "carts": Factor(relative_rate, ("carted", "clicks", "usual_carts", "smoothing")),
    "off_shelf": Factor(off_shelf, ("hours_left", "shelf_hours")),
    "service": Factor(service, ("service_scores",)),
    "price_band": Factor(price_band, ("price_micros", "band_low", "band_high")),
    "order_value": Factor(order_value, ("price_micros", "median_price")),
    "personal": Factor(personal, ("interests_of_user", "interests")),
    "week_sales": Factor(saturating, ("week_orders", "half_week_sales")),
}
"""The desktop factors; their weights are ``FactorWeights``."""

MOBILE_FACTORS: dict[str, Factor] = {
    "mobile_sales": Factor(saturating, ("mobile_orders", "half_sales")),
    "mobile_conversion": Factor(
        relative_rate, ("mobile_orders", "mobile_clicks", "usual_mobile_conversion", "smoothing")
    ),
    "mobile_bonus": Factor(as_given, ("mobile_ready",)),
}
"""What mobile adds of its own; the weights are ``Mobile``'s sales, conversion and bonus."""

NAMES = (*FACTORS, *MOBILE_FACTORS)
"""All factors in the order in which weights and features have them."""


def features(facts: Mapping[str, Any], mobile: ArrayLike, discount: float) -> Floats:
    """All factors [..., 20] as they count on the device of each search: a score is their sum by weights.

    ``facts`` holds what the factors take; ``mobile`` says which searches are on mobile, where a desktop factor counts
    ``discount`` of itself and mobile's own count whole. On a desktop mobile's own count nothing.
    """
    on_mobile = np.asarray(mobile, bool)
    columns = [np.where(on_mobile, discount, 1.0) * of(*(facts[t] for t in takes)) for of, takes in FACTORS.values()]
    columns += [on_mobile * of(*(facts[t] for t in takes)) for of, takes in MOBILE_FACTORS.values()]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def score(of_features: Floats, weights: ArrayLike) -> Floats:
    """The sum of the factors by weights, one after another: the same bits whatever else is in the batch.

    >>> score(np.array([[1.0, 2.0], [0.0, 1.0]]), [10.0, 5.0]).tolist()
    [20.0, 5.0]
    """
    total = np.zeros(of_features.shape[:-1])
    for column, weight in zip(np.moveaxis(of_features, -1, 0), np.asarray(weights, np.float64), strict=True):
        total += weight * column
    return total
