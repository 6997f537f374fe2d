"""Organic results and ads in one list, by the shadow bid: an ad is shown where it is worth more than what it displaces.

Yan et al., "Ads Allocation in Feed via Constrained Optimization" (KDD 2020, LinkedIn) maximise the ads' revenue with a floor
on engagement. The floor's multiplier ``alpha`` is a bid that each organic result makes for its place: place by place, the
best ad left is shown where ``theta (r_ad + alpha u_ad) > alpha u_organic``, within guardrails. An ad's response depends on
its distance from the last ad: ``theta_d = exp(beta d)``, which may lift a large rate above 1; the logistic form shifts the
log-odds instead and equals it in the limit of small rates.

Where the organic results come in the order of their engagement, the list is that with the largest ``sum w_k (r_k + alpha
u_k)`` of all lists that the first place for ads and the most ads allow. So revenue falls and engagement rises in alpha. A
minimum gap or a gap effect can break that, for the merge is greedy: it looks at one place at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LARGEST = 1e15
"""Bound of revenue (micros), engagement and alpha: products of them stay finite."""


@dataclass(frozen=True, kw_only=True)
class Guardrails:
    """Where ads may stand, and what their distance does. Places count from 1; the defaults allow an ad anywhere.

    ``min_gap`` is the least number of organic results between two ads. The distance ``d`` of the gap effect is the number
    of organic results since the last ad, or since the top of the page.
    """

    top_slot: int = 1
    min_gap: int = 0
    max_ads: int | None = None
    beta: float = 0.0
    gap_form: str = "exponential"

    def __post_init__(self) -> None:
        for name, value, least in (("top_slot", self.top_slot, 1), ("min_gap", self.min_gap, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}; allowed is {least} or more")
        if self.max_ads is not None and self.max_ads < 0:
            raise ValueError(f"max_ads is {self.max_ads}; allowed is 0 or more, or None")
        if not math.isfinite(self.beta):
            raise ValueError(f"beta is {self.beta}; allowed is a finite number")
        if self.gap_form not in GAP_FORMS:
            raise ValueError(f"no gap_form named {self.gap_form!r}; choose {' or '.join(GAP_FORMS)}")


@dataclass(frozen=True)
class Merged:
    """Pages of K places: the index of the ``ad`` or of the ``organic`` result there, -1 for the other and where none is.

    ``revenue`` (micros per view) and ``engagement`` are what is expected of each place, the gap effect included. All [B, K].
    """

    ad: NDArray[np.int64]
    organic: NDArray[np.int64]
    revenue: Floats
    engagement: Floats

    @property
    def page_revenue(self) -> Floats:
        """``sum_k w_k r_k`` of each page, [B]."""
        return self.revenue @ place_weights(self.revenue.shape[1])

    @property
    def page_engagement(self) -> Floats:
        """``sum_k w_k u_k`` of each page, [B]."""
        return self.engagement @ place_weights(self.engagement.shape[1])


def place_weights(slots: int) -> Floats:
    """What a place counts in the metrics, ``1 / log2(k + 1)`` for k = 1 ... slots.

    >>> place_weights(3).round(4).tolist()
    [1.0, 0.6309, 0.5]
    """
    weights: Floats = 1.0 / np.log2(np.arange(1, slots + 1) + 1.0)
    return weights


def exponential_gap(lift: Any, pctr: Any) -> Any:
    """The published factor, ``exp(beta d)`` = ``lift`` whatever the rate."""
    return lift + 0.0 * pctr


def logistic_gap(lift: Any, pctr: Any) -> Any:
    """The factor that multiplies the odds of a click by ``lift``; the rate stays below 1, and small rates rise by ``lift``.

    >>> 0.5 * logistic_gap(3.0, 0.5)  # odds 1 become odds 3
    0.75
    """
    return lift / (1.0 - pctr + pctr * lift)


GAP_FORMS: dict[str, Callable[[Any, Any], Any]] = {"exponential": exponential_gap, "logistic": logistic_gap}
"""How a distance changes the response to an ad."""


def merge(
    revenue: ArrayLike, engagement: ArrayLike, organic: ArrayLike, *, alpha: ArrayLike, slots: int,
    rails: Guardrails | None = None, pctr: ArrayLike | None = None,
    ads: ArrayLike | None = None, results: ArrayLike | None = None,
) -> Merged:  # fmt: skip
    """Pages of ``slots`` places from A ads and N organic results each.

    ``revenue`` (expected micros per view) and ``engagement`` [B, A] are the ads'; ``organic`` [B, N] is the engagement of
    the organic results, which keep the order they come in. ``alpha`` is one number or one a page, in micros per unit of
    engagement. ``pctr`` [B, A] is asked for by the logistic gap alone; ``ads`` [B, A] and ``results`` [B, N] say which
    entries are there. Equal ads go by index; an organic result wins a tie. ``ValueError`` names an argument that is
    negative, infinite or no number.

    >>> page = merge([[30.0]], [[0.1]], [[0.5, 0.4, 0.1]], alpha=100.0, slots=3)  # 30 + 10 = 40 beats the third, 10
    >>> page.ad.tolist(), page.organic.tolist()
    ([[-1, -1, 0]], [[0, 1, -1]])
    """
    asked = checked(revenue, engagement, organic, alpha, slots, rails or Guardrails(), pctr, ads, results)
    r, u, o, a, p, left, there, rules, lifts = asked
    one_more = ((0, 0), (0, 1))  # a last ad and a last result that are not there, so that there always is one
    r, u, p, o = (np.pad(x, one_more) for x in (r, u, p, np.where(there, o, 0.0)))
    left, there = (np.pad(x, one_more) for x in (left, there))
    queue, count = np.argsort(~there, axis=1, kind="stable"), there.sum(axis=1)
    worth, rows, (place, shown, since) = r + a[:, None] * u, np.arange(len(r)), np.zeros((3, len(r)), np.int64)
    most = slots if rules.max_ads is None else rules.max_ads
    out = _empty(len(r), slots)
    for k in range(slots):
        theta = GAP_FORMS[rules.gap_form](lifts[since][:, None], p)
        score = np.where(left, theta * worth, -1.0)
        best, nth = score.argmax(axis=1), queue[rows, place]
        wins = (k + 1 >= rules.top_slot) & ((shown == 0) | (since >= rules.min_gap)) & (shown < most)
        wins &= score[rows, best] > a * o[rows, nth]
        w, b = rows[wins], best[wins]
        out.ad[w, k], left[w, b] = b, False
        out.revenue[w, k], out.engagement[w, k] = theta[w, b] * r[w, b], theta[w, b] * u[w, b]
        keeps = ~wins & (place < count)
        out.organic[keeps, k], out.engagement[keeps, k] = nth[keeps], o[rows, nth][keeps]
        place, shown, since = place + keeps, shown + wins, np.where(wins, 0, since + keeps)
    return out


def merge_reference(
    revenue: ArrayLike, engagement: ArrayLike, organic: ArrayLike, *, alpha: ArrayLike, slots: int,
    rails: Guardrails | None = None, pctr: ArrayLike | None = None,
    ads: ArrayLike | None = None, results: ArrayLike | None = None,
) -> Merged:  # fmt: skip
    """``merge``, written to be read: one page, one place at a time. What ``merge`` must equal.

    >>> merge_reference([[30.0]], [[0.1]], [[0.5, 0.4, 0.1]], alpha=100.0, slots=3).ad.tolist()
    [[-1, -1, 0]]
    """
    asked = checked(revenue, engagement, organic, alpha, slots, rails or Guardrails(), pctr, ads, results)
    r, u, o, a, p, given, there, rules, lifts = asked
    out = _empty(len(r), slots)
    most = slots if rules.max_ads is None else rules.max_ads
    for b in range(len(r)):
        waiting = [i for i in range(r.shape[1]) if given[b, i]]
        queue = [j for j in range(o.shape[1]) if there[b, j]]
        shown = since = 0
        for k in range(slots):
            theta = {i: float(GAP_FORMS[rules.gap_form](lifts[since], p[b, i])) for i in waiting}
            score = {i: theta[i] * (r[b, i] + a[b] * u[b, i]) for i in waiting}
            best = max(waiting, key=lambda i: (score[i], -i), default=None)
            rival = a[b] * o[b, queue[0]] if queue else 0.0
            allowed = k + 1 >= rules.top_slot and (shown == 0 or since >= rules.min_gap) and shown < most
            if allowed and best is not None and score[best] > rival:
                out.ad[b, k], shown, since = best, shown + 1, 0
                out.revenue[b, k], out.engagement[b, k] = theta[best] * r[b, best], theta[best] * u[b, best]
                waiting.remove(best)
            elif queue:
                out.organic[b, k], out.engagement[b, k] = queue[0], o[b, queue.pop(0)]
                since += 1
    return out


def least_alpha(
    revenue: ArrayLike, engagement: ArrayLike, organic: ArrayLike, *, floor: float, slots: int, steps: int = 200
) -> float:
    """The least shadow bid at which pages without guardrails reach a mean ``page_engagement`` of ``floor``, by bisection.

    The organic results must come in falling order of engagement: then engagement rises in alpha, and no other alpha that
    reaches the floor earns more. ``ValueError`` says by how much a floor is out of reach.

    >>> least_alpha([[30.0]], [[0.1]], [[0.5]], floor=0.5, slots=1)  # 30 + 0.1 alpha <= 0.5 alpha
    75.0
    """
    order = np.asarray(organic, np.float64)
    if order.ndim == 2 and (np.diff(order, axis=1) > 0).any():
        raise ValueError("organic is not in falling order of engagement; allowed is the most engaging result first")

    def reached(alpha: float) -> float:
        return float(merge(revenue, engagement, organic, alpha=alpha, slots=slots).page_engagement.mean())

    low, high = 0.0, LARGEST
    if not reached(high) >= floor:
        short = floor - reached(high)
        raise ValueError(f"floor is {floor}; allowed is at most {reached(high)}, so it is too high by {short}")
    if reached(low) >= floor:
        return low
    for _ in range(steps):
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
        low, high = (low, middle) if reached(middle) >= floor else (middle, high)
    return high


def checked(
    revenue: ArrayLike, engagement: ArrayLike, organic: ArrayLike, alpha: ArrayLike, slots: int, rails: Guardrails,
    pctr: ArrayLike | None, ads: ArrayLike | None, results: ArrayLike | None,
) -> tuple[Floats, Floats, Floats, Floats, Floats, NDArray[np.bool_], NDArray[np.bool_], Guardrails, Floats]:  # fmt: skip
    """All arguments of a merge as arrays of one batch, a fresh mask of ads, and ``exp(beta d)`` for d = 0 ... slots."""
    if slots < 1:
        raise ValueError(f"slots is {slots}; allowed is 1 or more")
    if abs(rails.beta) * slots > 300.0:
        raise ValueError(f"beta is {rails.beta} over {slots} slots; allowed is a product of at most 300")
    r, o = _table("revenue", revenue), _table("organic", organic)
    u = _table("engagement", engagement)
    if u.shape != r.shape or len(o) != len(r):
        raise ValueError(f"engagement has shape {u.shape} and organic {o.shape}; revenue has {r.shape}: [B, A], [B, N]")
    a = _numbers("alpha", alpha)
    if a.shape not in ((), (1,), (len(r),)):
        raise ValueError(f"alpha has shape {a.shape}; allowed is one number or one for each of {len(r)} pages")
    a = np.broadcast_to(a, (len(r),))
    if rails.gap_form == "logistic" and rails.beta != 0.0 and pctr is None:
        raise ValueError("pctr is left out; the logistic gap needs the ads' click rates")
    p = np.zeros_like(r) if pctr is None else _table("pctr", pctr)
    if p.shape != r.shape or (p > 1.0).any():
        raise ValueError(f"pctr has shape {p.shape} or is above 1; allowed are rates of shape {r.shape}")
    left = np.ones(r.shape, bool) if ads is None else _mask("ads", ads, r.shape)
    there = np.ones(o.shape, bool) if results is None else _mask("results", results, o.shape)
    return r, u, o, a, p, left, there, rails, np.exp(rails.beta * np.arange(slots + 1))


def _empty(pages: int, slots: int) -> Merged:
    nobody, nothing = np.full((2, pages, slots), -1), np.zeros((2, pages, slots))
    return Merged(nobody[0], nobody[1], nothing[0], nothing[1])


def _numbers(name: str, values: ArrayLike) -> Floats:
    numbers = np.asarray(values, np.float64)
    wrong = ~((numbers >= 0.0) & (numbers <= LARGEST))
    if wrong.any():
        raise ValueError(f"{name} holds {numbers[wrong].flat[0]}; allowed is 0 to {LARGEST:g}")
    return numbers


def _table(name: str, values: ArrayLike) -> Floats:
    table = _numbers(name, values)
    if table.ndim != 2:
        raise ValueError(f"{name} has shape {table.shape}; allowed is a row for each page")
    return table


def _mask(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.array(values, bool)
    if mask.shape != shape:
        raise ValueError(f"{name} has shape {mask.shape}; allowed is {shape}")
    return mask
