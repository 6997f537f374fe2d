"""The stage of a consumer with a brand: unaware, aware, interested, purchased, loyal (AIPL), moved by events.

What is remembered of a consumer and a brand is a set of marks, one bit each; an event adds marks and never takes one
away. So a stage never falls when an event is added, and events may come late, twice or in another order. The stages and
which behaviour leads to which follow Alibaba's AIPL (aware, interest, purchase, loyal); the marks are ours.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

STAGES = ("unaware", "aware", "interested", "purchased", "loyal")
"""What a stage counts from 0."""

SEEN, ENGAGED, ORDERED, REORDERED, PRAISED = 1, 2, 4, 8, 16
"""The marks: met an ad or looked through the category; engaged with the brand; ordered; ordered again; spoke well of it."""


class Event(IntEnum):
    """What can happen between a consumer and a brand."""

    EXPOSURE = 0
    CATEGORY_SEARCH = 1
    CLICK = 2
    VIEW = 3
    FAVOURITE = 4
    BRAND_SEARCH = 5
    CART = 6
    STORE_VISIT = 7
    CONTENT = 8
    SHARE = 9
    REPEAT_VISIT = 10
    REVIEW = 11
    ORDER = 12


BEHAVIOURS = (
    Event.VIEW, Event.FAVOURITE, Event.BRAND_SEARCH, Event.CART, Event.STORE_VISIT, Event.CONTENT, Event.SHARE,
    Event.REPEAT_VISIT,
)  # fmt: skip
"""The eight behaviours of the purchase intent index, in its order. The first three are named in print; the rest are ours."""

_MARKS = np.full(len(Event), ENGAGED, np.uint8)
_MARKS[[Event.EXPOSURE, Event.CATEGORY_SEARCH]] = SEEN
_MARKS[[Event.SHARE, Event.REVIEW]] = PRAISED | ENGAGED
_MARKS[Event.ORDER] = ORDERED


def _stage(marks: int) -> int:
    if marks & ORDERED and marks & (REORDERED | PRAISED):
        return 4
    return 3 if marks & ORDERED else 2 if marks & ENGAGED else 1 if marks & SEEN else 0


_STAGE_OF = np.array([_stage(marks) for marks in range(32)], np.int8)


def marked(marks: NDArray[np.uint8], event: ArrayLike) -> NDArray[np.uint8]:
    """The marks after one event each; shapes broadcast. A second order of one pair is marked as such.

    >>> int(marked(marked(np.uint8(0), Event.ORDER), Event.ORDER)) == ORDERED | REORDERED
    True
    """
    event = np.asarray(event)
    before = np.asarray(marks, np.uint8)
    again = (event == Event.ORDER) & (before & ORDERED > 0)
    after: NDArray[np.uint8] = before | _MARKS[event] | np.where(again, REORDERED, 0).astype(np.uint8)
    return after


def mark_all(
    marks: NDArray[np.uint8], user: NDArray[np.int64], brand: NDArray[np.int64], event: ArrayLike
) -> NDArray[np.uint8]:
    """A copy of ``marks`` [U, A] after the events of these users with these brands, of which one pair may have several.

    >>> one = mark_all(np.zeros((1, 2), np.uint8), np.array([0, 0]), np.array([1, 1]), Event.ORDER)
    >>> stage_of(one).tolist()
    [[0, 4]]
    """
    out = marks.copy()
    event = np.broadcast_to(np.asarray(event), user.shape)
    np.bitwise_or.at(out, (user, brand), _MARKS[event])
    bought, brands = event == Event.ORDER, marks.shape[1]
    pair, orders = np.unique(user[bought] * brands + brand[bought], return_counts=True)
    who, what = np.divmod(pair, brands)
    again = orders + (marks[who, what] & ORDERED > 0) > 1
    out[who[again], what[again]] |= REORDERED
    return out


def stage_of(marks: ArrayLike) -> NDArray[np.int8]:
    """The highest stage that the marks give, an index of ``STAGES``.

    >>> [STAGES[k] for k in stage_of([0, SEEN, SEEN | ENGAGED, ORDERED, ORDERED | PRAISED])]
    ['unaware', 'aware', 'interested', 'purchased', 'loyal']
    """
    stages: NDArray[np.int8] = _STAGE_OF[np.asarray(marks)]
    return stages


def flow(before: NDArray[np.int8], after: NDArray[np.int8]) -> NDArray[np.float64]:
    """The share [5, 5] of pairs of each stage (rows) that are in each stage (columns) later; rows sum to 1.

    The row of a stage that nobody was in stays where it was: 1 on the diagonal.

    >>> flow(np.array([0, 0]), np.array([0, 1]))[0].tolist()
    [0.5, 0.5, 0.0, 0.0, 0.0]
    """
    n = len(STAGES)
    moved = np.bincount(before.ravel().astype(np.int64) * n + after.ravel(), minlength=n * n).reshape(n, n)
    total = moved.sum(axis=1, keepdims=True)
    return np.where(total > 0, moved / np.maximum(total, 1), np.eye(n))
