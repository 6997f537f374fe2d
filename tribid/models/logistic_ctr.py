"""Click prediction by logistic regression on hashed categorical columns.

The baseline of the iPinYou benchmark (Zhang et al. 2014) with the hashing trick (Weinberger et al. 2009): every
`column=value` becomes one binary feature, so that values never seen in training need no special case.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray


class LogisticCtr:
    """Predict the click rate of N impressions from their categorical columns.

    `hash_size` is the number of weights; `inverse_penalty` is scikit-learn's C, smaller is smoother; `several` names
    the columns whose text holds several values separated by commas. Values are taken as text, and a missing one is a
    value of its own. The same data give the same weights.

    After `fit`: `columns_` (the names seen), `weights_` [hash_size], `intercept_`, `base_rate_` (clicks per row).

    >>> shows = pl.DataFrame({"slot": ["top"] * 50 + ["side"] * 50})
    >>> model = LogisticCtr().fit(shows, [1] * 25 + [0] * 75)
    >>> top, side = model.predict(pl.DataFrame({"slot": ["top", "side"]}))
    >>> bool(top > 0.4), bool(side < 0.1)
    (True, True)
    """

    columns_: list[str]
    weights_: NDArray[np.float64]
    intercept_: float
    base_rate_: float

    def __init__(
        self,
        *,
        hash_size: int = 2**18,
        inverse_penalty: float = 1.0,
        max_iterations: int = 500,
        several: tuple[str, ...] = ("user_tags",),
    ) -> None:
        self.hash_size = hash_size
        self.inverse_penalty = inverse_penalty
        self.max_iterations = max_iterations
        self.several = several

    def fit(self, features: pl.DataFrame, click: ArrayLike) -> "LogisticCtr":
        """Learn from `features` (N rows) and `click` [N], each 0 or 1; return self.

        Raises ValueError for no rows, for other clicks than 0 and 1, and where all clicks are the same, for then there
        is nothing to tell apart. Raises ImportError where scikit-learn is missing.
        """
        linear = _scikit_learn("linear_model")
        labels = np.asarray(click)
        if features.width == 0 or labels.shape != (features.height,):
            raise ValueError(f"click has shape {labels.shape}, allowed is one for each of {features.height} rows")
        if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) < 2:
            raise ValueError("click must be 0 or 1, and both must occur: there is nothing to tell apart")
        # The usual tolerance of 1e-4 is the error that is left in the mean rate: a sixth of a click rate of 0.0006.
        model = linear.LogisticRegression(
            C=self.inverse_penalty, max_iter=self.max_iterations, solver="lbfgs", tol=1e-4 * labels.mean()
        )
        hashed = self._hashed(features)
        used = np.unique(hashed.indices)  # the penalty leaves every other weight at 0
        model.fit(hashed[:, used], labels.astype(np.int8))
        self.columns_ = list(features.columns)
        self.weights_ = np.zeros(self.hash_size)
        self.weights_[used] = model.coef_[0]
        self.intercept_ = float(model.intercept_[0])
        self.base_rate_ = float(labels.mean())
        return self

    def predict(self, features: pl.DataFrame) -> NDArray[np.float32]:
        """Return the click rate of each row of `features`, float32 [N] from 0 to 1.

        Columns may come in any order, and others are ignored. Raises ValueError before `fit` and for a missing column.
        """
        if not hasattr(self, "columns_"):
            raise ValueError("this LogisticCtr has learnt nothing yet: call fit first")
        missing = [name for name in self.columns_ if name not in features.columns]
        if missing:
            raise ValueError(f"features lack {', '.join(missing)}, which the model was fitted on")
        if features.height == 0:
            return np.zeros(0, dtype=np.float32)
        score = self._hashed(features.select(self.columns_)) @ self.weights_ + self.intercept_
        rate: NDArray[np.float32] = (0.5 * (1.0 + np.tanh(0.5 * score))).astype(np.float32)
        return rate

    def _hashed(self, features: pl.DataFrame) -> Any:
        # Without alternating signs all features stay 0 or 1, and a collision adds up instead of cancelling.
        hasher = _scikit_learn("feature_extraction").FeatureHasher(
            n_features=self.hash_size, input_type="string", alternate_sign=False
        )
        return hasher.transform(self._tokens(features))

    def _tokens(self, features: pl.DataFrame) -> Iterator[list[str]]:
        """Yield each row's `column=value` texts."""
        lists = []
        for column in features.iter_columns():
            text = column.cast(pl.String).fill_null("")
            values = (
                text.str.split(",") if column.name in self.several else text.reshape((-1, 1)).cast(pl.List(pl.String))
            )
            lists.append([[f"{column.name}={value}" for value in row] for row in values.to_list()])
        for row in zip(*lists, strict=True):
            yield [token for tokens in row for token in tokens]


def _scikit_learn(part: str) -> Any:
    try:
        import sklearn.feature_extraction
        import sklearn.linear_model
    except ImportError as error:
        raise ImportError("LogisticCtr needs scikit-learn: pip install 'tribid[logs]'") from error
    return getattr(sklearn, part)
