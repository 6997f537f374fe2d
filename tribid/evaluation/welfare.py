"""Welfare: what one day was worth to the platform, the advertisers, the users, and together.

Money is in currency units here, for people read it. Definitions follow the field: RPM and GPM per thousand page views,
ROI = GMV / cost (so ROI = GPM / RPM), liquid welfare = sum of min(budget, value) (Dobzinski and Paes Leme 2014), relevance
= slot effects times click rates (Lahaie and Pennock 2007). Revenue plus surplus is value, always.
"""

from typing import Any, NamedTuple

import numpy as np

from tribid.envs.reward import constraint_ratio, score
from tribid.envs.scenario import MICROS
from tribid.evaluation.day import DayRecord
from tribid.evaluation.inequality import gini


class Metric(NamedTuple):
    """A number's side, name, unit, whether more is better (None: neither), and what it says."""

    side: str
    name: str
    unit: str
    better: str | None
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("platform", "revenue", "currency", "more", "payments of all advertisers"),
    Metric("platform", "rpm", "currency", "more", "revenue per 1000 page views"),
    Metric("platform", "gpm", "currency", "more", "gross merchandise value per 1000 page views"),
    Metric("platform", "take_rate", "share", None, "revenue / gross merchandise value"),
    Metric("platform", "fill", "share", "more", "slots sold per slot offered"),
    Metric("advertiser", "score", "ratio", "more", "focal advertisers: value / budget, cut where a target is missed"),
    Metric("advertiser", "value", "currency", "more", "what the events were worth to the focal advertisers"),
    Metric("advertiser", "surplus", "currency", "more", "value minus payment, focal advertisers"),
    Metric("advertiser", "roi", "ratio", "more", "gross merchandise value / cost, focal advertisers"),
    Metric("advertiser", "over_target", "share", "less", "share of focal advertisers with a target who miss it"),
    Metric(
        "advertiser", "cpa_ratio", "ratio", "less", "median of cost / cost allowed by the target, focal with a target"
    ),
    Metric("advertiser", "budget_use", "share", "more", "spend / budget, focal advertisers"),
    Metric("advertiser", "exhausted_hour", "hour", None, "mean hour at which a focal budget ran out (24: not)"),
    Metric("advertiser", "hindsight_share", "share", "more", "focal value / the hindsight bound given rivals' bids"),
    Metric("advertiser", "gini", "0-1", "less", "inequality of value / budget over all advertisers"),
    Metric("user", "ctr", "share", "more", "clicks per ad seen"),
    Metric("user", "cvr", "share", "more", "conversions per click"),
    Metric("user", "relevance", "clicks", "more", "expected clicks per page: slot effects times true click rates"),
    Metric("user", "ad_load", "ads", None, "ads seen per page view"),
    Metric("user", "leave_rate", "share", "less", "page views after which the user left the visit"),
    Metric("system", "social_welfare", "currency", "more", "revenue + surplus of all advertisers = value of all"),
    Metric("system", "liquid_welfare", "currency", "more", "sum over all advertisers of min(budget, value)"),
)


def welfare(day: DayRecord, focal: list[int]) -> dict[str, dict[str, float]]:
    """All metrics of a day by side and name; one that is not defined (a rate of nothing) is NaN."""
    a, total = day.advertisers, day.total
    value = a.money_value(total.counts.clicks, total.counts.conversions) / MICROS
    spend = total.spend_micros / MICROS
    gmv = total.counts.conversions * a.price_micros / MICROS
    revenue, exposures, clicks = spend.sum(), total.counts.exposures.sum(), total.counts.clicks.sum()
    ratio = _cost_ratio(day)[focal]
    ratio = ratio[~np.isnan(ratio)]
    spent, budget = spend[focal], a.budget_micros[focal] / MICROS
    views = day.page_views
    numbers = {
        "revenue": revenue,
        "rpm": _per(1000.0 * revenue, views),
        "gpm": _per(1000.0 * gmv.sum(), views),
        "take_rate": _per(revenue, gmv.sum()),
        "fill": _per(day.filled, day.slots),
        "score": score(a, total, day.scenario.reward.penalty_exponent)[focal].mean(),
        "value": value[focal].sum(),
        "surplus": (value - spend)[focal].sum(),
        "roi": _per(gmv[focal].sum(), spent.sum()),
        "over_target": float((ratio > 1.0).mean()) if len(ratio) else np.nan,
        "cpa_ratio": float(np.median(ratio)) if len(ratio) else np.nan,
        "budget_use": _per(spent.sum(), budget.sum()),
        "exhausted_hour": day.exhausted_hour()[focal].mean(),
        "hindsight_share": _per(value[focal].sum(), day.hindsight[focal].sum() / MICROS),
        "gini": gini(value / (a.budget_micros / MICROS)),
        "ctr": _per(clicks, exposures),
        "cvr": _per(total.counts.conversions.sum(), clicks),
        "relevance": _per(day.relevance, views),
        "ad_load": _per(exposures, views),
        "leave_rate": _per(day.leaves, views),
        "social_welfare": value.sum(),
        "liquid_welfare": np.minimum(a.budget_micros / MICROS, value).sum(),
    }
    sides: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        sides.setdefault(metric.side, {})[metric.name] = float(numbers[metric.name])
    return sides


def advertiser_rows(day: DayRecord) -> dict[str, dict[str, Any]]:
    """Each advertiser's own line: objective, budget, spend, events, value, cost ratio, hour of exhaustion, score."""
    a, total = day.advertisers, day.total
    value = a.money_value(total.counts.clicks, total.counts.conversions) / MICROS
    ratio, hours = _cost_ratio(day), day.exhausted_hour()
    scores = score(a, total, day.scenario.reward.penalty_exponent)
    return {
        name: {
            "budget": float(a.budget_micros[i] / MICROS),
            "spend": float(total.spend_micros[i] / MICROS),
            "clicks": float(total.counts.clicks[i]),
            "conversions": float(total.counts.conversions[i]),
            "value": float(value[i]),
            "score": float(scores[i]),
            "cost_ratio": float(ratio[i]),
            "exhausted_hour": float(hours[i]),
            "hindsight": float(day.hindsight[i] / MICROS),
        }
        for i, name in enumerate(a.names)
    }


def _cost_ratio(day: DayRecord) -> np.ndarray:
    """Cost over the cost that the target allows, [A]: CPA / target, or target ROAS / ROAS; NaN without a target."""
    a = day.advertisers
    kept = constraint_ratio(a, day.total)
    targeted = (a.target_cpa_micros > 0) | (a.target_roas > 0)
    with np.errstate(divide="ignore"):
        ratio = np.where(kept > 0, 1.0 / kept, 1e3)
    ratio = np.where(day.total.spend_micros > 0, ratio, 0.0)
    return np.where(targeted, ratio, np.nan)


def _per(amount: float, count: float) -> float:
    return float(amount) / float(count) if count else float("nan")
