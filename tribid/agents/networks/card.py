"""What a kind of network must offer to be saved as a policy file, loaded and served."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tribid.agents.bidder import Actions, BidderSpace

MOST_WEIGHTS = 1 << 23
"""The most numbers that a network's card may call for; 32 MiB."""

MOST_WORK = 1 << 27
"""The most multiplications for a row, where a network uses its weights more than once: tenths of a second."""


class NetworkCard(BaseModel):
    """The part of a policy's card that describes its network; each kind extends it by ``kind`` and its sizes.

    Fields are validated strictly, and bounded so that what ``tensors`` calls for stays below ``MOST_WEIGHTS`` numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the network's tensors, all float32, exactly as ``ServedPolicy.tensors`` names them."""
        raise NotImplementedError

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "ServedPolicy":
        """The policy with these weights; ``ValueError`` where they do not fit the space."""
        raise NotImplementedError


class ServedPolicy(Protocol):
    """A bidder whose weights can be saved; ``predict`` gives the same bits for a row in any batch.

    ``state`` is None at the start of a day, and afterwards an array or a (named) tuple of arrays whose first axis is the
    rows.
    """

    @property
    def space(self) -> BidderSpace:
        """The space it was trained in."""
        ...

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Any]:
        """As ``tribid.agents.bidder.Bidder``; ``ValueError`` for another shape and for what is not finite."""
        ...

    def card(self) -> NetworkCard:
        """What describes the network in a policy's card."""
        ...

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The weights by name, as the card's ``tensors`` lists them."""
        ...


def checked_rows(observation: Any, size: int) -> NDArray[np.float32]:
    """Observations as float32 [n, size]; ``ValueError`` for another shape and for what is not finite."""
    seen = np.ascontiguousarray(observation, np.float32)
    if seen.ndim != 2 or seen.shape[1] != size:
        raise ValueError(f"observation has shape {seen.shape}; allowed is (n, {size})")
    if not np.isfinite(seen).all():
        raise ValueError("observation holds a number that is not finite; allowed are finite numbers")
    return seen


def float32_tensor(name: str, values: Any, dimensions: int) -> NDArray[np.float32]:
    """A read-only float32 copy with so many dimensions, or the error that names the tensor and what is wrong."""
    array = np.array(values, np.float32, order="C")
    if array.ndim != dimensions or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"{name} has shape {array.shape} with {int((~np.isfinite(array)).sum())} numbers not finite; "
            f"allowed are finite numbers in {dimensions} dimension(s), at least one"
        )
    array.flags.writeable = False
    return array
