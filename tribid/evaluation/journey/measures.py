"""The columns of the journey's table: whose each number is, what it says, and whether more of it is better."""

from typing import NamedTuple

from tribid.evaluation.platform.worth import SIDES


class Measure(NamedTuple):
    """A number by name: whose it is, what it says, and ``better``: 1 where more is, -1 where less is, 0 for neither.

    Differences are in percent of the base, of an ``absolute`` measure in its own ``unit``.
    """

    name: str
    side: str
    meaning: str
    better: int
    absolute: bool = False
    unit: str = "%"


_LESS = {"PPC", "leaving"}
MEASURES = (
    *(Measure(one.name, one.side, one.meaning, -1 if one.name in _LESS else 1) for one in SIDES),
    Measure("orders", "user", "orders, those that follow messages too", 1),
    Measure("unsubscribed", "user", "subscriptions ended a day", -1, absolute=True, unit="a day"),
    Measure("messages", "user", "messages sent a day", 0, absolute=True, unit="a day"),
    Measure("own cost", "advertiser", "what messages and contents cost a day, currency units", -1, True, "a day"),
    Measure("over target", "advertiser", "advertisers with a target CPA who miss it", -1, True, "points"),
    Measure(
        "CPA moved", "advertiser", "mean change of a brand's CPA either way, from that by last touch", 0, True, "%"
    ),
)
"""Those of ``tribid.evaluation.platform.worth.SIDES`` first, in their order."""

NAMES = tuple(one.name for one in MEASURES)
PLACE = {name: place for place, name in enumerate(NAMES)}

NOTES = (
    "GPM, ROI, surplus and orders count the orders that follow messages; ROI and surplus the cost of messages and contents. "
    "RPM, PPC, CTR, CVR, relevance and leaving are of the auctions' pages, and RPM counts no message as income.",
    "In the row of target CPA, ROI is of the orders' value that the feed and search are credited with.",
    "In search, ROI is the sellers' gross merchandise value over what the platform takes, surplus what they keep, and "
    "leaving are clicks that leave at once. Of channels, the numbers are the first brand's, clicks are of opened touches, "
    "and the days in which a split is learnt count. Of sequential delivery, ROI and surplus are the orders' value over, and "
    "less, what the campaign spent. Of next best actions, a page is a proposal, CTR the share that is taken, and GPM what "
    "1000 of them are worth.",
)
"""What a reader of the table has to know beyond the meanings."""


def row_of(**numbers: float) -> list[float]:
    """A row of all measures from some by name (spaces as ``_``), NaN where there is no such number.

    >>> row_of(RPM=2.0)[:2]
    [2.0, nan]
    """
    row = [float("nan")] * len(NAMES)
    for name, value in numbers.items():
        row[PLACE[name.replace("_", " ")]] = float(value)
    return row
