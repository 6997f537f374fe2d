"""The AuctionNet market on a device: values per (request, advertiser), drawn as ``tribid.envs.auctionnet`` draws them."""

import math

import numpy as np
import torch
from torch import Tensor

from tribid.envs.auctionnet import _NORMALS, _WINDOW, AuctionNet
from tribid.envs.chance import Stream, normals
from tribid.envs.scenario import MICROS
from tribid.gpu.draws import mix64, stream_keys, top_bits, unit4
from tribid.gpu.plan import Plan
from tribid.gpu.prediction import noisy_rates
from tribid.gpu.requests import Batch, Visits


class DeviceAuctionNet:
    """A world of ``kind: auctionnet`` on a device; nobody ends a visit here, so all requests share one."""

    def __init__(self, world: AuctionNet, device: torch.device) -> None:
        self._world, self._device = world, device
        self._ctr_error, self._cvr_error = noisy_rates(world.forecaster, device)
        self._category = torch.tensor(world._category, device=device)
        self._table = torch.tensor(_NORMALS, device=device)
        self._bits = len(_NORMALS).bit_length() - 1
        self._spread: tuple[Plan | None, Tensor] = (None, torch.empty(0))

    def visits(self, plan: Plan, tick: int) -> Visits:
        """One visit without a user."""
        nobody = torch.zeros((len(plan.seeds), 1), dtype=torch.int64, device=self._device)
        return Visits(nobody - 1, nobody > 0, nobody, torch.ones_like(nobody[:, 0]))

    def batch(self, plan: Plan, tick: int, visits: Visits, start: int, stop: int) -> Batch:
        """Requests ``start`` to ``stop`` of every market's tick: click rate 1, the value as conversion rate."""
        request = plan.first[:, tick].unsqueeze(1) + torch.arange(start, stop, device=self._device)
        values, nothing = self._values(plan, tick, request), torch.zeros_like(request)
        certain = torch.ones_like(values)
        return Batch(
            length=(plan.counts[:, tick] - start).clamp(0, stop - start), seed=plan.seed, day=plan.day, request=request,
            segment=nothing, session=nothing,
            reserve_micros=torch.full_like(request, round(self._world.rules.reserve * MICROS)),
            pctr=self._ctr_error(plan, request, certain), pcvr=self._cvr_error(plan, request, values),
            ctr=certain, cvr=values,
        )  # fmt: skip

    def _values(self, plan: Plan, tick: int, request: Tensor) -> Tensor:
        effect = self._world.config.shared_effect
        shared, own = float(np.float32(math.sqrt(effect))), float(np.float32(math.sqrt(1.0 - effect)))
        seed, day = plan.seed[:, None], plan.day[:, None]
        ad = torch.arange(len(self._category), device=self._device)
        by_category = unit4(seed, Stream.ITEMS, day, self._category, torch.full_like(self._category, tick // _WINDOW))
        within = unit4(seed, Stream.ITEMS, day, 1000 + ad, torch.zeros_like(ad))[1]
        mean = self._world.config.mean_value * (0.3 + 1.4 * by_category[0]) * (0.5 + within)
        everybody = mix64(stream_keys(plan.seed, Stream.SESSION, plan.day)[:, None], request, torch.zeros_like(request))
        alone = mix64(stream_keys(plan.seed, Stream.ITEMS, plan.day)[:, None, None], request.unsqueeze(-1), ad)
        z = (shared * self._draws(everybody)).unsqueeze(-1) + own * self._draws(alone)
        spread = self._spreads(plan).unsqueeze(1)
        return (mean.to(torch.float32).unsqueeze(1) * (1.0 + spread * z)).clamp(0.0, 1.0)

    def _draws(self, hashed: Tensor) -> Tensor:
        return self._table[top_bits(hashed, self._bits)]

    def _spreads(self, plan: Plan) -> Tensor:
        """The relative spreads float32 [M, 1, A] of a plan's markets, uploaded once per day."""
        if self._spread[0] is not plan:
            advertiser = np.arange(len(self._category))
            draws = np.stack(
                [
                    normals(seed, Stream.ADVERTISERS, day, request=advertiser)[:, 0]
                    for seed, day in zip(plan.seeds, plan.days, strict=True)
                ]
            )
            spread = np.clip(0.5 + 0.1 * draws, 0.05, None).astype(np.float32)
            self._spread = (plan, torch.tensor(spread, device=self._device))
        return self._spread[1]
