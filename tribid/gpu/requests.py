"""Requests of many markets in one padded batch, and what an engine makes of them: standing, counts, pages."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Requests of M markets in order of arrival, padded to B; the first ``length[m]`` of row m are real.

    ``length``, ``seed``, ``day`` int64 [M]; ``request`` (index within the day), ``segment``, ``session`` (index within
    the tick) and ``reserve_micros`` int64 [M, B]; predicted ``pctr``, ``pcvr`` and true ``ctr``, ``cvr`` float32
    [M, B, N].
    """

    length: Tensor
    seed: Tensor
    day: Tensor
    request: Tensor
    segment: Tensor
    session: Tensor
    reserve_micros: Tensor
    pctr: Tensor
    pcvr: Tensor
    ctr: Tensor
    cvr: Tensor


class Visits(NamedTuple):
    """A tick's visits: ``user``, true state ``buying`` (bool) and ``segment`` [M, V]; ``length`` [M] of them are real."""

    user: Tensor
    buying: Tensor
    segment: Tensor
    length: Tensor

    @property
    def most(self) -> int:
        """V, the visits of the market that has most."""
        return int(self.user.shape[1])


class Counts(NamedTuple):
    """What happened to each advertiser, float64 [M, N]; the fields are those of ``tribid.envs.settlement.Counts``."""

    served: Tensor
    took_part: Tensor
    wins: Tensor
    exposures: Tensor
    clicks: Tensor
    conversions: Tensor
    price: Tensor
    gap: Tensor
    pctr: Tensor
    pcvr: Tensor


class Standing(NamedTuple):
    """A tick in progress: ``left_micros`` int64 [M, N], ``gone`` bool [M, visits], and the tick's ``counts`` so far."""

    left_micros: Tensor
    gone: Tensor
    counts: Counts


class Pages(NamedTuple):
    """What each slot of each request held, [M, B, K]; ``runner_up`` and below are [M, B].

    The fields are those of ``tribid.envs.settlement.Slots``.
    """

    winner: Tensor
    price_micros: Tensor
    score: Tensor
    exposed: Tensor
    clicked: Tensor
    converted: Tensor
    charge_micros: Tensor
    runner_up: Tensor
    runner_up_score: Tensor
    relevance: Tensor
    left: Tensor
    skipped: Tensor


def new_counts(markets: int, advertisers: int, device: torch.device) -> Counts:
    """All zero."""
    shape = (markets, advertisers)
    return Counts(*(torch.zeros(shape, dtype=torch.float64, device=device) for _ in Counts._fields))


def new_standing(left_micros: Tensor, visits: int) -> Standing:
    """The start of a tick with ``visits`` visits at most: nobody has left, nothing has happened."""
    markets, advertisers = left_micros.shape
    device = left_micros.device
    gone = torch.zeros((markets, max(1, visits)), dtype=torch.bool, device=device)
    return Standing(left_micros, gone, new_counts(markets, advertisers, device))


def new_pages(markets: int, requests: int, slots: int, device: torch.device) -> Pages:
    """Empty pages."""
    wide, narrow = (markets, requests, slots), (markets, requests)
    float64, int64 = torch.float64, torch.int64
    return Pages(
        winner=torch.full(wide, -1, dtype=int64, device=device),
        price_micros=torch.zeros(wide, dtype=int64, device=device),
        score=torch.zeros(wide, dtype=float64, device=device),
        exposed=torch.zeros(wide, dtype=float64, device=device),
        clicked=torch.zeros(wide, dtype=float64, device=device),
        converted=torch.zeros(wide, dtype=float64, device=device),
        charge_micros=torch.zeros(wide, dtype=int64, device=device),
        runner_up=torch.full(narrow, -1, dtype=int64, device=device),
        runner_up_score=torch.zeros(narrow, dtype=float64, device=device),
        relevance=torch.zeros(narrow, dtype=float64, device=device),
        left=torch.zeros(narrow, dtype=torch.bool, device=device),
        skipped=torch.zeros(narrow, dtype=torch.bool, device=device),
    )
