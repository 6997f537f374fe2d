"""``RedisMoves``: changes of the stock in Redis: the newest of each item, and a stream that servers share the work of."""

import secrets
from collections.abc import Iterable

import msgspec

from tribid.ranker.profile.book import MOVES
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.redis_link import RedisLink
from tribid.ranker.profile.redis_scripts import GROUP

_AT_ONCE = 16
_ENCODE = msgspec.msgpack.Encoder().encode
_MOVE = msgspec.msgpack.Decoder(StockMove).decode


class RedisMoves:
    """One server's view of the changes; what another one took and did not finish is taken over after ``claim_ms``."""

    def __init__(self, link: RedisLink, claim_ms: int) -> None:
        self._link, self._claim_ms = link, claim_ms
        self._name = secrets.token_hex(8)

    async def add(self, moves: Iterable[StockMove], from_ms: int, keep_ms: int) -> None:
        """Learn of changes from ``from_ms`` on, each once; remembered for ``keep_ms``, the newest of each item for good."""
        for move in moves:
            while move.time_ms >= from_ms and not await self._added(move, keep_ms):
                pass  # another server told of a change of this item

    async def _added(self, move: StockMove, keep_ms: int) -> bool:
        """Learn of a change as one from what the newest left; False where that is not the newest any more."""
        keys = self._link.keys
        with self._link.reached():
            held = await self._link.client.hget(keys.newest, move.item) or b""
        newest = _MOVE(held) if held else None
        judged = move.since(newest)
        if judged is None:
            return True
        content = _ENCODE(judged)
        is_newest = newest is None or judged.order > newest.order
        name = f"{move.time_ms:016d}.{move.version:016d}"
        with self._link.reached():
            done = await self._link.move(
                [keys.move(move.item), keys.moves, keys.moved, keys.newest],
                [name, content, MOVES, keep_ms, move.item, held, content if is_newest else held],
            )
        return bool(done)

    async def take(self) -> list[tuple[bytes, StockMove | None]]:
        """Some changes that are this server's to spread, each until ``done``; None for one that is gone."""
        stream, client = self._link.keys.moves, self._link.client
        with self._link.reached():
            _, old, *_ = await client.xautoclaim(stream, GROUP, self._name, self._claim_ms, "0-0", count=_AT_ONCE)
            new = await client.xreadgroup(GROUP, self._name, {stream: ">"}, count=_AT_ONCE)
        entries = [*old, *(entry for _, some in new for entry in some)]
        return [(name, _MOVE(fields[b"move"]) if fields else None) for name, fields in entries]

    async def done(self, name: bytes) -> None:
        """Everyone who wants the item was told."""
        with self._link.reached():
            await self._link.client.xack(self._link.keys.moves, GROUP, name)
            await self._link.client.xdel(self._link.keys.moves, name)
