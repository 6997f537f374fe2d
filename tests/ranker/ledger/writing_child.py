"""A process that writes to a ledger until it is killed: it notes every acknowledgement in a file, after it was given.

Each line of its input, ``LEDGER NOTES FIRST DURABILITY``, is answered by the id of a new process that does so.
"""

import asyncio
import os
import sys
from typing import Any

from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.sqlite import SqliteLedger

NAMES = ("ann", "bob", "cy")
CLIENTS = 8
UNTIL = 10**12


async def client(ledger: SqliteLedger, notes: int, number: int) -> None:
    """Reserve a page, click on some of it, give back some, expire the rest, note what was acknowledged."""
    parent = os.getppid()
    while os.getppid() == parent:  # no writer outlives the tests
        page = [Hold(f"0.{number}.{slot}", (number + slot) % 3, 5 + slot, UNTIL) for slot in range(4)]
        assert await ledger.reserve(page) is None
        for name, ad, amount, _ in page:
            os.write(notes, f"hold {name} {ad} {amount}\n".encode())
        charges = [Charge(f"e{number}.{slot}", "click", f"0.{number}.{slot}", 1, 3) for slot in (0, 2)]
        for charge, (status, paid, _) in zip(charges, await ledger.charge(charges), strict=True):
            assert status == "accepted"
            os.write(notes, f"event {charge.event} {charge.hold} {paid}\n".encode())
        if number % 2:
            assert await ledger.release([page[1].id]) == 1
            os.write(notes, f"released {page[1].id} - -\n".encode())
        number += CLIENTS


async def write(path: str, notes_path: str, first: int, durability: Any) -> None:
    """Open the ledger and write until the end."""
    ledger = await SqliteLedger.open(path, NAMES, durability=durability, snapshot_every=50)
    await ledger.open_day(0, dict.fromkeys(NAMES, 10**12))
    notes = os.open(notes_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    await asyncio.gather(*(client(ledger, notes, first + number) for number in range(CLIENTS)))


def main() -> None:
    """Fork a writer for each line."""
    print("ready", flush=True)
    for line in sys.stdin:
        path, notes, first, durability = line.split()
        child = os.fork()
        if child == 0:
            asyncio.run(write(path, notes, int(first), durability))
        print(child, flush=True)


if __name__ == "__main__":
    main()
