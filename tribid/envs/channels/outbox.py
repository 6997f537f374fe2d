"""Messages that are out and not yet opened, and who has unsubscribed from what: the part of a memory that sending needs."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.delivery import Messages, joined, no_messages
from tribid.envs.channels.sends import Sends


@dataclass(frozen=True)
class Outbox:
    """``pending``: sent, to be opened at a known hour; ``gone`` [U, A, C]: ended subscriptions. Never changed in place."""

    pending: Messages
    gone: NDArray[np.bool_]

    def allows(self, wanted: Sends) -> NDArray[np.bool_]:
        """Which touches [n] may go out as far as subscriptions go: none to those who left that brand's channel."""
        return ~self.gone[wanted.user, wanted.brand, wanted.channel]

    def posted(self, sent: Messages) -> "Outbox":
        """With these on their way; those that nobody will ever open are not kept."""
        return replace(self, pending=joined([self.pending, sent.take(np.isfinite(sent.open_hour))]))

    def due(self, hour: float) -> "tuple[Outbox, Messages]":
        """Without the messages that are opened before ``hour``, and those messages, by their hour of opening."""
        due = self.pending.open_hour < hour
        opened = self.pending.take(due)
        order = np.argsort(opened.open_hour, kind="stable")
        return replace(self, pending=self.pending.take(~due)), opened.take(order)

    def heard(self, opened: Messages, left: NDArray[np.bool_]) -> "Outbox":
        """After those of the opened messages that ended a subscription."""
        gone = self.gone.copy()
        user, brand, channel, _ = opened.sent.take(left)
        gone[user, brand, channel] = True
        return replace(self, gone=gone)


def empty_outbox(shape: tuple[int, int, int]) -> Outbox:
    """Nothing sent, everybody subscribed; ``shape`` is consumers, brands, channels.

    >>> empty_outbox((3, 1, 4)).gone.any()
    np.False_
    """
    return Outbox(no_messages(), np.zeros(shape, np.bool_))
