"""``ProfileBook``: all records in memory, with what finds them: by what is due, wanted and to be sent.

It decides and changes itself before anything else runs, and returns the entries that say what it did; whoever keeps these
and applies them again, in order, has the same book.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from msgspec import Struct

from tribid.ranker.profile.counting import NEVER, Counting, Erasure, new_record
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, StockMove
from tribid.ranker.profile.record import Acknowledged, Counted, Entry, Record, Settled, Waits
from tribid.ranker.profile.settings import ProfileSettings

MOVES = 16
"""Changes of one item's stock that are remembered: the newest."""


class Moved(Struct, frozen=True, array_like=True, tag="m"):
    """A change of the stock, told before it was spread to those who want the item."""

    move: StockMove


class Spread(Struct, frozen=True, array_like=True, tag="p"):
    """A change of the stock has been told to everyone who wanted the item."""

    item: int
    time_ms: int
    version: int


class Erased(Struct, frozen=True, array_like=True, tag="x"):
    """A user's data were erased; all that is left is a token of their name, and ``erased_id`` of the events."""

    token: str
    at_ms: int
    ids: list[int] = []


BookEntry = Counted | Waits | Settled | Acknowledged | Moved | Spread | Erased


class ProfileBook:
    """Records by user, and what else a store knows."""

    def __init__(self, settings: ProfileSettings, salt: bytes) -> None:
        self.counting = Counting(settings, salt)
        self.records: dict[str, Record] = {}
        self.erased: dict[str, Erasure] = {}
        self.moves: dict[int, list[StockMove]] = {}
        self.unspread: dict[tuple[int, int, int], StockMove] = {}
        self._settings = settings
        self._wanted: dict[int, set[str]] = {}
        self._due: list[tuple[int, str]] = []
        self._owner: dict[str, str] = {}  # of the messages that are to be sent
        self._ready: list[tuple[int, int, str]] = []
        self._turn = count()

    def take(self, event: ConsumerEvent) -> tuple[ConsumerReceipt, list[Entry]]:
        """Count a checked event; see ``Counting.take``."""
        record = self.records.get(event.user)
        known = new_record(event.user) if record is None else record
        erased = self.erased.get(self.counting.token(event.user), NEVER) if self.erased else NEVER
        interests = frozenset(known.interests)
        receipt, entries = self.counting.take(known, event, self.recent, erased)
        if entries and record is None:
            self.records[event.user] = known
        self._want_no_more(event.user, interests - known.interests.keys())  # a record keeps the newest only
        self._index(known, entries)
        return receipt, entries

    def move(self, move: StockMove) -> Moved | None:
        """Learn of a change of the stock, as one from what the newest left; None for none, a known or a too old one."""
        known = self.moves.get(move.item, [])
        too_old = move.time_ms < self._settings.clock_ms() - self._settings.keep_ms
        judged = move.since(known[-1] if known else None)
        if too_old or judged is None or any(one.order == move.order for one in known):
            return None
        entry = Moved(judged)
        self.apply(entry)
        return entry

    def wanting(self, item: int) -> list[str]:
        """Those who showed interest in an item, in no order."""
        return list(self._wanted.get(item, ()))

    def spread(self, move: StockMove, users: Iterable[str]) -> list[Entry]:
        """What a change of the stock sets off for these users."""
        done: list[Entry] = []
        for user in users:
            record = self.records.get(user)
            if record is None or move.item not in record.interests:
                self._want_no_more(user, [move.item])
                continue
            entries = self.counting.rules.after_change(record, move, self.recent, self._settings.clock_ms())
            self._index(record, entries)
            done += entries
        return done

    def due(self, now_ms: int, is_enough: Callable[[int], bool]) -> tuple[list[Entry], bool]:
        """Settle what is due, user by user, until it is enough of so many users; whether there are more."""
        done: list[Entry] = []
        for users in count(1):
            if not self._due or self._due[0][0] > now_ms:
                return done, False
            record = self.records.get(heapq.heappop(self._due)[1])
            if record is not None:
                entries = self.counting.rules.due(record, self.recent, now_ms)
                self._index(record, entries)
                done += entries
            if is_enough(users):
                break
        return done, bool(self._due) and self._due[0][0] <= now_ms

    def hand_out(self, limit: int, now_ms: int) -> list[Message]:
        """Messages to be sent; each is handed out again when its lease has ended."""
        out: list[Message] = []
        lease_ms = round(self._settings.lease_s * 1000)
        while self._ready and len(out) < limit and self._ready[0][0] <= now_ms:
            _, _, name = heapq.heappop(self._ready)
            record = self.records.get(self._owner.get(name, ""))
            message = None if record is None else record.outbox.get(name)
            if message is None:
                self._owner.pop(name, None)
                continue
            out.append(message)
        for message in out:
            heapq.heappush(self._ready, (now_ms + lease_ms, next(self._turn), message.id))
        return out

    def acknowledge(self, names: Sequence[str]) -> list[Entry]:
        """Forget messages that were sent."""
        done: list[Entry] = []
        for name in names:
            record = self.records.get(self._owner.pop(name, ""))
            if record is not None and name in record.outbox:
                done.append(Acknowledged(record.profile.user, name))
                record.apply(done[-1])
        return done

    def erase(self, user: str) -> Erased | None:
        """Forget a user; None where nothing is known of them."""
        record = self.records.pop(user, None)
        if record is None:
            return None
        self._want_no_more(user, record.wanted())
        for name in record.outbox:
            self._owner.pop(name, None)
        self._due = [one for one in self._due if one[1] != user]
        heapq.heapify(self._due)
        token = self.counting.token(user)
        ids = [self.counting.erased_id(token, name) for name in record.ids]
        entry = Erased(token, self._settings.clock_ms(), ids)
        self._remember(entry)
        return entry

    def recent(self, item: int) -> Sequence[StockMove]:
        """The changes of an item that are remembered."""
        return self.moves.get(item, ())

    def add(self, record: Record) -> None:
        """Take over a record as a snapshot held it."""
        self.records[record.profile.user] = record

    def take_over(self, erased: dict[str, Erasure], moves: Iterable[StockMove], unspread: Iterable[StockMove]) -> None:
        """Take over what a snapshot held beside its records."""
        self.erased |= erased
        for move in moves:
            self.moves.setdefault(move.item, []).append(move)
        self.unspread |= {(move.item, move.time_ms, move.version): move for move in unspread}

    def apply(self, entry: BookEntry) -> None:
        """Change the book as an entry says, without deciding anything; ``index_all`` must follow the last of them."""
        if isinstance(entry, Moved):
            move = entry.move
            moves = {one.order: one for one in (*self.moves.get(move.item, ()), move)}
            self.moves[move.item] = [moves[order] for order in sorted(moves)][-MOVES:]
            self.unspread[move.item, move.time_ms, move.version] = move
        elif isinstance(entry, Spread):
            self.unspread.pop((entry.item, entry.time_ms, entry.version), None)
        elif isinstance(entry, Erased):
            self._remember(entry)
            for user in [user for user in self.records if self.counting.token(user) == entry.token]:
                del self.records[user]
        else:
            record = self.records.get(entry.user)
            if record is None:
                record = self.records[entry.user] = new_record(entry.user)
            record.apply(entry)

    def index_all(self) -> None:
        """Find everything anew, after entries and records were taken over."""
        self._wanted.clear()
        self._owner.clear()
        self._due, self._ready = [], []
        for user, record in self.records.items():
            self._want(user, record.wanted())
            due_ms = record.due_ms()
            if due_ms is not None:
                self._due.append((due_ms, user))
            self._owner |= dict.fromkeys(record.outbox, user)
        heapq.heapify(self._due)
        waiting = [(self.records[user].outbox[name].created_ms, name) for name, user in self._owner.items()]
        self._ready = [(created_ms, next(self._turn), name) for created_ms, name in sorted(waiting)]

    def forget(self) -> None:
        """Drop what is too old to be asked about: erasures, and changes of the stock but the newest of each item."""
        before_ms = self._settings.clock_ms() - self._settings.forget_ms
        self.erased = {
            token: Erasure(one.at_ms, {name: at_ms for name, at_ms in one.ids.items() if at_ms >= before_ms})
            for token, one in self.erased.items()
            if one.at_ms >= before_ms
        }
        for item, moves in self.moves.items():
            self.moves[item] = [move for move in moves if move.time_ms >= before_ms] or moves[-1:]

    def _remember(self, entry: Erased) -> None:
        before = self.erased.get(entry.token, NEVER)
        self.erased[entry.token] = Erasure(entry.at_ms, before.ids | dict.fromkeys(entry.ids, entry.at_ms))

    def _want(self, user: str, items: Iterable[int]) -> None:
        if self.counting.rules.watch_stock:
            for item in items:
                self._wanted.setdefault(item, set()).add(user)

    def _want_no_more(self, user: str, items: Iterable[int]) -> None:
        for item in items:
            users = self._wanted.get(item, set())
            users.discard(user)
            if not users:
                self._wanted.pop(item, None)

    def _index(self, record: Record, entries: Sequence[Entry]) -> None:
        user = record.profile.user
        for entry in entries:
            if isinstance(entry, Counted) and entry.event.item in record.interests:
                self._want(user, [entry.event.item])
            elif isinstance(entry, Waits):
                heapq.heappush(self._due, (entry.waiting.due_ms, user))
            elif isinstance(entry, Settled) and entry.message is not None:
                self._owner[entry.id] = user
                heapq.heappush(self._ready, (entry.message.created_ms, next(self._turn), entry.id))
