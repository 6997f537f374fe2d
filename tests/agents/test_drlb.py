"""DRLB: the reward that only rises, the exploration, what is exported, and that it learns to save a scarce budget."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.divergence import DivergenceError
from tribid.agents.drlb import (
    ADDED,
    CELL,
    LAMBDA_CHANGES,
    STATE,
    BestReturns,
    DrlbClassroom,
    DrlbPupil,
    DrlbRule,
    one_peak,
)
from tribid.agents.networks.discrete import DiscretePolicy
from tribid.agents.plan import TrainingPlan
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import check_bidder, play, random_observations
from tribid.envs.market import reset_many
from tribid.envs.observation import field_index, fields
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
SMALL = DrlbRule(hidden=(16, 16), batch=16, updates=1, target_period=10)
QUICK = TrainingPlan(scenario=TINY, steps=240, num_markets=2, tensorboard=False)


def trained(plan: TrainingPlan, folder: Path, rule: DrlbRule = SMALL) -> DrlbClassroom:
    torch.set_num_threads(1)
    classroom = DrlbClassroom(plan, folder, rule=rule)
    classroom.run()
    return classroom


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> DrlbClassroom:
    return trained(QUICK, tmp_path_factory.mktemp("quick"))


def pupil_of(classroom: DrlbClassroom, name: str = "shared") -> DrlbPupil:
    pupil = classroom.pupils[name]
    assert isinstance(pupil, DrlbPupil)
    return pupil


def test_the_best_return_is_the_highest_of_all_episodes_with_the_pair_and_never_falls() -> None:
    rng = np.random.default_rng(0)
    best, episodes, before = BestReturns(), [], {}
    for _ in range(300):
        pairs = [(int(rng.integers(7)), bytes([int(rng.integers(5))])) for _ in range(4)]
        value = float(rng.normal())
        episodes.append((pairs, value))
        now = dict(zip(pairs, best.offer(pairs, value), strict=True))
        for pair, told in now.items():
            assert told == max(one for met, one in episodes if pair in met)
            assert told >= before.get(pair, -np.inf)
            assert told >= value
        before |= now
    assert len(best) == len(before) == 35


def test_the_reward_network_is_taught_the_best_return_of_all_days_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classroom = DrlbClassroom(QUICK, tmp_path, rule=SMALL)
    pupil, days, taught = pupil_of(classroom), [], []
    close, add = pupil._close_day, pupil.returns.add

    def watched() -> None:
        days.append((np.stack(pupil._seen), np.stack(pupil._actions), pupil._return.copy()))
        close()

    monkeypatch.setattr(pupil, "_close_day", watched)
    monkeypatch.setattr(pupil.returns, "add", lambda **rows: (taught.append(rows), add(**rows)))
    classroom.run()
    assert len(days) == 3
    assert len(taught) == 30
    highest: dict[tuple[int, int, tuple[float, ...]], float] = {}
    places = [field_index(name) for name in STATE]
    for (seen, actions, returns), rows in zip(days, np.array(taught).reshape(3, 2, 5), strict=True):
        ticks = list(np.ndindex(*actions.shape))
        pair = {at: (at[2], int(actions[at]), tuple(np.rint(seen[at][places] / CELL))) for at in ticks}
        for at in ticks:
            highest[pair[at]] = max(highest.get(pair[at], -np.inf), returns[at[1:]])
        for at in ticks:
            assert rows[at[1:]]["best"][at[0]] == highest[pair[at]]
            assert rows[at[1:]]["best"][at[0]] >= returns[at[1:]]
    assert len(pupil.best) == len(highest) < 240


def test_the_state_is_the_papers_numbers_and_the_advertisers_goals() -> None:
    names = [field.name for field in fields(2)]
    assert set(STATE + ADDED) <= set(names)
    assert not set(STATE) & set(ADDED)
    assert not {name for name in STATE + ADDED if "gap" in name}


def test_numbers_outside_the_state_change_nothing(quick: DrlbClassroom) -> None:
    policy = quick.snapshot("shared")
    seen = random_observations(policy.space, 50)
    other = random_observations(policy.space, 50, seed=1)
    shown = [field_index(name) for name in (*STATE, *ADDED)]
    other[:, shown] = seen[:, shown]
    assert not np.array_equal(seen, other)
    assert policy.predict(seen)[0].tobytes() == policy.predict(other)[0].tobytes()


def test_actions_change_lambda_by_the_papers_shares(quick: DrlbClassroom) -> None:
    policy = quick.snapshot("shared")
    assert isinstance(policy, DiscretePolicy)
    np.testing.assert_allclose(np.sort(1.0 / (1.0 + policy.choices) - 1.0), LAMBDA_CHANGES, atol=1e-7)
    assert policy.adjusts
    assert (np.diff(policy.choices) > 0).all()


@pytest.mark.parametrize(
    ("values", "peaked"),
    [([1, 2, 3], True), ([3, 2, 1], True), ([1, 3, 1], True), ([2, 2, 2], True), ([2, 1, 2], False),
     ([1, 3, 2, 2, 3], False), ([1, 1, 2, 2, 1], True)],
)  # fmt: skip
def test_action_values_have_one_peak_where_they_rise_and_then_fall(values: list[float], peaked: bool) -> None:
    assert bool(one_peak(np.array(values, float))) is peaked


def test_exploration_falls_to_its_least_but_stays_high_where_values_have_two_peaks(quick: DrlbClassroom) -> None:
    pupil = pupil_of(quick)
    peaked = np.array([True, False])
    rule = pupil.rule
    assert pupil.exploration(1.0, peaked) == pytest.approx([rule.explore, max(rule.explore, rule.explore_odd)])
    assert pupil.exploration(0.0, peaked) == pytest.approx([rule.explore_least, rule.explore_odd])
    shares = [pupil.exploration(left, peaked)[0] for left in np.linspace(1, 0, 20)]
    assert (np.diff(shares) <= 1e-12).all()


def test_under_a_teacher_the_nearest_step_is_taken(tmp_path: Path) -> None:
    pupil = pupil_of(DrlbClassroom(QUICK, tmp_path, rule=SMALL))
    pupil.open(0, reset_many(TINY, [0, 1], [0, 0]))
    seen, taught = random_observations(pupil.space, 10).reshape(2, 5, -1), np.full((2, 5, 1), 2.0)
    tried = [pupil.choose(seen, 1.0, taught) for _ in range(15)]
    assert tried[0] == pytest.approx(1.0 / 0.92, rel=1e-6)
    assert tried[-1] == pytest.approx(2.0, rel=0.006)
    assert pupil.choose(seen, 1.0, 0.99 * tried[-1]) == pytest.approx(tried[-1] / 1.01, rel=1e-6)


def test_the_exported_policy_chooses_as_the_network_does(tmp_path: Path) -> None:
    scenario = TINY.with_changes(rules__segments="state")
    pupil = pupil_of(trained(TrainingPlan(scenario=scenario, steps=240, num_markets=2, tensorboard=False), tmp_path))
    policy = pupil.export()
    seen = random_observations(policy.space, 300)
    with torch.no_grad():
        values = pupil.q(pupil.scale(seen)).numpy()
    np.testing.assert_allclose(policy.numbers(seen), np.tile(values, (1, 2)), atol=1e-5, rtol=1e-5)
    actions, _ = policy.predict(seen)
    assert (actions[:, 0] == actions[:, 1]).all()
    check_bidder(lambda space: policy, segments=[2])


def test_training_twice_gives_the_same_policy_and_another_seed_another(tmp_path: Path, quick: DrlbClassroom) -> None:
    again = trained(QUICK, tmp_path).snapshot("shared").tensors()
    first = quick.snapshot("shared").tensors()
    assert all(again[name].tobytes() == tensor.tobytes() for name, tensor in first.items())
    other = trained(TrainingPlan(scenario=TINY, steps=240, num_markets=2, tensorboard=False, seed=1), tmp_path)
    assert not np.array_equal(other.snapshot("shared").tensors()["layer0.weight"], first["layer0.weight"])


def test_a_run_has_a_curve_progress_and_its_last_good_policies(tmp_path: Path) -> None:
    plan = TrainingPlan(
        scenario=TINY, steps=32, num_markets=2, mapping="by_objective", learners=(0, 1, 3), tensorboard=True
    )
    told: list[tuple[int, int, float | None]] = []
    classroom = DrlbClassroom(plan, tmp_path, lambda *news: told.append(news), rule=SMALL)
    classroom.run()
    assert [row["steps"] for row in classroom.learning] == [48, 96]
    assert told[0] == (0, 96, None)
    assert told[-1] == (96, 96, classroom.learning[-1]["score"])
    assert set(classroom.last_good.policies) == {"max_clicks", "max_conversions", "target_cpa"}
    for name in classroom.roster.names:
        assert list((tmp_path / "tensorboard" / name).glob("events.*"))


def test_ctrl_c_ends_the_training_with_a_usable_policy(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, latest: float | None) -> None:
        if done >= 100:
            raise KeyboardInterrupt

    classroom = DrlbClassroom(QUICK, tmp_path, interrupt, rule=SMALL)
    with pytest.raises(KeyboardInterrupt):
        classroom.run()
    assert np.isfinite(classroom.snapshot("shared").predict(random_observations(classroom.roster.space, 2))[0]).all()


def test_a_training_that_diverges_says_so_and_keeps_what_was_good(tmp_path: Path) -> None:
    classroom = DrlbClassroom(QUICK, tmp_path, rule=DrlbRule(hidden=(16,), learning_rate=1e30, updates=1))
    with pytest.raises(DivergenceError, match=r"allowed are finite numbers|is no policy"):
        classroom.run()
    assert set(classroom.last_good.policies) == {"shared"}


def test_a_shared_policy_learns_to_save_a_scarce_budget(tmp_path: Path) -> None:
    scenario = TINY.with_changes(
        generated__budget_share=0.2, generated__objectives=("max_clicks",), world__traffic__ticks=24,
        rules__reserve=0.01,
    )  # fmt: skip
    plan = TrainingPlan(
        scenario=scenario, learners=(0, 2), rivals=("truthful",), steps=8000, num_markets=8, warm_start="",
        tensorboard=False,
    )  # fmt: skip
    rule = DrlbRule(hidden=(32, 32), explore_share=0.6)
    learnt = trained(plan, tmp_path, rule).snapshot("shared")
    space, crowd = BidderSpace.of(scenario), rivals_in_turn(("truthful",), scenario)

    def mean_score(bidder: object) -> float:
        drivers = ["own" if who in (0, 2) else name for who, name in enumerate(crowd.mapping)]
        lineup = Lineup({**crowd.bidders, "own": bidder}, drivers)  # type: ignore[dict-item]
        days = [play(scenario, seed, lineup)[0] for seed in range(500_000, 500_030)]
        return float(np.mean([score(day.advertisers, day.total, 2.0)[[0, 2]] for day in days]))

    unit = mean_score(FixedMultiplier(1.0, space=space))
    assert mean_score(learnt) > 1.05 * unit
