"""``ForgettingProfiles``: a store of profiles whose ``erase`` also reaches what other parts remember of a user."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile, StockMove
from tribid.ranker.service.errors import ServiceError

Forget = Callable[[str], int]
"""Forgets a user; how many of its records there were. Called in a thread of its own, while others use what it forgets of."""

_log = logging.getLogger("tribid.ranker.consumers")


class ForgettingProfiles:
    """``store`` with each ``forget`` called for an erased user, after the store's own erasure, one user at a time."""

    def __init__(self, store: ProfileStore, forget: Sequence[Forget]) -> None:
        self._store, self._forget = store, tuple(forget)
        self._erasing = asyncio.Lock()

    @property
    def trouble(self) -> str:
        """As the store."""
        return self._store.trouble

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
        """Forget the user everywhere; whether anybody knew them.

        Where a part beside the store cannot forget, the others do all the same, and then ``ServiceError`` 503 asks to be
        asked again. Where the store cannot, its error is raised and no other part is asked.
        """
        async with self._erasing:
            known = await self._store.erase(user)
            failed = False
            for forget in self._forget:
                try:
                    known |= await asyncio.to_thread(forget, user) > 0
                except (OSError, ValueError) as error:
                    failed = True
                    _log.error("a user is not yet forgotten everywhere: %s", error)
        if failed:
            raise ServiceError(
                503, "", "the user is not yet erased everywhere; ask again", headers={"retry-after": "1"}
            )
        return known

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
