"""Training of one network from logged impressions: batches, optimisers, early stopping, checkpoints and their resumption.

Dense weights learn by Adam (Kingma and Ba 2015), rows of embedding tables by torch's SparseAdam: only rows that occur in
a batch move, and only they pay the penalty, as in DIN (Zhou et al. 2018, section 5.1). The same examples, settings,
threads and torch give the same weights bit for bit, also where a training was cut off and went on from its checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tribid.models.batch import Examples
from tribid.models.checkpoints import Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from tribid.models.layers import Embeddings, Tensors
from tribid.models.minibatches import batches, learnt_from
from tribid.models.threads import threads

Loss = Callable[[nn.Module, Tensors, dict[str, Tensor]], Tensor]
"""``loss(network, tensors, labels)``: the mean over the batch; ``labels`` by name, float32 [B]."""

Measure = Callable[[nn.Module, Examples], float]
"""What early stopping looks at, smaller is better; the network is in evaluation mode, and no gradient is kept."""

Progress = Callable[[int, int, float], None]
"""Told now and then: steps done, steps in all, mean loss since it was last told."""

TELL_EVERY = 50
"""Steps between two reports of progress."""


class TrainingDivergedError(ArithmeticError):
    """A loss or weight is not finite; the message names it and the step. The network has its last good weights again."""


class FitSettings(BaseModel):
    """How a network is trained; every model adds its own sizes to these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(1, ge=1, description="times that every example is seen, at most")
    batch_size: int = Field(1024, ge=1)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    l2: float = Field(0.0, ge=0, allow_inf_nan=False, description="of touched embedding rows, over the row's examples")
    patience: int = Field(0, ge=0, description="checks without gain before training stops; 0 never stops early")
    checks_per_epoch: int = Field(1, ge=1, description="validations, and checkpoints, in each epoch")
    seed: int = Field(0, ge=0)
    threads: int = Field(1, ge=1, description="of torch; part of what makes a training repeatable")
    tensorboard: bool = Field(True, description="write TensorBoard logs where a folder is given")


class FitRecord(NamedTuple):
    """What happened: mean loss and validation measure after each check, the ``best`` check (from 0), steps and seconds.

    ``validation`` is empty where there was none, and ``best`` is then the last check. Seconds are of this run alone.
    """

    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best: int
    steps: int
    seconds: float
    stopped_early: bool


def train_network(
    network: nn.Module,
    loss: Loss,
    examples: Examples,
    validation: Examples | None,
    settings: FitSettings,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    measure: Measure | None = None,
    of: str = "",
) -> FitRecord:
    """Teach ``network`` in place and leave it in evaluation mode with its best weights (the last, without validation).

    With ``folder``, ``folder/checkpoints`` holds the state after the latest check and ``folder/tensorboard`` the logs; a
    training of the same start, examples and settings (but for ``epochs`` and ``patience``) that finds a checkpoint goes
    on from there, and one of others, or further than was asked for, is refused with ``ValueError``; ``of`` says what else
    tells trainings apart, such as a loss's weights. ``measure`` is the mean loss where none is given. Raises
    ``TrainingDivergedError`` when numbers stop being finite.
    """
    if not len(examples) or (validation is not None and not len(validation)):
        raise ValueError("examples and validation need at least one row each; validation may be None")
    with threads(settings.threads), torch.random.fork_rng(devices=[]), _writer(folder, settings) as writer:
        training = _Training(network, loss, examples, validation, settings, measure)
        try:
            training.run(None if folder is None else Path(folder), progress, writer, of)
        except TrainingDivergedError:
            training.restore()
            raise
        training.restore()
    return training.record()


def mean_loss(network: nn.Module, loss: Loss, examples: Examples, batch_size: int = 4096) -> float:
    """The mean of ``loss`` over examples, without gradients."""
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(examples), batch_size):
            rows = np.arange(first, min(first + batch_size, len(examples)))
            total += float(loss(network, *learnt_from(examples, rows))) * len(rows)
    return total / len(examples)


class _Training:
    """One training between its first step and its last."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        examples: Examples,
        validation: Examples | None,
        settings: FitSettings,
        measure: Measure | None,
    ) -> None:
        self.network, self.loss, self.examples, self.settings = network, loss, examples, settings
        self.validation = validation
        self.measure = measure or (lambda network, rows: mean_loss(network, loss, rows))
        self.tables = [part for part in network.modules() if isinstance(part, Embeddings)]
        self.optimisers = _optimisers(network, self.tables, settings.learning_rate)
        self.l2 = [settings.l2 / table.occurrences(examples).clamp_min(1.0) for table in self.tables]
        self.lengths = examples.histories.length[examples.history]
        self.in_epoch = -(-len(examples) // settings.batch_size)
        self.losses: list[float] = []
        self.measures: list[float] = []
        self.best, self.stopped = 0, False
        self.kept = _state(network)
        self.steps, self.began = 0, time.perf_counter()

    def run(self, folder: Path | None, progress: Progress | None, writer: Any, of: str) -> None:
        """All checks that are left, from the folder's checkpoint on."""
        mark = None if folder is None else fingerprint(self.network, self.examples, self.validation, self.settings, of)
        if folder is not None and mark is not None:
            self._resume(read_checkpoint(folder, mark))
        for check in range(len(self.losses), self.settings.epochs * self.settings.checks_per_epoch):
            if self._has_stopped():
                break
            self.losses.append(self._learn(check, progress))
            self._check(check)
            if writer is not None:
                writer.add_scalar("loss", self.losses[-1], self.steps)
                if self.measures:
                    writer.add_scalar("validation", self.measures[-1], self.steps)
            if folder is not None and mark is not None:
                write_checkpoint(folder, mark, self._checkpoint())
        self.stopped = self._has_stopped()

    def record(self) -> FitRecord:
        """What happened so far."""
        return FitRecord(
            losses=tuple(self.losses),
            validation=tuple(self.measures),
            best=self.best,
            steps=self.steps,
            seconds=time.perf_counter() - self.began,
            stopped_early=self.stopped,
        )

    def restore(self) -> None:
        """Give the network the weights that were kept, for predicting."""
        self.network.load_state_dict(self.kept)
        self.network.eval()

    def _learn(self, check: int, progress: Progress | None) -> float:
        """The mean loss over one check's share of an epoch's batches."""
        epoch, part = divmod(check, self.settings.checks_per_epoch)
        order = batches(self.lengths, self.settings.batch_size, np.random.default_rng([self.settings.seed, epoch]))
        bounds = np.linspace(0, len(order), self.settings.checks_per_epoch + 1).astype(int)
        torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, check]).generate_state(1)[0]))
        self.network.train()
        total, told, seen = 0.0, 0.0, 0
        for i, rows in enumerate(order[bounds[part] : bounds[part + 1]], start=1):
            one = self._step(rows)
            total, told, seen = total + one * len(rows), told + one, seen + len(rows)
            last = i == bounds[part + 1] - bounds[part]
            since = (i - 1) % TELL_EVERY + 1
            if progress is not None and (since == TELL_EVERY or last):
                progress(self.steps, self.settings.epochs * self.in_epoch, told / since)
                told = 0.0
        return total / max(seen, 1)

    def _step(self, rows: NDArray[np.int64]) -> float:
        """One batch: look-ups, loss, gradients, both optimisers."""
        batch, labels = learnt_from(self.examples, rows)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        try:
            for table in self.tables:
                table.touch(batch)
            value = self.loss(self.network, batch, labels)
            value.backward()  # type: ignore[no-untyped-call]
            for table, l2 in zip(self.tables, self.l2, strict=True):
                table.release(l2 if self.settings.l2 else None)
        finally:
            for table in self.tables:
                table.drop()
        self.steps += 1
        number = float(value.detach())
        if not math.isfinite(number):
            raise TrainingDivergedError(f"loss is {number!r} at step {self.steps}; allowed are finite numbers")
        for optimiser in self.optimisers:
            optimiser.step()
        return number

    def _check(self, check: int) -> None:
        """Measure on the validation part, and keep the weights where they are finite and the best so far."""
        for name, value in self.network.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise TrainingDivergedError(f"{name} is not finite after step {self.steps}; allowed are finite numbers")
        self.network.eval()
        if self.validation is not None:
            with torch.no_grad():
                measured = float(self.measure(self.network, self.validation))
            if not math.isfinite(measured):
                raise TrainingDivergedError(f"the validation measure is {measured!r} after step {self.steps}")
            self.measures.append(measured)
        if not self.measures or measured <= min(self.measures):
            self.best, self.kept = check, _state(self.network)

    def _has_stopped(self) -> bool:
        return bool(0 < self.settings.patience <= len(self.measures) - 1 - self.best)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            network=_state(self.network),
            kept=self.kept,
            optimisers=[optimiser.state_dict()["state"] for optimiser in self.optimisers],
            losses=self.losses,
            measures=self.measures,
            best=self.best,
            steps=self.steps,
        )

    def _resume(self, found: Checkpoint | None) -> None:
        if found is None:
            return
        asked = self.settings.epochs * self.settings.checks_per_epoch
        if len(found.losses) > asked:
            raise ValueError(
                f"the folder's checkpoint has {len(found.losses)} checks; allowed is at most the {asked} asked for: "
                "choose another folder, or more epochs"
            )
        self.network.load_state_dict(found.network)
        for optimiser, state in zip(self.optimisers, found.optimisers, strict=True):
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        self.kept, self.losses, self.measures = found.kept, found.losses, found.measures
        self.best, self.steps = found.best, found.steps


def _optimisers(network: nn.Module, tables: list[Embeddings], rate: float) -> list[torch.optim.Optimizer]:
    """Adam for the dense weights, SparseAdam for the tables; either only where there are some."""
    rows = [table.weight for table in tables]
    of_tables = {id(one) for one in rows}
    dense = [one for one in network.parameters() if id(one) not in of_tables]
    found: list[torch.optim.Optimizer] = []
    if dense:
        found.append(torch.optim.Adam(dense, lr=rate, fused=True))
    if rows:
        found.append(torch.optim.SparseAdam(rows, lr=rate))
    return found


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@contextmanager
def _writer(folder: str | Path | None, settings: FitSettings) -> Iterator[Any]:
    if folder is None or not settings.tensorboard:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter  # here: it costs a second, and some trainings want none
    except ImportError as error:
        raise ImportError("TensorBoard logs need tensorboard: pip install 'tribid[train]'") from error
    with SummaryWriter(str(Path(folder) / "tensorboard")) as writer:
        yield writer
