"""A server that spends what it can of a shared ledger: ``DSN NAME TASKS``; prints the micros that it was charged."""

import asyncio
import sys

from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.postgres import PostgresLedger

NAMES = ("ann", "bob", "cy")


async def spend(ledger: PostgresLedger, name: str) -> int:
    """Pages of two slots, in an order that differs from task to task, until ann has nothing left."""
    paid, page = 0, 0
    while ledger.free_micros()[0] > 0:
        page += 1
        ads = (0, 1 + page % 2) if len(name) % 2 else (1 + page % 2, 0)
        holds = [Hold(f"0.{name}.{page}.{slot}", ad, 3, 10**12) for slot, ad in enumerate(ads)]
        if await ledger.reserve(holds) is not None:
            if ledger.free_micros()[0] < 3:
                break
            continue
        if page % 5 == 0:
            await ledger.release([hold.id for hold in holds])
            continue
        told = await ledger.charge([Charge(f"e{hold.id}", "click", hold.id, 1) for hold in holds])
        paid += sum(charged.charged_micros for charged in told if charged.ad == 0)
    return paid


async def main(dsn: str, name: str, tasks: int) -> None:
    """All tasks at once."""
    ledger = await PostgresLedger.open(dsn, NAMES)
    await ledger.open_day(0, {"ann": 300, "bob": 10**9, "cy": 10**9})
    paid = await asyncio.gather(*(spend(ledger, name + "x" * number) for number in range(tasks)))
    await ledger.close()
    print(sum(paid))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
