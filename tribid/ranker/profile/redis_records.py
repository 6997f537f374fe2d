"""``RedisRecords``: records in Redis, read with what a change of them depends on, and kept if that is still so."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tribid.ranker.profile.counting import new_record
from tribid.ranker.profile.errors import ProfileDamageError
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.record import Counted, Entry, Record
from tribid.ranker.profile.redis_link import RedisLink
from tribid.ranker.profile.redis_log import log_fields

_ENCODE = msgspec.msgpack.Encoder().encode
_RECORD = msgspec.msgpack.Decoder(Record).decode
_MOVE = msgspec.msgpack.Decoder(StockMove).decode


class Found(NamedTuple):
    """A record as Redis has it, or a new one, with the changes of some items.

    ``rev``, ``gone`` (when the user was erased) and ``moved`` (how many changes of the stock there were) are what a change
    of it depends on; ``outbox`` and ``wanted`` are what the record held then.
    """

    record: Record
    rev: bytes
    gone: bytes
    moved: bytes
    recent: Mapping[int, Sequence[StockMove]]
    outbox: frozenset[str]
    wanted: frozenset[int]

    @property
    def is_new(self) -> bool:
        """Whether Redis has none."""
        return self.rev == b"0"

    @property
    def erased_ms(self) -> int:
        """When the user's data were erased last; -1: never."""
        return int(self.gone or b"-1")

    def moves(self, item: int) -> Sequence[StockMove]:
        """The changes of an item, of those that were asked for."""
        return self.recent.get(item, ())


class RedisRecords:
    """``token`` names users in the log, of at most about ``log_length`` entries; interests are kept if ``watch_stock``."""

    def __init__(self, link: RedisLink, token: Callable[[str], str], *, log_length: int, watch_stock: bool) -> None:
        self._link, self._token = link, token
        self.log_length, self._watch_stock = log_length, watch_stock

    async def found(self, user: str, items: Collection[int] = ()) -> Found:
        """A user's record, and the changes of these items, as of one moment."""
        keys = self._link.keys
        with self._link.reached():
            async with self._link.client.pipeline(transaction=True) as pipe:
                pipe.hmget(keys.user(user), "rev", "body")
                pipe.mget(keys.gone(self._token(user)), keys.moved)
                for item in items:
                    pipe.hvals(keys.move(item))
                (rev, body), (gone, moved), *moves = await pipe.execute()
        record = new_record(user) if rev is None else self._record(user, body)
        return Found(
            record, rev or b"0", gone or b"", moved or b"0", _recent(items, moves), frozenset(record.outbox),
            frozenset(record.wanted()),
        )  # fmt: skip

    async def keep(self, found: Found, entries: Sequence[Entry]) -> bool:
        """Keep the record as the entries have changed it; False, and nothing is kept, if somebody else changed it."""
        record, keys, user = found.record, self._link.keys, found.record.profile.user
        due_ms, wants, token = record.due_ms(), frozenset(record.wanted()), self._token(user)
        changes: dict[str, Any] = {
            "made": [(name, one.created_ms) for name, one in record.outbox.items() if name not in found.outbox],
            "done": [name for name in found.outbox if name not in record.outbox],
            "wants": list(wants - found.wanted) if self._watch_stock else [],
            "wants_no_more": list(found.wanted - wants),
            "log": [log_fields(token, entry.event) for entry in entries if isinstance(entry, Counted)],
            "log_length": self.log_length,
        }
        with self._link.reached():
            done = await self._link.commit(
                [keys.user(user), keys.gone(token), keys.due, keys.outbox, keys.owner, keys.log, keys.moved],
                [
                    found.rev, found.gone, _ENCODE(record), "" if due_ms is None else due_ms, user, keys.prefix,
                    _ENCODE(changes), found.moved,
                ],
            )  # fmt: skip
        return bool(done)

    async def erase(self, found: Found, erased_ms: int, keep_ms: int) -> bool:
        """Remove a record, remembering for ``keep_ms`` when; False, and nothing is removed, if somebody else changed it."""
        keys, user = self._link.keys, found.record.profile.user
        held = _ENCODE({"ids": list(found.outbox), "items": list(found.wanted)})
        with self._link.reached():
            done = await self._link.erase(
                [keys.user(user), keys.gone(self._token(user)), keys.due, keys.outbox, keys.owner],
                [found.rev, erased_ms, keep_ms, user, keys.prefix, held],
            )
        return bool(done)

    async def users(self) -> list[str]:
        """Everyone who has a record, sorted."""
        start = self._link.keys.user("")
        with self._link.reached():
            names = [name.decode() async for name in self._link.client.scan_iter(match=f"{start}*", count=1000)]
        return sorted({name.removeprefix(start) for name in names})

    def _record(self, user: str, body: bytes) -> Record:
        try:
            return _RECORD(body)
        except (msgspec.MsgspecError, TypeError) as error:
            name = f"the record of user {self._token(user)}"
            raise ProfileDamageError(f"{name} in Redis holds what no store writes: {error}") from None


def _recent(items: Iterable[int], moves: Sequence[Sequence[bytes]]) -> dict[int, list[StockMove]]:
    return {item: [_MOVE(move) for move in some] for item, some in zip(items, moves, strict=True)}
