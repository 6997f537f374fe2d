"""The purchase intent index of a consumer and a brand, 0 to 100.

What is published of Alimama's index is: eight behaviours, credited by linear multi-touch attribution, with weights that
depend on the industry. The rest is ours. With w the weights of the industry g, c the counts and a the ages of behaviours,

    score = sum over k of w[g, k] * (1 - exp(-c[k] * 2 ** (-a[k] / half_life_days) / saturation[k]))

* ``w[g, k]``: the mean credit of behaviour k on converting paths of the industry, on which only the eight behaviours
  count. An industry with few paths is drawn to the mean of all, as if ``shrinkage`` more paths had that mean. Weights sum
  to 1.
* The index is the score's place among reference users of the industry who did anything: 100 times the share of them below,
  by quantiles and straight lines between them, 0 for no behaviour, 100 for the largest score there can be. An industry
  with fewer than ``least_reference`` such users has the quantiles of all.

Scores of two industries are not comparable, since their weights are not; indices are, as places in each one's crowd.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.attribution.credit import METHODS, credit
from tribid.envs.attribution.paths import Paths
from tribid.models.batch import Schema
from tribid.models.intent.behaviour import BEHAVIOUR_NAMES, Behaviour, behaviour_of, kind_of
from tribid.models.intent.scale import Scale, scale_of, scaled
from tribid.models.store import ModelCard, save_model

K = len(BEHAVIOUR_NAMES)


class PurchaseIntentIndex:
    """The index; ``industries`` are their names in order, left out they are numbered as in ``fit``.

    ``saturation`` is the decayed count at which a behaviour has 63 % of its weight, one for all or one for each of the
    eight; ``credit`` a rule of ``tribid.envs.attribution.credit``. After ``fit``: ``weights_`` [G, 8], ``paths_`` [G] (how
    many converting paths each industry had), ``scale_``.

    >>> from tribid.envs.attribution.paths import build_paths
    >>> from tribid.envs.attribution.touches import Orders, Touches
    >>> touches = Touches(user=[1, 1, 2], brand=[0, 0, 0], time_hours=[0.0, 5.0, 1.0], channel=[0, 0, 0], event=[3, 6, 3])
    >>> paths = build_paths(touches, Orders(user=[1], brand=[0], time_hours=[6.0], value=[30.0]))
    >>> index = PurchaseIntentIndex(least_reference=1).fit(paths, np.zeros(len(paths), int))
    >>> index.weights_[0, [0, 3]].tolist()  # a view and a cart were on the path to the only order
    [0.5, 0.5]
    >>> index.predict(np.zeros((1, 8)), np.zeros((1, 8)), [0]).tolist()
    [0.0]
    """

    kind: ClassVar[str] = "purchase_intent"
    weights_: NDArray[np.float64]
    paths_: NDArray[np.int64]
    scale_: Scale

    def __init__(
        self,
        *,
        industries: Sequence[str] = (),
        half_life_days: float = 14.0,
        saturation: float | Sequence[float] = (3.0,),
        shrinkage: float = 50.0,
        credit: str = "linear",
        least_reference: int = 50,
    ) -> None:
        if not 0.0 < half_life_days < np.inf:
            raise ValueError(f"half_life_days is {half_life_days!r}; allowed are positive finite numbers")
        scales = np.atleast_1d(np.asarray(saturation, np.float64))
        if scales.shape not in ((1,), (K,)) or not ((scales > 0) & np.isfinite(scales)).all():
            raise ValueError(f"saturation is {saturation!r}; allowed is a positive number, or {K} of them")
        if not 0.0 <= shrinkage < np.inf:
            raise ValueError(f"shrinkage is {shrinkage!r}; allowed are finite numbers from 0")
        if credit not in METHODS:
            raise ValueError(f"credit is {credit!r}; choose {', '.join(METHODS)}")
        if least_reference < 1:
            raise ValueError(f"least_reference is {least_reference!r}; allowed is 1 or more")
        if len(set(industries)) < len(industries):
            raise ValueError(f"industries are {list(industries)}; allowed is each name once")
        self.industries = tuple(industries)
        self.half_life_days, self.shrinkage = float(half_life_days), float(shrinkage)
        self.saturation: list[float] = scales.tolist()
        self.credit, self.least_reference = credit, int(least_reference)

    def fit(
        self,
        paths: Paths,
        industry: ArrayLike,
        *,
        reference: Behaviour | None = None,
        reference_industry: ArrayLike = (),
    ) -> "PurchaseIntentIndex":
        """Learn from paths, the ``industry`` [P] of each, and reference users, the paths' own ends if none are given.

        ``ValueError`` where no path with one of the eight behaviours converted, and where no reference user did anything.
        """
        of_path = self._industry(industry, len(paths), None)
        crowd, of_crowd = behaviour_of(paths), of_path
        if reference is not None:
            crowd, of_crowd = reference, self._industry(reference_industry, len(reference.user), None)
        count = len(self.industries) or int(max(of_path.max(initial=-1), of_crowd.max(initial=-1))) + 1
        mean, self.paths_ = _mean_credit(_only_behaviours(paths), of_path, count, self.credit)
        pooled = (mean * self.paths_[:, None]).sum(axis=0) / max(int(self.paths_.sum()), 1)
        if not pooled.sum() > 0:
            raise ValueError("no path with one of the eight behaviours converted; allowed is at least one")
        mixed = mean * self.paths_[:, None] + pooled * max(self.shrinkage, 1e-9)
        self.weights_ = mixed / mixed.sum(axis=1, keepdims=True)
        score = self.score(crowd.counts, crowd.age_days, of_crowd)
        self.scale_ = scale_of(score, of_crowd, count, self.least_reference)
        return self

    def amounts(self, counts: ArrayLike, age_days: ArrayLike) -> NDArray[np.float64]:
        """How much of each behaviour there is [R, 8], in [0, 1]: decayed and saturated counts."""
        given, age = np.asarray(counts, np.float64), np.asarray(age_days, np.float64)
        if given.ndim != 2 or given.shape[1] != K or age.shape != given.shape:
            raise ValueError(f"counts have shape {given.shape}, ages {age.shape}; allowed is [R, {K}] for both")
        if not ((given >= 0) & np.isfinite(given)).all():
            raise ValueError(
                f"counts hold {given[~((given >= 0) & np.isfinite(given))][0]}; allowed are numbers from 0"
            )
        age = np.where(given > 0, age, 0.0)  # of what was never done no age is known
        if not (age >= 0).all():
            raise ValueError(f"ages hold {age[~(age >= 0)][0]}; allowed are days from 0")
        present = given * np.exp2(-age / self.half_life_days)
        amounts: NDArray[np.float64] = -np.expm1(-present / np.asarray(self.saturation))
        return amounts

    def score(self, counts: ArrayLike, age_days: ArrayLike, industry: ArrayLike) -> NDArray[np.float64]:
        """The weighted amounts [R], in [0, 1]: comparable within an industry only."""
        amounts = self.amounts(counts, age_days)
        which = self._industry(industry, len(amounts), len(self.weights_))
        total: NDArray[np.float64] = (amounts * self.weights_[which]).sum(axis=1)
        return np.minimum(total, 1.0)

    def predict(self, counts: ArrayLike, age_days: ArrayLike, industry: ArrayLike) -> NDArray[np.float64]:
        """The index [R], 0 to 100, of counts [R, 8] of behaviours whose last was so many days ago [R, 8].

        ``industry`` [R] are numbers, or names of ``industries``. It rises with every count and falls with every age.
        """
        if not hasattr(self, "weights_"):
            raise ValueError("this PurchaseIntentIndex has learnt nothing yet: call fit first")
        score = self.score(counts, age_days, industry)
        return scaled(self.scale_, score, self._industry(industry, len(score), len(self.weights_)))

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON."""
        return {
            "industries": list(self.industries), "half_life_days": self.half_life_days, "saturation": self.saturation,
            "shrinkage": self.shrinkage, "credit": self.credit, "least_reference": self.least_reference,
        }  # fmt: skip

    def learnt(self) -> tuple[Schema | None, dict[str, NDArray[Any]]]:
        """No schema; the weights, the paths they are from, and the scale."""
        tensors: dict[str, NDArray[Any]] = {"weights": self.weights_, "paths": self.paths_}
        return None, tensors | {"scores": self.scale_.scores, "levels": self.scale_.levels}

    def save(self, folder: str | Path, measures: Mapping[str, float] | None = None) -> ModelCard:
        """Write ``card.json`` and ``weights.safetensors`` into ``folder``; ``tribid.models.store.load_model`` reads them."""
        return save_model(self, folder, measures=measures)

    @classmethod
    def restored(
        cls, settings: dict[str, Any], schema: Schema | None, weights: Mapping[str, NDArray[Any]]
    ) -> "PurchaseIntentIndex":
        """The index that gave these; ``ValueError`` for tensors that are none."""
        wrong = sorted(set(weights) ^ {"weights", "paths", "scores", "levels"})
        if wrong:
            raise ValueError(
                f"tensor {wrong[0]!r} is missing or not called for; allowed are weights, paths, scores, levels"
            )
        model = cls(**settings)
        g = len(weights["weights"])
        if weights["weights"].shape != (g, K) or weights["paths"].shape != (g,) or not g:
            raise ValueError(f"weights have shape {list(weights['weights'].shape)}; allowed is [G, {K}], and paths [G]")
        if model.industries and len(model.industries) != g:
            raise ValueError(f"weights have {g} rows; allowed is one for each of {len(model.industries)} industries")
        model.weights_ = np.array(weights["weights"], np.float64)
        if (model.weights_ < 0).any() or not np.allclose(model.weights_.sum(axis=1), 1.0, atol=1e-9):
            raise ValueError("weights of an industry are negative or do not sum to 1")
        model.paths_ = np.array(weights["paths"], np.int64)
        model.scale_ = Scale.checked(weights["scores"], weights["levels"], g)
        return model

    def _industry(self, given: ArrayLike, rows: int, limit: int | None) -> NDArray[np.int64]:
        """Industries [rows] as numbers, from numbers or names."""
        found = np.asarray(given)
        if found.shape != (rows,):
            raise ValueError(f"industry has shape {found.shape}; allowed is one for each of {rows} rows")
        if found.dtype.kind == "U":
            known = {name: number for number, name in enumerate(self.industries)}
            unknown = sorted(set(found.tolist()) - set(known))
            if unknown:
                raise ValueError(f"no industry named {unknown[0]!r}; choose {', '.join(self.industries) or 'a number'}")
            return np.array([known[name] for name in found.tolist()], np.int64)
        most = limit or len(self.industries) or 10_000
        if rows and (found.dtype.kind not in "iu" or not ((found >= 0) & (found < most)).all()):
            raise ValueError(
                f"industry holds {found.min()} to {found.max()}; allowed are whole numbers from 0 to {most - 1}"
            )
        return found.astype(np.int64)


def _only_behaviours(paths: Paths) -> Paths:
    """The same paths without the touches that are none of the eight behaviours."""
    kept = kind_of(paths.event) >= 0
    length = np.bincount(paths.path[kept], minlength=len(paths))
    columns = {name: getattr(paths, name)[kept] for name in ("touch", "time_hours", "channel", "event")}
    others = {name: getattr(paths, name) for name in ("user", "brand", "converted", "order", "end_hours", "value")}
    return Paths(first=np.r_[0, np.cumsum(length)], **columns, **others)


def _mean_credit(
    paths: Paths, industry: NDArray[np.int64], count: int, method: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean credit [G, 8] of each behaviour on converting paths with any, and how many those are, [G]."""
    met = paths.converted & (paths.length > 0)
    total = np.bincount(industry[met], minlength=count)
    cell = industry[paths.path] * K + kind_of(paths.event)
    given = np.bincount(cell, credit(paths, method), minlength=count * K).reshape(count, K)
    return given / np.maximum(total, 1)[:, None], total
