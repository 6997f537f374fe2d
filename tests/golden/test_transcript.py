"""A day of the market's rules, line by line as it was when the transcript was last written on purpose."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.decision import decide


def _regenerate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_regenerate", Path(__file__).with_name("regenerate.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _regenerate()


def test_the_market_decides_and_charges_as_in_the_golden_transcript() -> None:
    wanted = golden.GOLDEN.read_text(encoding="utf-8").splitlines()
    got = golden.transcript()
    advice = f"if the rules were changed on purpose, run: {golden.COMMAND}"
    for number, (line, was) in enumerate(zip(got, wanted, strict=False), start=1):
        assert line == was, f"{golden.GOLDEN.name} line {number} differs; {advice}"
    assert len(got) == len(wanted), advice


@pytest.mark.parametrize("auction", ["gsp", "vcg", "first_price"])
def test_the_golden_day_holds_what_it_is_meant_to_watch(auction: str) -> None:
    state = golden.open_day(auction)
    ticks = []
    while not state.done:
        state, tick = market.step(state, np.roll(golden.MULTIPLIERS, state.tick))
        ticks.append(tick)
    counts = state.total.counts
    assert (counts.wins > 0).all()
    assert (counts.clicks > 0).all()
    assert counts.conversions.sum() > 0
    assert (state.left_micros < 500_000).any()  # a budget ran out
    assert sum(tick.slots.skipped.sum() for tick in ticks) > 0
    at_reserve = any((tick.slots.price_micros == 50_000).any() for tick in ticks)
    assert at_reserve == (auction == "gsp")


def test_the_golden_day_is_decided_request_by_request_as_by_decide() -> None:
    state = golden.open_day("gsp")
    multipliers = golden.MULTIPLIERS[:, None]
    _, tick = market.step(state, multipliers)
    left = state.left_micros.copy()
    for b in range(len(tick.requests.request)):
        one = tick.requests.rows(slice(b, b + 1))
        predicted = type(tick.predicted)(*(rate[b : b + 1] for rate in tick.predicted))
        alone = decide(state.scenario.rules, state.advertisers, multipliers, left, one, predicted, 0)
        if not tick.slots.skipped[b]:
            assert alone.winner[0].tolist() == tick.slots.winner[b].tolist()
            assert alone.price_micros[0].tolist() == tick.slots.price_micros[b].tolist()
            shown = tick.slots.winner[b] >= 0
            left[tick.slots.winner[b][shown]] -= tick.slots.charge_micros[b][shown]
    assert left.tolist() == (state.advertisers.budget_micros - tick.ledger.spend_micros).tolist()
