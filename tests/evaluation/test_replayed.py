"""Bidders on a real log: budgets to the micro, bounds above everybody, rows that can be left out."""

from pathlib import Path

import pytest

from tribid.envs.logs import read_info
from tribid.envs.replay import replay_scenario
from tribid.evaluation.replayed import evaluate_replay, info_beside
from tribid.evaluation.run import judge_log, replay_table

THETA = Path("ipinyou") / "2997.test.theta.txt"


def _write_log(path: Path, rows: int = 400, bad: str = "") -> Path:
    lines = [f"{int(i % 20 == 0)} {10 + i % 50} {0.001 + 0.0005 * (i % 20 == 0)}" for i in range(rows)]
    path.write_text("\n".join([*lines, *([bad] if bad else [])]) + "\n", encoding="utf-8")
    return path


def test_real_auctions_are_all_played_within_the_budget_and_below_the_bound(shared_data: Path) -> None:
    log = shared_data / THETA
    stats = read_info(info_beside(log))  # type: ignore[arg-type]
    for share in (1 / 32, 1 / 8, 1 / 2):
        scenario = replay_scenario(log, stats=stats, budget_share=share)
        result = evaluate_replay(scenario, stats=stats)
        assert result.auctions == 156_063
        assert [row.bidder for row in result.rows] == ["linear", "fixed_lambda", "pid", "dual_pacing"]
        for row in result.rows:
            assert 0 < row.spend <= result.budget
            assert 0 < row.clicks <= result.bound_clicks <= 530
        assert result.predicted_best_clicks <= result.bound_clicks


def test_pacing_beats_spending_early_on_real_auctions(shared_data: Path) -> None:
    # Linear bidding at the mean price runs out early at a small budget; a controller buys the cheaper impressions.
    log = shared_data / THETA
    stats = read_info(info_beside(log))  # type: ignore[arg-type]
    rows = {row.bidder: row for row in evaluate_replay(replay_scenario(log, stats=stats), stats=stats).rows}
    assert rows["pid"].clicks > rows["linear"].clicks
    assert rows["dual_pacing"].clicks > rows["linear"].clicks


def test_a_small_log_is_judged_and_shown(tmp_path: Path) -> None:
    result = judge_log(_write_log(tmp_path / "small.txt"), ("linear", "pid"), budget_share=0.3)
    assert result.auctions == 400 and result.bound_clicks <= 20
    assert replay_table(result).row_count == 4
    data = result.as_data()
    assert data["kind"] == "replay" and data["rows"][0]["bidder"] == "linear"


def test_a_bad_row_stops_the_run_or_is_left_out_and_counted(tmp_path: Path) -> None:
    log = _write_log(tmp_path / "bad.txt", bad="1 20 1.7")
    with pytest.raises(ValueError, match=r"bad.txt.*line 401.*pctr.*1.7.*0 to 1"):
        judge_log(log, ("linear",))
    assert judge_log(log, ("linear",), on_bad_row="skip").skipped == 1


def test_fixed_lambda_is_left_out_without_training_prices(tmp_path: Path) -> None:
    log = _write_log(tmp_path / "small.txt")
    assert [row.bidder for row in judge_log(log, ()).rows] == ["linear", "pid", "dual_pacing"]
    with pytest.raises(ValueError, match="fixed_lambda needs the training period's statistics; give --info"):
        judge_log(log, ("fixed_lambda",))


def test_a_log_without_predictions_is_judged_after_fitting_them(shared_data: Path) -> None:
    folder = shared_data / "ipinyou"
    result = judge_log(folder / "2259.test.log.txt", ("linear", "pid"), train_log=folder / "2259.train.log.txt")
    assert result.auctions == 4171
    assert all(row.spend <= result.budget for row in result.rows)
    with pytest.raises(ValueError, match="no predicted click rate"):
        judge_log(folder / "2259.test.log.txt", ("linear",))
