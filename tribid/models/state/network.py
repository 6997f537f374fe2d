"""The network that reads a visit event by event: a GRU and attention over its states, after DIPN (Zhou et al., KDD 2019)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tribid.models.state.events import NO_EVENT, OTHER, Events

_NUMBERS = 5
"""Seconds, whether they are known, same category, met before, and how far the event is from the visit's last."""


class EventTensors(NamedTuple):
    """``Events`` as tensors: ``kind`` int64 [V, E], ``numbers`` [V, E, 5], ``length`` int64 [V]."""

    kind: Tensor
    numbers: Tensor
    length: Tensor


def event_tensors(events: Events, dtype: torch.dtype) -> EventTensors:
    """The tensors of visits; ``dtype`` of the numbers."""
    place = np.arange(events.kind.shape[1])
    inside = place < events.length[:, None]
    ago = np.where(inside, np.log1p(events.length[:, None] - 1 - np.minimum(place, events.length[:, None] - 1)), 0.0)
    columns = (events.seconds, events.known, events.same, events.before, ago)
    numbers = np.stack(columns, axis=-1).astype(np.float64)
    return EventTensors(
        torch.from_numpy(events.kind), torch.from_numpy(numbers).to(dtype), torch.from_numpy(events.length)
    )


class SequenceNetwork(nn.Module):
    """Log-odds of buying from a visit's events.

    Each event is the embedding of its kind beside its numbers; a GRU (Cho et al. 2014) runs over them; additive attention
    (Bahdanau et al. 2015) weighs its states by what they say; the weighted state beside the last one goes through one
    hidden layer. DIPN has a second sequence of touches on the screen and two more tasks; no log here has touches.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(NO_EVENT + 1, width, padding_idx=NO_EVENT)
        self.gru = nn.GRU(width + _NUMBERS, hidden, batch_first=True)
        self.look = nn.Linear(hidden, hidden)
        self.weigh = nn.Linear(hidden, 1, bias=False)
        self.head = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, t: EventTensors) -> Tensor:
        """Log-odds [V]; every visit has an event at least."""
        states, _ = self.gru(torch.cat([self.kinds(t.kind), t.numbers], dim=-1))
        weight = self.attention(states, t.length)
        seen = (weight.unsqueeze(-1) * states).sum(dim=1)
        last = states[torch.arange(len(states)), t.length - 1]
        odds: Tensor = self.head(torch.cat([seen, last], dim=-1)).squeeze(-1)
        return odds

    def attention(self, states: Tensor, length: Tensor) -> Tensor:
        """Weights [V, E] of each state: positive up to a visit's end, 0 behind it, in sum 1."""
        score = self.weigh(torch.tanh(self.look(states))).squeeze(-1)
        behind = torch.arange(score.shape[1]) >= length.unsqueeze(1)
        return torch.softmax(score.masked_fill(behind, -torch.inf), dim=1)


def forget_kinds(kind: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """``kind`` with a share of events made ``OTHER``, so that a network learns what to think of kinds it never met."""
    forgotten = torch.rand(kind.shape, generator=generator) < share
    return torch.where(forgotten & (kind != NO_EVENT), OTHER, kind)
