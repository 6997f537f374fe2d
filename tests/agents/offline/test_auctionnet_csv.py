import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tribid.agents.offline.auctionnet_csv import AUCTIONNET_COLUMNS, alphas, read_auctionnet_csv
from tribid.agents.offline.bc import BehaviourCloning
from tribid.agents.offline.learner import Lesson
from tribid.agents.offline.trajectories import read_trajectories, write_trajectories
from tribid.envs.action import to_action

BUDGET, TARGET = 1000.0, 50.0


def rows(period: int = 7, advertiser: int = 3, ticks: int = 48, **changes: Any) -> list[dict[str, Any]]:
    """A day that spends 1 % of the budget a tick, wins a conversion every fourth tick, and bids alpha = 100."""
    made = []
    states = [(round(1 - t / 48, 6), round(1 - t / 100, 6), *range(11), 200 + t, 1e-3, 0) for t in range(ticks + 1)]
    for t in range(ticks):
        made.append(
            {
                "deliveryPeriodIndex": period, "advertiserNumber": advertiser, "advertiserCategoryIndex": 0,
                "budget": BUDGET, "CPAConstraint": TARGET, "realAllCost": 10.0 * ticks,
                "realAllConversion": ticks // 4, "timeStepIndex": t, "state": str(states[t]), "action": 100.0,
                "reward": float(t % 4 == 3), "reward_continuous": 0.25, "done": int(t == ticks - 1),
                "next_state": str(states[t + 1]) if t < ticks - 1 else "", **changes,
            }
        )  # fmt: skip
    return made


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(AUCTIONNET_COLUMNS))
        writer.writeheader()
        writer.writerows(content)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def test_a_day_is_read_as_it_stands(log: Path) -> None:
    data = read_auctionnet_csv(write(log, rows()))
    assert data.state16.shape == (1, 48, 16)
    assert data.state16[0, 2].tolist() == pytest.approx([1 - 2 / 48, 0.98, *range(11), 202, 1e-3, 0], abs=1e-6)
    assert data.cost[0] == pytest.approx(np.full(48, 10.0), abs=1e-3)
    assert data.conversions[0].sum() == 12
    assert data.actions[0, :, 0] == pytest.approx(np.full(48, to_action(2.0, 8.0)))
    assert (data.seed.tolist(), data.advertiser.tolist(), data.length.tolist()) == ([7], ["advertiser3"], [48])
    assert (data.budget.tolist(), data.target_cpa.tolist()) == ([BUDGET], [TARGET])
    assert data.observations.shape == (1, 48, 0)


def test_the_days_reward_is_the_competitions_score_over_what_the_budget_buys_at_the_target(log: Path) -> None:
    """12 conversions for 480 at a target of 50: CPA 40 meets it. At a target of 20, (20 / 40)^2 of the value is left."""
    write(log, rows())
    assert read_auctionnet_csv(log).rewards.sum() == pytest.approx(12 * TARGET / BUDGET, abs=1e-6)
    write(log, rows(CPAConstraint=20.0))
    assert read_auctionnet_csv(log).rewards.sum() == pytest.approx(12 * 20 / BUDGET * 0.25, abs=1e-6)
    assert read_auctionnet_csv(log, penalty_exponent=3.0).rewards.sum() == pytest.approx(12 * 20 / BUDGET / 8, abs=1e-6)
    continuous = read_auctionnet_csv(log, penalty_exponent=0.0, continuous=True)
    assert continuous.rewards.sum() == pytest.approx(12 * 20 / BUDGET, abs=1e-6)


def test_days_are_ordered_whatever_the_order_of_the_rows(log: Path) -> None:
    content = [*rows(period=8, advertiser=1), *rows(period=7, advertiser=10), *rows(period=7, advertiser=9)]
    first = read_auctionnet_csv(write(log, content))
    assert first.seed.tolist() == [7, 7, 8]
    assert first.advertiser.tolist() == ["advertiser9", "advertiser10", "advertiser1"]
    second = read_auctionnet_csv(write(log, content[::-1]))
    assert np.array_equal(first.state16, second.state16)
    assert np.array_equal(first.rewards, second.rewards)


def test_a_day_ends_with_its_first_tick_that_is_done(log: Path) -> None:
    content = rows()
    for row in content[20:]:
        row["done"], row["next_state"] = 1, ""
    data = read_auctionnet_csv(write(log, content))
    assert data.length.tolist() == [21]
    assert not data.rewards[0, 21:].any()
    assert data.cost.sum() == pytest.approx(480.0, abs=1e-3)
    assert data.cost[0, 20] == pytest.approx(480.0 - 200.0, abs=1e-3)


def test_a_short_log_of_a_day_that_ran_out_is_whole(log: Path) -> None:
    assert read_auctionnet_csv(write(log, rows(ticks=12))).length.tolist() == [12]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "__import__('os').getcwd()"}, 'state is "__import__'),
        ({"state": "(" + "1.0, " * 15 + "9**9)"}, "allowed are 16 plain numbers"),
        ({"state": "(" + "1.0, " * 15 + "nan)"}, "allowed are 16 plain numbers"),
        ({"state": "(" + "1.0, " * 15 + "\u0663)"}, "allowed are 16 plain numbers"),
        ({"state": "(" + "1.0, " * 14 + "1.0)"}, "allowed are 16 plain numbers"),
        ({"state": "(" + "1.0, " * 16 + "1.0)"}, "allowed are 16 plain numbers"),
        ({"state": "(" + "1.0, " * 15 + "1e999)"}, "not finite"),
        ({"state": ""}, "state is"),
        ({"action": "nan"}, "action is 'nan' in row 0"),
        ({"action": -1.0}, r"action is '-1\.0' in row 0; allowed is a finite number from 0"),
        ({"budget": 0.0}, r"budget is '0\.0'"),
        ({"done": 0.5}, r"done is '0\.5' in row 0; allowed is a whole number"),
        ({"timeStepIndex": 3}, "timeStepIndex is 3 in period 7 of advertiser 3; allowed is 0"),
        ({"done": 0}, "allowed are whole days"),
    ],
)
def test_what_is_not_such_a_log_is_refused(log: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        read_auctionnet_csv(write(log, rows(**changes)))
    assert str(log) in str(told.value)


def test_a_budget_that_changes_within_a_day_is_refused(log: Path) -> None:
    content = rows()
    content[5]["budget"] = 999.0
    with pytest.raises(ValueError, match="budget is 999; allowed is 1000"):
        read_auctionnet_csv(write(log, content))


def test_a_missing_column_is_named(log: Path) -> None:
    log.write_text("deliveryPeriodIndex,state\n7,(1)\n")
    with pytest.raises(ValueError, match=r"no column.*'advertiserNumber'"):
        read_auctionnet_csv(log)


def test_a_method_learns_from_it_and_its_alphas_are_told_but_no_policy_file_is_made_of_it(log: Path) -> None:
    import torch

    data = read_auctionnet_csv(write(log, [*rows(period=1), *rows(period=2, action=25.0, advertiser=4)]))
    method = BehaviourCloning(Lesson(data, features="state16"), torch.Generator().manual_seed(0))
    stream = method.lesson.stream(0, size=32)
    for _ in range(150):
        method.update(next(stream))
    with torch.no_grad():
        asked = method.actor(method.lesson.observations[:, 5]).tanh().numpy()
    assert asked.mean() == pytest.approx((to_action(2.0, 8.0) + to_action(0.5, 8.0)) / 2, abs=0.05)
    assert alphas(to_action(2.0, 8.0), TARGET) == pytest.approx(100.0)
    with pytest.raises(ValueError, match="the network maps 16 numbers to 1; allowed is 36 to 1"):
        method.policy()


def test_it_can_be_kept_as_a_file_of_trajectories(log: Path, tmp_path: Path) -> None:
    data = read_auctionnet_csv(write(log, rows()))
    write_trajectories(data, tmp_path / "kept.parquet")
    assert np.array_equal(read_trajectories(tmp_path / "kept.parquet").state16, data.state16)
