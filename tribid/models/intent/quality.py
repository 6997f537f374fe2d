"""Does the index rank who buys? AUC of orders of the days after, against other weights and a regression on the same counts.

At a moment of a log the behaviour before it is scored, and a pair of user and brand is a buyer if it orders within the
horizon after it. Everything is learnt from what was known one horizon earlier, or from paths that had ended: nothing is told
of the future. AUC is taken within each industry and averaged (``gauc``), since scores are comparable only there; the index's
own AUC over all pairs at once is added, for the index is to be comparable.
"""

import copy

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.paths import LOOKBACK_HOURS, build_paths
from tribid.envs.attribution.touches import Orders, Touches
from tribid.models.intent.behaviour import Behaviour, behaviour_at
from tribid.models.intent.index import PurchaseIntentIndex
from tribid.models.ranking_measures import auc, gauc


def fit_index(
    index: PurchaseIntentIndex, touches: Touches, orders: Orders, industry: NDArray[np.int64], hours: float
) -> PurchaseIntentIndex:
    """Fit on what happened before ``hours``; ``industry`` [A] of each brand. Reference users are all pairs known then."""
    past = touches.where(touches.time_hours < hours)
    paths = build_paths(past, orders.where(orders.time_hours < hours))
    crowd = behaviour_at(touches, hours)
    return index.fit(paths, industry[paths.brand], reference=crowd, reference_industry=industry[crowd.brand])


def ranking_quality(
    touches: Touches,
    orders: Orders,
    industry: NDArray[np.int64],
    *,
    hours: float,
    horizon_hours: float = 168.0,
    index: PurchaseIntentIndex | None = None,
) -> dict[str, float]:
    """AUCs of the pairs known at ``hours``: of the index, its kin with last-touch and equal weights, and a regression.

    ``ValueError`` where no pair, or every pair, orders within the horizon. ``ImportError`` without scikit-learn.
    """
    model = fit_index(PurchaseIntentIndex() if index is None else copy.copy(index), touches, orders, industry, hours)
    settings = model.settings()
    last = fit_index(PurchaseIntentIndex(**settings | {"credit": "last"}), touches, orders, industry, hours)
    equal = copy.copy(model)
    equal.weights_ = np.full_like(model.weights_, 1.0 / model.weights_.shape[1])
    now = behaviour_at(touches, hours)
    of = industry[now.brand]
    label = _buys(now, orders, hours, horizon_hours)
    if not 0 < label.sum() < len(label):
        raise ValueError(f"{int(label.sum())} of {len(label)} pairs order after the cut; allowed is some, and not all")
    told = {
        name: gauc(label, one.score(now.counts, now.age_days, of), of)
        for name, one in (("index", model), ("last_touch_weights", last), ("equal_weights", equal))
    }
    told["index_over_all"] = auc(label, model.predict(now.counts, now.age_days, of))
    told["regression"] = gauc(label, _regression(model, touches, orders, industry, hours, horizon_hours, now), of)
    return told


def _buys(pairs: Behaviour, orders: Orders, hours: float, horizon_hours: float) -> NDArray[np.float64]:
    """Whether each pair [R] orders at ``hours`` or within the horizon after."""
    soon = orders.where((orders.time_hours >= hours) & (orders.time_hours < hours + horizon_hours))
    brands = 1 + int(max(pairs.brand.max(initial=0), soon.brand.max(initial=0)))
    return np.isin(pairs.user * brands + pairs.brand, soon.user * brands + soon.brand).astype(np.float64)


def _regression(
    model: PurchaseIntentIndex, touches: Touches, orders: Orders, industry: NDArray[np.int64], hours: float,
    horizon_hours: float, now: Behaviour,
) -> NDArray[np.float64]:  # fmt: skip
    """Log-odds [R] of a logistic regression, one an industry, on the index's amounts, learnt one horizon earlier."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError("the regression needs scikit-learn: pip install 'tribid[logs]'") from error
    then = behaviour_at(touches, hours - horizon_hours, window_hours=LOOKBACK_HOURS)
    bought = _buys(then, orders, hours - horizon_hours, horizon_hours)
    before, after = (model.amounts(one.counts, one.age_days) for one in (then, now))
    out = np.zeros(len(after))
    for g in np.unique(industry[now.brand]):
        learnt, asked = industry[then.brand] == g, industry[now.brand] == g
        if 0 < bought[learnt].sum() < learnt.sum():
            fitted = LogisticRegression(C=10.0, max_iter=500).fit(before[learnt], bought[learnt])
            out[asked] = fitted.decision_function(after[asked])
    return out
