"""One process at a time: a lock that ends with whoever holds it."""

import sqlite3
from pathlib import Path


def exclusive(lock: Path, what: str | Path, rule: str) -> sqlite3.Connection:
    """Hold the file ``lock`` until the connection is closed or the process ends, however it ends.

    It is an open exclusive transaction on an empty database: the operating system gives it up with the process.
    ``ValueError`` names ``what`` and tells the ``rule`` where somebody holds it already, in this process too, and names
    ``lock`` where it cannot be opened or written.
    """
    held: sqlite3.Connection | None = None
    try:
        held = sqlite3.connect(lock, isolation_level=None, check_same_thread=False, timeout=0)
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if held is not None:
            held.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ValueError(f"{lock} cannot be locked: {error}") from None
        raise ValueError(f"{what} is open in another process, or twice in this one ({error}); {rule}") from None
    return held
