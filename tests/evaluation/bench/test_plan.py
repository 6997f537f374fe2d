"""Plans of comparisons are checked before anything is run."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tribid.envs.market import reset
from tribid.envs.scenario import load_scenario
from tribid.evaluation.bench.plan import BenchPlan, load_plan, plan_names, scaled

LEAST: dict[str, Any] = {"name": "p", "markets": {"m": {"scenario": "tiny"}}, "methods": {"pid": {}}}


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(LEAST | changes))
    return file


@pytest.mark.parametrize("name", plan_names())
def test_every_plan_that_ships_names_markets_and_methods_that_are_there(name: str) -> None:
    plan = load_plan(name)
    for market, part in plan.markets.items():
        protocol = plan.protocol(market)
        assert protocol.focal and len(protocol.eval_seeds) == plan.eval_days
        for method, how in plan.methods.items():
            if how.algorithm and not part.trained_in:
                from tribid.agents.algorithms import ALGORITHMS

                data = "log" if ALGORITHMS[how.algorithm].offline else ""
                assert plan.training_plan(market, method, data).scenario == part.load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {"x": {"algorithm": "ppoo"}}}, r"methods\.x.*no algorithm named 'ppoo'; choose ppo"),
        ({"methods": {"x": {"training": {"steps": 3}}}}, "training is given without an algorithm"),
        ({"methods": {"x": {"bidder": "pid", "algorithm": "ppo"}}}, "bidder and algorithm are both given"),
        ({"methods": {}}, "methods is"),
        ({"markets": {"m": {"scenario": "tiny", "trained_in": "n"}}}, r"markets\.m\.trained_in is 'n'"),
        ({"markets": {"m": {"scenario": "tiny", "budget": 0.0}}}, r"markets\.m\.budget is 0\.0"),
        ({"eval_days": 1}, "eval_days is 1"),
        ({"first_eval_seed": 10}, "first_eval_seed is 10"),
        ({"train_seeds": [1_000_000]}, r"train_seeds\.0 is 1000000"),
        ({"colour": "red"}, "colour is 'red'"),
    ],
)
def test_a_bad_plan_is_refused_with_the_field_its_value_and_why(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_plan(written(tmp_path, **changes))


def test_a_plan_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no plan nothing.*quick"):
        load_plan("nothing")


def test_a_training_field_that_is_not_there_is_named(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, methods={"x": {"algorithm": "ppo", "training": {"step": 3}}}))
    with pytest.raises(ValueError, match=r"methods\.x\.training: .*step"):
        plan.training_plan("m", "x")


def test_a_part_of_a_plan_keeps_the_market_that_its_learners_were_trained_in() -> None:
    markets = {"a": {"scenario": "tiny"}, "b": {"scenario": "tiny", "trained_in": "a"}, "c": {"scenario": "feed"}}
    plan = BenchPlan.model_validate(LEAST | {"markets": markets}, strict=False)
    assert set(plan.part(["b"]).markets) == {"a", "b"}
    with pytest.raises(ValueError, match="no market named 'd' in plan p; choose a, b, c"):
        plan.part(["d"])
    with pytest.raises(ValueError, match="no method named 'ppo'"):
        plan.part((), ["ppo"])


@pytest.mark.parametrize("name", ["tiny", "auctionnet"])
def test_budgets_are_scaled_and_nothing_else(name: str) -> None:
    scenario = load_scenario(name)
    before, after = (reset(one, 0).advertisers for one in (scenario, scaled(scenario, 0.5)))
    cent = 10_000  # generated budgets are whole cents
    assert abs(after.budget_micros - before.budget_micros / 2).max() <= cent
    assert (after.unit_bid_micros == before.unit_bid_micros).all()


def test_targets_are_scaled_where_advertisers_are_listed_and_refused_where_they_are_generated() -> None:
    scenario = load_scenario("auctionnet")
    before, after = (reset(one, 0).advertisers for one in (scenario, scaled(scenario, 1.0, 10.0)))
    assert (after.target_cpa_micros == 10 * before.target_cpa_micros).all()
    assert (after.budget_micros == before.budget_micros).all()
    with pytest.raises(ValueError, match="target_cpa is 10; allowed is 1"):
        scaled(load_scenario("tiny"), 1.0, 10.0)
