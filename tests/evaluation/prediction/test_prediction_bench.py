"""The comparison of prediction models, end to end on a tiny shop, and its parts by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.models.fit.tiny_shop import SIZES
from tribid.envs.scenario import load_scenario
from tribid.envs.world import build_world
from tribid.evaluation.prediction.jobs import Job, is_done, jobs_of, rate_fit, record_of, source
from tribid.evaluation.prediction.ladder import Ladder, Rung, ladder
from tribid.evaluation.prediction.loop import retrained
from tribid.evaluation.prediction.observer import likely_interests
from tribid.evaluation.prediction.plan import LoopPart, ModelPart, PredictionPlan, load_plan
from tribid.evaluation.prediction.run import fit_all, write_results
from tribid.evaluation.prediction.value import groups
from tribid.models.ranking_measures import auc, gauc, group_aucs

TINY = {
    "name": "tiny", "changes": SIZES, "log": {"days": 5, "test_days": 1, "explore": 0.3}, "seeds": [0, 1],
    "click": {"lr": {"model": "lr"}, "din": {"model": "din", "settings": {"width": 4, "hidden": [8]}}},
    "order": {"esmm": {"model": "esmm", "settings": {"width": 4, "hidden": [8]}}},
    "state": {"counts": {}}, "tdm": {"trees": 0, "dimension": 4, "units": 4, "lessons": {"epochs": 1, "batch": 512}},
    "creative": {"epochs": 1}, "value": {"days": 2, "many_ads": 12},
    "loop": {"days": 2, "window": 1, "model": {"model": "lr"}, "explore": [0.2]},
}  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> PredictionPlan:
    return PredictionPlan.model_validate(TINY)


@pytest.fixture(scope="module")
def done(plan: PredictionPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prediction")
    fit_all(plan, out)
    return out


def test_every_job_leaves_a_record_and_is_not_done_again(plan: PredictionPlan, done: Path) -> None:
    jobs = [job for stage in jobs_of(plan) for job in stage]
    assert all(is_done(plan, job, done) for job in jobs)
    before = {job: (job.folder(done) / "job.json").stat().st_mtime_ns for job in jobs}
    told: list[tuple[int, int, str]] = []
    fit_all(plan, done, progress=lambda *say: told.append(say))
    assert before == {job: (job.folder(done) / "job.json").stat().st_mtime_ns for job in jobs}
    assert told[-1][0] == told[-1][1] == len(jobs)


def test_another_setting_makes_only_its_own_job_open_again(plan: PredictionPlan, done: Path) -> None:
    other = plan.model_copy(update={"click": {**plan.click, "lr": ModelPart(model="lr", training={"l2": 1e-4})}})
    open_jobs = {job for stage in jobs_of(other) for job in stage if not is_done(other, job, done)}
    assert open_jobs == {Job("click", "lr", 0), Job("click", "lr", 1)}


def test_the_ladder_is_measured_on_the_last_days_and_ends_at_the_truth(plan: PredictionPlan, done: Path) -> None:
    rungs = {rung.name: rung for rung in ladder(plan, done).rungs}
    assert list(rungs) == ["lr", "din", "observer", "truth"]
    for seed in plan.seeds:
        record = record_of(Job("click", "lr", seed), done)["measures"]
        assert rungs["lr"].auc[seed] == pytest.approx(record["click_auc"], abs=1e-9)
    assert rungs["truth"].auc[0] > max(np.mean(rungs[name].auc) for name in ("lr", "din"))


def test_the_page_has_every_group_and_says_where_it_comes_from(plan: PredictionPlan, done: Path) -> None:
    target = done / "page.md"
    write_results(plan, done, target)
    text = target.read_text(encoding="utf-8")
    for group in groups(plan, done):
        assert f"### {group.name[0].upper()}{group.name[1:]}" in text
    for line in (
        "* command:",
        "* machine:",
        "commit",
        "## Clicks",
        "## Orders",
        "## Retrieval",
        "## The feedback loop",
    ):
        assert line in text
    assert str(done) not in text


def test_gauc_is_weighted_by_rows_and_its_interval_holds_it() -> None:
    label = np.array([1, 0, 0, 1, 1, 0, 0, 0])
    score = np.array([0.9, 0.1, 0.5, 0.5, 0.6, 0.3, 0.8, 0.2])
    user = np.array([7, 7, 8, 8, 9, 9, 9, 9])
    values, rows = group_aucs(label, score, user)
    own = Rung(name="a", auc=(auc(label, score),), users=values[None])
    told = Ladder(rungs=(own,), rows=rows.astype(float)).gauc(own)
    assert told.point == pytest.approx(gauc(label, score, user))
    assert told.low <= told.point <= told.high


def test_a_rung_that_is_better_for_every_user_is_told_so() -> None:
    rng = np.random.default_rng(0)
    worse = Rung(name="a", auc=(0.5,), users=rng.uniform(0.4, 0.6, (1, 200)))
    better = Rung(name="b", auc=(0.6,), users=worse.users + rng.uniform(0.01, 0.03, 200))
    lucky = Rung(name="c", auc=(0.6, 0.6), users=np.concatenate([worse.users - 0.2, worse.users + 0.24]))
    gap = Ladder(rungs=(worse, better), rows=np.full(200, 10.0)).difference(better, worse)
    assert 0.01 < gap.low < gap.point < gap.high < 0.03
    gap = Ladder(rungs=(worse, lucky), rows=np.full(200, 10.0)).difference(lucky, worse)
    assert gap.low < 0 < gap.point < gap.high  # one of its two seeds was luck


def test_the_observer_finds_lasting_interests_in_long_histories() -> None:
    rich = load_scenario("shop").with_changes(
        **SIZES,
        world__needs__share=0.0,
        world__behaviour__kept=300,
        world__behaviour__per_day=20.0,
        world__categories=8,
    )
    shop = build_world(rich)
    users = np.arange(60)
    found = likely_interests(shop, shop.past.histories(1, 0, users), half_life_days=1000.0)
    assert np.corrcoef(found.ravel(), shop.past.interests(1, 0, users).ravel())[0, 1] > 0.9


def test_the_loop_learns_from_the_second_day_on(tmp_path: Path) -> None:
    part = LoopPart(days=3, window=2, model=ModelPart(model="lr"), explore=(0.2,))
    days = retrained(load_scenario("shop").with_changes(**SIZES), part, 0.2, tmp_path, 500_001)
    assert [day["learnt"] for day in days] == [0.0, 1.0, 1.0]
    for day in days:
        assert all(np.isfinite(value) for value in day.values())
    assert 0.9 < days[0]["bias_all"] < 1.1  # noisy truth has no bias over all candidates
    assert days[0]["bias_shown"] > days[0]["bias_all"]  # what is shown was overrated: the winner's curse
    assert days[1]["error"] > days[0]["error"]


def test_pictures_are_drawn_as_the_plans_own_scenario_draws_them(plan: PredictionPlan, tmp_path: Path) -> None:
    asked = rate_fit(plan, ModelPart(model="cross_media"), 0, source(plan, tmp_path))
    assert asked.pictures.scenario == plan.load() != load_scenario(plan.scenario)


@pytest.mark.parametrize("name", ["quick", "full"])
def test_the_plans_that_ship_are_valid(name: str) -> None:
    assert load_plan(name).name == name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"click": {"x": {"model": "esmm"}}}, "click.x.model is 'esmm'; choose lr"),
        ({"seeds": []}, "seeds"),
        ({"value": {"days": 1}}, "value.days is 1"),
        ({"nonsense": 1}, "nonsense is 1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_is_allowed(change: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps({**TINY, **change}))), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_plan(path)


def test_a_plan_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="choose full, quick, or a YAML file"):
        load_plan("fulll")
