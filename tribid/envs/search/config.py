"""What a scenario says of its search scene: weights of the factors, prices, shelves, mobile, the merge and the floors.

Every number is ours; the published description of Taobao's search names the factors and gives no weight. The author
guesses a discount of 30 to 50 % from desktop to mobile, and gives the example 100 x 0.5 = +50.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tribid.envs.worlds import Money, Part, Share, Spread

Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class FactorWeights(Part):
    """The weight of each factor of an item's score; a factor that counts against an item is negative already."""

    keyword: Weight = Field(30.0, description="share of the query's words in the title")
    category: Weight = Field(20.0, description="whether the item lies in the query's category")
    attribute: Weight = Field(10.0, description="share of the attributes asked for that the item has")
    sales: Weight = Field(6.0, description="orders so far, saturating")
    conversion: Weight = Field(6.0, description="orders of clicks, against the shop's mean")
    returns: Weight = Field(4.0, description="minus the share of orders sent back")
    good_ratings: Weight = Field(4.0, description="share of ratings that are good")
    bounce: Weight = Field(4.0, description="minus the share of visits that leave at once")
    dwell: Weight = Field(2.0, description="time that a visit stays, saturating")
    favourites: Weight = Field(2.0, description="favourites of clicks")
    carts: Weight = Field(2.0, description="additions to a cart of clicks")
    off_shelf: Weight = Field(3.0, description="nearness of the hour at which the item goes off the shelf")
    service: Weight = Field(5.0, description="the seller's service score")
    price_band: Weight = Field(3.0, description="whether the price lies in the category's usual band")
    order_value: Weight = Field(2.0, description="the price against the category's median")
    personal: Weight = Field(8.0, description="match of the item with the user's interests")
    week_sales: Weight = Field(4.0, description="orders of the last seven days, saturating")


class Prices(Part):
    """The price model: below its category's floor an item is not listed at all; the band is the usual prices.

    ``floors`` are in currency units, one per category from the first on; categories beyond them have ``floor_share`` of
    the category's median price.
    """

    floors: tuple[Money, ...] = ()
    floor_share: Share = 0.25
    band_low: Share = Field(0.2, description="quantile of the category's prices at which its band begins")
    band_high: Share = Field(0.8, description="quantile at which it ends")

    @model_validator(mode="after")
    def _band_is_one(self) -> "Prices":
        if self.band_low >= self.band_high:
            raise ValueError(f"band_low is {self.band_low}; allowed is below band_high, {self.band_high}")
        return self


class Mobile(Part):
    """A mobile score is ``discount`` x the desktop score + mobile's own weights x their factors + ``bonus`` where earned."""

    share: Share = Field(0.7, description="share of searches on mobile")
    discount: Share = Field(0.5, description="how much of the desktop score is carried over")
    sales: Weight = Field(5.0, description="weight of orders on mobile, saturating")
    conversion: Weight = Field(5.0, description="weight of orders of clicks on mobile")
    bonus: Weight = Field(3.0, description="added for an item that is made ready for mobile")


class Merge(Part):
    """How ads join organic results: the shadow bid ``alpha`` and its guardrails (tribid.auctions.merge)."""

    alpha: float = Field(400_000.0, ge=0, le=1e15, allow_inf_nan=False, description="micros per unit of engagement")
    top_slot: int = Field(1, ge=1, le=1000, description="first place, counted from 1, that may hold an ad")
    min_gap: int = Field(2, ge=0, le=1000, description="least organic results between two ads")
    max_ads: int = Field(3, ge=0, le=1000)
    beta: float = Field(0.0, ge=-2, le=2, allow_inf_nan=False, description="gap effect per organic result since an ad")
    gap_form: Literal["exponential", "logistic"] = "exponential"


class Shoppers(Part):
    """What is true of those who search, and unknown to the ranking: log-odds of a click, an order, and leaving at once.

    ``click_*`` and ``order_*`` are effects of a unit of true relevance, personal match, quality and log price against
    the category's median.
    """

    click_base: float = Field(-3.5, ge=-10, le=5, allow_inf_nan=False)
    click_relevance: float = Field(2.5, ge=0, le=10, allow_inf_nan=False)
    click_match: float = Field(0.8, ge=0, le=10, allow_inf_nan=False)
    click_quality: float = Field(0.3, ge=0, le=10, allow_inf_nan=False)
    click_price: float = Field(-0.3, ge=-10, le=10, allow_inf_nan=False)
    order_base: float = Field(-4.0, ge=-10, le=5, allow_inf_nan=False)
    order_relevance: float = Field(1.0, ge=0, le=10, allow_inf_nan=False)
    order_match: float = Field(0.4, ge=0, le=10, allow_inf_nan=False)
    order_quality: float = Field(0.8, ge=0, le=10, allow_inf_nan=False)
    order_price: float = Field(-0.5, ge=-10, le=10, allow_inf_nan=False)
    bounce_base: float = Field(0.5, ge=-10, le=10, allow_inf_nan=False)
    taste_spread: Spread = Field(0.2, description="what of an item's appeal no factor sees, log-odds")
    click_model: Literal["position", "cascade"] = "position"
    attention: float = Field(1.0, ge=0, le=5, allow_inf_nan=False, description="place k is looked at with k^-attention")
    stop: Share = Field(0.5, description="cascade: chance to stop after a click; the next place is looked at otherwise")


class Search(Part):
    """A search scene: its queries, its sellers, how it ranks and how ads join the results."""

    queries: int = Field(200, ge=1, le=1_000_000, description="kinds of queries")
    words: int = Field(12, ge=2, le=64, description="words that titles of one category are made of")
    attributes: int = Field(3, ge=1, le=16, description="kinds of attributes, such as colour, of an item")
    attribute_values: int = Field(4, ge=2, le=100)
    sellers: int = Field(60, ge=1, le=1_000_000)
    history_clicks: float = Field(
        400.0, ge=0, le=1e7, allow_inf_nan=False, description="mean clicks that an item has had"
    )
    candidates: int = Field(60, ge=1, le=10_000, description="items that a query brings up at most")
    results: int = Field(10, ge=1, le=1000, description="places of a page")
    shelf_days: float = Field(7.0, gt=0, le=365, description="an item goes off the shelf, and on again, after so long")
    smoothing: float = Field(20.0, gt=0, le=1e6, allow_inf_nan=False, description="pseudo-counts of every rate")
    half_sales: float = Field(50.0, gt=0, le=1e9, allow_inf_nan=False, description="orders at which sales count half")
    half_dwell_s: float = Field(60.0, gt=0, le=1e6, description="seconds at which dwell counts half")
    commission: Share = Field(0.03, description="the platform's share of an order's price")
    weights: FactorWeights = FactorWeights()
    prices: Prices = Prices()
    mobile: Mobile = Mobile()
    merge: Merge = Merge()
    shoppers: Shoppers = Shoppers()
    user_floor: Share = Field(0.98, description="least user index, as a share of the best reachable")
    platform_floor: Share = Field(0.95, description="least platform index, as a share of the best above the user floor")
