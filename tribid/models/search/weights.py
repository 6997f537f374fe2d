"""Weights of ranking factors learnt from clicks, listwise or pairwise, each click weighed by the inverse of attention.

A place that few look at gets few clicks whatever stands there. A click there therefore counts ``1 / attention`` (Joachims,
Swaminathan, Schnabel 2017), which makes the loss, on average, that of a page where everybody looks at everything. Both
losses are convex in the weights; a small ridge keeps factors that the log tells nothing of at 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from tribid.models.batch import Schema
from tribid.models.search.click_log import ClickLog

Floats = NDArray[np.float64]
Loss = Callable[[Floats, Floats], tuple[float, Floats]]


def listwise(score: Floats, worth: Floats) -> tuple[float, Floats]:
    """The softmax loss of clicks (ListNet's top one, Cao et al. 2007) and its slope by score, [L, K].

    ``score`` is -inf where there is no item; ``worth`` is what each click counts, 0 for none.

    >>> loss, slope = listwise(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
    >>> round(loss, 4), slope.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    total = worth.sum(axis=1, keepdims=True)
    told = np.where(worth > 0.0, score, 0.0)
    loss = float((total[:, 0] * logsumexp(score, axis=1)).sum() - (worth * told).sum())
    return loss, total * softmax(score, axis=1) - worth


def pairwise(score: Floats, worth: Floats) -> tuple[float, Floats]:
    """The logistic loss of each click against every other item of its page, and its slope by score, [L, K].

    >>> loss, slope = pairwise(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
    >>> round(loss, 4), slope.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    there = np.isfinite(score)
    plain = np.where(there, score, 0.0)
    above = plain[:, :, None] - plain[:, None, :]
    counts = worth[:, :, None] * (there[:, :, None] & there[:, None, :])
    counts[:, np.arange(score.shape[1]), np.arange(score.shape[1])] = 0.0
    loss = float((counts * np.logaddexp(0.0, -above)).sum())
    push = counts * expit(-above)
    return loss, push.sum(axis=1) - push.sum(axis=2)


LOSSES: dict[str, Loss] = {"listwise": listwise, "pairwise": pairwise}
"""What learning may minimise."""


class SearchWeights:
    """Linear weights of search factors, fitted on a ``ClickLog``.

    ``attention`` [K] of ``fit`` says how much each place is looked at; without it clicks are taken as they are, which
    learns where results stood as much as how good they were. A click counts at most ``most_weight``.
    """

    kind: ClassVar[str] = "search_weights"

    def __init__(self, *, loss: str = "listwise", ridge: float = 1e-3, most_weight: float = 50.0) -> None:
        if loss not in LOSSES:
            raise ValueError(f"no loss named {loss!r}; choose {' or '.join(LOSSES)}")
        for name, value, least in (("ridge", ridge, 0.0), ("most_weight", most_weight, 1.0)):
            if not least <= value < np.inf:
                raise ValueError(f"{name} is {value}; allowed is a finite number from {least:g}")
        self.loss, self.ridge, self.most_weight = loss, ridge, most_weight

    def fit(self, log: ClickLog, attention: ArrayLike | None = None) -> Self:
        """Learn ``weights_`` [F], one a unit of each factor. ``ValueError`` where no page has a click."""
        seen = _attention(attention, log.clicked.shape[1])
        pages = log.clicked.any(axis=1)
        if not pages.any():
            raise ValueError("clicked is false everywhere; learning needs pages with clicks")
        there, x = log.there[pages], log.features[pages]
        spread = _spread(x, there)
        x = np.where(there[..., None], x, 0.0) / np.where(spread > 0.0, spread, 1.0)
        worth = np.where(log.clicked[pages], np.minimum(1.0 / seen, self.most_weight), 0.0)
        worth /= worth.sum()
        gap, loss = np.where(there, 0.0, -np.inf), LOSSES[self.loss]

        def fall(w: Floats) -> tuple[float, Floats]:
            value, slope = loss(x @ w + gap, worth)
            back = np.einsum("lk,lkf->f", slope, x)
            return value + 0.5 * self.ridge * float(w @ w), back + self.ridge * w

        found = minimize(fall, np.zeros(x.shape[-1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        self.weights_: Floats = np.where(spread > 0.0, found.x / np.where(spread > 0.0, spread, 1.0), 0.0)
        return self

    def predict(self, features: ArrayLike) -> Floats:
        """Scores [...] of factors [..., F]."""
        score: Floats = np.asarray(features, np.float64) @ self.weights_
        return score

    def points(self, total: float = 100.0) -> Floats:
        """The weights [F] on the scale of a scenario's: their absolute sum is ``total``. The ranking is the same."""
        size = float(np.abs(self.weights_).sum())
        return self.weights_ * (total / size if size > 0.0 else 1.0)

    def settings(self) -> dict[str, Any]:
        """The arguments of its constructor."""
        return {"loss": self.loss, "ridge": self.ridge, "most_weight": self.most_weight}

    def learnt(self) -> tuple[Schema | None, dict[str, NDArray[Any]]]:
        """No schema, and the weights, for ``tribid.models.store.save_model``."""
        return None, {"weights": self.weights_}

    @classmethod
    def restored(cls, settings: dict[str, Any], schema: Schema | None, weights: Mapping[str, NDArray[Any]]) -> Self:
        """The model that was saved; ``ValueError`` where the tensors are not its own."""
        if schema is not None or set(weights) != {"weights"} or weights["weights"].ndim != 1:
            raise ValueError(
                f"tensors are {', '.join(sorted(weights))}; allowed is one row named weights, and no schema"
            )
        if weights["weights"].dtype != np.float64:
            raise ValueError(f"tensor weights is {weights['weights'].dtype}; allowed is float64")
        model = cls(**settings)
        model.weights_ = np.array(weights["weights"])
        return model


def _attention(given: ArrayLike | None, places: int) -> Floats:
    seen = np.ones(places) if given is None else np.asarray(given, np.float64)
    if seen.shape != (places,) or not ((seen > 0.0) & (seen <= 1.0)).all():
        raise ValueError(f"attention is {seen.tolist()}; allowed is above 0 and up to 1 for each of {places} places")
    return seen


def _spread(x: Floats, there: NDArray[np.bool_]) -> Floats:
    """The standard deviation of each factor within pages, 0 for one that never differs."""
    count = np.maximum(there.sum(axis=1), 1)[:, None, None]
    held = np.where(there[..., None], x, 0.0)
    away = np.where(there[..., None], held - held.sum(axis=1, keepdims=True) / count, 0.0)
    spread: Floats = np.sqrt((away**2).sum(axis=(0, 1)) / max(int(there.sum()), 1))
    return np.where(spread > 1e-9, spread, 0.0)
