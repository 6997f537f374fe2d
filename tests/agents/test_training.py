"""Training: who shares a policy, what a run leaves behind, and that learning pays in a market small enough to see it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.plan import Roster, drivers_of
from tribid.agents.policy_file import load_lineup
from tribid.agents.registry import make_bidder
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.sb3 import Sb3Classroom
from tribid.agents.seeds import train_seeds
from tribid.agents.training import TrainingPlan, train
from tribid.agents.warm_start import imitate
from tribid.envs import market
from tribid.envs.action import to_action, to_multiplier
from tribid.envs.observation import observe
from tribid.envs.reward import score
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.day import play_day
from tribid.ranker import Ranker, Request

TINY = load_scenario("tiny")
QUICK = TrainingPlan(scenario=TINY, steps=160, num_markets=2, tensorboard=False)
EVERY = ["ppo", "sac", "td3", "recurrent_ppo"]


def taught(plan: TrainingPlan, folder: Path) -> Sb3Classroom:
    """The classroom after its run."""
    room = Sb3Classroom(plan, folder, None)
    room.run()
    return room


def bits(policy: Any) -> bytes:
    return b"".join(values.tobytes() for values in policy.tensors().values())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_seeds(QUICK, [0], folder)
    return folder


def test_a_run_leaves_policies_cards_a_lineup_and_a_learning_curve(run: Path) -> None:
    policies, mapping = load_lineup(run / "seed-0" / "policies")
    assert list(policies) == ["shared"]
    assert mapping == dict.fromkeys(["adv_00", "adv_01", "adv_02", "adv_03", "adv_04"], "shared")
    card = json.loads((run / "seed-0" / "policies" / "shared.json").read_text(encoding="utf-8"))
    assert card["scenario"]["hash"] == TINY.hash
    assert card["training"]["algorithm"] == "ppo"
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["seeds"] == [0]
    learning = json.loads((run / "seed-0" / "learning.json").read_text(encoding="utf-8"))
    assert learning[-1]["steps"] == 160


def test_no_file_of_a_run_is_a_pickle_or_a_zip(run: Path) -> None:
    kinds = {path.suffix for path in run.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def test_training_twice_gives_the_same_policies(tmp_path: Path, run: Path) -> None:
    train(QUICK, tmp_path)
    again = (tmp_path / "policies" / "shared.safetensors").read_bytes()
    assert again == (run / "seed-0" / "policies" / "shared.safetensors").read_bytes()


def test_another_training_seed_gives_other_policies(tmp_path: Path, run: Path) -> None:
    trained = train(replace(QUICK, seed=1), tmp_path).policies["shared"]
    first = load_lineup(run / "seed-0" / "policies")[0]["shared"]
    assert not np.array_equal(trained.weights[0], first.weights[0])


@pytest.mark.parametrize("algorithm", EVERY)
def test_the_exported_policy_acts_as_the_trained_model_does(algorithm: str, tmp_path: Path) -> None:
    room = taught(replace(QUICK, algorithm=algorithm), tmp_path)
    policy, (model, normal, *_) = room.snapshot("shared"), room.pupils["shared"]
    mine, theirs = None, None
    for tick in range(10):
        rows = np.random.default_rng(tick).uniform(-1, 1, (64, 36)).astype(np.float32)
        expected, theirs = model.predict(normal.normalize_obs(rows), theirs, deterministic=True)
        actions, mine = policy.predict(rows, mine)
        np.testing.assert_allclose(actions, expected, atol=1e-5 if algorithm == "recurrent_ppo" else 2e-6)
    assert len(np.unique(actions)) > 30


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_seed_gives_the_same_weights_to_the_bit_and_another_seed_others(algorithm: str, tmp_path: Path) -> None:
    plan = replace(QUICK, algorithm=algorithm, num_markets=1, steps=120)
    one, again, other = (
        bits(taught(given, tmp_path).snapshot("shared")) for given in (plan, plan, replace(plan, seed=1))
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_policy_first_learns_to_do_what_its_teacher_does(algorithm: str, tmp_path: Path) -> None:
    room = Sb3Classroom(replace(QUICK, algorithm=algorithm, num_markets=8), tmp_path, None)
    space, (model, normal, *_) = room.roster.space, room.pupils["shared"]
    before = room.snapshot("shared")
    imitate(model, normal, make_bidder("fixed:0.4", space), days=6, ticks=8, seed=0)
    rows = np.concatenate([observe(market.reset(TINY, seed)) for seed in range(50, 60)])
    far = [np.abs(policy.predict(rows)[0] - to_action(0.4, 8.0)).mean() for policy in (before, room.snapshot("shared"))]
    assert far[1] < 0.1 < 0.2 < far[0]


@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_taught_days_are_experience_to_learn_from_and_targets_start_from_the_lesson(
    algorithm: str, tmp_path: Path
) -> None:
    room = Sb3Classroom(replace(QUICK, algorithm=algorithm, num_markets=1), tmp_path, None)
    model, normal, *_ = room.pupils["shared"]
    imitate(model, normal, make_bidder("fixed:0.4", room.roster.space), days=2, ticks=8, seed=0)
    policy, buffer = model.policy, model.replay_buffer
    assert buffer.size() == 2 * 8
    assert buffer.dones[:16].sum() == 2 * 5
    assert buffer.dones[[7, 15]].all()
    assert model.learning_starts == 0
    pairs = zip(policy.critic.parameters(), policy.critic_target.parameters(), strict=True)
    assert all(torch.equal(mine, target) for mine, target in pairs)


@pytest.mark.parametrize("algorithm", EVERY)
def test_every_update_of_the_plan_is_made(algorithm: str, tmp_path: Path) -> None:
    plan = replace(QUICK, algorithm=algorithm, num_markets=1, steps=80, rounds=2, warm_start="")
    model = taught(plan, tmp_path).pupils["shared"].model
    assert model.num_timesteps == 80
    # PPO: an update of 8 epochs for each of 2 days; others one for each of 16 ticks but the first 2, of random actions.
    assert model._n_updates == (16 if "ppo" in algorithm else 15)


def test_the_learning_rate_falls_over_all_rounds(tmp_path: Path) -> None:
    room = Sb3Classroom(replace(QUICK, num_markets=1, steps=160, rounds=4, warm_start=""), tmp_path, None)
    rates = []
    for round_ in range(4):
        room.teach("shared", round_)
        rates.append(room.pupils["shared"].model.policy.optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, 1e-3 * (0.1 + 0.9 * np.array([0.75, 0.5, 0.25, 0.0])))


def test_policies_by_objective_have_parameters_of_their_own(tmp_path: Path) -> None:
    trained = train(replace(QUICK, mapping="by_objective", rounds=2, steps=32, num_markets=1, warm_start=""), tmp_path)
    assert len(trained.policies) == 5
    assert set(trained.mapping.values()) == set(trained.policies)
    first_layers = [policy.weights[0].tobytes() for policy in trained.policies.values()]
    assert len(set(first_layers)) == 5


def test_a_mapping_may_be_written_out(tmp_path: Path) -> None:
    plan = replace(QUICK, mapping="adv_00=big, adv_02=big,*=small", steps=16, num_markets=1, warm_start="")
    roster = Roster.of(plan)
    assert roster.rows == {"big": [0, 2], "small": [1, 3, 4]}
    trained = train(plan, tmp_path)
    assert trained.mapping == {
        "adv_00": "big",
        "adv_01": "small",
        "adv_02": "big",
        "adv_03": "small",
        "adv_04": "small",
    }
    assert load_lineup(tmp_path / "policies")[1] == trained.mapping
    assert Roster.of(replace(plan, mapping="adv_03=a,adv_00=a", learners=(0, 3))).rows == {"a": [0, 3]}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("foo", "no policy mapping named 'foo'; choose shared, independent, by_objective, or pairs ADVERTISER=POLICY"),
        ("adv_00=a,adv_01", "mapping holds 'adv_01'; allowed is ADVERTISER=POLICY"),
        ("adv_00=", "mapping holds 'adv_00='"),
        ("=a", "mapping holds '=a'"),
        ("adv_00=" + "x" * 81, "1 to 80 characters"),
        ("adv_99=a,*=b", "mapping names the advertiser 'adv_99'; choose adv_00, adv_01"),
        ("adv_00=a,adv_00=b,*=c", "mapping names 'adv_00' twice"),
        ("*=a,*=b", r"mapping names '\*' twice"),
        ("adv_00=a,adv_01=a", r"mapping gives adv_02, adv_03, adv_04 no policy; add adv_02=POLICY, or \*=POLICY"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(mapping: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        drivers_of(mapping, build_world(TINY).advertisers, range(5))


def test_with_one_worker_ctrl_c_stops_the_seeds_that_are_still_to_come(tmp_path: Path) -> None:
    def interrupt(seed: int, done: int, total: int, latest: float | None) -> None:
        raise KeyboardInterrupt

    assert not train_seeds(QUICK, [0, 1], tmp_path, workers=1, progress=interrupt)
    assert (tmp_path / "seed-0" / "policies").is_dir()
    assert not (tmp_path / "seed-1").exists()


def test_independent_policies_are_one_for_each_learner(tmp_path: Path) -> None:
    plan = replace(QUICK, mapping="independent", learners=(1, 3), steps=16, num_markets=1, warm_start="")
    trained = train(plan, tmp_path)
    assert list(trained.mapping) == ["adv_01", "adv_03"]
    assert len(set(trained.mapping.values())) == 2


def test_ctrl_c_leaves_a_usable_run(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, latest: float | None) -> None:
        if done >= 80:
            raise KeyboardInterrupt

    trained = train(replace(QUICK, steps=100_000), tmp_path, interrupt)
    assert trained.interrupted
    policies, mapping = load_lineup(tmp_path / "policies")
    assert len(mapping) == 5
    card = json.loads((tmp_path / "policies" / "shared.json").read_text(encoding="utf-8"))
    assert card["training"]["interrupted"] is True
    assert np.isfinite(policies["shared"].predict(np.zeros((1, policies["shared"].sizes[0]), np.float32))[0]).all()


def test_a_trained_policy_answers_requests_as_it_bids_in_the_market(run: Path) -> None:
    ranker = Ranker(TINY, run / "seed-0" / "policies", seed=3)
    policies, mapping = load_lineup(run / "seed-0" / "policies")
    state = market.reset(TINY, 3)
    lineup = Lineup(policies, [mapping[name] for name in state.advertisers.names])
    actions, _ = lineup.act(observe(state), {})
    np.testing.assert_array_equal(ranker.multipliers, to_multiplier(actions, TINY.rules.max_multiplier))
    assert ranker.rank(Request(request=0, user=0)).slots


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"algorithm": "dqn"}, "no algorithm named 'dqn'; choose ppo, sac"),
        ({"seed": 1000}, "seed is 1000; allowed is 0 to 999"),
        ({"steps": 0}, "steps is 0"),
        ({"num_markets": 1001}, "num_markets is 1001"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(QUICK, **change)  # type: ignore[arg-type]


def _watch_days(patch: pytest.MonkeyPatch, seen: set[int]) -> None:
    """Collect the seed of every day that is opened, alone or among many."""
    one, many = market.reset, market.reset_many

    def reset(scenario: Scenario, seed: int, *rest: Any, **options: Any) -> market.MarketState:
        seen.add(seed)
        return one(scenario, seed, *rest, **options)

    def reset_many(scenario: Scenario, seeds: Sequence[int], days: Sequence[int]) -> market.MarketState:
        seen.update(seeds)
        return many(scenario, seeds, days)

    patch.setattr(market, "reset", reset)
    patch.setattr(market, "reset_many", reset_many)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_each_training_seed_has_market_seeds_of_its_own_below_the_evaluation_seeds(
    algorithm: str, tmp_path: Path
) -> None:
    met: dict[int, set[int]] = {}
    for seed in (0, 1, 999):
        with pytest.MonkeyPatch.context() as patch:
            _watch_days(patch, met.setdefault(seed, set()))
            train(replace(QUICK, seed=seed, algorithm=algorithm), tmp_path / str(seed))  # type: ignore[arg-type]
        assert met[seed] == {1000 * seed, 1000 * seed + 1}
    assert max(met[999]) < HELD_OUT


def test_a_folder_that_holds_another_training_is_refused_and_left_as_it_is(tmp_path: Path, run: Path) -> None:
    before = (run / "run.json").read_bytes()
    with pytest.raises(ValueError, match=r"holds another training .its algorithm differ.*choose another folder"):
        train_seeds(replace(QUICK, algorithm="sac"), [5], run)
    with pytest.raises(ValueError, match="foo"):
        train_seeds(replace(QUICK, mapping="foo"), [9], run)
    assert (run / "run.json").read_bytes() == before


def _mean_score(scenario: Scenario, lineup: Lineup, days: int = 30) -> float:
    played = [play_day(scenario, lineup, HELD_OUT + seed) for seed in range(days)]
    return float(np.mean([score(day.advertisers, day.total, 2.0)[0] for day in played]))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_learner_finds_that_bidding_high_wins_an_idle_market(algorithm: str, tmp_path: Path) -> None:
    # One learner, rivals that stay out: every click costs the reserve, so bidding is better than a start near nothing.
    torch.manual_seed(0)
    scenario = TINY.with_changes(rules__reserve=0.6, generated__bid_level=0.5)
    plan = TrainingPlan(
        scenario=scenario, algorithm=algorithm, learners=(0,), rivals=("off",), steps=12_000, num_markets=8,  # type: ignore[arg-type]
        warm_start="fixed:0.3", tensorboard=False,
    )  # fmt: skip
    space, crowd = BidderSpace.of(scenario), rivals_in_turn(("off",), scenario)
    start = make_bidder("fixed:0.3", space)
    drivers = ["learner", *crowd.mapping[1:]]
    learnt = train(plan, tmp_path).policies["shared"]
    before = _mean_score(scenario, Lineup({**crowd.bidders, "learner": start}, drivers))
    after = _mean_score(scenario, Lineup({**crowd.bidders, "learner": learnt}, drivers))
    best = max(
        _mean_score(scenario, Lineup({**crowd.bidders, "learner": make_bidder(f"fixed:{m}", space)}, drivers))
        for m in (0.5, 1, 2, 4)
    )
    assert after > before + 0.5 * (best - before)


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_learner_with_a_scarce_budget_finds_that_bidding_less_buys_more(algorithm: str, tmp_path: Path) -> None:
    # At multiplier 1 the budget is gone in the first tick; clicks are cheap later, when the rivals have spent theirs.
    scenario = TINY.with_changes(
        generated__budget_share=0.05, generated__objectives=("max_clicks",), rules__reserve=0.0, world__traffic__ticks=4
    )
    plan = TrainingPlan(
        scenario=scenario, algorithm=algorithm, learners=(0,), rivals=("fixed:0.5",), steps=2_000, num_markets=4,
        warm_start="fixed:1", tensorboard=False,
    )  # fmt: skip
    learnt = taught(plan, tmp_path).snapshot("shared")
    crowd = rivals_in_turn(("fixed:0.5",), scenario)
    drivers = ["learner", *crowd.mapping[1:]]
    one = make_bidder("fixed:1", BidderSpace.of(scenario))
    assert _mean_score(scenario, Lineup({**crowd.bidders, "learner": learnt}, drivers)) > 1.5 * _mean_score(
        scenario, Lineup({**crowd.bidders, "learner": one}, drivers)
    )
