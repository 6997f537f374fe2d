"""``ProfileStore``: what every store of profiles promises; ``tribid.ranker.profile.testing.check_profiles`` checks it."""

from collections.abc import Sequence
from typing import Protocol

from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile, StockMove


class ProfileStore(Protocol):
    """Profiles of users, kept by events, and the messages that these set off.

    Whatever was answered is kept through the end of the process (how far through the end of the machine, each store says).
    The profile is the same for any order of the same events, and however often each is told. All raise
    ``ProfilesUnavailableError`` where the store is closed or cannot be written.
    """

    @property
    def trouble(self) -> str:
        """Why the store cannot be used, as far as it knows without trying; empty where it can. Names no user."""
        ...

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Count events, in order, each once; return when what was counted is kept. ``ValueError`` for a malformed one."""
        ...

    async def profile(self, user: str) -> Profile | None:
        """What is known of a user, every accepted event included; a copy. None for nobody known."""
        ...

    async def export(self, user: str) -> bytes | None:
        """All that is held about a user, as readable JSON; None for nobody known."""
        ...

    async def erase(self, user: str) -> bool:
        """Forget a user; return when nothing in the store names them any more. False for nobody known.

        Events of theirs from before that come again are ``late``, for as long as they could count, whether they say when
        they happened or not. For that, a salted hash of the user's name and of each event's id is kept, and nothing else.
        """
        ...

    async def moved(self, moves: Sequence[StockMove]) -> None:
        """Take changes of the stock, each once, and settle what they set off; return when that is kept."""
        ...

    async def tend(self, now_ms: int | None = None) -> int:
        """Settle all that is due, and what a crash left half done; how many messages were made. To be called often."""
        ...

    async def messages(self, limit: int = 100) -> list[Message]:
        """Messages that are to be sent, the oldest first; each is handed out again after a while unless acknowledged."""
        ...

    async def acknowledge(self, ids: Sequence[str]) -> int:
        """Say that these messages were sent; how many were known and had not been acknowledged."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the store; then all else raises ``ProfilesUnavailableError``."""
        ...
