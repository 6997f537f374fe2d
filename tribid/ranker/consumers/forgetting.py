"""``ForgettingProfiles``: a store of profiles whose ``erase`` also reaches what other parts remember of a user."""

from collections.abc import Callable, Sequence

from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile, StockMove

Forget = Callable[[str], int]
"""Forgets a user; how many of its records there were."""


class ForgettingProfiles:
    """``store`` with ``forget`` called for each erased user, before the store's own erasure."""

    def __init__(self, store: ProfileStore, forget: Sequence[Forget]) -> None:
        self._store, self._forget = store, tuple(forget)

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """As the store."""
        return await self._store.take(events)

    async def profile(self, user: str) -> Profile | None:
        """As the store."""
        return await self._store.profile(user)

    async def export(self, user: str) -> bytes | None:
        """As the store."""
        return await self._store.export(user)

    async def erase(self, user: str) -> bool:
        """Forget the user everywhere; whether anybody knew them."""
        known = sum(forget(user) for forget in self._forget)
        return await self._store.erase(user) or known > 0

    async def moved(self, moves: Sequence[StockMove]) -> None:
        """As the store."""
        await self._store.moved(moves)

    async def tend(self, now_ms: int | None = None) -> int:
        """As the store."""
        return await self._store.tend(now_ms)

    async def messages(self, limit: int = 100) -> list[Message]:
        """As the store."""
        return await self._store.messages(limit)

    async def acknowledge(self, ids: Sequence[str]) -> int:
        """As the store."""
        return await self._store.acknowledge(ids)

    async def close(self) -> None:
        """As the store."""
        await self._store.close()
