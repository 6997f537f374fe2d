"""The draws of ``tribid.envs.chance`` on tensors: the same bits for the same counter, on every device.

torch has no unsigned 64-bit arithmetic everywhere, so words travel as int64: products wrap as unsigned ones do, and a
right shift is masked to be a logical one.
"""

import torch
from torch import Tensor

from tribid.envs.chance import Stream

_WORD = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_TO_UNIT = 1.0 / 4294967296.0
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def philox4x32(
    c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor, k1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten rounds of Philox4x32 (Salmon et al., SC 2011); all words int64 holding 32 bits, shapes broadcast."""
    for _ in range(10):
        product0, product1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _WORD) ^ c1 ^ k0,
            product1 & _WORD,
            ((product0 >> 32) & _WORD) ^ c3 ^ k1,
            product0 & _WORD,
        )
        k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return c0, c1, c2, c3


def unit4(
    seed: Tensor, stream: Stream, day: Tensor, request: Tensor, ad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four uniforms in [0, 1), float64, for each ``(seed, stream, day, request, ad)``; int64 tensors that broadcast."""
    words = philox4x32(
        ad & _WORD, request & _WORD, day & _WORD, torch.full_like(day, int(stream)), seed & _WORD, (seed >> 32) & _WORD
    )
    first, second, third, fourth = (word.to(torch.float64) * _TO_UNIT for word in words)
    return first, second, third, fourth


def mix64(key: Tensor, request: Tensor, ad: Tensor) -> Tensor:
    """64 hashed bits, as int64, for ``(key, request, ad)``: the SplitMix64 finaliser (see ``tribid.envs.chance``)."""
    x = key + ((request << 20) + ad + 1) * _GOLDEN
    x = (x ^ _logical_shift(x, 30)) * _MIX_1
    x = (x ^ _logical_shift(x, 27)) * _MIX_2
    return x ^ _logical_shift(x, 31)


def stream_keys(seed: Tensor, stream: Stream, day: Tensor) -> Tensor:
    """The keys, as int64 bits, under which ``mix64`` draws for one stream and each ``(seed, day)``."""
    ones = torch.full_like(day, _WORD)
    a, b, _, _ = philox4x32(
        ones, ones, day & _WORD, torch.full_like(day, int(stream)), seed & _WORD, (seed >> 32) & _WORD
    )
    return (a << 32) | b


def top_bits(word: Tensor, bits: int) -> Tensor:
    """The highest ``bits`` bits of int64 words, as numbers from 0."""
    return _logical_shift(word, 64 - bits)


def _logical_shift(word: Tensor, by: int) -> Tensor:
    return (word >> by) & ((1 << (64 - by)) - 1)
