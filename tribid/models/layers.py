"""The parts that the networks of prediction share: a batch as tensors, embedding tables, numbers, dense layers, Dice.

An embedding table is large and a batch touches few of its rows. So while a network learns, ``Embeddings.touch`` copies
those rows into a small dense leaf, gradients are collected there, and ``Embeddings.release`` hands them to the optimiser
as a sparse gradient whose rows are already unique: the cost of a step does not grow with the table.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tribid.models.batch import PADDING, Batch, Examples, IdField, Schema
from tribid.models.dice import Dice as Dice

MOST_STANDARD = 8.0
"""Standardised numbers are cut at this many standard deviations, so that one wild value moves no prediction far."""


class Tensors(NamedTuple):
    """A ``Batch`` as torch tensors: ids and lengths int32, numbers float32, shapes as there.

    The history may be shorter than the batch's: it ends at the longest that is present.
    """

    user_ids: Tensor
    user_numbers: Tensor
    history_ids: Tensor
    history_age: Tensor
    history_length: Tensor
    ad_ids: Tensor
    ad_numbers: Tensor

    def history_mask(self) -> Tensor:
        """Which events are real, bool [B, H]."""
        return torch.arange(self.history_ids.shape[1], dtype=torch.int32) < self.history_length[:, None]


def tensors(batch: Batch) -> Tensors:
    """``batch`` as tensors, without a copy where its arrays may be written; padding behind every history is left out."""
    longest = int(batch.history_length.max(initial=0))
    return Tensors(
        user_ids=_tensor(batch.user_ids),
        user_numbers=_tensor(batch.user_numbers),
        history_ids=_tensor(batch.history_ids[:, :longest]),
        history_age=_tensor(batch.history_age[:, :longest]),
        history_length=_tensor(batch.history_length),
        ad_ids=_tensor(batch.ad_ids),
        ad_numbers=_tensor(batch.ad_numbers),
    )


def _tensor(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())


class Embeddings(nn.Module):
    """One table [rows, width] for each vocabulary of a schema; the row of padding is zero and stays zero.

    The tables lie one below the other in one matrix, in the order of their names, for a JSON object has no order of its
    own. All rows but padding, that of the unknown too, start as normal draws of ``deviation``, by ``seed`` alone.
    """

    def __init__(self, schema: Schema, width: int, seed: int, *, deviation: float = 0.05) -> None:
        super().__init__()
        starts, rows = {}, 0
        for name, count in sorted(schema.vocabularies.items()):
            starts[name] = rows
            rows += count
        weight = torch.empty(rows, width)
        if not weight.is_meta:
            weight.normal_(0.0, deviation, generator=torch.Generator("cpu").manual_seed(seed))
        weight[[start + PADDING for start in starts.values()]] = 0.0
        self.width = width
        self.weight = nn.Parameter(weight)
        self._targets = [
            [field.name for field in schema.ad].index(name) if name else None for name in schema.targets
        ]  # fmt: skip
        self._starts: dict[str, Tensor]
        for part, fields in (("user", schema.user), ("ad", schema.ad), ("history", schema.history)):
            self.register_buffer(f"_{part}_start", _starts(fields, starts), persistent=False)
        self.register_buffer("_padding", torch.zeros(rows, dtype=torch.bool), persistent=False)
        self._buffer("_padding")[[start + PADDING for start in starts.values()]] = True
        self._place: Tensor | None = None
        self._leaf: Tensor | None = None
        self._rows: Tensor | None = None

    def user(self, t: Tensors) -> Tensor:
        """The user's fields side by side, [B, Fu * width]."""
        return self._look(t.user_ids, "user")

    def ad(self, t: Tensors) -> Tensor:
        """The ads' fields side by side, [B, N, Fa * width]."""
        return self._look(t.ad_ids, "ad")

    def history(self, t: Tensors) -> Tensor:
        """The events' fields side by side, [B, H, Fh * width]; zero where an event is padding."""
        return self._look(t.history_ids, "history")

    def target(self, t: Tensors) -> Tensor:
        """The ads as if they were events, [B, N, Fh * width]; zero in the fields that an ad has not."""
        fields = self.ad(t).reshape(*t.ad_ids.shape, self.width)
        nothing = torch.zeros(*t.ad_ids.shape[:2], self.width)
        parts = [nothing if place is None else fields[:, :, place] for place in self._targets]
        return torch.cat(parts, dim=-1) if parts else nothing[..., :0]

    def touch(self, t: Tensors) -> Tensor:
        """Prepare one step of learning from ``t``: until ``release``, look-ups read a copy of the rows in ``t`` alone.

        Gives the rows, int64 [U], ascending. Every other id looked up before ``release`` is an error.
        """
        ids = [self._global(t.user_ids, "user"), self._global(t.ad_ids, "ad"), self._global(t.history_ids, "history")]
        present = np.zeros(len(self.weight), dtype=np.bool_)
        for one in ids:
            present[one.numpy()] = True
        self._rows = torch.from_numpy(np.flatnonzero(present))
        if self._place is None:
            self._place = torch.full((len(self.weight),), -1, dtype=torch.int32)
        self._place[self._rows] = torch.arange(len(self._rows), dtype=torch.int32)
        self._leaf = self.weight.detach()[self._rows].requires_grad_()
        return self._rows

    def release(self, l2: Tensor | None = None) -> None:
        """End the step: the gradient of the touched rows becomes ``weight.grad``, sparse and coalesced.

        ``l2`` [rows] adds that multiple of each touched row to its gradient (DIN's mini-batch-aware regulariser).
        """
        if self._leaf is None or self._rows is None or self._place is None:
            raise ValueError("release ends a step that touch began; no step was begun")
        leaf, rows = self._leaf.detach(), self._rows
        gradient = torch.zeros_like(leaf) if self._leaf.grad is None else self._leaf.grad
        if l2 is not None:
            gradient = gradient.addcmul(leaf, l2[rows, None])
        gradient = gradient.masked_fill(self._buffer("_padding")[rows, None], 0.0)
        self.weight.grad = torch.sparse_coo_tensor(
            rows[None], gradient, self.weight.shape, is_coalesced=True, check_invariants=False
        )
        self.drop()

    def drop(self) -> None:
        """Forget a step that ``touch`` began, without a gradient."""
        if self._rows is not None and self._place is not None:
            self._place[self._rows] = -1
        self._leaf = self._rows = None

    def occurrences(self, examples: Examples) -> Tensor:
        """How many examples hold each row, float32 [rows]; once per field and once per history, however often therein."""
        counts = np.zeros(len(self.weight), dtype=np.int64)
        for ids, part in ((examples.user_ids, "user"), (examples.ad_ids, "ad")):
            counts += np.bincount((ids + self._buffer(f"_{part}_start").numpy()).ravel(), minlength=len(counts))
        used, times = np.unique(examples.history, return_counts=True)
        start = self._buffer("_history_start").numpy()
        for first in range(0, len(used), 4096):
            some = used[first : first + 4096]
            rows = np.sort((examples.histories.ids[some] + start).reshape(len(some), -1), axis=1)
            new = np.ones(rows.shape, dtype=np.bool_)
            new[:, 1:] = rows[:, 1:] != rows[:, :-1]
            weight = np.broadcast_to(times[first : first + 4096, None], rows.shape)
            counts += np.bincount(rows[new], weights=weight[new], minlength=len(counts)).astype(np.int64)
        return torch.from_numpy(counts.astype(np.float32))

    def _look(self, ids: Tensor, part: str) -> Tensor:
        places = self._global(ids, part)
        if self._leaf is None or self._place is None:
            found = nn.functional.embedding(places, self.weight)
        else:
            found = nn.functional.embedding(
                self._place.index_select(0, places.flatten()).view(places.shape), self._leaf
            )
        return found.flatten(-2)

    def _global(self, ids: Tensor, part: str) -> Tensor:
        return ids + self._buffer(f"_{part}_start")

    def _buffer(self, name: str) -> Tensor:
        found = self._buffers[name]
        assert found is not None
        return found


def _starts(fields: Sequence[IdField], starts: dict[str, int]) -> Tensor:
    return torch.tensor([starts[field.vocabulary] for field in fields], dtype=torch.int32)


class Numbers(nn.Module):
    """The numbers of users and ads, standardised by what ``learn`` saw and cut at ``MOST_STANDARD`` deviations."""

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        for part, names in (("user", schema.user_numbers), ("ad", schema.ad_numbers)):
            self.register_buffer(f"{part}_mean", torch.zeros(len(names)))
            self.register_buffer(f"{part}_scale", torch.ones(len(names)))

    def learn(self, examples: Examples) -> "Numbers":
        """Take mean and deviation of each number; one that never changes becomes 0."""
        for part, values in (("user", examples.user_numbers), ("ad", examples.ad_numbers)):
            mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
            scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * (1 + np.abs(mean)))
            self._set(f"{part}_mean", mean)
            self._set(f"{part}_scale", scale)
        return self

    def user(self, t: Tensors) -> Tensor:
        """[B, Mu]"""
        return self._standard(t.user_numbers, "user")

    def ad(self, t: Tensors) -> Tensor:
        """[B, N, Ma]"""
        return self._standard(t.ad_numbers, "ad")

    def _standard(self, values: Tensor, part: str) -> Tensor:
        if not values.shape[-1]:
            return values
        mean, scale = self._buffers[f"{part}_mean"], self._buffers[f"{part}_scale"]
        assert mean is not None and scale is not None
        return ((values - mean) * scale).clamp(-MOST_STANDARD, MOST_STANDARD)

    def _set(self, name: str, values: NDArray[np.float64]) -> None:
        self.get_buffer(name).copy_(torch.from_numpy(values))


def mean_pool(events: Tensor, mask: Tensor) -> Tensor:
    """The mean [B, D] of the real events [B, H, D]; zero where a history is empty. ``mask`` [B, H]."""
    real = mask.to(events.dtype)
    total = torch.bmm(real[:, None], events)[:, 0]
    return total / real.sum(1, keepdim=True).clamp_min(1.0)


def mlp(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Dense layers of these sizes (input, hidden ..., output) with an activation after each but the last.

    ``activation`` is one of relu, prelu, dice, sigmoid, tanh; the weights come from torch's current generator.
    """
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(before, after))
        if i < len(sizes) - 2:
            layers.append(activated(after, activation))
    return nn.Sequential(*layers)


def activated(channels: int, activation: str) -> nn.Module:
    """The activation of this name for vectors of ``channels``; ``ValueError`` that names the choices."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; choose {', '.join(ACTIVATIONS)}")
    return Dice(channels) if activation == "dice" else ACTIVATIONS[activation]()


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "dice": Dice,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""The activations that ``mlp`` knows."""
