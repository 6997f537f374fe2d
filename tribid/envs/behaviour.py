"""What users did in a shop before they came: histories of items as a pure function of seed, day and user. Ours.

A user's interests of a day are lasting ones and a need that changes every few weeks. Every day has a Poisson number of
events; an event is of a category, then of an item in it, each with the odds of a softmax over the match with the day's
interests (the logit model of choice, McFadden 1974), and of a kind: view, favourite, cart or order.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.envs.catalogue import Items, category_centres
from tribid.envs.chance import Stream, normals, uniforms, unit4
from tribid.envs.worlds import ShopWorld

KINDS = ("view", "favourite", "cart", "order")
"""What a history's ``kind`` counts from 0."""
EPOCH = 100_000
"""Days before a scenario's day 0 that histories can reach back to: day numbers are counters, and those are not negative."""


class PastEvents(NamedTuple):
    """Histories of B users, oldest event first: ``item``, ``category`` (int32, -1 behind the end), ``kind`` (int8) and

    ``age_days`` (float32, before the day's start) are [B, H]; ``length`` [B] int32.
    """

    item: NDArray[np.int32]
    category: NDArray[np.int32]
    kind: NDArray[np.int8]
    age_days: NDArray[np.float32]
    length: NDArray[np.int32]


class Past:
    """The users' interests by day, and what they did on the days before; ``centres`` [C, d] are the categories' own."""

    def __init__(self, config: ShopWorld, items: Items, lasting: NDArray[np.float32]) -> None:
        self._config, self._items, self._lasting = config, items, lasting
        self._latest: tuple[tuple[int, int, int], PastEvents] | None = None
        categories = np.arange(len(items.by_category[1]) - 1)
        centres = category_centres(config.seed, categories, lasting.shape[1])
        self.centres = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
        order, self._first = items.by_category
        self._order, self._sorted, self._weight = order, items.interests[order], items.weight[order]

    def interests(self, seed: int, day: int, user: NDArray[np.int64]) -> NDArray[np.float32]:
        """What these users are after on that day, [B, d]."""
        phase = self._phase(seed, day, user)
        drawn = np.empty((len(user), self._lasting.shape[1]), np.float32)
        for one in np.unique(phase):
            rows = phase == one
            drawn[rows] = self._need(seed, int(one), user[rows])
        share = self._config.needs.share
        mixed: NDArray[np.float32] = (
            np.float32((1 - share) ** 0.5) * self._lasting[user] + np.float32(share**0.5) * drawn
        )
        return mixed

    def category_odds(self, interests: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weights [B, C] with which users of these interests [B, d] turn to each category."""
        odds: NDArray[np.float32] = np.exp(np.float32(self._config.behaviour.sharpness) * (interests @ self.centres.T))
        return odds

    def histories(self, seed: int, day: int, user: NDArray[np.int64]) -> PastEvents:
        """The last events of these users before the start of ``day``; a lone user's are kept for who asks next."""
        if len(user) != 1:
            return self._histories(seed, day, user)
        asked, latest = (seed, day, int(user[0])), self._latest
        if latest is None or latest[0] != asked:
            latest = self._latest = (asked, self._histories(seed, day, user))
        return latest[1]

    def _histories(self, seed: int, day: int, user: NDArray[np.int64]) -> PastEvents:
        config, kept, b = self._config.behaviour, self._config.behaviour.kept, len(user)
        out = PastEvents(
            np.full((b, kept), -1, np.int32), np.full((b, kept), -1, np.int32), np.zeros((b, kept), np.int8),
            np.zeros((b, kept), np.float32), np.zeros(b, np.int32),
        )  # fmt: skip
        first_phase = (day - config.days + EPOCH) // self._config.needs.period_days
        last_phase = (day + EPOCH) // self._config.needs.period_days + 1
        needs = (
            np.stack([self._need(seed, p, user) for p in range(first_phase, last_phase + 1)])
            if b
            else np.zeros((1, 0, 1))
        )
        _fill(
            np.uint64(seed), day + EPOCH, user, self._lasting, needs.astype(np.float32), first_phase,
            self._offset(seed, user), self._config.needs.period_days, self._config.needs.share, config.per_day, config.days,
            np.float32(config.sharpness), np.cumsum(config.kinds), self.centres, self._first, self._order, self._sorted,
            self._weight, *out,
        )  # fmt: skip
        return out._replace(category=np.where(out.item >= 0, self._items.category[out.item], -1).astype(np.int32))

    def _phase(self, seed: int, day: int, user: NDArray[np.int64]) -> NDArray[np.int64]:
        phase: NDArray[np.int64] = (day + EPOCH + self._offset(seed, user)) // self._config.needs.period_days
        return phase

    def _offset(self, seed: int, user: NDArray[np.int64]) -> NDArray[np.int64]:
        drawn = uniforms(seed, Stream.NEED, day=0, request=user, ad=0)[:, 0]
        return (drawn * self._config.needs.period_days).astype(np.int64)

    def _need(self, seed: int, phase: int, user: NDArray[np.int64]) -> NDArray[np.float32]:
        words = -(-self._lasting.shape[1] // 4)
        drawn = [normals(seed, Stream.NEED, day=1 + phase, request=user, ad=w) for w in range(words)]
        return np.hstack(drawn)[:, : self._lasting.shape[1]].astype(np.float32)


@njit(cache=True, nogil=True)
def _fill(
    seed: Any, day: Any, users: Any, lasting: Any, needs: Any, first_phase: Any, offset: Any, period: Any, share: Any,
    per_day: Any, days: Any, sharpness: Any, kinds: Any, centres: Any, first: Any, order: Any, sorted_items: Any,
    weight: Any, item: Any, category: Any, kind: Any, age: Any, length: Any,
) -> None:  # fmt: skip
    """Walk back from yesterday, newest event first, until enough are found; then turn the order round."""
    kept, c, d = item.shape[1], centres.shape[0], lasting.shape[1]
    widest = np.int64(0)
    for g in range(c):
        widest = max(widest, first[g + 1] - first[g])
    odds, group_odds, z = np.empty(widest, np.float32), np.empty(c, np.float32), np.empty(d, np.float32)
    for b in range(users.shape[0]):
        u, found, phase_before = users[b], 0, -1
        for back in range(1, days + 1):
            then = day - back
            phase = (then + offset[b]) // period
            if phase != phase_before:
                for k in range(d):
                    need = needs[phase - first_phase, b, k]
                    z[k] = sharpness * np.float32((1.0 - share) ** 0.5 * lasting[u, k] + share**0.5 * need)
                _cumulated(z, centres, 0, c, weight, False, group_odds)
                phase_before = phase
            count = _poisson(unit4(seed, Stream.BEHAVIOUR, then, u, 0)[0], per_day)
            for e in range(count - 1, -1, -1):
                if found == kept:
                    break
                a, i, what, hour = unit4(seed, Stream.BEHAVIOUR, then, u, 1 + e)
                g = _chosen(group_odds, c, a)
                n = first[g + 1] - first[g]
                if n == 0:
                    continue
                _cumulated(z, sorted_items, first[g], n, weight, True, odds)
                item[b, found] = order[first[g] + _chosen(odds, n, i)]
                kind[b, found] = min(np.searchsorted(kinds, what, side="right"), 3)
                age[b, found] = back - (e + hour) / count
                found += 1
            if found == kept:
                break
        length[b] = found
        for j in range(found // 2):
            k = found - 1 - j
            item[b, j], item[b, k] = item[b, k], item[b, j]
            kind[b, j], kind[b, k] = kind[b, k], kind[b, j]
            age[b, j], age[b, k] = age[b, k], age[b, j]


@njit(cache=True, nogil=True)
def _cumulated(z: Any, rows: Any, start: Any, n: Any, weight: Any, weighted: Any, out: Any) -> None:
    """Running sums of ``weight * exp(z . row)`` over rows ``start`` to ``start + n - 1``."""
    total = np.float32(0.0)
    for j in range(n):
        match = np.float32(0.0)
        for k in range(z.shape[0]):
            match += z[k] * rows[start + j, k]
        total += np.exp(match) * (weight[start + j] if weighted else np.float32(1.0))
        out[j] = total


@njit(cache=True, nogil=True)
def _chosen(cumulated: Any, n: Any, uniform: Any) -> Any:
    return min(np.searchsorted(cumulated[:n], np.float32(uniform) * cumulated[n - 1], side="right"), n - 1)


@njit(cache=True, nogil=True)
def _poisson(uniform: Any, mean: Any) -> Any:
    """The quantile of a Poisson distribution."""
    chance, k = np.exp(-mean), 0
    below = chance
    while uniform > below and k < 1000:
        k += 1
        chance *= mean / k
        below += chance
    return k
