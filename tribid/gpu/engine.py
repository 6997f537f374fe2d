"""Which engine settles a tick: Triton's fused kernel, or eager torch."""

import warnings
from typing import Protocol

import torch
from torch import Tensor

from tribid.gpu.law import Law
from tribid.gpu.requests import Batch, Pages, Standing
from tribid.gpu.settle import settle

ENGINES = ("auto", "eager", "triton")


class Engine(Protocol):
    """Settles a batch: the standing after it, and its pages where ``record`` asks for them."""

    def __call__(
        self, law: Law, batch: Batch, multiplier: Tensor, standing: Standing, *, record: bool = False
    ) -> tuple[Standing, Pages | None]:
        """``multiplier`` is float64 [M, S, N]; see ``tribid.gpu.settle.settle``."""
        ...


def engine_for(name: str, law: Law, device: torch.device) -> Engine:
    """The engine of that name; "auto" is Triton on a CUDA device where the rules allow it and Triton is installed.

    Where "auto" cannot have Triton on a CUDA device it warns (``RuntimeWarning``), says why, and takes "eager".

    Raises ``ValueError`` for an unknown name, and for "triton" with rules or a device that it does not serve.
    """
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}; allowed is {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    if name == "eager" or (name == "auto" and device.type != "cuda"):
        return settle
    try:
        from tribid.gpu import fused
    except ImportError as error:
        if name == "triton":
            raise
        return _eager_instead(str(error))
    reason = fused.why_not(law, device)
    if not reason:
        return fused.settle
    if name == "triton":
        raise ValueError(f"engine 'triton' {reason}; choose 'eager' or 'auto'")
    return _eager_instead(f"engine 'triton' {reason}")


def _eager_instead(reason: str) -> Engine:
    warnings.warn(f"engine 'auto' takes 'eager', which is slower: {reason}", RuntimeWarning, stacklevel=4)
    return settle
