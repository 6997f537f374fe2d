"""USCB's agent: the score and its optimum, the rewards that sum to it, what is exported, and that it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from scipy.optimize import linprog

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.divergence import DivergenceError
from tribid.agents.hindsight import slot_options
from tribid.agents.networks.adjusting import AdjustingPolicy
from tribid.agents.plan import TrainingPlan
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import check_bidder, play, random_observations
from tribid.agents.uscb_agent import Optima, UscbClassroom, UscbPupil, UscbRule, excess_of, penalty, uscb_score
from tribid.envs.market import reset, reset_many, step
from tribid.envs.reward import constraint_ratio, score
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
SMALL = UscbRule(hidden=(16, 16), batch=16, updates=1, patience=5, lookahead=3, lessons=3)
QUICK = TrainingPlan(scenario=TINY, steps=240, num_markets=2, tensorboard=False)
UNIT = Lineup.of(FixedMultiplier(1.0, space=BidderSpace.of(TINY)), 5)


def trained(plan: TrainingPlan, folder: Path, rule: UscbRule = SMALL) -> UscbClassroom:
    torch.set_num_threads(1)
    classroom = UscbClassroom(plan, folder, rule=rule)
    classroom.run()
    return classroom


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> UscbClassroom:
    return trained(QUICK, tmp_path_factory.mktemp("quick"))


def pupil_of(classroom: UscbClassroom, name: str = "shared") -> UscbPupil:
    pupil = classroom.pupils[name]
    assert isinstance(pupil, UscbPupil)
    return pupil


def test_the_score_is_the_papers() -> None:
    value, optimum = np.array([3.0, 20.0, 8.0]), np.array([10.0, 10.0, 10.0])
    excess = np.array([0.0, 0.25, 0.1])
    wanted = [0.3, 1.0 - (20**0.25 - 1.0), 0.8 - (20**0.1 - 1.0)]
    assert uscb_score(value, optimum, excess) == pytest.approx(wanted)
    assert (np.diff(penalty(np.linspace(0, 0.5, 9))) > 0).all()
    assert penalty(np.array([0.5, 7.0, 1e9])) == pytest.approx(20**0.5 - 1.0)


def test_the_excess_is_what_the_cost_is_above_its_target() -> None:
    dear = TINY.with_changes(rules__auction="first_price", generated__budget_share=1.0)
    state, _ = play(dear, 3, Lineup.of(FixedMultiplier(2.0, space=BidderSpace.of(dear)), 5))
    a, total = state.advertisers, state.total
    over = excess_of(a, total)
    cpa, roas = a.target_cpa_micros > 0, a.target_roas > 0
    assert (over[~cpa & ~roas] == 0).all()
    per = total.spend_micros[cpa] / total.counts.conversions[cpa]
    assert over[cpa] == pytest.approx(np.maximum(per / a.target_cpa_micros[cpa] - 1.0, 0.0))
    returned = total.counts.conversions[roas] * a.price_micros[roas] / total.spend_micros[roas]
    assert over[roas] == pytest.approx(np.maximum(a.target_roas[roas] / returned - 1.0, 0.0))
    assert over.max() > 0
    assert (over > 0).tolist() == (constraint_ratio(a, total) < 1).tolist()


def test_the_optimum_is_that_of_the_days_slots_at_predicted_rates() -> None:
    many = reset_many(TINY, [5, 6], [2, 2])
    found = Optima(UNIT, [0, 3]).of(many)
    assert found.shape == (2, 5)
    assert (found[:, [1, 2, 4]] == 1.0).all()
    state, ticks = reset(TINY, 6, 2), []
    while not state.done:
        state, tick = step(state, np.ones(5))
        ticks.append((state, tick))
    for who, targeted in ((0, False), (3, True)):
        value, cost = (
            np.concatenate(part) for part in zip(*(slot_options(*at, who, predicted=True) for at in ticks), strict=True)
        )
        one_slot = np.kron(np.eye(len(value)), np.ones(value.shape[1]))
        limits = [cost.ravel(), (cost - value).ravel()] if targeted else [cost.ravel()]
        solved = linprog(
            -value.ravel(), A_ub=np.vstack([*limits, one_slot]),
            b_ub=[float(state.advertisers.budget_micros[who]), *[0.0] * targeted, *[1.0] * len(value)],
        )  # fmt: skip
        assert found[1, who] == pytest.approx(-solved.fun, rel=1e-6)


def test_a_day_is_played_once_for_its_optimum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = TrainingPlan(scenario=TINY, steps=16, num_markets=2, mapping="by_objective", tensorboard=False)
    classroom = UscbClassroom(plan, tmp_path, rule=SMALL)
    found: list[tuple[int, int]] = []
    original = Optima._optima

    def watched(self: Optima, many: Any, day: Any) -> Any:
        found.append((day.seed, day.day))
        return original(self, many, day)

    monkeypatch.setattr(Optima, "_optima", watched)
    classroom.run()
    assert found == [(0, 0), (1, 0)]
    assert len(classroom.pupils) == 5


@pytest.mark.parametrize("lookahead", [1, 3, 100])
def test_the_rewards_of_a_day_sum_to_its_score(lookahead: int, tmp_path: Path) -> None:
    rule = UscbRule(hidden=(8,), updates=1, lookahead=lookahead)
    classroom = UscbClassroom(
        TrainingPlan(scenario=TINY, steps=160, num_markets=2, tensorboard=False), tmp_path, rule=rule
    )
    pupil = pupil_of(classroom)
    scores, added = [], []
    earn, add = pupil.earn, pupil.moves.add

    def watched(before: Any, after: Any, seen: Any) -> None:
        earn(before, after, seen)
        if after.done:
            value = after.advertisers.money_value(after.total.counts.clicks, after.total.counts.conversions)
            scores.append(uscb_score(value, pupil._optimum, excess_of(after.advertisers, after.total)))
            np.testing.assert_allclose(np.sum(pupil._rewards, axis=0), scores[-1], rtol=1e-9)

    pupil.earn = watched  # type: ignore[method-assign]
    pupil.moves.add = lambda **rows: (added.append(rows), add(**rows))  # type: ignore[assignment, method-assign]
    classroom.run()
    assert len(scores) == 2
    assert len(added) == 16
    for day, wanted in enumerate(scores):
        first = added[8 * day : 8 * day + 8 : min(lookahead, 8)]
        np.testing.assert_allclose(sum(row["reward"] for row in first).reshape(2, 5), wanted, rtol=1e-9)
        assert (added[8 * day + 7]["left"] == 0).all()
        if lookahead == 3:
            assert (added[8 * day]["left"] == 1).all()
            np.testing.assert_array_equal(added[8 * day]["after"], added[8 * day + 3]["seen"])


def test_the_exported_policy_moves_as_the_actor_does(tmp_path: Path) -> None:
    scenario = TINY.with_changes(rules__segments="state")
    pupil = pupil_of(trained(TrainingPlan(scenario=scenario, steps=240, num_markets=2, tensorboard=False), tmp_path))
    policy = pupil.export()
    assert isinstance(policy, AdjustingPolicy)
    seen = random_observations(policy.space, 300)
    with torch.no_grad():
        moves = torch.tanh(pupil.actor(pupil.scale(seen))).numpy()
    np.testing.assert_allclose(policy.predict(seen)[1], 1.0 + 0.2 * moves, atol=1e-5)
    assert np.ptp(moves[:, 0] - moves[:, 1]) > 0.01
    check_bidder(lambda space: policy, segments=[2])


def test_the_teachers_moves_are_learnt_first(tmp_path: Path) -> None:
    plan = TrainingPlan(scenario=TINY, steps=4 * 8 * 5 * 6, num_markets=4, warm_start="fixed:2", tensorboard=False)
    rule = UscbRule(hidden=(32, 32), patience=10**9, lessons=200, noise=0.5, noise_least=0.5)
    policy = trained(plan, tmp_path, rule).snapshot("shared")
    _, ticks = play(TINY, 500_000, Lineup.of(policy, 5))
    ends = [float(tick.multipliers.mean()) for tick in ticks]
    assert ends[-1] == pytest.approx(2.0, rel=0.1)
    assert ends[0] < 1.3 < ends[3]


def test_training_twice_gives_the_same_policy_and_another_seed_another(tmp_path: Path, quick: UscbClassroom) -> None:
    again = trained(QUICK, tmp_path).snapshot("shared").tensors()
    first = quick.snapshot("shared").tensors()
    assert all(again[name].tobytes() == tensor.tobytes() for name, tensor in first.items())
    other = trained(TrainingPlan(scenario=TINY, steps=240, num_markets=2, tensorboard=False, seed=1), tmp_path)
    assert not np.array_equal(other.snapshot("shared").tensors()["layer0.weight"], first["layer0.weight"])


def test_a_run_has_a_curve_logs_and_its_last_good_policies(tmp_path: Path) -> None:
    plan = TrainingPlan(scenario=TINY, steps=32, num_markets=2, learners=(0, 3), tensorboard=True)
    told: list[tuple[int, int, float | None]] = []
    classroom = UscbClassroom(plan, tmp_path, lambda *news: told.append(news), rule=SMALL)
    classroom.run()
    assert [row["steps"] for row in classroom.learning] == [32]
    assert told[-1] == (32, 32, classroom.learning[-1]["score"])
    assert set(classroom.last_good.policies) == {"shared"}
    assert list((tmp_path / "tensorboard" / "shared").glob("events.*"))


def test_a_training_that_diverges_says_so_and_keeps_what_was_good(tmp_path: Path) -> None:
    rule = UscbRule(hidden=(16,), actor_rate=1e30, critic_rate=1e30, patience=0, updates=3)
    classroom = UscbClassroom(QUICK, tmp_path, rule=rule)
    with pytest.raises(DivergenceError, match="allowed are finite numbers"):
        classroom.run()
    assert set(classroom.last_good.policies) == {"shared"}


def test_a_shared_policy_learns_to_save_a_scarce_budget(tmp_path: Path) -> None:
    scenario = TINY.with_changes(
        generated__budget_share=0.08, generated__objectives=("max_clicks",), world__traffic__ticks=24,
        rules__reserve=0.01,
    )  # fmt: skip
    plan = TrainingPlan(
        scenario=scenario, learners=(0, 2), rivals=("truthful",), steps=6000, num_markets=8, warm_start="",
        tensorboard=False,
    )  # fmt: skip
    rule = UscbRule(hidden=(32, 32), batch=64, updates=3, actor_rate=1e-3, patience=100, noise=0.6)
    learnt = trained(plan, tmp_path, rule).snapshot("shared")
    space, crowd = BidderSpace.of(scenario), rivals_in_turn(("truthful",), scenario)

    def mean_score(bidder: Any) -> float:
        drivers = ["own" if who in (0, 2) else name for who, name in enumerate(crowd.mapping)]
        lineup = Lineup({**crowd.bidders, "own": bidder}, drivers)
        days = [play(scenario, seed, lineup)[0] for seed in range(500_000, 500_030)]
        return float(np.mean([score(day.advertisers, day.total, 2.0)[[0, 2]] for day in days]))

    assert mean_score(learnt) > 1.5 * mean_score(FixedMultiplier(1.0, space=space))
