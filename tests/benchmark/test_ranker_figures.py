"""The ranker's figures measure what they say. Sizes are tiny, and no time is judged."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

from tribid.benchmark import fresh, ranker, ranker_calls, ranker_parts, ranker_served
from tribid.benchmark.served import Setup
from tribid.ranker import Ranker

SPREAD = {"p50": 1.0, "p90": 2.0, "p99": 5.0, "p999": 9.0, "max": 9.0, "mean": 1.5}


def report(**changes: Any) -> dict[str, Any]:
    given = {
        "latency_ms": SPREAD, "late_ms": SPREAD, "errors": {}, "requests": 100, "server_cpu_ms": 0.4, "slots_per_page": 3.0,
        "seconds": 10.0,
    }  # fmt: skip
    return given | changes


def named(figures):
    return {figure.name: figure for figure in figures}


@pytest.fixture
def told(monkeypatch):
    """What each measuring process would have answered, by function."""
    answers: dict[str, Any] = {}
    asked: dict[str, tuple[Any, dict[str, str]]] = {}

    def called(module, function, *arguments, **environment):
        asked[function] = (arguments, environment)
        return answers[function]

    monkeypatch.setattr(fresh, "call_named", called)
    return answers, asked


def test_calls_have_their_percentiles_and_their_ratio_to_the_bare_auction(told):
    answers, asked = told
    call = {"cpu": [k / 1e6 for k in range(1, 1001)], "wall": [2 * k / 1e6 for k in range(1, 1001)]}
    answers["measured_calls"] = dict.fromkeys(("rank", "retrieved", "memory", "sqlite"), call) | {
        "decide": [1e-4, 5e-5]
    }
    found = named(ranker.called_figures(1000, 2))
    for name in ("ranker_rank", "ranker_retrieved", "ranker_memory", "ranker_sqlite"):
        assert found[name].value == pytest.approx(0.5005) and found[name].clock == "cpu"
        assert found[f"{name}_p99"].value == pytest.approx(0.991) and found[f"{name}_p999"].value == pytest.approx(1.0)
        assert found[f"{name}_wall_p99"].value == pytest.approx(1.982) and found[f"{name}_wall_p99"].clock == "wall"
    assert (found["ranker_over_decide"].low, found["ranker_over_decide"].high) == pytest.approx((5.005, 10.01))
    arguments, environment = asked["measured_calls"]
    assert arguments == (1000, 2, 400, 64) and environment["OMP_NUM_THREADS"] == "1"


def test_loads_have_percentiles_errors_and_the_ratio_of_changing_policies(told):
    answers, asked = told
    slow = report(latency_ms=SPREAD | {"p99": 7.5}, errors={"timed out": 2})
    answers["measured_plain"] = {"steady": [report()] * 2, "swapped": [report(), slow], "swaps": [(19, 0), (18, 1)]}
    found = named(ranker.served_figures(5.0, 2))
    assert (found["http_64_p50"].value, found["http_64_p99"].value, found["http_64_p999"].value) == (1.0, 5.0, 9.0)
    assert found["http_64_errors"].value == 0 and found["http_64_errors"].note == "of 200"
    assert found["http_swap_errors"].value == 2
    assert found["http_swap_failed"].value == 1 and found["http_swap_failed"].note == "of 38"
    assert (found["http_swap_ratio"].low, found["http_swap_ratio"].high) == (1.0, 1.5)
    assert asked["measured_plain"][0] == (1000.0, 5.0, 64, 2)


def test_a_load_that_nobody_answered_is_no_fast_one(told):
    answers, _ = told
    answers["measured_learnt"] = report(latency_ms=None, errors={"HTTP 500": 100})
    found = named(ranker.learnt_figures(5.0))
    assert found["http_learnt_p99"].value == 10_000 and found["http_learnt_errors"].value == 100


def test_all_figures_are_of_the_rankers_group_and_named_once(told, monkeypatch):
    answers, asked = told
    call = {"cpu": [1e-4] * 5, "wall": [1e-4] * 5}
    answers["measured_calls"] = dict.fromkeys(("rank", "retrieved", "memory", "sqlite"), call) | {"decide": [1e-5]}
    answers["measured_plain"] = {"steady": [report()], "swapped": [report()], "swaps": [(1, 0)]}
    answers["measured_learnt"] = report()
    answers["measured_consumers"] = {"slots": report(), "profiles": report()}
    figures = list(ranker.ranker_figures(quick=True, repetitions=1))
    assert {figure.group for figure in figures} == {"ranker"} and len(named(figures)) == len(figures)
    assert asked["measured_calls"][0][0] == ranker.CALLS // 5 and asked["measured_plain"][0][1] == ranker.SECONDS / 4


@pytest.mark.parametrize(
    ("module", "extra"), [("uvicorn", "serve"), ("fastapi", "serve"), ("aiohttp", "loadtest")]
)  # fmt: skip
def test_without_a_server_or_a_client_the_extra_is_named(monkeypatch, module, extra):
    monkeypatch.setattr(ranker, "find_spec", lambda name: None if name == module else object())
    with pytest.raises(ImportError, match=rf"tribid\[{extra}\]"):
        next(ranker.ranker_figures(quick=True, repetitions=1))


def test_pages_bring_their_candidates_and_are_all_sold(tmp_path):
    scenario = Setup(changes=ranker_calls.market(20)).load()
    requests = ranker_calls.made_requests(scenario, 3, 20)
    assert [len(one.candidates) for one in requests] == [20] * 3 and [one.request for one in requests] == [0, 1, 2]
    served = Ranker(scenario, ranker_parts.made_policies(str(tmp_path), scenario))
    assert all(len(served.rank(one).slots) == 3 for one in requests)
    assert all(seconds > 0 for seconds in ranker_calls.bare_seconds(served, scenario, 20, 2))


def test_the_live_ranker_is_timed_page_by_page_with_its_ledger_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(ranker_calls, "_WARM", 2)
    scenario = Setup(changes=ranker_calls.market(20)).load()
    policies = {"a": ranker_parts.made_policies(str(tmp_path / "a"), scenario)}
    setup = Setup(changes=ranker_calls.market(20), policies=policies, ledger=str(tmp_path / "ledger.sqlite"))
    taken = asyncio.run(ranker_calls.live_seconds(setup, 5, 20))
    assert len(taken.cpu) == len(taken.wall) == 5 and (tmp_path / "ledger.sqlite").stat().st_size > 0


@pytest.mark.timeout(900)  # the server may have to compile its kernels
def test_policies_are_swapped_on_a_real_server_under_load_and_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(ranker_served, "SWAP_EVERY_S", 0.1)
    found = ranker_served.measured_plain(40.0, 1.0, 8, 1)
    steady, swapped, (made, failed) = found["steady"][0], found["swapped"][0], found["swaps"][0]
    assert steady["errors"] == swapped["errors"] == {} and made >= 2 and failed == 0
    assert steady["answered"] == steady["requests"] > 0 and steady["slots_per_page"] == 3.0
    assert steady["server_cpu_ms"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_learnt_pipeline_answers_under_load():
    pytest.importorskip("torch")
    found = ranker_served.measured_learnt(10.0, 2.0)
    assert found["errors"] == {} and found["answered"] == found["requests"] > 0 and found["slots_per_page"] > 2


def test_a_swap_that_the_server_refuses_is_counted(monkeypatch):
    swapper = ranker_served.Swapper("http://127.0.0.1:9", ("a", "b"))
    monkeypatch.setattr(ranker_served, "SWAP_EVERY_S", 0.01)
    with swapper:
        while not swapper.swaps.failed:
            pass
    assert swapper.swaps.made == 0
