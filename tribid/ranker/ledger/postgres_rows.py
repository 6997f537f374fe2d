"""``Locked``: rows of a shared ledger that one transaction has locked, as a book.

Who changes an advertiser's money or its holds has locked its row before, lowest index first, so that no two transactions
wait for each other. Each statement sees what is committed when it begins (READ COMMITTED), so what is read after the lock
stays as it was read.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tribid.ranker.ledger.book import FUNDING, Book, Entry, free_account, held_account
from tribid.ranker.ledger.postgres_tables import Known, columns_of, insert

if TYPE_CHECKING:
    from tribid.ranker.ledger.postgres_tables import Connection


class Locked:
    """Advertisers whose rows this transaction has locked, as a book that holds just what the transaction is about."""

    def __init__(self, schema: str, names: Sequence[str]) -> None:
        self.book = Book(names)
        self._schema = schema
        self._ads: list[int] = []
        self._known_holds: set[str] = set()

    async def load(
        self, connection: "Connection", ads: Iterable[int], holds: Sequence[str], events: Sequence[str]
    ) -> bool:
        """Lock `ads` and the advertisers of `holds` and read all that is named; False where it has to be begun anew."""
        schema, book = self._schema, self.book
        cursor = await connection.execute(
            f"SELECT ad, day, free_micros, held_micros, spent_micros, funded_micros FROM {schema}.advertiser WHERE ad = "
            f"ANY(%s::bigint[]) OR ad IN (SELECT ad FROM {schema}.hold WHERE id = ANY(%s::text[])) ORDER BY ad FOR UPDATE",
            (list(ads), holds),
        )
        for ad, day, free, held, spent, funded in await cursor.fetchall():
            self._ads.append(ad)
            book.day = day  # the same in all rows, for a day is opened with all of them locked
            book.balance[free_account(ad)], book.balance[held_account(ad)], book.spent[ad] = free, held, spent
            book.balance[FUNDING] -= funded
        cursor = await connection.execute(
            f"SELECT id, ad, amount_micros, left_micros, expires_ms, day, flags FROM {schema}.hold "
            "WHERE id = ANY(%s::text[])",
            (holds,),
        )
        for name, *held_row in await cursor.fetchall():
            if held_row[0] not in self._ads:
                return False  # it was reserved by another server a moment ago
            ad, amount, left, until, day, flags = held_row
            book.holds[name] = (ad, amount, left, until, day, flags, (), 0)
        self._known_holds = set(book.holds)
        cursor = await connection.execute(
            f"SELECT id, hold, kind FROM {schema}.event WHERE id = ANY(%s::text[])", (events,)
        )
        book.events.update({event: (hold, kind) for event, hold, kind in await cursor.fetchall()})
        return True

    async def store(self, connection: "Connection", entries: Sequence[Entry], token: str, batch: int) -> None:
        """Write what these entries, which the book has posted, changed, and that it was this server's `batch`."""
        schema, book = self._schema, self.book
        touched = {entry.hold for entry in entries if entry.hold is not None}
        rows = {name: book.holds[name] for name in touched}
        events = [entry for entry in entries if entry.event is not None]
        async with connection.pipeline():
            await insert(
                connection, f"{schema}.journal (kind, time_ms, debit, credit, amount_micros, hold, event, event_kind, day)",
                "text, bigint, bigint, bigint, bigint, text, text, text, bigint", [entry[1:] for entry in entries],
            )  # fmt: skip
            await insert(
                connection, f"{schema}.hold", "text, bigint, bigint, bigint, bigint, bigint, bigint",
                [(name, *row[:6]) for name, row in rows.items() if name not in self._known_holds],
            )  # fmt: skip
            changed = [(name, row[2], row[5]) for name, row in rows.items() if name in self._known_holds]
            await connection.execute(
                f"UPDATE {schema}.hold AS h SET left_micros = n.left_micros, flags = n.flags "
                "FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS n (id, left_micros, flags) WHERE h.id = n.id",
                columns_of(changed, 3),
            )
            await insert(
                connection, f"{schema}.event", "text, text, text, bigint",
                [(entry.event, entry.hold, entry.event_kind, rows[entry.hold or ""][3]) for entry in events],
            )  # fmt: skip
            await self._store_advertisers(connection, entries)
            await connection.execute(
                f"INSERT INTO {schema}.server VALUES (%s, %s, now()) "
                "ON CONFLICT (token) DO UPDATE SET batch = excluded.batch, at = excluded.at",
                (token, batch),
            )

    async def _store_advertisers(self, connection: "Connection", entries: Sequence[Entry]) -> None:
        book = self.book
        paid, funded = dict.fromkeys(self._ads, 0), dict.fromkeys(self._ads, 0)
        for entry in entries:
            if entry.kind == "settle":
                paid[(entry.debit - 3) // 2] += entry.amount_micros
            elif entry.kind == "fund":
                funded[(entry.credit - 2) // 2] += entry.amount_micros
            elif entry.kind == "close":
                funded[(entry.debit - 2) // 2] -= entry.amount_micros
        rows = [
            (
                ad,
                book.day,
                book.balance[free_account(ad)],
                book.balance[held_account(ad)],
                book.spent[ad],
                paid[ad],
                funded[ad],
            )
            for ad in self._ads
        ]
        await connection.execute(
            f"UPDATE {self._schema}.advertiser AS a SET day = n.day, free_micros = n.free, held_micros = n.held, "
            "spent_micros = n.spent, paid_micros = a.paid_micros + n.paid, funded_micros = a.funded_micros + n.funded "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
            "AS n (ad, day, free, held, spent, paid, funded) WHERE a.ad = n.ad",
            columns_of(rows, 7),
        )

    def known(self) -> list[Known]:
        """The locked advertisers as the book has them now."""
        book = self.book
        return [Known(ad, book.day, book.balance[free_account(ad)], book.spent[ad]) for ad in self._ads]
