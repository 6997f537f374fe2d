"""Replays: a bid at or above the logged market price wins, pays that price, and gets the logged click."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.logs import read_info, read_log
from tribid.envs.market import MarketState, Tick
from tribid.envs.replay import replay_scenario
from tribid.envs.scenario import MICROS, Scenario

ROWS = 400


def write(folder: Path, extra: dict[str, Any] | None = None, name: str = "log.csv") -> Path:
    rng = np.random.default_rng(5)
    columns = {
        "click": rng.integers(0, 2, ROWS),
        "market_price_micros": rng.integers(0, 300, ROWS) * 1000,
        "pctr": rng.uniform(0.01, 0.5, ROWS).round(4),
        "conversion": rng.integers(0, 2, ROWS),
        "pcvr": rng.uniform(0.01, 0.5, ROWS).round(4),
    } | (extra or {})
    lines = [",".join(columns), *(",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def campaign(log: Path, budget: float = 1e6, base_bid: float = 1.0, ticks: int = 8, **changes: Any) -> Scenario:
    """One bidder that bids ``base_bid * pctr`` at multiplier 1."""
    advertiser = {"name": "c", "objective": "max_clicks", "budget": budget, "base_bid": base_bid}
    return replay_scenario(log, ticks=ticks).with_changes(advertisers=[advertiser], **changes)


def play(scenario: Scenario, multiplier: float, seed: int = 0) -> tuple[MarketState, list[Tick]]:
    state, ticks = market.reset(scenario, seed), []
    while not state.done:
        state, tick = market.step(state, [multiplier])
        ticks.append(tick)
    return state, ticks


def column(ticks: list[Tick], name: str) -> np.ndarray:
    return np.concatenate([getattr(tick.slots, name)[:, 0] for tick in ticks])


@pytest.mark.parametrize("multiplier", [0.3, 1.0, 2.5])
def test_a_bid_wins_if_and_only_if_it_meets_the_market_price_and_pays_exactly_that(
    tmp_path: Path, multiplier: float
) -> None:
    path = write(tmp_path)
    log = read_log(path)
    assert log.pctr is not None
    _, ticks = play(campaign(path), multiplier)
    bids = (multiplier * 1e6 * log.pctr.astype(np.float64)).astype(np.int64)
    wins = bids >= log.market_price_micros
    assert 0.1 < wins.mean() < 0.95
    assert np.array_equal(column(ticks, "winner") == 0, wins)
    assert np.array_equal(column(ticks, "price_micros"), np.where(wins, log.market_price_micros, 0))
    assert np.array_equal(column(ticks, "charge_micros"), np.where(wins, log.market_price_micros, 0))
    assert np.array_equal(column(ticks, "clicked"), np.where(wins, log.click, 0))
    assert np.array_equal(column(ticks, "converted"), np.where(wins, log.click * log.conversion, 0))


def test_a_bid_at_the_market_price_wins_and_a_micro_below_loses(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("click,market_price_micros,pctr\n1,500000,0.5\n1,500001,0.5\n")
    _, ticks = play(campaign(path, ticks=1), 1.0)
    assert column(ticks, "winner").tolist() == [0, -1]
    assert column(ticks, "price_micros").tolist() == [500_000, 0]


def test_the_budget_of_a_replay_is_exact(tmp_path: Path) -> None:
    path = write(tmp_path)
    prices = read_log(path).market_price_micros
    for budget in (0.000001, 0.5, 3.0, 12.345678):
        state, ticks = play(campaign(path, budget=budget, base_bid=1000.0), 8.0)
        left, charges = round(budget * MICROS), []
        for price in prices.tolist():
            charges.append(price if price <= left else 0)
            left -= charges[-1]
        assert column(ticks, "charge_micros").tolist() == charges
        assert state.left_micros.tolist() == [left]


def test_a_replay_is_the_same_for_every_seed_and_day(tmp_path: Path) -> None:
    scenario = campaign(write(tmp_path), budget=5.0)
    first = play(scenario, 1.0)[0].total
    for seed in (1, 99):
        total = play(scenario, 1.0, seed)[0].total
        assert total.spend_micros.tolist() == first.spend_micros.tolist()
        assert total.counts.clicks.tolist() == first.counts.clicks.tolist()


def test_predictions_are_the_logs_and_never_the_outcomes(tmp_path: Path) -> None:
    path = write(tmp_path)
    log = read_log(path)
    assert log.pctr is not None
    _, ticks = play(campaign(path), 1.0)
    assert np.array_equal(np.concatenate([tick.predicted.ctr[:, 0] for tick in ticks]), log.pctr)
    assert np.array_equal(np.concatenate([tick.predicted.cvr[:, 0] for tick in ticks]), log.pcvr)
    assert np.array_equal(np.concatenate([tick.truth.ctr[:, 0] for tick in ticks]), log.click)


def test_a_log_without_ticks_or_times_is_cut_into_equal_parts(tmp_path: Path) -> None:
    scenario = campaign(write(tmp_path), ticks=7)
    counts = market.reset(scenario, 0).day.counts
    assert counts.sum() == ROWS
    assert np.ptp(counts) <= 1


def test_a_log_with_times_is_cut_at_equal_times(tmp_path: Path) -> None:
    times = np.sort(np.random.default_rng(1).integers(0, 1000, ROWS))
    times[0], times[-1] = 0, 999
    scenario = campaign(write(tmp_path, {"timestamp_ms": 1_380_000_000_000 + times}), ticks=10)
    assert market.reset(scenario, 0).day.counts.tolist() == np.bincount(times // 100, minlength=10).tolist()


def test_a_log_with_ticks_keeps_them_and_empty_ones_are_played(tmp_path: Path) -> None:
    where = np.sort(np.random.default_rng(1).choice([0, 1, 4, 5], ROWS))
    scenario = campaign(write(tmp_path, {"tick": where}), ticks=8)
    state, ticks = play(scenario, 1.0)
    assert [len(tick.requests.request) for tick in ticks] == np.bincount(where, minlength=8).tolist()
    assert state.done


def test_a_tick_beyond_the_scenarios_is_refused_by_value_and_range(tmp_path: Path) -> None:
    scenario = campaign(write(tmp_path, {"tick": np.full(ROWS, 8)}), ticks=8)
    with pytest.raises(ValueError, match=r"log column tick is 8; allowed is 0 to 7 \(world.ticks is 8\)"):
        market.reset(scenario, 0)


IPINYOU_ROW = (
    "0 2 13 b1 20131021135101295 1 u1 windows_ie 1.2.3.* 216 220 2 d1 l1 null s1 200 200 FirstView Na 13 7319 277 205 "
    "null 2259 10063,10083"
).replace(" ", "\t")


def test_a_log_without_predictions_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(IPINYOU_ROW + "\n")
    with pytest.raises(ValueError, match="has no predicted click rate; give one with a pctr column, or fit one on"):
        market.reset(replay_scenario(path), 0)


def test_the_budget_rule_is_a_share_of_the_mean_price_times_the_rows(tmp_path: Path) -> None:
    # The rule of RLB (Cai et al., WSDM 2017): budget = c0 x mean training price x impressions.
    path = write(tmp_path)
    log = read_log(path)
    scenario = replay_scenario(path, budget_share=0.25)
    assert scenario.advertisers[0].budget == pytest.approx(0.25 * log.market_price_micros.sum() / MICROS, abs=1e-6)
    assert scenario.advertisers[0].base_bid == pytest.approx(log.market_price_micros.mean() / log.pctr.mean() / MICROS)


@pytest.fixture(scope="module")
def ipinyou(shared_data: Path) -> Path:
    """The test log of iPinYou's campaign 2997 with the click rates of a published logistic regression."""
    path = shared_data / "ipinyou" / "2997.test.theta.txt"
    if not path.is_file():
        pytest.skip(f"needs {path}, a real log, which is absent here")
    return path


def test_who_bids_enough_on_a_real_log_wins_every_row_and_pays_the_sum_of_its_prices(ipinyou: Path) -> None:
    scenario = replay_scenario(ipinyou).with_changes(
        advertisers=[{"name": "c", "objective": "max_clicks", "budget": 1e9, "base_bid": 1e9}], rules__max_bid=1e6
    )
    state, ticks = play(scenario, 16.0)
    info = read_info(ipinyou.with_name("2997.info.json"))
    assert (column(ticks, "winner") == 0).all()
    assert len(column(ticks, "winner")) == 156_063  # imp_test of 2997.info.json
    assert state.total.counts.clicks.tolist() == [530.0]  # clk_test of 2997.info.json
    assert state.total.spend_micros.tolist() == [8_617_148 * 10]  # cost_test of 2997.info.json, 10 micros a unit
    assert info.ctr > 0


def test_a_real_campaign_with_the_published_budget_rule_spends_no_micro_more(ipinyou: Path) -> None:
    info = read_info(ipinyou.with_name("2997.info.json"))
    state, ticks = play(replay_scenario(ipinyou, stats=info, budget_share=1 / 8), 2.0)
    budget = state.advertisers.budget_micros
    assert budget.tolist() == [round(19_689_072 / 312_437 * 10 * 156_063 / 8)]  # cost_train / imp_train x imp_test / 8
    assert 0.99 * budget < state.total.spend_micros <= budget
    assert column(ticks, "charge_micros").sum() == state.total.spend_micros[0]
