"""The network's estimator: training with early stopping, prediction that does not depend on the batch."""

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from tribid.models.state.estimator import StateEstimator
from tribid.models.state.events import Events
from tribid.models.state.kernel import SequenceWeights, log_odds
from tribid.models.state.network import EventTensors, SequenceNetwork, event_tensors, forget_kinds
from tribid.models.state.quality import log_loss
from tribid.models.trainer import TrainingDivergedError
from tribid.models.weights import network_with, weights_of

_CLIP = 1.0
"""The longest gradient of a step."""


class StateRecord(NamedTuple):
    """Mean loss of each epoch, log loss on the held-out part after each, and the epoch (from 0) whose weights are kept."""

    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int


class SequenceState(StateEstimator):
    """A GRU with attention over the events of a visit (``SequenceNetwork``), learnt by Adam from cross-entropy.

    ``width`` of the embedding of a kind, ``hidden`` states of the GRU; at most ``epochs``, and none after ``patience``
    without gain on the held-out part; ``forget`` is the share of events whose kind is hidden while learning. After
    ``fit``: ``network_`` (float32, the best epoch's) and ``record_`` (``None`` in a model that was loaded). Training
    takes one thread, so that the same visits give the same weights bit for bit. ``TrainingDivergedError`` where a loss
    stops being finite; nothing is kept then.
    """

    kind = "state_sequence"
    network_: SequenceNetwork
    record_: StateRecord | None

    def __init__(
        self,
        *,
        width: int = 8,
        hidden: int = 32,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        patience: int = 3,
        forget: float = 0.02,
        events: int = 20,
        held_out: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(events=events, held_out=held_out, seed=seed)
        sizes = {"width": width, "hidden": hidden, "epochs": epochs, "batch_size": batch_size, "patience": patience}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 65536:
                raise ValueError(f"{name} is {size!r}; allowed is 1 to 65536")
        if not 0.0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate is {learning_rate!r}; allowed are positive numbers")
        if not 0.0 <= forget < 1.0:
            raise ValueError(f"forget is {forget!r}; allowed is 0 up to, not including, 1")
        self.width, self.hidden, self.epochs, self.batch_size = width, hidden, epochs, batch_size
        self.learning_rate, self.patience, self.forget = float(learning_rate), patience, float(forget)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON."""
        names = ("width", "hidden", "epochs", "batch_size", "learning_rate", "patience", "forget")
        return {name: getattr(self, name) for name in names} | super().settings()

    def _learn(
        self, events: Events, labels: NDArray[np.float32], kept: Events, kept_labels: NDArray[np.float32]
    ) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = SequenceNetwork(self.width, self.hidden)
            rate = float(labels.mean(dtype=np.float64))
            last = network.head[-1]
            assert isinstance(last, nn.Linear)
            last.bias.data.fill_(math.log(rate / (1.0 - rate)))
            record = self._train(network, event_tensors(events, torch.float32), labels, kept, kept_labels)
        finally:
            torch.set_num_threads(before)
        self._use(network)
        self.record_ = record

    def _train(
        self,
        network: SequenceNetwork,
        t: EventTensors,
        labels: NDArray[np.float32],
        kept: Events,
        kept_labels: NDArray[np.float32],
    ) -> StateRecord:
        """Teach ``network`` in place; it ends with its best epoch's weights."""
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(self.seed)
        targets = torch.from_numpy(labels)
        losses: list[float] = []
        held_out: list[float] = []
        best = copy.deepcopy(network.state_dict())
        for _ in range(self.epochs):
            order = torch.randperm(len(targets), generator=generator)
            total = 0.0
            for rows in torch.split(order, self.batch_size):
                part = EventTensors(forget_kinds(t.kind[rows], self.forget, generator), t.numbers[rows], t.length[rows])
                loss = nn.functional.binary_cross_entropy_with_logits(network(part), targets[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            losses.append(total / len(targets))
            odds = log_odds(SequenceWeights.of(network), kept)
            held_out.append(log_loss(expit(odds), kept_labels))
            if not (math.isfinite(losses[-1]) and math.isfinite(held_out[-1])):
                raise TrainingDivergedError(
                    f"loss is {losses[-1]!r} in epoch {len(losses)}; allowed are finite numbers"
                )
            if held_out[-1] <= min(held_out):
                best = copy.deepcopy(network.state_dict())
            if len(held_out) - 1 - int(np.argmin(held_out)) >= self.patience:
                break
        network.load_state_dict(best)
        last_best = len(held_out) - 1 - int(np.argmin(held_out[::-1]))
        return StateRecord(tuple(losses), tuple(held_out), last_best)

    def _use(self, network: SequenceNetwork) -> None:
        self.network_ = network.eval()
        self._compiled = SequenceWeights.of(network)

    def _log_odds(self, events: Events) -> NDArray[np.float64]:
        return log_odds(self._compiled, events)

    def _weights(self) -> dict[str, NDArray[Any]]:
        return weights_of(self.network_)

    def _take(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._use(network_with(lambda: SequenceNetwork(self.width, self.hidden), weights))
        self.record_ = None
