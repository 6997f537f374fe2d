"""The per-auction protocol: a log of twelve auctions by hand, and the published figures of a real one."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tribid.envs.ipinyou import CampaignStats, read_info
from tribid.evaluation.rtb_log import METHODS, RtbReplay, read_theta_log, replay_rtb, rtb_table

ROWS = (
    "1 2 0.3", "0 0 0.1", "1 2 0.1", "1 1 0.1", "0 1 0.03", "1 2 0.2",
    "0 3 0.9", "0 1 0.0", "0 1 0.1", "1 2 0.9", "1 0 0.03", "0 2 0.5",
)  # fmt: skip
INFO = {
    "imp_train": 4, "clk_train": 1, "cost_train": 4, "price_counter_train": [0, 4, 0, 0], "imp_test": 12, "clk_test": 6,
    "cost_test": 17, "dim": 1, "field": 1,
}  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "small.theta.txt"
    path.write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def info(tmp_path: Path) -> Path:
    path = tmp_path / "small.info.json"
    path.write_text(json.dumps(INFO), encoding="utf-8")
    return path


def outcomes(replay: RtbReplay) -> dict[str, tuple[int, int, int]]:
    return {row.method: (row.impressions, row.clicks, row.cost) for row in replay.rows}


def test_six_episodes_of_two_auctions_by_hand(log: Path, info: Path) -> None:
    # theta_avg is 1/4, prices 0 to 3 have the chances 1, 5, 1 and 1 of 8. A budget of 2: V(1, .) is 0, 6/32 and 7/32.
    # RLB's first bid is therefore 2 from theta 7/32 on, 1 from 1/32 on, else 0; its second is all that is left.
    # rlb     first:  2 of .3 wins for 2, 1 of .1 loses to 2, 0 of .03 loses to 1, 2 of .9 loses to 3, 1 of .1 wins for 1,
    #                 0 of .03 wins for 0; second: 0 for 0, then for 1, 2 and 1, then 1 loses to 2, then for 2.
    # ss_mdp  bids 2, then all that is left: 2, 0 | 2, - | 1, - | -, 1 | 1, - | 0, 2.
    # mcpc    bids 4 theta: only 0 and, at .9 and .5, 2 win: 0 | - | - | - | 2 | 0, 2.
    # lin     bids 8 theta: 2, 0 | - | - | - | 2 | 0, 2.
    replay = replay_rtb(log, info, c0=1.0, episode=2, linear_base=2.0)
    assert (replay.budget, replay.auctions, replay.clicks) == (2, 12, 6)
    assert outcomes(replay) == {"ss_mdp": (8, 3, 9), "mcpc": (4, 2, 4), "lin": (5, 3, 6), "rlb": (8, 4, 9)}


def test_the_last_episode_is_short_and_has_a_whole_budget(log: Path, info: Path) -> None:
    # Episodes of 5, 5 and 2 with budget 2: for 2 and 0, for 2 at the second .9, for 0 and 2.
    short = replay_rtb(log, info, c0=0.4, episode=5, linear_base=2.0, methods=("lin",))
    assert short.budget == 2
    assert outcomes(short) == {"lin": (5, 3, 6)}
    # One episode of 12: the first auction takes the budget, and only the free ones are won after it.
    one = replay_rtb(log, info, c0=1 / 6, episode=12, linear_base=2.0, methods=("lin",))
    assert one.budget == 2
    assert outcomes(one) == {"lin": (3, 2, 2)}


def test_the_price_unit_of_the_statistics_does_not_matter(log: Path, info: Path) -> None:
    wanted = outcomes(replay_rtb(log, info, c0=1.0, episode=2))
    for unit in (1, 10, 1000):
        assert outcomes(replay_rtb(log, read_info(info, price_unit_micros=unit), c0=1.0, episode=2)) == wanted


def test_no_episode_spends_more_than_its_budget(log: Path, info: Path) -> None:
    for episode in (1, 2, 3, 12, 40):
        replay = replay_rtb(read_theta_log(log), info, c0=0.8, episode=episode)
        for row in replay.rows:
            assert row.cost <= replay.budget * -(-12 // episode)
            assert row.clicks <= row.impressions <= 12


def test_a_real_log_gives_the_published_figures_to_the_unit(shared_data: Path) -> None:
    # The table that the authors print with their code, campaign 2997, N = 1000 and c0 = 1/32 (github.com/han-cai/rlb-dp,
    # README.md at 56ee163): impressions, clicks, cost; and the rates as printed.
    folder = shared_data / "ipinyou"
    replay = replay_rtb(folder / "2997.test.theta.txt", folder / "2997.info.json")
    assert (replay.auctions, replay.clicks, replay.budget) == (156_063, 530, 1969)
    assert outcomes(replay) == {
        "ss_mdp": (40_395, 80, 306_637),
        "mcpc": (14_752, 48, 307_751),
        "lin": (32_208, 71, 203_610),
        "rlb": (39_680, 78, 304_375),
    }
    printed = {row.method: (f"{row.win_rate:.2%}", f"{row.cpm:.2f}", f"{row.ecpc:.2f}") for row in replay.rows}
    assert printed["rlb"] == ("25.43%", "7.67", "3.90")
    assert printed["ss_mdp"] == ("25.88%", "7.59", "3.83")
    assert replay.seconds < 30


def test_an_earlier_publication_had_another_base_for_lin(shared_data: Path) -> None:
    # The same table for the authors' first version (README.md at 0a7de7e), where Lin was tuned to another base.
    folder = shared_data / "ipinyou"
    replay = replay_rtb(folder / "2997.test.theta.txt", folder / "2997.info.json", methods=("lin",), linear_base=8.0)
    assert outcomes(replay) == {"lin": (26_743, 63, 163_300)}


def test_rlb_has_more_clicks_than_mcpc_at_other_budgets_too(shared_data: Path) -> None:
    folder = shared_data / "ipinyou"
    log, info = read_theta_log(folder / "2997.test.theta.txt"), folder / "2997.info.json"
    clicks = {}
    for share in (16, 8):
        replay = replay_rtb(log, info, c0=1 / share, methods=("mcpc", "rlb"))
        clicks[share] = tuple(row.clicks for row in replay.rows)
    assert clicks == {16: (82, 119), 8: (144, 176)}


def test_the_table_and_the_data_hold_what_was_measured(log: Path, info: Path) -> None:
    replays = [replay_rtb(log, info, c0=c0, episode=2) for c0 in (0.5, 1.0)]
    console = Console(width=140, record=True)
    console.print(rtb_table(replays))
    text = console.export_text()
    assert all(name in text for name in (*METHODS, "CPM", "eCPC", "12 logged auctions with 6 clicks"))
    data = json.loads(json.dumps(replays[1].as_data()))
    assert data["kind"] == "rtb_log" and data["budget"] == 2
    assert [row["method"] for row in data["rows"]] == list(METHODS)


def test_nothing_won_has_no_rates(tmp_path: Path, info: Path) -> None:
    dear = tmp_path / "dear.txt"
    dear.write_text("1 300 0.5\n", encoding="utf-8")
    replay = replay_rtb(dear, info, methods=("mcpc",))
    assert (replay.rows[0].cpm, replay.rows[0].ecpc) == (None, None)
    assert list(rtb_table([replay]).columns[-1].cells) == ["–"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 5 0.1\n2 5 0.1\n", r"line 2.*click 0 or 1"), ("0 -1 0.1\n", "line 1"), ("0 5 1.5\n", "line 1"),
        ("0 5\n", "click price theta"), ("0 5 0.1 7\n", "click price theta"),
        ("0 five 0.1\n", "click price theta"), ("", "click price theta"),
    ],
)  # fmt: skip
def test_a_log_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_theta_log(path)


def test_bad_arguments_are_refused(log: Path, info: Path) -> None:
    with pytest.raises(ValueError, match="no method named 'ortb'; choose ss_mdp, mcpc, lin, rlb"):
        replay_rtb(log, info, methods=("ortb",))
    for bad in ({"c0": 0.0}, {"c0": np.inf}, {"episode": 0}, {"linear_base": -1.0}):
        with pytest.raises(ValueError, match="allowed"):
            replay_rtb(log, info, **bad)  # type: ignore[arg-type]
    stats = CampaignStats(
        impressions_train=4, clicks_train=0, cost_train_micros=4, price_counter_train=np.array([0, 4]),
        impressions_test=1, clicks_test=0, cost_test_micros=0, dimension=1, fields=1, price_unit_micros=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="no clicks"):
        replay_rtb(log, stats)
