"""A tick in one launch: a Triton program per market settles its requests in order, the money left held in registers.

The same results as ``tribid.gpu.settle`` and as ``tribid.envs.settlement``: integers, winners and draws exactly, and float64
sums too, for a lane adds up its advertiser's requests in their order. Compiled without fused multiply-add.
"""

import torch
from torch import Tensor

try:
    import triton
except ImportError as error:
    raise ImportError("the fused engine needs Triton: pip install 'tribid[gpu]'") from error

from tribid.gpu.law import Law
from tribid.gpu.requests import Batch, Counts, Pages, Standing, new_pages
from tribid.gpu.tick_kernel import settle_kernel

MOST_ADVERTISERS = 1024
"""One program holds all of a request's candidates."""


def why_not(law: Law, device: torch.device) -> str:
    """Why this engine does not serve these rules on this device, as the end of a sentence; empty where it does."""
    if law.squash not in (0.0, 1.0, 2.0):
        return f"does not serve rules.squash {law.squash:g}; allowed are 0, 1 and 2"
    if len(law.price_micros) > MOST_ADVERTISERS:
        return f"does not serve {len(law.price_micros)} advertisers; allowed are {MOST_ADVERTISERS} at most"
    if device.type != "cuda" and not interpreted():
        return f"does not serve device {device.type!r}; allowed is 'cuda'"
    return ""


def interpreted() -> bool:
    """Whether Triton interprets its kernels on the CPU (``TRITON_INTERPRET=1`` before its import)."""
    return not isinstance(settle_kernel, triton.runtime.JITFunction)


def settle(
    law: Law, batch: Batch, multiplier: Tensor, standing: Standing, *, record: bool = False
) -> tuple[Standing, Pages | None]:
    """Settle the batch in one launch; arguments and answer as in ``tribid.gpu.settle.settle``."""
    markets, requests, advertisers = batch.pctr.shape
    batch, multiplier = Batch(*(field.contiguous() for field in batch)), multiplier.contiguous()
    left, gone = standing.left_micros.clone(), standing.gone.to(torch.uint8)
    counts = torch.stack(standing.counts)
    pages = new_pages(markets, requests if record else 0, law.slots, left.device)
    lanes = triton.next_power_of_2(advertisers)
    # Triton launches on the current GPU, which need not be the tensors'.
    with torch.cuda.device_of(left):  # type: ignore[no-untyped-call]
        settle_kernel[(markets,)](
            batch.length, batch.seed, batch.day, batch.request, batch.segment, batch.session, batch.reserve_micros,
            batch.pctr, batch.pcvr, batch.ctr, batch.cvr, multiplier, left, gone, counts, counts.stride(0),
            law.bid_per_click, law.bid_per_pcvr, law.mean_pcvr, law.price_micros, law.opted_in.to(torch.uint8),
            law.cap_micros, law.numbers,
            pages.winner, pages.price_micros, pages.score, pages.exposed, pages.clicked, pages.converted,
            pages.charge_micros, pages.runner_up, pages.runner_up_score, pages.relevance,
            pages.left.view(torch.uint8), pages.skipped.view(torch.uint8),
            requests, gone.shape[1], multiplier.shape[1],
            N=advertisers, LANES=lanes, SLOTS=law.slots, MECHANISM=law.mechanism, STRATEGY=law.ocpc.strategy,
            INDEX=law.ocpc.index, SQUASH=int(law.squash), PER_IMPRESSION=law.per_impression, EXPECTED=law.expected,
            LEAVING=law.users_leave, RECORD=record,
            num_warps=max(1, min(8, lanes // 64)), enable_fp_fusion=False,
        )  # fmt: skip
    after = Standing(left, gone.to(torch.bool), Counts(*counts.unbind(0)))
    return after, pages if record else None
