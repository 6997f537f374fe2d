"""Every method gets the same trials, on days of their own, and what scored best there is what is judged."""

from pathlib import Path
from typing import Any

import pytest

from tribid.evaluation.bench import jobs
from tribid.evaluation.bench.jobs import Job, chosen_settings, fingerprint, is_done, jobs_of, trial_records
from tribid.evaluation.bench.page import write_page
from tribid.evaluation.bench.plan import BenchPlan
from tribid.evaluation.bench.run import run_bench
from tribid.evaluation.bench.score import score_of
from tribid.evaluation.bench.tuning import Range, TuningPart, trial_settings
from tribid.evaluation.contest import play_run
from tribid.evaluation.entries import entrant
from tribid.files import read_json, write_json

SPACE: dict[str, Range | tuple[Any, ...]] = {"step": Range(low=0.1, high=10.0), "utility": ("value", "surplus")}
FEW: dict[str, Range | tuple[Any, ...]] = {"a": (1, 2), "b": (3, 4)}


def tuned(**changes: Any) -> BenchPlan:
    content: dict[str, Any] = {
        "name": "tuned", "eval_days": 2, "train_seeds": [0], "rivals": ["truthful"],
        "training": {"steps": 64, "num_markets": 1, "warm_start": ""}, "tuning": {"trials": 3, "days": 2},
        "markets": {"poor": {"scenario": "tiny", "budget": 0.5, "trained_in": "rich"}, "rich": {"scenario": "tiny"}},
        "methods": {
            "truthful": {},
            "bslb": {"earlier": 12, "space": {"multiplier": {"low": 0.1, "high": 1.0}, "clock": ["time", "traffic"]}},
            "fixed_lambda": {"space": {"days": [1, 3]}},
            "ppo": {"algorithm": "ppo", "space": {"training__steps": [32, 96], "log_std": {"low": -2.0, "high": -1.0,
                                                                                             "scale": "linear"}}},
        },
    }  # fmt: skip
    return BenchPlan.model_validate(content | changes, strict=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchPlan, Path]:
    plan, out = tuned(), tmp_path_factory.mktemp("tuned")
    assert run_bench(plan, out) == {}
    return plan, out


def test_a_search_begins_with_the_methods_own_settings_and_covers_every_range_evenly() -> None:
    trials = trial_settings("dual_pacing", {"target_step": 2.0}, SPACE, TuningPart(trials=9))
    assert trials[0] == {"target_step": 2.0} and len(trials) == 9
    assert all(trial["target_step"] == 2.0 for trial in trials)
    steps = sorted(trial["step"] for trial in trials[1:])
    edges = [10.0 ** (-1 + 2 * place / 8) for place in range(9)]
    assert all(low * 0.99 <= step <= high * 1.01 for step, low, high in zip(steps, edges, edges[1:], strict=False))
    assert [trial["utility"] for trial in trials[1:]].count("value") == 4


def test_a_search_follows_from_its_seed_and_the_methods_name() -> None:
    first, again, other = (trial_settings("pid", {}, SPACE, TuningPart(seed=seed)) for seed in (0, 0, 1))
    assert first == again != other and trial_settings("mpid", {}, SPACE, TuningPart())[1:] != first[1:]
    assert trial_settings("pid", {}, {}, TuningPart()) == []


def test_no_two_trials_of_a_few_choices_are_the_same() -> None:
    trials = trial_settings("pid", {}, FEW, TuningPart(trials=5))
    assert len({repr(trial) for trial in trials}) == 5


def test_every_method_with_a_space_has_the_same_trials_in_every_home_and_none_elsewhere() -> None:
    collect, trials, train, _ = jobs_of(tuned())
    assert not collect and len(train) == 1
    assert {job.market for job in trials} == {"rich"}
    found = [(job.method, job.number) for job in trials]
    assert found == [(name, number) for name in ("bslb", "fixed_lambda", "ppo") for number in range(3)]


def test_the_best_trial_is_what_is_trained_and_judged_at_home_and_away(done: tuple[BenchPlan, Path]) -> None:
    plan, out = done
    for method in ("bslb", "fixed_lambda", "ppo"):
        records = trial_records(plan, "rich", method, out)
        assert [record["settings"] for record in records] == plan.trials_of(method)
        assert all(len(record["scores"]) == 2 and record["cpu_seconds"] > 0 for record in records)
        best = max(records, key=lambda record: record["score"])["settings"]
        for market in ("rich", "poor"):
            assert chosen_settings(plan, market, method, out) == best
            assert read_json(Job("play", market, method).file(out))["settings"] == best
    steps = chosen_settings(plan, "rich", "ppo", out).get("training__steps", 64)
    run = read_json(out / "runs" / "rich" / "ppo" / "run.json")
    assert run["steps"] == steps


def test_a_trial_is_played_on_the_tuning_days_and_trained_with_the_tuning_seed(done: tuple[BenchPlan, Path]) -> None:
    plan, out = done
    assert plan.tuning is not None
    trained = [path.name for path in (out / "trials" / "rich" / "ppo" / "trial-1").glob("seed-*")]
    assert trained == [f"seed-{plan.tuning.train_seed}"]
    protocol, settings = plan.protocol("rich"), plan.trials_of("bslb")[2]
    contestant = entrant("bslb", protocol, settings)
    scores = []
    for seed in (700_000, 700_001):
        played = play_run(contestant, -1, seed, protocol).advertisers
        scores.append(score_of({name: played[name] for name in protocol.names}, 2.0))
    assert trial_records(plan, "rich", "bslb", out)[2]["scores"] == scores


def test_tuning_that_was_done_is_not_done_again_and_a_new_choice_is_trained_anew(
    done: tuple[BenchPlan, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = done
    again: list[Job] = []
    monkeypatch.setattr("tribid.evaluation.bench.run.do_job", lambda plan, job, out, own: again.append(job) or "")
    run_bench(plan, out)
    assert again == []
    train, play = Job("train", "rich", "ppo", 0), Job("play", "poor", "ppo")
    known = [fingerprint(plan, job, out) for job in (train, play)]
    best = chosen_settings(plan, "rich", "ppo", out)
    worst = next(record for record in trial_records(plan, "rich", "ppo", out) if record["settings"] != best)
    file = Job("trial", "rich", "ppo", number=plan.trials_of("ppo").index(worst["settings"])).file(out)
    write_json(file, worst | {"score": 1e9})
    try:
        assert [fingerprint(plan, job, out) for job in (train, play)] != known
        assert not is_done(plan, train, out) and not is_done(plan, play, out)
        assert is_done(plan, Job("play", "rich", "bslb"), out)
    finally:
        write_json(file, worst)


def test_a_trial_that_fails_is_told_and_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = jobs._trial

    def breaks(plan: BenchPlan, job: Job, out: Path) -> dict[str, Any]:
        if job.number == 0:
            raise ArithmeticError("loss is nan")
        return whole(plan, job, out)

    monkeypatch.setitem(jobs._KINDS, "trial", breaks)
    plan = tuned().part(["rich"], ["truthful", "bslb"])
    failed = run_bench(plan, tmp_path)
    assert failed == {"trial rich bslb 0": "ArithmeticError: loss is nan"}
    assert chosen_settings(plan, "rich", "bslb", tmp_path) in plan.trials_of("bslb")[1:]
    page = write_page(plan, tmp_path, tmp_path / "page.md", "command")[0].read_text()
    assert "| bslb | 3, 1 failed | failed |" in page


def test_what_is_judged_waits_for_its_trials(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trial of bslb in rich has not been done; run it"):
        chosen_settings(tuned(), "poor", "bslb", tmp_path)


def test_the_page_says_how_many_trials_each_had_what_was_chosen_and_what_it_cost(done: tuple[BenchPlan, Path]) -> None:
    plan, out = done
    text = write_page(plan, out, out / "page.md", "command")[0].read_text()
    assert "the same 3 trials" in text and "training seed 90" in text and "(seeds 700000 to 700001)" in text
    assert "### Trials in rich" in text and "### Trials in poor" not in text
    assert "| truthful | 0: no settings to tune |" in text
    for method in ("bslb", "fixed_lambda", "ppo"):
        records = trial_records(plan, "rich", method, out)
        scores = [record["score"] for record in records]
        assert f"| {method} | 3 | {scores[0]:.3f} | {max(scores):.3f} |" in text
    assert "| bslb | multiplier 0.1 to 1 (log); clock time or traffic | 12 |" in text


def test_without_tuning_every_method_has_its_own_settings(tmp_path: Path) -> None:
    methods = {"bslb": {"settings": {"multiplier": 0.3}, "space": {"clock": ["time"]}, "earlier": 12}}
    plan = tuned(tuning=None, methods=methods)
    assert run_bench(plan, tmp_path) == {}
    assert read_json(Job("play", "rich", "bslb").file(tmp_path))["settings"] == {"multiplier": 0.3}
    page = write_page(plan, tmp_path, tmp_path / "page.md", "command")[0].read_text()
    assert "Nothing was tuned" in page and "| bslb | 12 |" in page


@pytest.mark.parametrize(
    ("name", "method", "said"),
    [
        (
            "bslb",
            {"space": {"multiplierr": [0.1, 0.2, 0.3]}},
            "bslb has no setting named 'multiplierr'; choose multiplier",
        ),
        ("bslb", {"settings": {"clock": 3}}, "bslb's clock is 3; allowed is a str"),
        ("fixed_lambda", {"space": {"dayss": [1, 2, 3]}}, "no setting named 'dayss'; choose days"),
        ("ppo", {"algorithm": "ppo", "space": {"log_sd": [-1.0, -2.0, -1.5]}}, "ppo has no setting named 'log_sd'"),
        ("ppo", {"algorithm": "ppo", "space": {"training__stepss": [32, 64, 96]}}, "stepss"),
    ],
)
def test_a_setting_that_a_method_has_not_is_refused_before_anything_runs(
    name: str, method: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"methods\.{name}.*{said}"):
        run_bench(tuned(methods={"truthful": {}, name: method}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_training_seed_whose_days_are_held_out_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"methods\.ppo: seed is 1000"):
        run_bench(tuned(train_seeds=[1000]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_recorded_days_stay_below_the_held_out_ones() -> None:
    with pytest.raises(ValueError, match="first_seed is 999990 and days 40"):
        tuned(collect={"first_seed": 999_990, "days": 40})
