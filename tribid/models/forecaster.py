"""Learnt rates in the market: fitted models take the place of a shop's noisy truth.

A model sees what a platform sees, the history before the day, the ad, the hour, the creative, in the very features that it
learnt from; it never sees the truth.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.envs.impressions import items_frame
from tribid.envs.platform import Rates, Requests
from tribid.envs.shop import Shop
from tribid.models.features import FeaturePipeline
from tribid.models.fitted import FittedModel
from tribid.models.online_features import OnlineFeatures

KNOWN = {"user": ("user", "tick"), "history": ("item", "category", "kind", "age_days")}
"""Columns that a shop gives a model for a request and for what its user did before, named as in its log."""


class _Reader(NamedTuple):
    """Models that read one batch."""

    online: OnlineFeatures
    models: list[FittedModel]


class LearntForecaster:
    """Predicts with fitted models: ``click`` gives click rates, ``order`` conversion rates; one model may give both.

    A rate that no model gives is the shop's own (noisy truth). Rates of requests with the same user, candidates and
    creatives are computed once a tick.
    """

    def __init__(self, shop: Shop, *, click: FittedModel | None = None, order: FittedModel | None = None) -> None:
        if click is None and order is None:
            raise ValueError("neither click nor order is given; allowed is one model at least")
        for name, model in (("click", click), ("order", order)):
            if model is not None and name not in model.events:
                raise ValueError(f"{name} is a {model.model.kind}, which predicts {', '.join(model.events)} alone")
            if model is not None:
                _check_columns(name, model)
        self._shop = shop
        self._models = {name: model for name, model in (("click", click), ("order", order)) if model is not None}
        ads = items_frame(shop).filter("advertised").rename({"item": "advertiser"})
        self._readers: list[_Reader] = []
        for model in self._models.values():
            self._join(model, ads)

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates [B, N]; ``truth`` is handed to the shop's own forecaster where no model gives a rate."""
        told = self.learnt_rates(seed, requests)
        if len(told) == 2:
            return Rates(told["click"], told["order"])
        own = self._shop.forecaster.predict(seed, requests, truth)
        return Rates(told.get("click", own.ctr), told.get("order", own.cvr))

    def learnt_rates(self, seed: int, requests: Requests) -> dict[str, NDArray[np.float32]]:
        """What the models themselves predict, by event, each [B, N]."""
        who = self._shop.candidates_of(requests)
        creative = np.zeros(who.shape, np.int8) if requests.creative is None else requests.creative
        row, of = _distinct(requests.user, who, creative)
        user, which = np.unique(requests.user[row], return_inverse=True)
        past = self._shop.past.histories(seed, requests.day, user)
        events = {name: getattr(past, name) for name in KNOWN["history"]}
        columns = {"user": requests.user[row], "tick": np.full(len(row), requests.tick)}
        told: dict[str, NDArray[np.float32]] = {}
        for reader in self._readers:
            online = reader.online.with_histories(reader.online.pipeline.histories_of_arrays(events, past.length))
            batch = online.batch(
                columns, who[row], which, dict.fromkeys(online.changing, creative[row]) if online.changing else None
            )
            for model in reader.models:
                rates = model.rates(batch)
                told |= {event: rates[event][of] for event, own in self._models.items() if own is model}
        return told

    def _join(self, model: FittedModel, ads: pl.DataFrame) -> None:
        """Let a model read the batch of one that learnt with the same features, or else one of its own."""
        for reader in self._readers:
            if _alike(reader.online.pipeline, model.features):
                if all(model is not one for one in reader.models):
                    reader.models.append(model)
                return
        self._readers.append(_Reader(OnlineFeatures(model.features, ads, changing=_changing(model)), [model]))


def _check_columns(name: str, model: FittedModel) -> None:
    """What a model reads must be what a shop knows of a request before its auction."""
    config = model.features.config
    read = {"user": config.columns("user"), "history": [one.name for one in config.history]}
    for side, known in KNOWN.items():
        if stray := [column for column in read[side] if column not in known]:
            raise ValueError(
                f"the {name} model reads {stray[0]!r} of the {side}, which a shop does not know; "
                f"allowed are {', '.join(known)}"
            )


def _alike(one: FeaturePipeline, other: FeaturePipeline) -> bool:
    """Whether two pipelines make the same features of everything."""
    known, others = (
        {name: (own.kind, own.hash_rows, own.integers, own.texts) for name, own in pipeline.vocabularies_.items()}
        for pipeline in (one, other)
    )
    return one.config == other.config and one.scales_ == other.scales_ and known == others


def _changing(model: FittedModel) -> tuple[str, ...]:
    return tuple(name for name in ("creative",) if name in model.features.config.columns("ad"))


def _distinct(
    user: NDArray[np.int64], who: NDArray[np.int32], creative: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each different request, and for each request which of those is like it."""
    if len(user) == 1:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    key = np.concatenate([user[:, None], who, creative], axis=1, dtype=np.int64)
    _, row, of = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return row, of.reshape(-1)
