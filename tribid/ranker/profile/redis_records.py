"""``RedisRecords``: records in Redis, read with what a change of them depends on, and kept if that is still so."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tribid.ranker.profile.counting import Counting, Erasure, new_record
from tribid.ranker.profile.errors import ProfileDamageError
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.record import Counted, Entry, Record, id_hash
from tribid.ranker.profile.redis_link import RedisLink
from tribid.ranker.profile.redis_log import log_fields

_ENCODE = msgspec.msgpack.Encoder().encode
_RECORD = msgspec.msgpack.Decoder(Record).decode
_MOVE = msgspec.msgpack.Decoder(StockMove).decode


class Found(NamedTuple):
    """A record as Redis has it, or a new one, with the changes of some items.

    ``rev``, ``gone`` (when the user was erased) and ``moved`` (how many changes of the stock there were) are what a change
    of it depends on; ``outbox`` and ``wanted`` are what the record held then, ``gone_ids`` which of the events that were
    asked for were erased.
    """

    record: Record
    rev: bytes
    gone: bytes
    gone_ids: frozenset[int]
    moved: bytes
    recent: Mapping[int, Sequence[StockMove]]
    outbox: frozenset[str]
    wanted: frozenset[int]

    @property
    def is_new(self) -> bool:
        """Whether Redis has none."""
        return self.rev == b"0"

    @property
    def erased(self) -> Erasure:
        """The erasure of the user's data, of whose events only those that were asked for are told."""
        at_ms = int(self.gone or b"-1")
        return Erasure(at_ms, dict.fromkeys(self.gone_ids, at_ms))

    def moves(self, item: int) -> Sequence[StockMove]:
        """The changes of an item, of those that were asked for."""
        return self.recent.get(item, ())


class RedisRecords:
    """``counting`` names users in the log, of at most about ``log_length`` entries."""

    def __init__(self, link: RedisLink, counting: Counting, *, log_length: int) -> None:
        self._link, self._counting, self._token = link, counting, counting.token
        self.log_length, self._watch_stock = log_length, counting.rules.watch_stock

    async def found(self, user: str, items: Collection[int] = (), events: Sequence[str] = ()) -> Found:
        """A user's record, the changes of these items, and which of these events were erased, as of one moment."""
        keys, token = self._link.keys, self._token(user)
        ids = [self._counting.erased_id(token, id_hash(event)) for event in events]
        with self._link.reached():
            async with self._link.client.pipeline(transaction=True) as pipe:
                pipe.hmget(keys.user(user), "rev", "body")
                pipe.mget(keys.gone(token), keys.moved)
                for item in items:
                    pipe.hvals(keys.move(item))
                if ids:
                    pipe.smismember(keys.gone_ids(token), [_packed(one) for one in ids])
                (rev, body), (gone, moved), *rest = await pipe.execute()
        record = new_record(user) if rev is None else self._record(user, body)
        erased = frozenset(one for one, is_gone in zip(ids, rest.pop() if ids else (), strict=True) if is_gone)
        return Found(
            record, rev or b"0", gone or b"", erased, moved or b"0", _recent(items, rest), frozenset(record.outbox),
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

    async def erase(self, user: str, erased_ms: int, keep_ms: int) -> bool | None:
        """Remove a user's record, also an unreadable one, remembering for ``keep_ms`` when, and which events it had.

        None where there is none; False, and nothing is removed, if somebody else changed it meanwhile.
        """
        keys, token, events = self._link.keys, self._token(user), list[bytes]()
        with self._link.reached():
            rev = await self._link.client.hget(keys.user(user), "rev")
        if rev is None:
            return None
        try:
            found = await self.found(user)
        except ProfileDamageError:
            named = await self._named_elsewhere(user)
        else:
            rev, named = found.rev, {"ids": list(found.outbox), "items": list(found.wanted)}
            events = [_packed(self._counting.erased_id(token, name)) for name in found.record.ids]
        with self._link.reached():
            done = await self._link.erase(
                [keys.user(user), keys.gone(token), keys.due, keys.outbox, keys.owner, keys.gone_ids(token)],
                [rev, erased_ms, keep_ms, user, keys.prefix, _ENCODE(named), *events],
            )
        return bool(done)

    async def _named_elsewhere(self, user: str) -> dict[str, list[Any]]:
        """What may name a user beside a record that cannot be read: their messages, and all items that anybody wants."""
        keys, client, name = self._link.keys, self._link.client, user.encode()
        start = f"{keys.prefix}:want:"
        with self._link.reached():
            ids = [one.decode() async for one, owner in client.hscan_iter(keys.owner, count=1000) if owner == name]
            wants = [key.decode() async for key in client.scan_iter(match=f"{start}*", count=1000)]
        return {"ids": ids, "items": [int(key.removeprefix(start)) for key in wants]}

    async def users(self) -> list[str]:
        """Everyone who has a record, sorted."""
        start = self._link.keys.user("")
        with self._link.reached():
            names = [name.decode() async for name in self._link.client.scan_iter(match=f"{start}*", count=1000)]
        return sorted({name.removeprefix(start) for name in names})

    def _record(self, user: str, body: bytes) -> Record:
        try:
            return _RECORD(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
            name = f"the record of user {self._token(user)}"
            raise ProfileDamageError(f"{name} in Redis holds what no store writes: {error}") from None


def _recent(items: Iterable[int], moves: Sequence[Sequence[bytes]]) -> dict[int, list[StockMove]]:
    return {item: [_MOVE(move) for move in some] for item, some in zip(items, moves, strict=True)}


def _packed(name: int) -> bytes:
    return name.to_bytes(8, "little")
