"""The protocol: held-out days, common random numbers, and no winner where intervals overlap."""

import json
from pathlib import Path

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.registry import make_bidder
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.scenario import load_scenario
from tribid.evaluation.contest import HELD_OUT, Contestant, Protocol, evaluate, lineup_for
from tribid.evaluation.entries import entrant, entrants
from tribid.evaluation.results import load_results, save_results
from tribid.evaluation.run import chosen_advertisers, judge

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)


def _protocol(days: int = 10, **changes: object) -> Protocol:
    arguments: dict[str, object] = {
        "scenario": TINY,
        "focal": (0, 2),
        "rivals": rivals_in_turn(("pid",), TINY),
        "eval_seeds": tuple(range(HELD_OUT, HELD_OUT + days)),
    }
    return Protocol(**(arguments | changes))  # type: ignore[arg-type]


def _contestant(name: str) -> Contestant:
    return Contestant(name=name, kind="rule", bidders={-1: make_bidder(name, SPACE)})


def test_seeds_for_training_are_refused_as_evaluation_seeds() -> None:
    with pytest.raises(ValueError, match=r"eval_seeds are .*; allowed are two or more different ones from 1000000 on"):
        _protocol(eval_seeds=(0, HELD_OUT))
    with pytest.raises(ValueError, match="two or more"):
        _protocol(eval_seeds=(HELD_OUT, HELD_OUT))


def test_a_contestant_against_itself_differs_by_exactly_nothing() -> None:
    twin = Contestant(name="twin", kind="rule", bidders={-1: make_bidder("pid", SPACE)})
    judgement = evaluate([_contestant("pid"), twin], _protocol())
    difference = judgement.differences["twin"]
    assert (difference.point, difference.low, difference.high) == (0, 0, 0)
    assert judgement.winner is None and "No winner is named" in judgement.statement


def test_doing_nothing_is_told_apart_and_never_wins() -> None:
    judgement = evaluate([_contestant("truthful"), _contestant("off")], _protocol(days=10))
    assert judgement.winner == "truthful"
    assert judgement.differences["off"].high < 0
    assert judgement.summary["off"]["budget_use"].point == 0  # type: ignore[union-attr]


def test_days_are_the_same_for_every_contestant() -> None:
    # Common random numbers: with leaving switched off, as many users come whoever bids, and the same users.
    still = TINY.with_changes(world__users__leave_base=0.0, world__users__leave_irrelevance=0.0)
    protocol = _protocol(scenario=still, focal=(0, 1, 2, 3, 4))
    runs = evaluate([_contestant("off"), _contestant("pid"), _contestant("random")], protocol).runs
    spends = {name: [run.sides["platform"]["revenue"] for run in runs[name]] for name in runs}
    again = evaluate([_contestant("random"), _contestant("pid")], protocol).runs
    assert spends["pid"] == [run.sides["platform"]["revenue"] for run in again["pid"]]
    assert spends["random"] == [run.sides["platform"]["revenue"] for run in again["random"]]
    assert spends["off"] == [0.0] * 10


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    alone = evaluate([_contestant("pid"), _contestant("random")], _protocol())
    together = evaluate([_contestant("pid"), _contestant("random")], _protocol(), workers=2)
    assert str(alone.summary) == str(together.summary)
    assert alone.differences == together.differences


def test_only_the_focal_advertisers_are_driven_by_the_contestant() -> None:
    lineup = lineup_for(_contestant("off"), -1, _protocol())
    assert lineup.mapping == ("focal focal", "rival pid", "focal focal", "rival pid", "rival pid")


def test_a_lineup_of_policies_maps_each_focal_advertiser_to_its_own() -> None:
    bidders = {"a": make_bidder("off", SPACE), "b": make_bidder("truthful", SPACE)}
    contestant = Contestant(name="two", kind="learnt", bidders={0: bidders}, mapping={0: ("a", "b")})
    runs = evaluate([contestant, _contestant("pid")], _protocol()).runs["two"]
    assert all(run.advertisers["adv_00"]["spend"] == 0 < run.advertisers["adv_02"]["spend"] for run in runs)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="no bidder named 'pidd'; choose off, random"):
        entrant("pidd", _protocol())
    with pytest.raises(ValueError, match="no advertiser named 'x'; choose half, all, or of adv_00"):
        chosen_advertisers("x", TINY)
    with pytest.raises(ValueError, match="baseline is 'x'; choose pid"):
        evaluate([_contestant("pid")], _protocol(), baseline="x")
    with pytest.raises(ValueError, match="each name once"):
        evaluate([_contestant("pid"), _contestant("pid")], _protocol())


def test_fixed_lambda_is_fitted_on_training_days_for_each_focal_advertiser() -> None:
    contestant = entrants(["fixed_lambda"], _protocol())[0]
    assert contestant.mapping == {-1: ("adv_00", "adv_02")}
    assert set(contestant.trained_on["multipliers"]) == {"adv_00", "adv_02"}
    assert max(contestant.trained_on["seeds"]) < HELD_OUT


def test_results_survive_the_file_and_hold_no_number_that_json_lacks(tmp_path: Path) -> None:
    results = judge(TINY, ("pid", "off"), rivals=("pid",), eval_seeds=range(HELD_OUT, HELD_OUT + 3))
    save_results(results, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert "NaN" not in text and "Infinity" not in text
    assert load_results(tmp_path / "results.json") == json.loads(json.dumps(results))
    run = results["contestants"]["off"]["runs"][0]
    assert run["sides"]["advertiser"]["roi"] is None and run["train_seed"] is None
    assert len(results["contestants"]["pid"]["curves"]["spent"]) == 8
    assert results["scenario"]["hash"] == TINY.hash


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "schema is 'list'"),
        ('{"schema": 2}', "schema is 2"),
        ('{"schema": 1}', "lacks comparison"),
    ],
)
def test_a_broken_results_file_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        load_results(tmp_path / "results.json")


def test_scores_of_the_summary_are_the_interquartile_mean_of_the_runs() -> None:
    judgement = evaluate([_contestant("pid")], _protocol(days=8))
    scores = sorted(run.sides["advertiser"]["score"] for run in judgement.runs["pid"])
    assert judgement.summary["pid"]["score"].point == pytest.approx(np.mean(scores[2:6]))  # type: ignore[union-attr]


def test_few_days_name_no_winner_and_no_difference() -> None:
    judgement = evaluate([_contestant("truthful"), _contestant("off")], _protocol(days=4))
    assert judgement.winner is None
    assert judgement.differences == {}
    assert "4 days are too few" in judgement.statement


def test_a_replay_has_no_held_out_days_to_judge_on(tmp_path: Path) -> None:
    from tribid.envs.replay import replay_scenario

    log = tmp_path / "log.txt"
    log.write_text("0 5 0.001\n1 6 0.002\n" * 20, encoding="utf-8")
    with pytest.raises(ValueError, match="replays the same rows every day"):
        _protocol(scenario=replay_scenario(log), focal=(0,), rivals=None)


def test_a_learnt_baseline_s_training_luck_widens_the_difference() -> None:
    from tribid.evaluation.statistics import two_level_difference

    days = np.random.default_rng(0).normal(1.0, 0.01, (20, 1))
    lucky = days + np.array([[-0.2, 0.0, 0.2]])
    interval = two_level_difference(days, lucky)
    assert interval.low < -0.1 < 0.1 < interval.high
