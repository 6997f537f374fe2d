"""A shop's log: what was shown to whom, what came of it, and what the user had done before, as Parquet.

The folder holds ``impressions.parquet`` (one row for each ad that was examined), ``histories.parquet`` (one row for each
user and day: what was done before the day), ``sessions.parquet`` (the events of each visit before its first page),
``candidates.parquet`` (all candidates of each request with their scores), ``creatives.parquet`` (each ad's creatives and
their files in ``pictures/``), ``items.parquet`` and ``log.json``.

Columns that start with ``true_`` only a simulator knows; no model learns from them unless it is asked to. ``propensity``
is of being on the page (K / N where ``explored``, 1 elsewhere) and ``examined`` of being seen there, so that an explored row
stands for ``1 / (propensity * examined)`` candidates. Creatives are drawn evenly where ``creative_explored``; among what is
shown they are even where both are explored. ``bid_micros`` is the bid before OCPC. Orders count whenever they come.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.envs import market
from tribid.envs.behaviour import PastEvents
from tribid.envs.exploration import ExploringForecaster, ExploringPicker, creatives_explored, explored
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.journey.scenes import effect_table
from tribid.envs.journey.world import Journey
from tribid.envs.market import MarketState, Tick
from tribid.envs.orders import after_click
from tribid.envs.picture_files import write_creatives
from tribid.envs.platform import Forecaster, Platform, Requests
from tribid.envs.scenario import Scenario
from tribid.envs.shop import Shop
from tribid.envs.worlds import ShopWorld
from tribid.files import replacing

Progress = Callable[[int, int], None]
Policy = Callable[[MarketState], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class LogPlan:
    """What is logged: ``days`` days of ``seed`` from ``first_day`` on, with ``explore`` of the requests left to chance.

    ``candidates`` also writes every request's candidates, ``pictures`` every ad's creatives as PNG files.
    """

    scenario: Scenario
    days: int = 7
    seed: int = 500_000
    first_day: int = 0
    explore: float = 0.05
    candidates: bool = False
    pictures: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.scenario.world, ShopWorld):
            raise ValueError(f"scenario {self.scenario.name} is of kind {self.scenario.world.kind}; allowed is a shop")
        if self.days < 1 or self.first_day < 0:
            raise ValueError(f"days is {self.days}, first_day {self.first_day}; allowed are 1 or more, and 0 or more")
        if not 0 <= self.explore <= 1:
            raise ValueError(f"explore is {self.explore}; allowed is a share from 0 to 1")
        if self.explore > 0 and self.scenario.rules.squash == 0:
            raise ValueError(
                "explore is above 0 and rules.squash is 0; allowed is one of them, for ads are drawn by their pctr"
            )
        if self.explore > 0 and isinstance(self.scenario.world, JourneyWorld):
            raise ValueError(
                f"explore is {self.explore} in a journey, whose scenes have slots of their own; allowed is 0 (--explore 0)"
            )
        if self.scenario.rules.outcomes != "sampled":
            raise ValueError(f"rules.outcomes is {self.scenario.rules.outcomes!r}; a log needs 'sampled' outcomes")


def write_log(
    plan: LogPlan, folder: str | Path, *, policy: Policy | None = None, forecaster: Forecaster | None = None,
    platform: Platform | None = None, progress: Progress | None = None,
) -> dict[str, int]:  # fmt: skip
    """Play the plan's days and write their log; return the number of rows of each table.

    ``policy`` gives a tick's multipliers for the state before it (left out: everybody bids its unit bid); ``forecaster``
    and ``platform`` are as in ``market.reset``. ``progress`` is called with the days played and their number.
    """
    tables: dict[str, list[pl.DataFrame]] = {
        name: [] for name in ("impressions", "histories", "sessions", "candidates")
    }
    histories = 0
    shop: Shop | None = None
    for number in range(plan.days):
        ticks = list(_played(plan, plan.first_day + number, policy, forecaster, platform))
        shop = _shop_of(ticks[0])
        day = _day_tables(plan, shop, ticks, histories)
        histories += day["histories"].height
        for name, frame in day.items():
            tables[name].append(frame)
        if progress is not None:
            progress(number + 1, plan.days)
    assert shop is not None
    whole = {name: pl.concat(frames) for name, frames in tables.items() if frames}
    whole["items"] = items_frame(shop)
    if not plan.candidates:
        whole.pop("candidates", None)
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    if plan.pictures:
        whole["creatives"] = write_creatives(shop, out)
    for name in ("candidates", "creatives"):
        if name not in whole:
            (out / f"{name}.parquet").unlink(missing_ok=True)  # of a log that was here before
    for name, frame in whole.items():
        with replacing(out / f"{name}.parquet") as part:
            frame.write_parquet(part)
    rows = {name: frame.height for name, frame in whole.items()}
    described = {
        "scenario": plan.scenario.name, "hash": plan.scenario.hash, "seed": plan.seed, "first_day": plan.first_day,
        "days": plan.days, "ticks": shop.n_ticks, "explore": plan.explore, "rows": rows,
    }  # fmt: skip
    with replacing(out / "log.json") as part:
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return rows


def items_frame(shop: Shop) -> pl.DataFrame:
    """The catalogue: item, category, price, advertised."""
    items = shop.items
    return pl.DataFrame(
        {
            "item": np.arange(len(items), dtype=np.int32), "category": items.category, "price": items.price,
            "advertised": shop.advertised,
        }
    )  # fmt: skip


def history_frame(past: PastEvents, user: NDArray[np.int64], day: int) -> pl.DataFrame:
    """Histories as list columns, oldest event first: item, category, kind, age_days."""
    inside = np.arange(past.item.shape[1]) < past.length[:, None]
    ends = np.concatenate([[0], np.cumsum(past.length)])
    lists: dict[str, NDArray[Any]] = {
        "item": past.item, "category": past.category, "kind": past.kind, "age_days": past.age_days,
    }  # fmt: skip
    return pl.DataFrame(
        {"user": user.astype(np.int32), "day": np.full(len(user), day, np.int64)}
        | {name: _lists(values[inside], ends) for name, values in lists.items()}
    )


def _played(
    plan: LogPlan, day: int, policy: Policy | None, forecaster: Forecaster | None, platform: Platform | None
) -> Any:
    """The ticks of a day, played with exploration."""
    shop = market.reset(plan.scenario, plan.seed, day, platform=platform).world
    assert isinstance(shop, Shop)
    rules = plan.scenario.rules
    parts = shop.platform._replace(picker=ExploringPicker(shop.platform.picker, plan.explore, shop.looks.count))
    exploring = shop.with_platform(parts)
    base = forecaster if forecaster is not None else exploring.forecaster
    state = market.reset(
        plan.scenario, plan.seed, day, platform=parts,
        forecaster=ExploringForecaster(base, plan.explore, len(rules.slot_effects)),
    )  # fmt: skip
    everybody = np.ones(len(state.advertisers))
    while not state.done:
        state, tick = market.step(state, everybody if policy is None else policy(state))
        yield tick


def _shop_of(tick: Tick) -> Shop:
    shop = tick.before.world
    assert isinstance(shop, Shop)
    return shop


def _day_tables(plan: LogPlan, shop: Shop, ticks: list[Tick], first_history: int) -> dict[str, pl.DataFrame]:
    day = ticks[0].before.day.day
    user = np.unique(np.concatenate([tick.requests.user for tick in ticks]))
    shown = pl.concat([_shown(plan, shop, tick) for tick in ticks])
    row = first_history + np.searchsorted(user, shown["user"].to_numpy())
    tables = {
        "impressions": shown.with_columns(pl.Series("history", row.astype(np.int32))),
        "histories": history_frame(shop.past.histories(plan.seed, day, user), user, day),
        "sessions": pl.concat([_sessions(shop, tick) for tick in ticks]),
    }
    if plan.candidates:
        tables["candidates"] = pl.concat([_candidates(shop, tick) for tick in ticks])
    return tables


def _shown(plan: LogPlan, shop: Shop, tick: Tick) -> pl.DataFrame:
    """One row for each ad of the tick that was examined."""
    requests, slots, truth, predicted = tick.requests, tick.slots, tick.truth, tick.predicted
    row, slot = np.nonzero(slots.exposed > 0)
    ad = slots.winner[row, slot]
    who = shop.candidates_of(requests)
    place = (who[row] == ad[:, None]).argmax(axis=1)
    look = np.zeros(who.shape, np.int8) if requests.creative is None else requests.creative
    chance = explored(plan.seed, requests, plan.explore)[row]
    even = min(1.0, slots.winner.shape[1] / who.shape[1])
    clicked, ordered = slots.clicked[row, slot] > 0, slots.converted[row, slot] > 0
    cart, delay = after_click(
        shop.config.orders, plan.seed, requests.day, requests.request[row], ad, clicked, ordered,
        shop.items.category[ad].astype(np.int64),
    )  # fmt: skip
    pctr, pcvr = predicted.ctr[row, place], predicted.cvr[row, place]
    ads = shop.advertisers
    unit = ads.bid_per_click[ad] + ads.bid_per_pcvr[ad] * pcvr
    bid = unit * tick.multipliers[ad, requests.segment[row]]
    visits = shop.visits(tick.before.day, tick.number)
    return pl.DataFrame(
        {
            "day": np.full(len(row), requests.day, np.int32), "tick": np.full(len(row), tick.number, np.int32),
            "request": requests.request[row], "user": requests.user[row].astype(np.int32),
            "session": requests.session[row].astype(np.int32), "slot": slot.astype(np.int8), "explored": chance,
            "propensity": np.where(chance, even, 1.0).astype(np.float32),
            "examined": _examined(plan, shop, requests)[row, slot],
            "creative_explored": creatives_explored(plan.seed, requests, plan.explore)[row],
            "advertiser": ad.astype(np.int32),
            "category": shop.items.category[ad], "price": shop.items.price[ad], "creative": look[row, place],
            "pctr": pctr, "pcvr": pcvr, "score": slots.score[row, slot], "bid_micros": np.round(bid).astype(np.int64),
            "price_micros": slots.price_micros[row, slot], "click": clicked.astype(np.int8), "cart": cart.astype(np.int8),
            "order": ordered.astype(np.int8), "order_delay_hours": pl.Series(delay).fill_nan(None),
            "true_ctr": truth.ctr[row, place], "true_cvr": truth.cvr[row, place],
            "true_buying": visits.buying[requests.session[row]],
        }
    )  # fmt: skip


def _examined(plan: LogPlan, shop: Shop, requests: Requests) -> NDArray[np.float32]:
    """What each slot of these requests is seen by, [B, K]: in a journey that depends on the scene."""
    usual = np.asarray(plan.scenario.rules.slot_effects, np.float32)
    if not isinstance(shop, Journey):
        return np.broadcast_to(usual, (len(requests.request), len(usual)))
    found: NDArray[np.float32] = effect_table(shop.layouts, len(usual)).astype(np.float32)[requests.scene]
    return found


def _sessions(shop: Shop, tick: Tick) -> pl.DataFrame:
    visits = shop.visits(tick.before.day, tick.number)
    events = visits.events
    inside = np.arange(events.kind.shape[1]) < events.length[:, None]
    ends = np.concatenate([[0], np.cumsum(events.length)])
    v = len(visits.user)
    return pl.DataFrame(
        {
            "day": np.full(v, tick.requests.day, np.int32), "tick": np.full(v, tick.number, np.int32),
            "session": np.arange(v, dtype=np.int32), "user": visits.user.astype(np.int32),
            "kind": _lists(events.kind[inside], ends), "category": _lists(events.category[inside], ends),
            "seconds": _lists(events.seconds[inside], ends), "true_buying": visits.buying,
        }
    )  # fmt: skip


def _candidates(shop: Shop, tick: Tick) -> pl.DataFrame:
    """All candidates of each request with their predicted rates and scores (pctr x bid in micros, before OCPC)."""
    requests, who = tick.requests, np.ascontiguousarray(shop.candidates_of(tick.requests))
    b, n = who.shape
    ads, (pctr, pcvr) = shop.advertisers, tick.predicted
    unit = ads.bid_per_click[who] + ads.bid_per_pcvr[who] * pcvr
    score = pctr * unit * tick.multipliers[who, requests.segment[:, None]]
    ends = np.arange(b + 1) * n
    return pl.DataFrame(
        {
            "day": np.full(b, requests.day, np.int32), "request": requests.request,
            "advertiser": _lists(who.ravel(), ends), "pctr": _lists(tick.predicted.ctr.ravel(), ends),
            "pcvr": _lists(tick.predicted.cvr.ravel(), ends), "score": _lists(score.ravel(), ends),
        }
    )  # fmt: skip


def _lists(values: NDArray[Any], ends: NDArray[np.int64]) -> pl.Series:
    """A list column whose row r holds ``values[ends[r] : ends[r + 1]]``."""
    import pyarrow as pa

    arrow = pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(values))
    return pl.Series(pl.from_arrow(arrow))
