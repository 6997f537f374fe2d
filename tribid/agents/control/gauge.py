"""What a controller reads: how much of the day, the traffic and the budget is left, and how the last tick went."""

from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.bidder import BidderSpace, fresh_rows
from tribid.envs.observation import field_index

Memory = TypeVar("Memory", bound=tuple[Any, ...])


class Reading(NamedTuple):
    """One number per row, each float64 [n] (``targeted`` bool).

    ``budget_left``, ``time_left``, ``traffic_left``: shares of the day's, the tick to come included; ``traffic_now``: the
    tick's own share. ``overspend``: the last tick's spend over its plan, minus 1 (0 at a day's start). ``slack``: room
    under the CPA or ROAS target as a share of it, below 0 where it is missed, 0 without a target.
    """

    budget_left: NDArray[np.float64]
    time_left: NDArray[np.float64]
    traffic_left: NDArray[np.float64]
    traffic_now: NDArray[np.float64]
    overspend: NDArray[np.float64]
    slack: NDArray[np.float64]
    targeted: NDArray[np.bool_]


class Gauge:
    """Reads observations of one space.

    >>> gauge = Gauge(BidderSpace.of("tiny"))
    >>> seen = np.zeros((1, 36), np.float32)
    >>> seen[0, field_index("traffic_after")], seen[0, field_index("traffic_now")] = 0.5, 0.25
    >>> reading = gauge.read(seen)
    >>> float(reading.traffic_now[0]), float(reading.traffic_left[0])  # a quarter of 4 / 8 ticks' worth, and the rest
    (0.125, 0.625)
    """

    def __init__(self, space: BidderSpace) -> None:
        self.space = space
        names = (
            "time_left", "budget_left", "spend_pace", "cpa_slack", "roas_slack", "traffic_now", "traffic_after",
            "objective_target_cpa", "objective_target_roas",
        )  # fmt: skip
        self._at = {name: field_index(name, space.segments) for name in names}

    def read(self, observation: ArrayLike) -> Reading:
        """The reading of observations [n, D]; ``ValueError`` for another shape.

        ``traffic_now`` of the observation is the tick's share of traffic times ticks over 4, cut to 1: a tick with more
        than four times its even share reads as four times. ``spend_pace`` is x / (1 + |x|), cut here to 19 times the plan.
        """
        seen = self.space.rows(observation)
        field = {name: seen[:, index] for name, index in self._at.items()}
        now = 4.0 * field["traffic_now"] / self.space.n_ticks
        pace = np.clip(field["spend_pace"], -0.95, 0.95)
        return Reading(
            budget_left=field["budget_left"],
            time_left=field["time_left"],
            traffic_left=field["traffic_after"] + now,
            traffic_now=now,
            overspend=np.maximum(pace / (1.0 - np.abs(pace)), -1.0),
            slack=field["cpa_slack"] + field["roas_slack"],
            targeted=field["objective_target_cpa"] + field["objective_target_roas"] > 0,
        )


def carried(start: Memory, state: Memory | None, episode_start: Any) -> Memory:
    """What each row carries into this tick: ``start``'s where its day starts, else the state's; tuples of arrays [n]."""
    if state is None:
        return start
    fresh = fresh_rows(episode_start, len(start[0]))
    kept: Memory = cast(Any, type(start))(*(np.where(fresh, new, old) for new, old in zip(start, state, strict=True)))
    return kept
