"""``RedisProfiles``: profiles in Redis, shared by several servers."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from tribid.envs.triggers import HOUR_MS
from tribid.ranker.profile.counting import Counting, Erasure, check_events
from tribid.ranker.profile.errors import ProfileDamageError, ProfilesUnavailableError
from tribid.ranker.profile.export import exported
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile, StockMove
from tribid.ranker.profile.record import Acknowledged, Entry, Record, Settled
from tribid.ranker.profile.redis_link import RedisLink
from tribid.ranker.profile.redis_log import logged, remove_logged
from tribid.ranker.profile.redis_moves import RedisMoves
from tribid.ranker.profile.redis_records import RedisRecords
from tribid.ranker.profile.rules import Recent
from tribid.ranker.profile.settings import ProfileSettings

_AT_ONCE = 16  # users that one call works on at the same time
_SLICE = 100
_log = logging.getLogger("tribid.ranker.profile")

Made = TypeVar("Made")

Work = Callable[[Record, Recent, Erasure], Sequence[Entry]]
"""Changes a record, told the stock's changes and the erasure of the user's data, and returns what it did."""

Asks = Callable[[Record], Collection[int]]
"""The items whose changes settling a record may ask about."""


class RedisProfiles:
    """A ``ProfileStore`` in Redis 6.2 or later: every server decides by the same rules, and Redis takes a change of a
    record only if nobody changed it meanwhile; otherwise it is decided anew.

    What is answered is as durable as the server is set to: with ``appendonly yes`` and ``appendfsync always``, as durable
    as a journal. Changes of the stock go through a stream whose consumer group shares them among the servers; what a dead
    one had taken is taken over after ``claim_ms``. The servers' clocks must agree more closely than the time between two
    changes of an item (see ``StockMove.since``). Counted events go to a stream of at most about ``log_length`` entries,
    which name users by salted hashes. ``erase`` also has the server rewrite its files, unless ``rewrite_files`` is False
    (a managed server does not let one): then its files hold the user until it does so by itself.
    """

    def __init__(
        self, link: RedisLink, settings: ProfileSettings, salt: bytes, *, claim_ms: int, log_length: int, rewrite_files: bool
    ) -> None:  # fmt: skip
        self._link, self._keys, self._settings = link, link.keys, settings
        self._counting = Counting(settings, salt)
        self._moves = RedisMoves(link, claim_ms)
        self._rewrites = rewrite_files
        self._records = RedisRecords(link, self._counting, log_length=log_length)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, settings: ProfileSettings | None = None, *, prefix: str = "tribid", claim_ms: int = 30_000,
        log_length: int = 1_000_000, rewrite_files: bool = True,
    ) -> "RedisProfiles":  # fmt: skip
        """The store at a URL such as ``redis://127.0.0.1:6379/0`` or ``unix:///run/redis.sock``, under a prefix of its keys.

        ``ProfilesUnavailableError`` where Redis cannot be reached.
        """
        link = RedisLink(url, prefix)
        try:
            salt = await link.begin(secrets.token_bytes(32))
        except BaseException:
            await link.close()
            raise
        return cls(
            link, settings or ProfileSettings(), salt, claim_ms=claim_ms, log_length=log_length, rewrite_files=rewrite_files
        )  # fmt: skip

    @property
    def trouble(self) -> str:
        """Why Redis cannot be used, as the last call found it; empty where it can."""
        return "the profiles are closed" if self._closed else self._link.trouble

    def token(self, user: str) -> str:
        """A user as logs may name them."""
        return self._counting.token(user)

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Count events, each once, a user's in order; return when Redis has what was counted."""
        self._check()
        check_events(events)
        receipts: list[ConsumerReceipt | None] = [None] * len(events)
        by_user: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            by_user.setdefault(event.user, []).append(place)

        async def of(user: str, places: list[int]) -> None:
            def count(record: Record, recent: Recent, erased: Erasure) -> Sequence[Entry]:
                done: list[Entry] = []
                for place in places:
                    receipts[place], entries = self._counting.take(record, events[place], recent, erased)
                    done += entries
                return done

            items = {item for place in places if (item := events[place].item) is not None}
            ids = [events[place].id for place in places]
            await self._change(user, count, items if self._counting.rules.watch_stock else (), ids)

        await asyncio.gather(*(of(user, places) for user, places in by_user.items()))
        return [receipt for receipt in receipts if receipt is not None]

    async def profile(self, user: str) -> Profile | None:
        """What is known of a user."""
        found = await self._held(user)
        return None if found is None else found.profile

    async def export(self, user: str) -> bytes | None:
        """All that is held about a user, also by the log of events, as JSON."""
        found = await self._held(user)
        if found is None:
            return None
        return exported(found, await logged(self._link, self.token(user)))

    async def erase(self, user: str) -> bool:
        """Forget a user; return when Redis, and unless told otherwise its files, hold nothing of them."""
        self._check()
        erased_ms = self._settings.clock_ms()
        was_known: bool | None = False
        while was_known is False:  # somebody else changed the record meanwhile
            was_known = await self._records.erase(user, erased_ms, self._settings.forget_ms)
        was_logged = await remove_logged(self._link, self.token(user))
        if (was_known or was_logged) and self._rewrites:
            await self._link.rewrite_files()
        return bool(was_known)

    async def moved(self, moves: Sequence[StockMove]) -> None:
        """Take changes of the stock; return when Redis has them, and what they set off as far as this server spread them."""
        self._check()
        await self._moves.add(moves, self._settings.clock_ms() - self._settings.keep_ms, self._settings.forget_ms)
        await self._spread()

    async def tend(self, now_ms: int | None = None) -> int:
        """Settle what is due, and what another server left half spread; how many messages were made."""
        self._check()
        made = await self._spread()
        rules = self._counting.rules
        now_ms = self._settings.clock_ms() if now_ms is None else now_ms

        def settle(record: Record, recent: Recent, _: Erasure) -> Sequence[Entry]:
            return rules.due(record, recent, now_ms)

        while True:
            with self._link.reached():
                users = await self._link.client.zrangebyscore(self._keys.due, "-inf", now_ms, start=0, num=_SLICE)
            if not users:
                return made
            done = await asyncio.gather(
                *(_for_one(self._change(user.decode(), settle, asks=rules.asks, always=True)) for user in users)
            )
            for user, entries in zip(users, done, strict=True):
                made += _messages(entries or ())
                if entries is None:  # tried again in an hour: somebody may have mended it
                    with self._link.reached():
                        await self._link.client.zadd(self._keys.due, {user: now_ms + HOUR_MS}, xx=True)

    async def messages(self, limit: int = 100) -> list[Message]:
        """Messages that are to be sent; no other server hands out the same ones before their lease ends."""
        self._check()
        now_ms = self._settings.clock_ms()
        with self._link.reached():
            found = await self._link.hand_out(
                [self._keys.outbox, self._keys.owner], [now_ms, now_ms + round(self._settings.lease_s * 1000), limit]
            )
        users = list(dict.fromkeys(user for _, user in found if user is not None))
        held = await asyncio.gather(*(_for_one(self._held(user.decode())) for user in users))
        records = dict(zip(users, held, strict=True))
        boxes = [(name.decode(), records.get(user)) for name, user in found]
        return [record.outbox[name] for name, record in boxes if record is not None and name in record.outbox]

    async def acknowledge(self, ids: Sequence[str]) -> int:
        """Say that these messages were sent."""
        self._check()
        if not ids:
            return 0
        names = list(dict.fromkeys(ids))
        with self._link.reached():
            owners = await self._link.client.hmget(self._keys.owner, names)
        known = 0
        for name, owner in zip(names, owners, strict=True):
            if owner is not None:
                changing = self._change(owner.decode(), lambda record, *_, name=name: _acknowledged(record, name))
                known += len(await _for_one(changing) or ())
        return known

    async def records(self) -> AsyncIterator[Record]:
        """Every record, one after another, as each is when its turn comes."""
        self._check()
        for user in await self._records.users():
            record = await self._held(user)
            if record is not None:
                yield record

    async def findings(self) -> list[str]:
        """Messages in the outbox whose user is not known: nobody will be sent them."""
        self._check()
        with self._link.reached():
            waiting = set(await self._link.client.zrange(self._keys.outbox, 0, -1))
            owned = set(await self._link.client.hkeys(self._keys.owner))
        lost = len(waiting ^ owned)
        return [f"{lost} messages are in one of outbox and owner only"] if lost else []

    async def close(self) -> None:
        """Close the connections."""
        if not self._closed:
            self._closed = True
            await self._link.close()

    def _check(self) -> None:
        if self._closed:
            raise ProfilesUnavailableError("the profiles are closed")

    async def _held(self, user: str) -> Record | None:
        self._check()
        found = await self._records.found(user)
        return None if found.is_new else found.record

    async def _change(
        self, user: str, work: Work, items: Collection[int] = (), ids: Sequence[str] = (), *, asks: Asks | None = None,
        always: bool = False,
    ) -> Sequence[Entry]:  # fmt: skip
        """Decide a change of a record and keep it, again and again until nobody else changed it meanwhile.

        ``items``, or those that ``asks`` finds in the record, are the ones whose changes the work looks at, ``ids`` the
        events. Nothing is kept where nothing was done, but ``always``.
        """
        while True:
            async with self._at_once:
                found = await self._records.found(user, items, ids)
                if asks is not None and not set(asked := asks(found.record)) <= set(items):
                    items = asked
                    continue
                entries = work(found.record, found.moves, found.erased)
                if not entries and (found.is_new or not always):
                    return entries
                if await self._records.keep(found, entries):
                    return entries

    async def _spread(self) -> int:
        """Spread changes that no server has taken, and those that a dead one had; how many messages that made."""
        made = 0
        while work := await self._moves.take():
            for name, move in work:
                if move is not None:
                    made += await self._spread_one(move)
                await self._moves.done(name)
        return made

    async def _spread_one(self, move: StockMove) -> int:
        made, place = 0, 0

        def changed(record: Record, recent: Recent, _: Erasure) -> Sequence[Entry]:
            return self._counting.rules.after_change(record, move, recent, self._settings.clock_ms())

        while True:
            with self._link.reached():
                place, users = await self._link.client.sscan(self._keys.want(move.item), place, count=_SLICE)
            done = await asyncio.gather(
                *(_for_one(self._change(user.decode(), changed, (move.item,))) for user in users)
            )
            made += sum(_messages(entries or ()) for entries in done)
            if place == 0:
                return made


async def _for_one(work: Awaitable[Made]) -> Made | None:
    """What the work makes; None, and a line in the log, for a record that cannot be read: it must not stop all others."""
    try:
        return await work
    except ProfileDamageError as error:
        _log.error("a user is left out: %s", error)
        return None


def _acknowledged(record: Record, name: str) -> list[Entry]:
    if name not in record.outbox:
        return []
    entry = Acknowledged(record.profile.user, name)
    record.apply(entry)
    return [entry]


def _messages(entries: Sequence[Entry]) -> int:
    return sum(isinstance(entry, Settled) and entry.message is not None for entry in entries)
