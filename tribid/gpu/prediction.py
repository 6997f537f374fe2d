"""What the platform predicts, on a device: the twin of ``tribid.envs.platform.NoisyTruth``."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tribid.envs.chance import Stream
from tribid.envs.platform import NoisyTruth
from tribid.gpu.draws import mix64, stream_keys, top_bits
from tribid.gpu.plan import Plan


class NoisyRate:
    """A rate times a calibration factor per ad [N] times an error drawn from ``table`` per (request, ad); at most 1."""

    def __init__(
        self, stream: Stream, bias: NDArray[np.float32], table: NDArray[np.float32], device: torch.device
    ) -> None:
        self._stream, self._exact = stream, bool((table == 1.0).all())
        self._bits = len(table).bit_length() - 1
        self._bias = torch.tensor(bias, device=device)
        self._table = torch.tensor(table, device=device)

    def __call__(self, plan: Plan, request: Tensor, truth: Tensor) -> Tensor:
        """Predicted rates, shaped as ``truth`` float32 [M, B, N], for requests ``request`` [M, B]."""
        calibrated = truth * self._bias
        if self._exact:
            return calibrated.clamp(max=1.0)
        ad = torch.arange(truth.shape[-1], device=truth.device)
        key = stream_keys(plan.seed, self._stream, plan.day)
        hashed = mix64(key[:, None, None], request.unsqueeze(-1), ad)
        return (calibrated * self._table[top_bits(hashed, self._bits)]).clamp(max=1.0)


def noisy_rates(forecaster: NoisyTruth, device: torch.device) -> tuple[NoisyRate, NoisyRate]:
    """The forecaster's click and conversion errors."""
    return (
        NoisyRate(Stream.CTR_ERROR, forecaster.ctr_bias, forecaster.ctr_table, device),
        NoisyRate(Stream.CVR_ERROR, forecaster.cvr_bias, forecaster.cvr_table, device),
    )
