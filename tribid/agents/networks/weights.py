"""The named weights of a network: checked against its card, and turned for kernels."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tribid.agents.networks.card import NetworkCard, float32_tensor

MOST_SIZE = 1e4
"""The largest weight: with it no number in a network of few normalised or cut layers can pass float32's range."""

MOST_NUMBER = 1e37
"""The largest number that a served network may be able to reach; float32 ends at 3.4e38."""


def checked_weights(card: NetworkCard, weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Read-only float32 copies of the tensors that a card names; others, as a policy file's probes, are left out.

    ``ValueError`` where one lacks, has another shape, holds what is not finite or above ``MOST_SIZE``, or where a
    ``normaliser.std`` is not above 0.
    """
    wanted = card.tensors()
    lacking = [name for name in wanted if name not in weights]
    if lacking:
        raise ValueError(f"weights lack {', '.join(lacking)}; a network of this card has {', '.join(wanted)}")
    kept = {}
    for name, shape in wanted.items():
        kept[name] = float32_tensor(name, weights[name], len(shape))
        most = float(np.abs(kept[name]).max())
        if kept[name].shape != shape or most > MOST_SIZE:
            raise ValueError(
                f"{name} has shape {kept[name].shape} and numbers up to {most:g}; allowed are {shape} and {MOST_SIZE:g}"
            )
        if name.endswith(".std") and not (kept[name] > 0).all():
            raise ValueError(f"{name} holds {kept[name].min()}; allowed are numbers above 0")
    return kept


def check_reach(
    name: str,
    weights: Sequence[NDArray[np.float32]],
    biases: Sequence[NDArray[np.float32]],
    start: float,
    squashed: bool,
) -> float:
    """The largest size that dense layers [out, in] can give for inputs up to ``start``; hidden ones end in tanh or relu.

    Every partial sum lies below it. ``ValueError`` above ``MOST_NUMBER``: such a network could answer with NaN.
    """
    most = start
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        most = most * float(np.abs(weight).sum(axis=1, dtype=np.float64).max()) + float(np.abs(bias).max())
        if not most <= MOST_NUMBER:
            raise ValueError(f"{name} up to layer {i} can give {most:.3g}; allowed is {MOST_NUMBER:g}")
        if squashed and i < len(weights) - 1:
            most = 1.0
    return most


def turned(weights: Mapping[str, NDArray[np.float32]], name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A layer's weight, turned to [in, out], and its bias."""
    return np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"]
