"""What all click models have in common: fit on logged impressions, predict for requests, save and load."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tribid.models.batch import Batch, Examples, Schema
from tribid.models.inputs import check_batch, check_examples
from tribid.models.layers import ACTIVATIONS, Numbers, Tensors, tensors
from tribid.models.network_model import NetworkModel
from tribid.models.threads import threads, threads_for
from tribid.models.trainer import FitSettings, Progress, train_network

LABEL = "click"
MOST_PAIRS = 1 << 20
"""Pairs of event and candidate that are scored at once; larger batches are split by requests."""


class CtrNetwork(nn.Module, ABC):
    """A network that scores each candidate; its ``numbers`` are standardised, and ``bias`` ends up in every score."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.numbers = Numbers(schema)
        self.bias = nn.Parameter(torch.zeros(1))

    @abstractmethod
    def forward(self, t: Tensors) -> Tensor:
        """The log-odds of a click, [B, N]."""

    def loss(self, t: Tensors, labels: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy of the clicks; ``t`` has one candidate for each request."""
        return nn.functional.binary_cross_entropy_with_logits(self(t)[:, 0], labels[LABEL])


class CtrModel(NetworkModel):
    """The chance that each candidate ad is clicked, learnt from the label ``click`` of logged impressions.

    ``training`` holds rates, epochs, seed and threads. After ``fit``: ``schema_``, ``network_``, ``record_``.
    """

    needs_history: ClassVar[bool] = False
    network_: CtrNetwork

    def __init__(self, *, training: FitSettings | None = None) -> None:
        self.training = training or FitSettings()

    @abstractmethod
    def _network(self, schema: Schema) -> CtrNetwork:
        """A fresh network; its random weights come from torch's current generator."""

    def fit(
        self,
        examples: Examples,
        validation: Examples | None = None,
        *,
        folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn and return self; ``validation`` chooses the weights that are kept, and may stop training early.

        ``folder`` and ``progress`` are as in ``train_network``. Raises ``ValueError`` for examples that do not fit their
        schema, numbers that are not finite and clicks that are all alike; ``TrainingDivergedError`` where learning ran
        away, and then ``network_`` has its last good weights.
        """
        check_schema(self.kind, examples.schema, history=self.needs_history)
        check_examples(examples, (LABEL,))
        if validation is not None:
            if validation.schema != examples.schema:
                raise ValueError("validation has another schema than examples; allowed is the same")
            check_examples(validation, (LABEL,), both=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            network = self._network(examples.schema)
        network.numbers.learn(examples)
        rate = float(examples.labels[LABEL].mean(dtype=np.float64))
        network.bias.data.fill_(np.log(rate / (1.0 - rate)))
        self.schema_, self.network_ = examples.schema, network
        self.record_ = train_network(
            network, _loss, examples, validation, self.training, folder=folder, progress=progress, of=self.described()
        )
        return self

    def predict(self, batch: Batch) -> NDArray[np.float32]:
        """The chance of a click of each candidate, float32 [B, N]; what is padding in the batch gets a number too.

        Raises ``ValueError`` before ``fit``, and for columns, ids and numbers that do not fit the schema.
        """
        if not hasattr(self, "network_"):
            raise ValueError(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        check_batch(self.schema_, batch)
        requests, candidates = batch.ad_ids.shape[:2]
        rates = np.empty((requests, candidates), dtype=np.float32)
        some = max(1, MOST_PAIRS // max(1, candidates * max(1, batch.history_ids.shape[1])))
        with torch.inference_mode(), threads(threads_for(requests)):
            for first in range(0, requests, some):
                part = Batch._make(column[first : first + some] for column in batch)
                rates[first : first + some] = torch.sigmoid(self.network_(tensors(part))).numpy()
        return rates


def _loss(network: nn.Module, t: Tensors, labels: dict[str, Tensor]) -> Tensor:
    assert isinstance(network, CtrNetwork)
    return network.loss(t, labels)


def check_schema(kind: str, schema: Schema, *, history: bool) -> None:
    """``ValueError`` where a model of this kind has nothing to tell ads apart, or no ``history`` though it lives by it."""
    if not schema.ad and not schema.ad_numbers:
        raise ValueError(f"a {kind} needs fields or numbers of ads; the schema has none")
    if history and not (schema.history and any(schema.targets)):
        raise ValueError(f"a {kind} needs history fields, one at least with a target; targets are {schema.targets}")


def checked_width(width: int) -> int:
    """An embedding's length; ``ValueError`` where it is none."""
    if not isinstance(width, int) or not 1 <= width <= 1024:
        raise ValueError(f"width is {width!r}; allowed is 1 to 1024")
    return width


def checked_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Sizes of at least one hidden layer; ``ValueError`` where they are none."""
    if not sizes or not all(isinstance(one, int) and 1 <= one <= 65536 for one in sizes):
        raise ValueError(f"{name} is {sizes!r}; allowed is one layer or more, each of 1 to 65536")
    return tuple(sizes)


def checked_activation(activation: str) -> str:
    """The name of an activation; ``ValueError`` that names the choices."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; choose {', '.join(ACTIVATIONS)}")
    return activation
