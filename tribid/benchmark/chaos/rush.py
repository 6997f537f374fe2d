"""Many clients at once on one nearly empty budget: what they are sold, and charged, may never be more than it."""

import asyncio
import tempfile
from pathlib import Path

import msgspec

from tribid.benchmark.chaos.audit import audit, read_books
from tribid.benchmark.chaos.crowd import Crowd, session_of
from tribid.benchmark.chaos.witness import Witness
from tribid.benchmark.served import ServedRanker, Setup
from tribid.envs.world import build_world

_POOR = {"name": "Poor", "objective": "max_clicks", "base_bid": 0.8}
_RICH = {"name": "Rich", "objective": "max_clicks", "base_bid": 0.3, "budget": 1_000_000.0}


class RushReport(msgspec.Struct, frozen=True):
    """What a rush found: of the poor advertiser's ``budget_micros``, how much was promised to pages and charged for clicks.

    ``prices`` is how many different ones it had to pay, ``most_micros`` the highest.
    """

    clients: int
    pages: int
    sold: int
    budget_micros: int
    promised_micros: int
    charged_micros: int
    prices: int
    most_micros: int
    problem_count: int
    problems: tuple[str, ...]


def rush(*, clients: int = 64, pages_each: int = 10, budget: float = 20.0, seed: int = 0) -> RushReport:
    """Let ``clients`` ask for pages at the same time, and click every slot, where a strong advertiser has ``budget`` left.

    It outbids a rich one, whose bids set its prices, so that nearly every page is first its own, until its money is gone.
    """
    changes = {"advertisers": [{**_POOR, "budget": budget}, _RICH]}
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(
            scenario="tiny",
            changes=changes,
            policies={"truthful": "truthful"},
            ledger=str(Path(folder) / "ledger.sqlite"),
        )
        scenario, witness = setup.load(), Witness()
        advertisers = build_world(scenario).advertisers
        crowd = Crowd(witness, scenario.world.users.count, seed)  # type: ignore[union-attr]  # a feed
        with ServedRanker(setup) as server:
            asyncio.run(_rush(server.url, crowd, clients, pages_each))
            server.stop()
        books = read_books(setup.ledger, advertisers.names, witness)
        audit(books, witness, dict(zip(advertisers.names, advertisers.budget_micros.tolist(), strict=True)))
    if len(witness.pages) != clients * pages_each:
        witness.object(f"{len(witness.pages)} pages were answered of {clients * pages_each}")
    prices = [slot.price_micros for slots in witness.pages.values() for slot in slots if slot.ad == 0]
    total = int(advertisers.budget_micros[0])
    if sum(prices) > total or books.spent[0] > total:
        witness.object(f"{sum(prices)} micros were promised and {books.spent[0]} charged of a budget of {total}")
    return RushReport(
        clients, len(witness.pages), len(prices), total, sum(prices), books.spent[0], len(set(prices)),
        max(prices, default=0), witness.problem_count, tuple(witness.problems),
    )  # fmt: skip


async def _rush(url: str, crowd: Crowd, clients: int, pages_each: int) -> None:
    async with session_of(url, clients) as session:
        start = asyncio.Event()

        async def client() -> None:
            await start.wait()
            for _ in range(pages_each):
                decision = await crowd.page(session)
                if decision is not None and decision.slots:
                    await crowd.tell(session, [crowd.click(decision.id, slot.slot) for slot in decision.slots])

        tasks = [asyncio.create_task(client()) for _ in range(clients)]
        start.set()
        await asyncio.gather(*tasks)
