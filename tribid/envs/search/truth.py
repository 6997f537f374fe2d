"""What is true of a search and a result, and what people do: relevance, clicks, orders, leaving at once. Ours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.search.clicks import CLICK_MODELS
from tribid.envs.search.config import Search
from tribid.envs.search.factors import attribute, category, keyword, personal
from tribid.envs.search.world import SearchWorld

Floats = NDArray[np.float64]

_MEANING_DAY = 2**31 - 2
_LOOK = 2**31
"""The "ad" of a request's own draw, beyond all items."""

_MEANING_SPREAD = 0.08


@dataclass(frozen=True, kw_only=True)
class Searches:
    """B searches of a ``day``: their numbers, kinds of ``query``, users' ``interests`` [B, d], device, and hour of the run.

    ``seed`` fixes their chances; ``hour`` runs on from day to day, for the shelves.
    """

    seed: int
    day: int
    request: NDArray[np.int64]
    query: NDArray[np.int64]
    interests: Floats
    mobile: NDArray[np.bool_]
    hour: Floats

    def __post_init__(self) -> None:
        for name in ("query", "interests", "mobile", "hour"):
            if len(getattr(self, name)) != len(self.request):
                raise ValueError(f"{name} has {len(getattr(self, name))} searches; allowed is {len(self.request)}")
        for name, wrong in (
            ("interests", ~np.isfinite(self.interests)),
            ("hour", ~(self.hour >= 0.0) | np.isinf(self.hour)),
        ):
            if wrong.any():
                raise ValueError(
                    f"{name} holds {getattr(self, name)[wrong][0]}; allowed are finite numbers, hours from 0"
                )

    def __len__(self) -> int:
        return len(self.request)

    def part(self, rows: slice | NDArray[np.int64]) -> "Searches":
        """Some of them."""
        return Searches(
            seed=self.seed, day=self.day, request=self.request[rows], query=self.query[rows],
            interests=self.interests[rows], mobile=self.mobile[rows], hour=self.hour[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class SearchRates:
    """Of results [B, N]: true ``relevance`` (0 to 1), and the chances that a look brings a click (``appeal``), that a click
    brings an order, and that it leaves at once (``bounce``). All 0 where there is no item.
    """

    relevance: Floats
    appeal: Floats
    order: Floats
    bounce: Floats


@dataclass(frozen=True)
class Feedback:
    """What happened [B, K]."""

    clicked: NDArray[np.bool_]
    ordered: NDArray[np.bool_]
    bounced: NDArray[np.bool_]


def true_relevance(world: SearchWorld, query: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
    """How well items [B, N] answer queries [B], 0 to 1: words, category, attributes, and a meaning that no factor sees."""
    asked, shelf = world.queries, world.shelf
    meant = normals(world.seed, Stream.SEARCH, _MEANING_DAY, request=query[:, None], ad=np.maximum(items, 0))[..., 0]
    grade = (
        0.5 * keyword(asked.words[query][:, None], shelf.words[items])
        + 0.3 * category(asked.category[query][:, None], shelf.category[items])
        + 0.2 * attribute(asked.attributes[query][:, None], shelf.attributes[items])
    )
    return np.clip(grade + _MEANING_SPREAD * meant, 0.0, 1.0)


def true_rates(world: SearchWorld, searches: Searches, items: NDArray[np.int64]) -> SearchRates:
    """The truth of ``items`` [B, N] (-1 for none) as results of these searches."""
    law, shelf, hidden = world.search.shoppers, world.shelf, world.hidden
    relevance = true_relevance(world, searches.query, items)
    match = personal(searches.interests[:, None], shelf.interests[items])
    price = np.log(np.maximum(shelf.price_micros[items], 1) / max(float(np.median(shelf.price_micros)), 1.0))
    quality, taste = hidden.quality[items], hidden.taste[items]
    click = law.click_base + law.click_relevance * relevance + law.click_match * match
    click += law.click_quality * quality + law.click_price * price + law.taste_spread * taste
    order = law.order_base + law.order_relevance * relevance + law.order_match * match
    order += law.order_quality * quality + law.order_price * price
    bounce = law.bounce_base - 2.0 * relevance - 0.5 * quality
    there = items >= 0
    return SearchRates(*(np.where(there, rate, 0.0) for rate in (relevance, expit(click), expit(order), expit(bounce))))


def click_setting(search: Search) -> float:
    """What the scenario's click model is set to."""
    shoppers = search.shoppers
    return {"position": shoppers.attention, "cascade": shoppers.stop}[shoppers.click_model]


def click_chance(search: Search, appeal: Floats) -> Floats:
    """The chance of a click at each place [B, K], by the scenario's click model."""
    return CLICK_MODELS[search.shoppers.click_model].chance(appeal, click_setting(search))


def feedback(world: SearchWorld, searches: Searches, items: NDArray[np.int64], rates: SearchRates) -> Feedback:
    """What people do with pages of ``items`` [B, K]; an item's own draws are the same wherever it stands."""
    model = world.search.shoppers.click_model
    draws = uniforms(
        searches.seed, Stream.SEARCH, searches.day, request=searches.request[:, None], ad=np.maximum(items, 0)
    )
    look = draws[..., 0]
    if model == "position":
        look = uniforms(searches.seed, Stream.SEARCH, searches.day, request=searches.request, ad=_LOOK)[:, :1]
    clicked = CLICK_MODELS[model].clicked(rates.appeal, click_setting(world.search), look, draws[..., 1])
    return Feedback(clicked, clicked & (draws[..., 2] < rates.order), clicked & (draws[..., 3] < rates.bounce))
