"""Writes the golden transcript; run it after a change of the market's rules that is meant, and read the difference.

    python tests/golden/regenerate.py

The transcript is a day of the scenario tiny's rules for seed 0 and fixed multipliers. Requests and rates are made here
from Philox uniforms by additions and multiplications alone, for the last bit of ``exp`` differs between machines, and
nothing is written that a sum of floats could shift: winners, prices, charges, clicks and the budgets left.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from tribid.envs import market
from tribid.envs.advertisers import advertiser_arrays
from tribid.envs.chance import Stream, uniforms
from tribid.envs.market import MarketState, Tick
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import Advertiser, Scenario, load_scenario
from tribid.envs.settlement import Leaving
from tribid.envs.world import Arrivals, Day

GOLDEN = Path(__file__).with_name("tiny.txt")
COMMAND = "python tests/golden/regenerate.py"

COUNTS = np.array([16, 24, 40, 56, 64, 72, 80, 48])
VISIT = 2
MULTIPLIERS = np.array([1.0, 0.5, 1.5, 0.75, 3.0])

ADVERTISERS = (
    Advertiser(name="clicks", objective="max_clicks", budget=12.0, base_bid=0.5),
    Advertiser(name="conversions", objective="max_conversions", budget=10.0, base_bid=0.75, price=50.0),
    Advertiser(name="gmv", objective="max_gmv", budget=20.0, base_bid=0.5, price=200.0),
    Advertiser(name="cpa", objective="target_cpa", budget=9.0, target_cpa=8.0, price=40.0),
    Advertiser(name="roas", objective="target_roas", budget=15.0, target_roas=4.0, price=30.0),
)


class Synthetic:
    """Requests whose rates are uniform, in place of the logistic feed."""

    n_ticks, n_segments = len(COUNTS), 1
    leaving = Leaving(0.02, 0.15, 0.125)

    def __init__(self, scenario: Scenario) -> None:
        n = len(ADVERTISERS)
        self.advertisers = advertiser_arrays(ADVERTISERS, scenario.rules, np.full(n, 0.125), np.full(n, 0.125))
        self.forecaster = self
        self._reserve = round(scenario.rules.reserve * 1_000_000)

    def day(self, seed: int, day: int) -> Day:
        return Day(seed, day, COUNTS, np.cumsum(COUNTS) - COUNTS, COUNTS / COUNTS.sum())

    def arrivals(self, day: Day, tick: int) -> Arrivals:
        count = int(COUNTS[tick])
        request = day.first[tick] + np.arange(count)
        visit, nothing = np.arange(count) % (count // VISIT), np.zeros(count, np.int64)
        requests = Requests(day.day, tick, request, nothing, visit, nothing, nothing + self._reserve)
        return Arrivals(requests, self._rates(day.seed, Stream.USERS, requests))

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        return self._rates(seed, Stream.CTR_ERROR, requests)

    def _rates(self, seed: int, stream: Stream, requests: Requests) -> Rates:
        drawn = uniforms(seed, stream, requests.day, request=requests.request[:, None], ad=np.arange(len(ADVERTISERS)))
        return Rates(*((0.03125 + 0.1875 * drawn[:, :, k]).astype(np.float32) for k in range(2)))


def open_day(auction: str) -> MarketState:
    """The day before its first tick."""
    scenario = load_scenario("tiny").with_changes(rules__auction=auction)
    world = Synthetic(scenario)
    return replace(
        market.reset(scenario, 0),
        world=world,
        forecaster=world,
        day=world.day(0, 0),
        left_micros=world.advertisers.budget_micros.copy(),
    )


def digest(tick: Tick) -> str:
    """SHA-256 over what every slot of the tick held."""
    slots, told = tick.slots, hashlib.sha256()
    for name in (
        "winner",
        "price_micros",
        "charge_micros",
        "exposed",
        "clicked",
        "converted",
        "skipped",
        "left",
        "runner_up",
    ):
        told.update(np.ascontiguousarray(getattr(slots, name)).astype("<i8").tobytes())
    return told.hexdigest()[:32]


def page(tick: Tick, b: int) -> str:
    """One request in words."""
    slots = tick.slots
    if slots.skipped[b]:
        return f"request {b}: never came"
    parts = []
    for k, winner in enumerate(slots.winner[b].tolist()):
        if winner < 0:
            parts.append("empty")
            continue
        seen = (
            "converted"
            if slots.converted[b, k]
            else "clicked"
            if slots.clicked[b, k]
            else "seen"
            if slots.exposed[b, k]
            else "unseen"
        )
        parts.append(
            f"{ADVERTISERS[winner].name} at {slots.price_micros[b, k]} {seen} charged {slots.charge_micros[b, k]}"
        )
    return f"request {b}: " + " | ".join(parts) + (" | left" if slots.left[b] else "")


def transcript() -> list[str]:
    """The lines of the golden file."""
    lines = []
    for auction in ("gsp", "vcg", "first_price"):
        state = open_day(auction)
        lines.append(
            f"{auction}: rules of scenario tiny, seed 0, multipliers {MULTIPLIERS.tolist()} moving on by one a tick"
        )
        while not state.done:
            state, tick = market.step(state, np.roll(MULTIPLIERS, state.tick))
            if auction == "gsp" and tick.number == 0:
                lines += [page(tick, b) for b in range(COUNTS[0])]
            sold, clicks = (tick.slots.winner >= 0).sum(), int(tick.slots.clicked.sum())
            lines.append(
                f"tick {tick.number}: sold {sold} clicks {clicks} revenue {tick.revenue_micros} "
                f"left {state.left_micros.tolist()} sha256 {digest(tick)}"
            )
    return lines


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(transcript()) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")
