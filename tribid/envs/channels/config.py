"""Channels as parts of a scenario: what a touch costs, when it is opened, and what it does. All numbers are ours."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tribid.envs.channels.channel import CHANNELS
from tribid.envs.worlds import Money, Part, Positive, Share

LogOdds = Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1000)]


class Channel(Part):
    """One channel: its price, its audience, how late it is opened, and how it moves clicks, orders and unsubscribing.

    ``pricing`` says what ``cost`` (currency units) buys: ``auction``: 1,000 exposures while nobody else buys, at a price
    that rises with what is bought; ``mille``: 1,000 exposures; ``message``: one message; ``click``: one click.
    """

    name: Literal["feed", "search", "email", "display"] = "feed"
    pricing: Literal["auction", "mille", "message", "click"] = "mille"
    cost: Money = Field(2.0, description="currency units for 1,000 exposures, one message or one click, see pricing")
    price_rise: float = Field(
        1.0, ge=0, le=1000, allow_inf_nan=False,
        description="auction only: relative rise of the price when the whole supply is bought",
    )  # fmt: skip
    audience: Share = Field(1.0, description="share of the users that the channel can reach at all; e-mail: the list")
    visits: float = Field(
        1.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="how often a day one of that audience can be met, on average",
    )
    capacity: int | None = Field(None, ge=0, le=10**9, description="touches a day over all brands; left out: no limit")
    delay: Literal["none", "exponential", "lognormal"] = "none"
    delay_hours: Positive = Field(1.0, description="mean hours from sending to opening")
    delay_spread: float = Field(1.0, gt=0, le=3, allow_inf_nan=False, description="lognormal only: its log-scale")
    open_rate: Share = Field(1.0, description="share of touches that are seen at all")
    ctr_effect: LogOdds = Field(0.0, description="log-odds that the channel adds to a click of an opened touch")
    cvr_effect: LogOdds = Field(0.0, description="log-odds that the channel adds to an order after a click")
    unsubscribe: Share = Field(0.0, description="chance that an opened touch of a rested user ends the subscription")
    paid_from: Literal["advertiser", "own"] = Field("advertiser", description="whose money a touch costs")
    own_budget: Money = Field(0.0, description="own only: what the channel's own budget pays a day for each brand")

    @model_validator(mode="after")
    def _own_money_is_said(self) -> "Channel":
        if self.own_budget > 0 and self.paid_from == "advertiser":
            raise ValueError(
                f"channel {self.name}: own_budget is {self.own_budget:g} but paid_from is advertiser; "
                "allowed is own_budget 0, or paid_from own"
            )
        return self


class Caps(Part):
    """The frequency cap, per user and brand and day: one number over all channels, and one for each channel in it."""

    per_day: int | None = Field(3, ge=0, le=1000, description="touches over all channels together; left out: no cap")
    per_channel: tuple[Count, Count, Count, Count] = Field(
        (3, 3, 1, 3), description=f"touches of each channel ({', '.join(CHANNELS)})"
    )


FEED_CHANNEL = Channel(
    name="feed", pricing="auction", cost=5.0, price_rise=3.0, visits=2.0, open_rate=0.6, ctr_effect=0.0, cvr_effect=0.0
)
SEARCH_CHANNEL = Channel(
    name="search",
    pricing="auction",
    cost=20.0,
    price_rise=4.0,
    visits=0.25,
    open_rate=0.85,
    ctr_effect=0.9,
    cvr_effect=0.7,
)
EMAIL_CHANNEL = Channel(
    name="email", pricing="message", cost=0.002, audience=0.35, visits=6.0, delay="lognormal", delay_hours=7.0,
    delay_spread=1.0, open_rate=0.22, ctr_effect=0.5, cvr_effect=0.2, unsubscribe=0.004,
)  # fmt: skip
DISPLAY_CHANNEL = Channel(
    name="display", pricing="mille", cost=1.5, visits=4.0, delay="exponential", delay_hours=0.5, open_rate=0.5,
    ctr_effect=-1.6, cvr_effect=-0.3, unsubscribe=0.0002,
)  # fmt: skip

DEFAULT_CHANNELS = (FEED_CHANNEL, SEARCH_CHANNEL, EMAIL_CHANNEL, DISPLAY_CHANNEL)
"""One of each, in the order of ``CHANNELS``."""


def checked_channels(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """The channels if there is one of each in the order of ``CHANNELS``; ``ValueError`` otherwise."""
    names = tuple(channel.name for channel in channels)
    if names != CHANNELS:
        raise ValueError(f"channels are {names}; allowed is one of each in this order: {CHANNELS}")
    return channels
