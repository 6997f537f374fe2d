"""``JournaledProfiles``: profiles in one process, journaled to a folder; the default."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import msgspec

from tribid.ranker.profile.book import BookEntry, Erased, ProfileBook, Spread
from tribid.ranker.profile.counting import check_events
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.export import exported
from tribid.ranker.profile.folder import Part, ProfileFolder
from tribid.ranker.profile.journal_writer import JournalWriter
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile, StockMove
from tribid.ranker.profile.record import Record, Settled
from tribid.ranker.profile.settings import ProfileSettings

_SLICE = 100  # events or users at a stretch, so that nobody else waits longer
_STRETCH_S = 0.005
_LEAST_BYTES = 16 * 2**20
_ENCODE = msgspec.msgpack.Encoder().encode
_PROFILE = msgspec.msgpack.Decoder(Profile).decode


class JournaledProfiles:
    """A ``ProfileStore`` in memory whose every change is on disk before it is answered for; use it from one event loop.

    What is answered survives the end of the process and, as far as the disk keeps its word, of the machine. ``profile``
    may show an event some milliseconds before that. While nothing can be written nothing is answered, and each call that
    would change something tries anew; what was refused when that began may count all the same. A snapshot is written when
    the journal has grown beyond 16 MiB and the snapshot before. ``erase`` writes one at once, without the user; several at
    a time share it. What a file system keeps of deleted files is beyond it. About 100 bytes of memory are taken for each
    event within the retention.
    """

    def __init__(self, folder: ProfileFolder, book: ProfileBook, writer: JournalWriter, clock_ms: Any) -> None:
        self._folder, self._book, self._writer = folder, book, writer
        self._clock_ms = clock_ms
        self._snapshotting, self._spreading = asyncio.Lock(), asyncio.Lock()
        # Snapshots: begun, the last that is whole, the one that must be.
        self._begun = self._finished = self._needed = 0
        self._snapshot_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], settings: ProfileSettings | None = None, *, create: bool = True
    ) -> "JournaledProfiles":
        """The store in a folder, a new one where there is none and ``create``.

        ``ValueError`` where the folder is in use or damaged; a write that a crash cut short is no damage.
        """
        settings = ProfileSettings() if settings is None else settings
        folder = await asyncio.to_thread(ProfileFolder, path, create=create)
        try:
            book = ProfileBook(settings, folder.salt)
            has_erased = await asyncio.to_thread(_read, folder, book)
            store = cls(folder, book, JournalWriter(folder.next_journal), settings.clock_ms)
        except BaseException:
            folder.close()
            raise
        if has_erased:  # a crash may have left it in the files
            try:
                await store._snapshot(needed=1)
            except BaseException:
                await store.close()
                raise
        return store

    @property
    def users(self) -> int:
        """How many users something is known of."""
        return len(self._book.records)

    @property
    def trouble(self) -> str:
        """Why the store cannot be used; empty where it can."""
        return "the profiles are closed" if self._closed else self._writer.trouble

    def token(self, user: str) -> str:
        """A user as logs may name them."""
        return self._book.counting.token(user)

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Count events, in order, each once; return when what was counted is durable."""
        await self._ready()
        check_events(events)
        receipts: list[ConsumerReceipt] = []
        for start in range(0, len(events), _SLICE):
            if start:
                await asyncio.sleep(0)
                self._check()
            done: list[BookEntry] = []
            for event in events[start : start + _SLICE]:
                receipt, entries = self._book.take(event)
                receipts.append(receipt)
                done += entries
            self._keep(done)
        await self._writer.written()  # also for duplicates: what they repeat may not be durable yet
        self._snapshot_where_due()
        return receipts

    async def profile(self, user: str) -> Profile | None:
        """A copy of what is known of a user; it does not suspend."""
        self._check()
        record = self._book.records.get(user)
        return None if record is None else _PROFILE(_ENCODE(record.profile))

    async def export(self, user: str) -> bytes | None:
        """All that is held about a user, as JSON."""
        self._check()
        record = self._book.records.get(user)
        return None if record is None else exported(record)

    async def erase(self, user: str) -> bool:
        """Forget a user, and return when no file holds anything of them.

        ``ProfilesUnavailableError`` where the files could not be rewritten: the user is forgotten then, but asking again
        is what frees the files. It is also done when the store is opened next.
        """
        await self._ready()
        entry = self._book.erase(user)
        if entry is not None:
            self._keep([entry])
            self._needed = self._begun + 1
        if self._finished >= self._needed:
            return False
        try:
            await asyncio.shield(self._begin(self._snapshot(self._needed)))
        except OSError as error:
            raise ProfilesUnavailableError(f"the files could not be rewritten without the user: {error}") from error
        return entry is not None

    async def moved(self, moves: Sequence[StockMove]) -> None:
        """Take changes of the stock; return when what they set off is durable."""
        await self._ready()
        self._keep([entry for move in moves if (entry := self._book.move(move)) is not None])
        await self._spread()
        await self._writer.written()

    async def tend(self, now_ms: int | None = None) -> int:
        """Settle what is due; how many messages were made. ``now_ms``: the clock's time where it is left out."""
        await self._ready()
        made, more = await self._spread(), True
        while more:
            entries, more = self._book.due(self._clock_ms() if now_ms is None else now_ms, _enough())
            made += _messages(entries)
            self._keep(entries)
            await asyncio.sleep(0)
            self._check()
        await self._writer.written()
        self._snapshot_where_due()
        return made

    async def messages(self, limit: int = 100) -> list[Message]:
        """Messages that are to be sent; each is durable."""
        await self._ready()
        found = self._book.hand_out(limit, self._clock_ms())
        await self._writer.written()
        return found

    async def acknowledge(self, ids: Sequence[str]) -> int:
        """Say that these messages were sent."""
        await self._ready()
        entries = self._book.acknowledge(ids)
        self._keep(entries)
        await self._writer.written()
        return len(entries)

    async def records(self) -> AsyncIterator[Record]:
        """Every record; for whoever checks the store, and not to be changed."""
        self._check()
        for record in list(self._book.records.values()):
            yield record

    async def findings(self) -> list[str]:
        """Nothing: what is wrong with the files refuses to be opened."""
        return []

    async def close(self) -> None:
        """Write what is left and let go of the folder."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writer.close()
        self._folder.close()

    def _check(self) -> None:
        if self._closed:
            raise ProfilesUnavailableError("the profiles are closed")
        self._writer.check()

    async def _ready(self) -> None:
        """Before anything is changed: what could not be written must be, so that no more of that piles up."""
        if not self._closed and self._writer.trouble:
            await self._writer.retry()
        self._check()

    def _keep(self, entries: Sequence[BookEntry]) -> None:
        if entries:
            self._writer.write(_ENCODE(entries))

    async def _spread(self) -> int:
        """Tell changes of the stock to those who want the items, also what a crash cut short; how many messages it made."""
        made = 0
        async with self._spreading:
            for move in sorted(self._book.unspread.values(), key=lambda one: one.order):
                users = self._book.wanting(move.item)
                for start in range(0, len(users), _SLICE):
                    entries = self._book.spread(move, users[start : start + _SLICE])
                    made += _messages(entries)
                    self._keep(entries)
                    await asyncio.sleep(0)
                    self._check()
                done = Spread(move.item, move.time_ms, move.version)
                self._book.apply(done)
                self._keep([done])
        return made

    def _snapshot_where_due(self) -> None:
        if self._writer.size > max(_LEAST_BYTES, self._snapshot_bytes) and not self._snapshotting.locked():
            self._begin(self._snapshot(self._begun + 1))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: a snapshot that fails only leaves the journal longer

    async def _snapshot(self, needed: int) -> None:
        """Write a snapshot and drop the files before it; nothing where one that began so late is whole already."""
        async with self._snapshotting:
            if self._finished >= needed:
                return
            self._begun += 1
            self._book.forget()
            await self._writer.next_journal()
            parts: SimpleQueue[bytes | None] = SimpleQueue()
            writing = asyncio.create_task(
                asyncio.to_thread(self._folder.write_snapshot, self._folder.number, _until_empty(parts))
            )
            try:
                await self._encode(parts)
                parts.put(b"")
            except BaseException:
                parts.put(None)
                await asyncio.wait([writing])
                raise
            self._snapshot_bytes = await writing
            self._finished = self._begun

    async def _encode(self, parts: "SimpleQueue[bytes | None]") -> None:
        """Give all records, some at a time: the store goes on meanwhile, and its journal tells what these parts miss."""
        users = list(self._book.records)
        for start in range(0, len(users), _SLICE):
            some = [record for user in users[start : start + _SLICE] if (record := self._book.records.get(user))]
            parts.put(_ENCODE(Part(records=some)))
            await asyncio.sleep(0)
        erased = list(self._book.erased.items())
        for start in range(0, len(erased), _SLICE):
            parts.put(_ENCODE(Part(erased=dict(erased[start : start + _SLICE]))))
            await asyncio.sleep(0)
        moves = [move for known in self._book.moves.values() for move in known]
        parts.put(_ENCODE(Part(moves=moves, unspread=list(self._book.unspread.values()))))


def _read(folder: ProfileFolder, book: ProfileBook) -> bool:
    """Fill a book from its folder; whether its journals tell of an erasure, and so may hold what it was to remove."""
    for part in folder.parts():
        for record in part.records:
            book.add(record)
        book.take_over(part.erased, part.moves, part.unspread)
    has_erased = False  # asked of the journals: the snapshot may hold an erasure that was made while it was written
    for entry in folder.entries():
        book.apply(entry)
        has_erased |= isinstance(entry, Erased)
    book.index_all()
    return has_erased


def _enough() -> Callable[[int], bool]:
    """Whether so many users, or so much time since now, is enough at a stretch; one user may take long, by itself."""
    until = perf_counter() + _STRETCH_S
    return lambda users: users >= _SLICE or perf_counter() >= until


def _messages(entries: Sequence[object]) -> int:
    return sum(isinstance(entry, Settled) and entry.message is not None for entry in entries)


def _until_empty(parts: "SimpleQueue[bytes | None]") -> Iterator[bytes]:
    while part := parts.get():
        yield part
    if part is None:  # whoever gave the parts stopped: half a snapshot must not pass for a whole one
        raise OSError("the snapshot was given up")
