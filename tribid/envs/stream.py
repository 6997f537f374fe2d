"""Days of any length in flat memory: ticks are played in parts, and what was shown goes to a log as it happens.

A day of 10^8 requests among 10,000 advertisers needs no more memory than one of 10^6, but for the visits of one tick
(some ten bytes each). The log is a Parquet file with one
row for each ad that was shown, a row group for each part, so that it can be read in parts, too.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs import market
from tribid.envs.decision import law_of, slot_effects_of
from tribid.envs.feed import Feed
from tribid.envs.market import RECENT_TICKS, Ledger, MarketState
from tribid.envs.places import multipliers_on
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.settlement import Counts, Slots, counts_of, new_counts, new_slots, tell
from tribid.envs.shop import Shop
from tribid.envs.workspace import workspace
from tribid.envs.world import Settling
from tribid.files import replacing

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetWriter

PART = 131_072
"""Requests that are played, and logged, together."""

COLUMNS = {
    "tick": "int32", "request": "int64", "user": "int32", "slot": "int8", "advertiser": "int32", "score": "float64",
    "price_micros": "int64", "exposed": "float32", "clicked": "float32", "converted": "float32", "charge_micros": "int64",
}  # fmt: skip
"""The log's columns: one row for each ad shown; events are 0 or 1, or probabilities in the expected-value mode."""

Policy = Callable[[MarketState], ArrayLike]
Progress = Callable[[int, int], None]


def stream_day(
    scenario: str | Path | Scenario, seed: int = 0, day: int = 0, *, multiplier: float = 1.0, policy: Policy | None = None,
    log: str | Path | None = None, part: int = PART, progress: Progress | None = None,
) -> MarketState:  # fmt: skip
    """Play a whole day of a feed and return the state after it, whose ``total`` holds the day's ledger.

    ``policy`` gives each tick's multipliers [A] or [A, S] for the state before it; without one everybody bids
    ``multiplier`` times its unit bid. ``log`` names a Parquet file (``COLUMNS``); it appears when the day is over.
    ``progress`` is called with the ticks played and their number. Winners, prices, charges and events are those of
    ``market.step``. A shop or a journey is played and logged tick by tick, not in parts: its memory is that of its largest
    tick. Raises ``ValueError`` for a world that is none of these, and ``ImportError`` for a log without pyarrow.
    """
    if part < 1:
        raise ValueError(f"part is {part}; allowed is 1 or more requests")
    checked = load_scenario(scenario)
    state = market.reset(checked, seed, day)
    if not isinstance(state.world, (Feed, Shop)):
        raise ValueError(f"scenario {checked.name} is of kind {checked.world.kind}; allowed is a feed")
    bid = policy or (lambda before: np.full(len(before.advertisers), multiplier))
    with _writer(log) as write:
        while not state.done:
            chosen = market.checked_multipliers(bid(state), state)
            is_feed = isinstance(state.world, Feed)
            state = _play(state, chosen, part, write) if is_feed else _play_whole(state, chosen, write)
            if progress is not None:
                progress(state.tick, state.world.n_ticks)
    return state


def _play_whole(state: MarketState, chosen: NDArray[np.float64], write: "Write | None") -> MarketState:
    """One tick at once."""
    after, tick = market.step(state, chosen)
    if write:
        write(_rows(tick.slots, tick.number, tick.requests.request, tick.requests.user))
    return after


def _play(state: MarketState, chosen: NDArray[np.float64], part: int, write: "Write | None") -> MarketState:
    """One tick, part by part."""
    world, rules, day, tick = state.world, state.scenario.rules, state.day, state.tick
    assert isinstance(world, Feed)
    n, slots, total = len(world.advertisers), len(rules.slot_effects), int(day.counts[tick])
    left, counts = state.left_micros[None].copy(), new_counts(1, n)
    sides = multipliers_on(world.places, chosen.T[None])
    user, _, _ = world.visits(day, tick, world.n_visits(total)) if write else (np.zeros(0, np.int64), None, None)
    gone, seen = np.zeros(world.n_visits(total), np.bool_), np.zeros((5, *world.places.click.shape))
    for begin in range(0, total, part):
        end = min(begin + part, total)
        pages = new_slots(end - begin if write else 0, slots)
        desk, tile, block = workspace(world.places.click.shape[1], slots)
        job = Settling(
            law_of(rules), slot_effects_of(rules), world.places, world.leaving, rules.outcomes == "expected",
            sides, left, counts, pages, desk, tile, block,
        )  # fmt: skip
        world.settle_part(day, tick, job, range(begin, end), gone, seen)
        if write:
            index = np.arange(begin, end)
            write(_rows(pages, tick, day.first[tick] + index, user[index % len(user)]))
    tell(world.places.who, seen, counts_of(counts, 0))
    ledger = Ledger(Counts(*(count[0] for count in counts)), state.left_micros - left[0])
    return replace(
        state,
        tick=tick + 1,
        left_micros=left[0],
        multipliers=chosen,
        recent=(ledger, *state.recent[: RECENT_TICKS - 1]),
        total=state.total + ledger,
    )


def _rows(pages: Slots, tick: int, request: NDArray[np.int64], user: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """One row for each ad shown, in the order of requests [B], of users [B], and slots."""
    row, slot = np.nonzero(pages.winner >= 0)
    place = (row, slot)
    values = {
        "tick": np.full(len(row), tick), "request": request[row], "user": user[row],
        "slot": slot, "advertiser": pages.winner[place], "score": pages.score[place],
        "price_micros": pages.price_micros[place], "exposed": pages.exposed[place], "clicked": pages.clicked[place],
        "converted": pages.converted[place], "charge_micros": pages.charge_micros[place],
    }  # fmt: skip
    return {name: values[name].astype(kind) for name, kind in COLUMNS.items()}


Write = Callable[[dict[str, NDArray[Any]]], None]


def _writer(log: str | Path | None) -> AbstractContextManager[Write | None]:
    return nullcontext(None) if log is None else _ParquetLog(Path(log))


class _ParquetLog(AbstractContextManager["Write | None"]):
    """A Parquet file that is written row group by row group and takes its name when it is whole."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError("a Parquet log needs pyarrow: pip install 'tribid[logs]'") from error
        self._arrow, self._parquet = pyarrow, pyarrow.parquet
        self._replacing = replacing(path)

    def __enter__(self) -> Write:
        schema = self._arrow.schema([(name, getattr(self._arrow, kind)()) for name, kind in COLUMNS.items()])
        self._file: ParquetWriter = self._parquet.ParquetWriter(self._replacing.__enter__(), schema, compression="zstd")

        def write(columns: dict[str, NDArray[Any]]) -> None:
            batch: RecordBatch = self._arrow.RecordBatch.from_arrays(
                [self._arrow.array(column) for column in columns.values()], schema=schema
            )
            self._file.write_batch(batch)

        return write

    def __exit__(self, *failure: Any) -> None:
        self._file.close()
        self._replacing.__exit__(*failure)
