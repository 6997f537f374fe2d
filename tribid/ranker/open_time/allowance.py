"""``Allowance``: how often a token may be used."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["allowed", "too fast", "used up"]


@dataclass(slots=True)
class _Uses:
    minute: int
    in_minute: int
    in_all: int


class Allowance:
    """``per_minute`` uses in each minute of the clock and ``in_all`` in a token's life, for the ``most`` tokens used last.

    >>> allowance = Allowance(per_minute=1, in_all=2)
    >>> [allowance.use(b"token", minute * 60_000)[0] for minute in (0, 0, 1, 2)]
    ['allowed', 'too fast', 'allowed', 'used up']
    """

    def __init__(self, *, per_minute: int, in_all: int, most: int = 100_000) -> None:
        for name, value in (("per_minute", per_minute), ("in_all", in_all), ("most", most)):
            if value < 1:
                raise ValueError(f"{name} is {value}; allowed is a whole number from 1")
        self._per_minute, self._in_all, self._most = per_minute, in_all, most
        self._tokens: OrderedDict[bytes, _Uses] = OrderedDict()

    def use(self, token: bytes, now_ms: int) -> tuple[Verdict, int]:
        """Whether a token may be used now, and, where it comes too fast, in how many seconds it may."""
        minute = now_ms // 60_000
        uses = self._tokens.setdefault(token, _Uses(minute, 0, 0))
        self._tokens.move_to_end(token)
        while len(self._tokens) > self._most:
            self._tokens.popitem(last=False)
        if uses.minute != minute:
            uses.minute, uses.in_minute = minute, 0
        if uses.in_all >= self._in_all:
            return "used up", 0
        if uses.in_minute >= self._per_minute:
            return "too fast", math.ceil(60 - now_ms % 60_000 / 1_000)
        uses.in_minute += 1
        uses.in_all += 1
        return "allowed", 0
