"""``Trigger``: when a consumer is written to unasked, as a part of a scenario, and when it must be quiet.

Which trigger fires for whom is decided by ``tribid.ranker.profile.rules``; this part holds what a scenario may choose.
Kinds, waits, windows and caps are ours; a price change on a viewed item is the published example (eBay's 1:1 mail).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tribid.envs.worlds import Part, Share

KINDS = ("price_drop", "back_in_stock", "cart_abandoned", "complementary")
"""What a trigger can answer to."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
Hour = Annotated[float, Field(ge=0, lt=24, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=24 * 365, allow_inf_nan=False)]


class Trigger(Part):
    """A message that something sets off, at most once for one cause.

    ``price_drop``: an item that the user viewed, favourited or put into the cart costs at least ``least_drop`` less than
    before. ``back_in_stock``: such an item can be had again. ``cart_abandoned``: nothing was added to the cart for
    ``wait_hours``, and something is still in it. ``complementary``: ``wait_hours`` after an order, for an item that goes
    with it.
    """

    name: Label = Field("price_drop", description="names the trigger in messages; one of its own for each")
    kind: Literal["price_drop", "back_in_stock", "cart_abandoned", "complementary"] = "price_drop"
    least_drop: Share = Field(0.05, description="price_drop: the least share by which the price must fall at once")
    wait_hours: Hours = Field(4.0, description="cart_abandoned, complementary: hours from the cause to the message")
    window_hours: Hours = Field(
        168.0,
        description="price_drop, back_in_stock: for how long before the change an interest in the item counts; all: for how "
        "long after it was due a message is still worth sending",
    )
    cap: int = Field(3, ge=0, le=100, description="not sent to who got so many messages of any kind in cap_days")
    cap_days: int = Field(1, ge=1, le=90, description="over how many days, back from now, the cap counts")
    quiet_from: Hour = Field(
        22.0, description="hour of the day from which nothing is sent; equal to quiet_to: never quiet"
    )
    quiet_to: Hour = Field(8.0, description="hour at which what waited is checked again and sent")
    utc_offset_hours: float = Field(0.0, ge=-14, le=14, allow_inf_nan=False, description="of the users' clocks")
    channel: Literal["feed", "search", "email", "display"] = "email"
    priority: int = Field(0, ge=-1000, le=1000, description="the higher first, where the cap leaves room for fewer")
    template: Label = "default"

    def quiet_until(self, now_ms: int) -> int:
        """When the quiet hours end that ``now_ms`` (Unix milliseconds) lies in; ``now_ms`` itself outside of them.

        >>> Trigger(quiet_from=22, quiet_to=8).quiet_until(23 * HOUR_MS) == (24 + 8) * HOUR_MS
        True
        >>> Trigger(quiet_from=22, quiet_to=8).quiet_until(8 * HOUR_MS) == 8 * HOUR_MS
        True
        >>> Trigger(quiet_from=22, quiet_to=8, utc_offset_hours=2).quiet_until(21 * HOUR_MS) == (24 + 6) * HOUR_MS
        True
        """
        start, end = round(self.quiet_from * HOUR_MS), round(self.quiet_to * HOUR_MS)
        into_day = (now_ms + round(self.utc_offset_hours * HOUR_MS)) % DAY_MS
        if (into_day - start) % DAY_MS >= (end - start) % DAY_MS:
            return now_ms
        return now_ms + (end - into_day) % DAY_MS
