"""What all conversion models have in common: the towers over embeddings, fit, predict, save and load."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tribid.models.batch import Batch, Examples, Schema
from tribid.models.ctr.estimator import checked_activation, checked_sizes, checked_width
from tribid.models.ctr.tower import Tower, ad_side, sides, user_side
from tribid.models.cvr.labels import check_funnel
from tribid.models.inputs import check_batch
from tribid.models.layers import Embeddings, Numbers, Tensors, mean_pool, tensors
from tribid.models.network_model import NetworkModel
from tribid.models.threads import threads, threads_for
from tribid.models.trainer import FitSettings, Progress, train_network

MOST_SCORES = 1 << 20
"""Candidates and events that are scored at once; larger batches are split by requests."""

Scores = dict[str, Tensor]
"""The log-odds of each tower, by its name."""


class ConversionPrediction(NamedTuple):
    """float32 [B, N] each, from 0 to 1: `pctr` of an impression, `pcvr` of a click, `pctcvr` of an impression.

    `pctcvr` is the product of the two, and so never above `pctr`.
    """

    pctr: NDArray[np.float32]
    pcvr: NDArray[np.float32]
    pctcvr: NDArray[np.float32]


class ConversionNetwork(nn.Module):
    """One tower for each name over the user, the mean of the history, and the ad.

    All towers read one set of embeddings where `share`, else each its own. Every tower's score has a bias of its own,
    which `start_at` sets to a rate.
    """

    def __init__(
        self,
        schema: Schema,
        towers: Sequence[str],
        width: int,
        hidden: Sequence[int],
        activation: str,
        share: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.numbers = Numbers(schema)
        tables = 1 if share else len(towers)
        self.embeddings = nn.ModuleList(Embeddings(schema, width, seed + 7919 * i) for i in range(tables))
        user, ad = sides(schema, width)
        past = len(schema.history) * width
        self.towers = nn.ModuleDict({name: Tower(user + past, ad, hidden, activation) for name in towers})
        self.bias = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in towers})

    def start_at(self, rates: Mapping[str, float]) -> None:
        """Make each tower's score begin at about the log-odds of its rate."""
        for name, rate in rates.items():
            self.bias[name].data.fill_(float(np.log(rate / (1.0 - rate))))

    def forward(self, t: Tensors) -> Scores:
        """The log-odds of each tower, [B, N]."""
        read = [self._sides(table, t) for table in self.embeddings]
        return {
            name: tower(*read[min(i, len(read) - 1)]) + self.bias[name]
            for i, (name, tower) in enumerate(self.towers.items())
        }

    def _sides(self, table: nn.Module, t: Tensors) -> tuple[Tensor, Tensor]:
        assert isinstance(table, Embeddings)
        past = mean_pool(table.history(t), t.history_mask())
        return torch.cat([user_side(table, self.numbers, t), past], dim=-1), ad_side(table, self.numbers, t)


class ConversionModel(NetworkModel):
    """Predict whether each candidate ad is clicked, and whether a click converts, from logged impressions.

    Embeddings of `width` (one set for all towers where `share_embeddings`) and dense layers `hidden` in each tower; the
    history is averaged. `training` holds rates, epochs, seed and threads. After `fit`: `schema_`, `network_`, `record_`.
    """

    towers: ClassVar[tuple[str, ...]]
    after_click: ClassVar[tuple[str, ...]] = ("order",)
    network_: ConversionNetwork

    def __init__(
        self,
        *,
        width: int = 8,
        hidden: Sequence[int] = (64, 32),
        activation: str = "relu",
        share_embeddings: bool = True,
        training: FitSettings | None = None,
    ) -> None:
        self.width, self.hidden = checked_width(width), checked_sizes("hidden", hidden)
        self.activation = checked_activation(activation)
        self.share_embeddings = share_embeddings
        self.training = training or FitSettings()

    @abstractmethod
    def loss(self, scores: Scores, labels: dict[str, Tensor]) -> Tensor:
        """The mean loss of impressions with these scores and labels, [E] each."""

    @abstractmethod
    def rates(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """The chance of a click, and that of an order after one, of the scores' shape."""

    @abstractmethod
    def starting_rates(self, labels: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """The rate at which each tower begins."""

    def fit(
        self,
        examples: Examples,
        validation: Examples | None = None,
        *,
        folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from the labels `click` and `order` (ESM2: `cart` too) of impressions; return self.

        `validation`, `folder` and `progress` are as in `train_network`. Raises `ValueError`, which names the label and
        counts its rows, for no clicks, no orders, orders without a click and labels that are not 0 or 1, and for examples
        that do not fit their schema; `TrainingDivergedError` where learning ran away.
        """
        check_funnel(examples, *self.after_click)
        if validation is not None:
            if validation.schema != examples.schema:
                raise ValueError("validation has another schema than examples; allowed is the same")
            check_funnel(validation, *self.after_click, both=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            network = self._network(examples.schema)
        network.numbers.learn(examples)
        network.start_at(self.starting_rates(examples.labels))
        self.schema_, self.network_ = examples.schema, network
        self.record_ = train_network(
            network,
            self._mean_loss,
            examples,
            validation,
            self.training,
            folder=folder,
            progress=progress,
            of=self.described(),
        )
        return self

    def predict(self, batch: Batch) -> ConversionPrediction:
        """All three rates of each candidate; what is padding in the batch gets numbers too.

        Raises `ValueError` before `fit`, and for columns, ids and numbers that do not fit the schema.
        """
        if not hasattr(self, "network_"):
            raise ValueError(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        check_batch(self.schema_, batch)
        requests, candidates = batch.ad_ids.shape[:2]
        pctr, pcvr = (np.empty((requests, candidates), dtype=np.float32) for _ in range(2))
        some = max(1, MOST_SCORES // max(1, candidates + batch.history_ids.shape[1]))
        with torch.inference_mode(), threads(threads_for(requests)):
            for first in range(0, requests, some):
                rows = slice(first, first + some)
                clicks, orders = self.rates(self.network_(tensors(Batch._make(column[rows] for column in batch))))
                pctr[rows], pcvr[rows] = clicks.numpy(), orders.clamp(0.0, 1.0).numpy()
        return ConversionPrediction(pctr, pcvr, pctr * pcvr)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON."""
        return {
            "width": self.width,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "share_embeddings": self.share_embeddings,
            "training": self.training.model_dump(mode="json"),
        }

    def _network(self, schema: Schema) -> ConversionNetwork:
        return ConversionNetwork(
            schema, self.towers, self.width, self.hidden, self.activation, self.share_embeddings, self.training.seed
        )

    def _mean_loss(self, network: nn.Module, t: Tensors, labels: dict[str, Tensor]) -> Tensor:
        scores = network(t)
        return self.loss({name: score[:, 0] for name, score in scores.items()}, labels)


def share_of(part: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    """The rate of `part` in `whole`, both 0 or 1 of one shape, kept from 0 and 1 by half an example."""
    return float((np.sum(part * whole, dtype=np.float64) + 0.5) / (np.sum(whole, dtype=np.float64) + 1.0))


def entropy_of_log(log_rate: Tensor, label: Tensor) -> Tensor:
    """The cross-entropy of `label` against a probability that is given by its logarithm, of the same shape.

    Products of small rates keep their digits so: `log(1 - e^x)` is taken as `log(-expm1(x))`.

    >>> round(entropy_of_log(torch.tensor([0.25]).log(), torch.tensor([0.0])).exp().item(), 4)  # 1 / 0.75
    1.3333
    """
    rate = log_rate.clamp(max=-1e-7)
    return -(label * rate + (1.0 - label) * torch.log(-torch.expm1(rate)))
