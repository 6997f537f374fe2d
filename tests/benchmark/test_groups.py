"""The groups measure what they say: their names, processes, empty environment and processor. Sizes are tiny here."""

import math
from itertools import count

import pytest
from pettingzoo.test import parallel_api_test

from tribid.benchmark import bare, dicts, fresh, markets, retrieval, suite
from tribid.benchmark.device import device_figures, figures_of, measured_device
from tribid.benchmark.machine import cpu_model
from tribid.benchmark.requirements import REQUIREMENTS


def test_bare_figures_have_a_numpy_reference_of_the_same_size(monkeypatch):
    offers = bare.offers
    monkeypatch.setattr(bare, "offers", lambda n, size: offers(n, 0.25))
    figures = {figure.name: figure for figure in bare.bare_figures(quick=True, repetitions=1)}
    for n in bare.CANDIDATES:
        figure = figures[f"bare_{n}"]
        assert figure.numpy == f"numpy_{n}" and (n == 48 or figure.numpy in figures)
        assert figure.bytes == 4 * n * figure.impressions
    assert figures["bare_48_scarce"].value > 0


def test_scarce_budgets_do_run_out(monkeypatch):
    offers = bare.offers
    monkeypatch.setattr(bare, "offers", lambda n, size: offers(n, 1))
    seen, play = [], bare.play
    monkeypatch.setattr(bare, "play", lambda given, left: (play(given, left), seen.append(left)))
    list(bare._running_out(quick=True, repetitions=1))
    assert (seen[-1] < 100_000).mean() > 0.5


def test_the_market_figures_count_what_was_served(monkeypatch):
    monkeypatch.setattr(markets, "PER_TICK", 200)
    state = markets.opened("feed", 2, 200)
    arrived = sum(int(day.counts[: markets.TICKS].sum()) for day in state.days)
    assert 0.7 * arrived < markets.impressions_of(state) <= arrived


def test_ten_thousand_advertisers_and_two_hundred_have_the_same_candidates_and_traffic():
    served = []
    for advertisers, retrieves in ((1000, True), (200, True), (200, False)):
        scenario = retrieval.crowd(advertisers, ocpc=False, retrieval=retrieves, per_tick=300)
        assert (scenario.world.retrieval is None) is not retrieves
        state = retrieval.market.reset(scenario, 0)
        after = retrieval.two_ticks(state)()
        served.append(float(after.total.counts.served.sum()) / retrieval.CANDIDATES)
        assert 0.7 * state.day.counts[:2].sum() < served[-1] <= state.day.counts[:2].sum()
    assert max(served) < 1.2 * min(served)


def test_the_empty_environment_is_a_pettingzoo_environment():
    parallel_api_test(dicts.EmptyEnv([f"agent_{i}" for i in range(4)], ticks=5, segments=2), num_cycles=20)


def test_the_dicts_cost_is_steps_less_arrays_over_the_empty_env(monkeypatch):
    monkeypatch.setattr(dicts, "interleaved", lambda works, repetitions: [[9.0, 8.0], [5.0, 4.0], [2.0, 1.0]])
    figures = {figure.name: figure for figure in dicts.dict_figures(quick=True, repetitions=1)}
    assert (figures["pettingzoo_dicts"].low, figures["pettingzoo_dicts"].high) == (2.0, 4.0)


def test_every_work_of_the_dicts_plays_whole_days(monkeypatch):
    def once(works, repetitions):
        for work in works:
            work()
        return [[1.0]] * len(works)

    steps, step = count(), dicts.market.step
    monkeypatch.setattr(dicts, "interleaved", once)
    monkeypatch.setattr(dicts.market, "step", lambda *given: (next(steps), step(*given))[1])
    list(dicts.dict_figures(quick=True, repetitions=1))
    assert next(steps) == 2 * 2 * dicts.TICKS  # two days, through the environment and with arrays


def test_a_fresh_process_answers_in_json_and_tells_why_it_failed():
    assert fresh.call(math.gcd, 12, 18) == 6
    with pytest.raises(RuntimeError, match="ValueError"):
        fresh.call(math.sqrt, -1)
    assert 5 < fresh.call(fresh.peak_mb) < 2000


def test_the_processor_is_what_proc_says(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name : A: Fast One\nmodel name : B\n", encoding="utf-8")
    assert cpu_model(file) == "A: Fast One"
    assert cpu_model(tmp_path / "absent")


def test_without_a_gpu_there_are_no_gpu_figures(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert measured_device(True) is None
    monkeypatch.setattr(fresh, "call", lambda function, *given: function(*given))
    assert list(device_figures(quick=True, repetitions=1)) == []


def test_gpu_figures_carry_the_device_s_name():
    figures = {
        figure.name: figure
        for figure in figures_of({
            "device": "G", "torch": "2", "copy_gb_per_s": 3.0, "markets": [
                {"scenario": "feed", "engine": "eager", "markets": 4, "requests_per_s": 5.0}
            ]
        })
    }  # fmt: skip
    assert set(figures) == {"gpu_copy", "gpu_feed_eager_4"}
    assert all(figure.note == "G, torch 2" and figure.clock == "device" for figure in figures.values())


def test_a_group_that_lacks_an_optional_package_is_left_out_with_a_note(monkeypatch):
    def lacking(**given):
        raise ImportError("FeedAuctionVecEnv needs Stable-Baselines3")
        yield

    monkeypatch.setattr(suite, "GROUPS", {"vector": lacking, "gpu": lambda **given: iter(())})
    told = []
    run = suite.run_benchmark(quick=True, only=["vector", "gpu"], tell=lambda *given: told.append(given))
    assert run.notes == ["vector: left out, for FeedAuctionVecEnv needs Stable-Baselines3", suite.NO_GPU]
    assert [figure.name for figure in run.figures] == ["read_bandwidth", "numpy_48", "multiply_max"]
    assert run.figure("read_bandwidth").to_read == pytest.approx(1.0)
    assert run.figure("numpy_48").to_numpy == pytest.approx(1.0)
    assert told[0] == ("vector", 0, 2) and told[-1] == ("done", 2, 2)


def test_unknown_groups_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="no figures named bear; choose bare, days"):
        suite.run_benchmark(only=["bear"])


@pytest.mark.slow
def test_a_quick_run_measures_everything_that_is_required():
    run = suite.run_benchmark(quick=True)
    names = {figure.name for figure in run.figures}
    wanted = {bound.figure for requirement in REQUIREMENTS for bound in requirement.any_of}
    assert {name for name in wanted if not name.startswith("gpu_")} <= names
    assert {curve.name for curve in run.curves} == {"impressions", "candidates", "advertisers", "markets"}
    assert run.figure("import_torch").value == 0
