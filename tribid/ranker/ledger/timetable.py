"""``Timetable``: ids by the time at which they fall due, earliest first, at a few bytes for each."""

from array import array
from heapq import heappop, heappush

_SHIFT = 10  # buckets of 1,024 ms: few objects, however many ids


class Timetable:
    """Ids with a time each, in Unix milliseconds; what is due is taken out a bucket (about a second) at a time.

    >>> table = Timetable()
    >>> table.add(5_000, "a"); table.add(5_003, "b")
    >>> table.pop_due(5_003)
    ['a']
    """

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[list[str], array[int]]] = {}
        self._order: list[int] = []

    def add(self, time_ms: int, what: str) -> None:
        """Enter one id; the same id may be entered for several times."""
        bucket = time_ms >> _SHIFT
        held = self._buckets.get(bucket)
        if held is None:
            held = self._buckets[bucket] = ([], array("q"))
            heappush(self._order, bucket)
        held[0].append(what)
        held[1].append(time_ms)

    def pop_due(self, now_ms: int) -> list[str]:
        """Take out the ids of the earliest bucket whose time lies before `now_ms`; empty where nothing is due."""
        now = now_ms >> _SHIFT
        while self._order and self._order[0] <= now:
            bucket = heappop(self._order)
            ids, times = self._buckets.pop(bucket)
            if bucket < now:
                return ids
            due = [what for what, time_ms in zip(ids, times, strict=True) if time_ms < now_ms]
            for what, time_ms in zip(ids, times, strict=True):
                if time_ms >= now_ms:
                    self.add(time_ms, what)
            return due
        return []
