"""The bare auction in one launch: flat bids, GSP, a click draw and a hard charge, from predictions in memory.

What ``tribid.benchmark`` measures on a CPU core, for many markets: a program per market decides ``ROWS`` requests at once
under the money left at their start. Where a charge among them could have changed a later bid, it decides them again one by
one, so that the result is that of request-by-request settlement.
"""

import torch
from torch import Tensor

try:
    import triton
except ImportError as error:
    raise ImportError("the bare auction needs Triton: pip install 'tribid[gpu]'") from error

from tribid.auctions import gsp
from tribid.envs.chance import Stream, uniforms
from tribid.gpu.bare_kernel import bare_kernel


def settle_bare(
    pctr: Tensor, bids: Tensor, effects: Tensor, left: Tensor, revenue: Tensor, *, rows: int = 8, warps: int = 1
) -> None:
    """Settle float32 ``pctr`` [M, B, N] in request order; ``left`` int64 [M, N] and ``revenue`` int64 [M] change in place.

    ``bids`` int64 [N] micros per click, ``effects`` float64 [K]. Market m draws under seed m, day 0. Equal scores go to the
    lower index. ``rows`` requests, a power of two, are decided at once; it changes the speed only.
    """
    markets, requests, advertisers = pctr.shape
    slots = effects.shape[0]
    # Triton launches on the current GPU, which need not be the tensors'.
    with torch.cuda.device_of(left):  # type: ignore[no-untyped-call]
        bare_kernel[(markets,)](
            pctr, bids, effects, left, revenue, requests,
            N=advertisers, LANES=triton.next_power_of_2(advertisers), SLOTS=slots,
            WIDE=triton.next_power_of_2(slots), ROWS=rows, num_warps=warps, enable_fp_fusion=False,
        )  # fmt: skip


def bare_reference(pctr: Tensor, bids: Tensor, effects: Tensor, left: Tensor, revenue: Tensor) -> None:
    """What ``settle_bare`` computes, request by request through ``tribid.auctions.gsp`` on the host; slow."""
    rates, amounts, shown = pctr.double().cpu().numpy(), bids.cpu().numpy(), effects.cpu().numpy()
    money = left.cpu().numpy().copy()
    for m in range(rates.shape[0]):
        for b in range(rates.shape[1]):
            outcome = gsp(amounts.clip(max=money[m])[None], rates[m, b][None], shown)
            for k, (winner, price) in enumerate(zip(outcome.winner[0], outcome.price_micros[0], strict=True)):
                if winner >= 0:
                    draw = uniforms(m, Stream.OUTCOME, request=b, ad=winner)[0]
                    money[m, winner] -= price if draw < shown[k] * rates[m, b, winner] else 0
    left_before = left.sum(-1)
    left.copy_(torch.as_tensor(money))
    revenue += left_before - left.sum(-1)
