"""A training whose numbers stop being finite ends at once, and what it had learnt before is kept."""

import math
from collections.abc import Callable

from tribid.agents.networks.card import ServedPolicy


class DivergenceError(ArithmeticError):
    """A loss, weight or return is not finite, or a loss passed every bound; the message names it, its value and the step."""


def check_finite(step: int, most: float = 1e12, **numbers: float) -> None:
    """Raise ``DivergenceError`` where a named number is not finite or its size is above ``most``.

    >>> check_finite(7, critic_loss=0.5)
    >>> check_finite(7, critic_loss=float("nan"))
    Traceback (most recent call last):
    ...
    tribid.agents.divergence.DivergenceError: critic_loss is nan at step 7; allowed are finite numbers up to 1e+12 in size
    """
    for name, value in numbers.items():
        if not (math.isfinite(value) and abs(value) <= most):
            raise DivergenceError(
                f"{name} is {value!r} at step {step}; allowed are finite numbers up to {most:g} in size"
            )


class LastGood:
    """The latest policies whose numbers were all finite, by name; a copy is made every ``every`` offers."""

    def __init__(self, every: int = 1) -> None:
        self.policies: dict[str, ServedPolicy] = {}
        self._every, self._offers = every, dict[str, int]()

    def offer(self, name: str, make: Callable[[], ServedPolicy]) -> None:
        """Keep what ``make`` gives; ``DivergenceError`` where it refuses its own weights, as not finite."""
        count = self._offers.get(name, 0)
        self._offers[name] = count + 1
        if count % self._every:
            return
        try:
            self.policies[name] = make()
        except ValueError as error:
            raise DivergenceError(f"policy {name} after update {count} is no policy: {error}") from None
